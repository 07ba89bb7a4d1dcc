"""From an OpenAI request to the request models of vLLM's own serving classes."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from serving.engine.protocol import Endpoint, EngineRejected, EngineRequest, JsonObject
from serving.engine.refusals import check_chat_roles, check_stateless, check_supported, object_schema

_TYPE_NAMES = frozenset({"bool", "bytes", "dict", "float", "int", "list", "none", "str", "tuple"})


def prepare(request: EngineRequest, model: str, answer_id: str, *, stream: bool) -> JsonObject:
    """The body that vLLM validates; ``request.body`` stays as it is. Raises EngineRejected."""
    body = dict(request.body)
    if request.endpoint is Endpoint.CHAT:
        check_chat_roles(body)
    if request.endpoint is Endpoint.RESPONSES:
        check_stateless(body)
        body["store"] = False
    check_supported(request.endpoint, body)
    body |= {"model": model, "request_id": answer_id, "stream": stream}
    if stream and request.endpoint is not Endpoint.RESPONSES:
        body["stream_options"] = {**_mapping(body.get("stream_options"), "stream_options"), "include_usage": True}
    if body.get("tools"):
        body["tools"] = _tools(request.endpoint, body["tools"])
    return body


def _mapping(value: Any, param: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise EngineRejected(f"`{param}` must be an object.", param=param)
    return value


def _tools(endpoint: Endpoint, tools: Any) -> list[Any]:
    """``tools`` whose functions all take an object: vLLM would otherwise force arguments of any type."""
    if not isinstance(tools, list):
        raise EngineRejected("`tools` must be an array.", param="tools")
    prepared = []
    for position, tool in enumerate(tools):
        if not isinstance(tool, dict):
            raise EngineRejected("A tool must be an object.", param=f"tools[{position}]")
        where = f"tools[{position}]"
        if endpoint is Endpoint.RESPONSES:
            prepared.append(tool | {"parameters": object_schema(tool.get("parameters"), f"{where}.parameters")})
            continue
        function = _mapping(tool.get("function"), f"{where}.function")
        schema = object_schema(function.get("parameters"), f"{where}.function.parameters")
        prepared.append(tool | {"function": {**function, "parameters": schema}})
    return prepared


def validated(model: type[BaseModel], body: JsonObject) -> BaseModel:
    """``body`` as one of vLLM's request models. Raises EngineRejected, naming the first field that is wrong."""
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise _rejection(error) from error


def _rejection(error: ValidationError) -> EngineRejected:
    # Of a union's branches, the one that got furthest into the value says most about what is wrong with it.
    problems = error.errors(include_url=False, include_input=False)
    problem = max(problems, key=lambda one: len(_place(one["loc"])))
    place = _place(problem["loc"])
    param = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".") or None
    message = problem["msg"].removeprefix("Value error, ")
    if param is None:
        return EngineRejected(message)
    code = "missing_required_parameter" if problem["type"] == "missing" else "invalid_value"
    return EngineRejected(f"Invalid value for `{param}`: {message}", param=param, code=code)


def _place(location: tuple[int | str, ...]) -> list[int | str]:
    """``location`` without the names that pydantic gives to the branches of a union."""
    return [
        part
        for part in location
        if isinstance(part, int) or (part.isidentifier() and part.islower() and part not in _TYPE_NAMES)
    ]

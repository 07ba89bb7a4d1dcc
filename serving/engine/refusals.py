"""Requests that this gateway's own engines refuse before any generation."""

from collections.abc import Mapping
from typing import Any

from serving.engine.protocol import Endpoint, EngineRejected

CHAT_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})


def context_length_exceeded(message: str, param: str | None) -> EngineRejected:
    """The prompt, or the prompt and the answer asked for, is longer than the model can read."""
    return EngineRejected(message, param=param, code="context_length_exceeded")


def check_chat_roles(body: Mapping[str, Any]) -> None:
    """Refuse a message whose role the API does not define. Raises EngineRejected."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise EngineRejected("`messages` must be a non-empty array.", param="messages")
    for position, message in enumerate(messages):
        role = message.get("role") if isinstance(message, dict) else None
        if not isinstance(role, str) or role not in CHAT_ROLES:
            raise EngineRejected(
                f"Invalid value: {role!r}. Supported roles are {', '.join(sorted(CHAT_ROLES))}.",
                param=f"messages[{position}].role",
                code="invalid_value",
            )

        if role != "assistant" and not isinstance(message.get("content"), str | list):
            raise EngineRejected(
                f"`messages[{position}].content` must be a string or an array of content parts.",
                param=f"messages[{position}].content",
                code="invalid_value",
            )


def check_stateless(body: Mapping[str, Any]) -> None:
    """Refuse what would need responses kept on the server. Raises EngineRejected."""
    if body.get("previous_response_id") is not None:
        raise EngineRejected(
            "Responses are not stored here, so `previous_response_id` refers to nothing; send the conversation "
            "in `input`.",
            param="previous_response_id",
            code="unsupported_parameter",
        )
    for name in ("store", "background"):
        if body.get(name):
            raise EngineRejected(
                f"Responses are not stored here; leave `{name}` out or send `{name}: false`.",
                param=name,
                code="unsupported_parameter",
            )
    for name in ("conversation", "prompt"):
        if body.get(name) is not None:
            raise EngineRejected(
                f"`{name}` refers to an object that this server does not keep; send its content in `input`.",
                param=name,
                code="unsupported_parameter",
            )


def check_prompt_logprobs(body: Mapping[str, Any]) -> None:
    """Refuse log-probabilities of the prompt, over which an engine with adapters has been seen to die.

    vLLM 0.29 computes them for one request with the adapter rows of the whole batch. Raises EngineRejected.
    """
    asked = "prompt_logprobs" if body.get("prompt_logprobs") is not None else None
    if body.get("echo") and body.get("logprobs") is not None:
        asked = "echo"
    if asked is not None:
        raise EngineRejected(
            f"Log-probabilities of the prompt are not available while the engine serves adapters; leave `{asked}` out.",
            param=asked,
            code="unsupported_parameter",
        )


_WITHOUT_EFFECT = {
    Endpoint.CHAT: {
        "functions": "send `tools` instead",
        "function_call": "send `tool_choice` instead",
        "audio": "the model writes text only",
        "web_search_options": "this server does not search the web",
    },
    Endpoint.COMPLETIONS: {},
    Endpoint.RESPONSES: {},
}


def check_supported(endpoint: Endpoint, body: Mapping[str, Any]) -> None:
    """Refuse what would change the answer and that the engine would ignore. Raises EngineRejected."""
    for name, instead in _WITHOUT_EFFECT[endpoint].items():
        if body.get(name) is not None:
            raise EngineRejected(f"`{name}` is not supported; {instead}.", param=name, code="unsupported_parameter")
    tools = body.get("tools")
    for position, tool in enumerate(tools if isinstance(tools, list) else ()):
        kind = tool.get("type") if isinstance(tool, dict) else None
        if kind != "function":
            raise EngineRejected(
                f"Tools of type {kind!r} are not available here; only functions are.",
                param=f"tools[{position}].type",
                code="unsupported_value",
            )


def object_schema(parameters: Any, param: str) -> dict[str, Any]:
    """A function's ``parameters`` as the schema of a JSON object. Raises EngineRejected where it is of another type."""
    schema = {} if parameters is None else parameters
    if not isinstance(schema, dict):
        raise EngineRejected("A function's parameters must be a JSON Schema object.", param=param)
    if schema.get("type", "object") != "object":
        raise EngineRejected(
            f"A function's parameters must be a schema of type 'object', got {schema['type']!r}.",
            param=param,
            code="invalid_function_parameters",
        )
    return {"type": "object", **schema} if schema else {"type": "object", "properties": {}}

"""The fields that the gateway itself reads must be what the API says. Everything else is the engine's to judge."""

from typing import Any

from serving.engine.protocol import JsonObject
from serving.engine.refusals import check_stateless
from serving.errors import InvalidRequest

_ROLES = ("assistant", "developer", "function", "system", "tool", "user")
_MOST_CHOICES = 128


def check_common(body: JsonObject) -> None:
    """``model``, ``stream``, ``stream_options`` and ``n``. Raises InvalidRequest."""
    model = body.get("model")
    if model is None:
        raise InvalidRequest("You must provide a `model`.", param="model")
    if not isinstance(model, str) or not model:
        raise InvalidRequest("`model` must be a non-empty string.", param="model")
    stream = body.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise InvalidRequest("`stream` must be true or false.", param="stream")
    options = body.get("stream_options")
    if options is not None:
        _check_stream_options(options, stream=bool(stream))
    count = body.get("n")
    if count is not None and (type(count) is not int or not 1 <= count <= _MOST_CHOICES):
        raise InvalidRequest(f"`n` must be an integer from 1 to {_MOST_CHOICES}.", param="n")


def check_chat(body: JsonObject) -> None:
    """A chat completion request. Raises InvalidRequest."""
    check_common(body)
    messages = _required(body, "messages")
    if not isinstance(messages, list) or not messages:
        raise InvalidRequest("`messages` must be a non-empty array of messages.", param="messages")
    for position, message in enumerate(messages):
        _check_message(message, f"messages[{position}]")


def check_completion(body: JsonObject) -> None:
    """A text completion request. Raises InvalidRequest."""
    check_common(body)
    prompt = _required(body, "prompt")
    if isinstance(prompt, str) or (isinstance(prompt, list) and prompt and _is_prompt_list(prompt)):
        return
    raise InvalidRequest(
        "`prompt` must be a string, a non-empty array of strings, or token ids as an array or arrays of integers.",
        param="prompt",
    )


def check_response(body: JsonObject) -> None:
    """A request to the responses API. Raises InvalidRequest and EngineRejected."""
    check_common(body)
    check_stateless(body)
    given = _required(body, "input")
    instructions = body.get("instructions")
    if instructions is not None and not isinstance(instructions, str):
        raise InvalidRequest("`instructions` must be a string.", param="instructions")
    metadata = body.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise InvalidRequest("`metadata` must be an object.", param="metadata")
    text = body.get("text")
    if text is not None and not isinstance(text, dict):
        raise InvalidRequest("`text` must be an object.", param="text")
    if isinstance(given, str):
        return
    if not isinstance(given, list) or not given:
        raise InvalidRequest("`input` must be a string or a non-empty array of items.", param="input")
    for position, item in enumerate(given):
        _check_item(item, f"input[{position}]")


def _required(body: JsonObject, name: str) -> Any:
    value = body.get(name)
    if value is None:
        raise InvalidRequest(f"Missing required parameter: `{name}`.", param=name)
    return value


def _check_stream_options(options: Any, *, stream: bool) -> None:
    if not isinstance(options, dict):
        raise InvalidRequest("`stream_options` must be an object.", param="stream_options")
    if not stream:
        raise InvalidRequest("`stream_options` is only allowed where `stream` is true.", param="stream_options")
    include = options.get("include_usage")
    if include is not None and not isinstance(include, bool):
        raise InvalidRequest("`include_usage` must be true or false.", param="stream_options.include_usage")


def _check_message(message: Any, place: str) -> None:
    if not isinstance(message, dict):
        raise InvalidRequest(f"`{place}` must be an object with `role` and `content`.", param=place)
    _check_role(message.get("role"), place)
    content = message.get("content")
    if content is None:
        if message["role"] != "assistant":
            raise InvalidRequest(f"`{place}` needs `content`.", param=f"{place}.content")
        return
    _check_content(content, f"{place}.content")


def _check_item(item: Any, place: str) -> None:
    if not isinstance(item, dict):
        raise InvalidRequest(f"`{place}` must be an object.", param=place)
    if item.get("type", "message") == "message":
        _check_role(item.get("role"), place)
        if item.get("content") is None:
            raise InvalidRequest(f"`{place}` needs `content`.", param=f"{place}.content")
        _check_content(item["content"], f"{place}.content")


def _check_role(role: Any, place: str) -> None:
    if role is None:
        raise InvalidRequest(f"`{place}` needs a `role`.", param=f"{place}.role")
    if not isinstance(role, str) or role not in _ROLES:
        raise InvalidRequest(
            f"Invalid role {role!r} in `{place}`; supported are {', '.join(_ROLES)}.", param=f"{place}.role"
        )


def _check_content(content: Any, place: str) -> None:
    if isinstance(content, str):
        return
    if not isinstance(content, list) or not content:
        raise InvalidRequest(f"`{place}` must be a string or a non-empty array of parts.", param=place)
    for position, part in enumerate(content):
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise InvalidRequest(
                f"`{place}[{position}]` must be an object with a `type`.", param=f"{place}[{position}]"
            )


def _is_prompt_list(prompt: list[Any]) -> bool:
    first = prompt[0]
    if isinstance(first, str):
        return all(isinstance(item, str) for item in prompt)
    if type(first) is int:
        return all(type(item) is int for item in prompt)
    return all(isinstance(item, list) and item and all(type(token) is int for token in item) for item in prompt)

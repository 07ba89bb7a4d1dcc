"""Reads what is observed out of requests and answers of the three resources. Pure."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from serving.engine.protocol import Endpoint, JsonObject

Call = tuple[str, str]
"""A function's name, and its arguments as the model wrote them."""

_TEXT_PARTS = ("text", "input_text")
_FORMS = ("json_schema", "json_object")


def asked_text(endpoint: Endpoint, body: JsonObject) -> str:
    """The text of the last message of the user, or a completion's prompt; empty for token ids and images."""
    if endpoint is Endpoint.COMPLETIONS:
        prompt = body.get("prompt")
        if isinstance(prompt, list) and prompt:
            prompt = prompt[0]
        return prompt if isinstance(prompt, str) else ""
    given = body.get("messages" if endpoint is Endpoint.CHAT else "input")
    if isinstance(given, str):
        return given
    turns: list[Any] = given if isinstance(given, list) else []
    for turn in reversed(turns):
        if isinstance(turn, dict) and turn.get("role") == "user":
            return _text(turn.get("content"))
    return ""


def made_calls(endpoint: Endpoint, answer: JsonObject) -> list[Call]:
    """The calls that the first of a whole answer's choices makes."""
    if endpoint is Endpoint.RESPONSES:
        items = answer.get("output") or ()
        return [_call(item) for item in items if item.get("type") == "function_call"]
    for choice in answer.get("choices") or ():
        message = choice.get("message") or {}
        return [_call(call.get("function") or {}) for call in message.get("tool_calls") or ()]
    return []


def end_of(endpoint: Endpoint, answer: JsonObject) -> str:
    """Why a whole answer ended: its first ``finish_reason``, or that of a chat which a response stands for."""
    if endpoint is not Endpoint.RESPONSES:
        choices: list[Any] = answer.get("choices") or [{}]
        return choices[0].get("finish_reason") or ""
    if answer.get("status") == "incomplete":
        return "length"
    return "tool_calls" if made_calls(endpoint, answer) else "stop"


class CallPieces:
    """The tool calls of a stream's first choice, put together."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}
        self._arguments: dict[int, list[str]] = {}

    def add(self, pieces: Any) -> None:
        """The ``tool_calls`` of one delta. What an engine elsewhere gives in a form of its own is left out."""
        for piece in pieces if isinstance(pieces, list) else ():
            function = piece.get("function") if isinstance(piece, dict) else None
            if not isinstance(function, dict):
                continue
            place = piece.get("index")
            place = place if isinstance(place, int) else 0
            name, arguments = _call(function)
            if name:
                self._names[place] = name
            if arguments:
                self._arguments.setdefault(place, []).append(arguments)

    def calls(self) -> list[Call]:
        """All of them, in the order of the answer."""
        places = sorted({*self._names, *self._arguments})
        return [(self._names.get(place, ""), "".join(self._arguments.get(place, ()))) for place in places]


def offered_tools(tools: Any) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
    """Names and parameters of the functions in a request's ``tools``, in the form of either API."""
    for tool in tools if isinstance(tools, list) else ():
        function = tool.get("function", tool) if isinstance(tool, dict) else None
        if isinstance(function, dict) and isinstance(name := function.get("name"), str):
            parameters = function.get("parameters")
            yield name, parameters if isinstance(parameters, dict) else None


def asked_form(form: Any) -> tuple[str, Mapping[str, Any] | None] | None:
    """The schema that a caller's own ``response_format`` or ``text.format`` asks for; None where it asks for no JSON.

    The kind is ``json_schema``, its schema None for an answer that may be any JSON object.
    """
    if not isinstance(form, dict) or form.get("type") not in _FORMS:
        return None
    inner = form.get("json_schema", form)
    schema = inner.get("schema") if isinstance(inner, dict) else None
    return "json_schema", schema if isinstance(schema, dict) else None


def form_of(endpoint: Endpoint, body: JsonObject) -> Any:
    """What a request says of the form of its answer, as it stands there."""
    if endpoint is not Endpoint.RESPONSES:
        return body.get("response_format")
    text = body.get("text")
    return text.get("format") if isinstance(text, dict) else None


def _call(function: Mapping[str, Any]) -> Call:
    name, arguments = function.get("name"), function.get("arguments")
    if isinstance(arguments, dict):  # as some servers give them, instead of their text
        arguments = json.dumps(arguments)
    return name if isinstance(name, str) else "", arguments if isinstance(arguments, str) else ""


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if part.get("type") in _TEXT_PARTS]
    return "\n".join(text for text in texts if isinstance(text, str))

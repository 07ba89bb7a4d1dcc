"""Reads an engine's answers for accounting, and makes them name what answered. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from serving.contracts import Violation
from serving.engine.protocol import Endpoint, JsonObject
from serving.observing.reading import Call, CallPieces, end_of, made_calls
from serving.tasks import Resolution

CONTRACT_FIELD = "loraplex_contract"
"""Added to each choice (chat, completions) or to ``metadata`` (responses) of a task with a contract."""
ADAPTER_FIELD = "loraplex_adapter"
"""Added to ``metadata`` of a response."""
SATISFIED = "satisfied"
VIOLATED = "violated"
_CALLS = ("function_call", "custom_tool_call")
"""Items of a response that the caller has to answer; searches are none."""
_ENDS = ("response.completed", "response.incomplete", "response.failed")
"""The last event of a response is one of these."""


@dataclass(slots=True)
class FinishedText:
    """One whole generated text, to be held against a contract."""

    holder: JsonObject
    """The part of the answer that will carry the verdict."""
    text: str
    finish_reason: str | None

    def mark(self, violation: Violation | None) -> None:
        """Write the verdict into the answer."""
        self.holder[CONTRACT_FIELD] = SATISFIED if violation is None else VIOLATED


@dataclass(slots=True)
class TokenCounts:
    """Usage, under whichever names an endpoint has for it."""

    prompt: int = 0
    completion: int = 0


def label_answer(endpoint: Endpoint, answer: JsonObject, resolution: Resolution) -> None:
    """Make a whole answer carry the name that was asked for and the version that answered."""
    if endpoint is Endpoint.RESPONSES:
        _label_response(answer, resolution)
    else:
        answer["model"] = resolution.model
        answer["system_fingerprint"] = resolution.fingerprint


def count_tokens(usage: Any) -> TokenCounts:
    """The token counts in a ``usage`` object; zero where there is none, or something else than a count."""
    if not isinstance(usage, dict):
        return TokenCounts()
    return TokenCounts(
        _count(usage.get("prompt_tokens") or usage.get("input_tokens")),
        _count(usage.get("completion_tokens") or usage.get("output_tokens")),
    )


def finished_texts(endpoint: Endpoint, answer: JsonObject) -> Iterator[FinishedText]:
    """The texts of a whole answer. Tool calls and refusals are none."""
    if endpoint is Endpoint.RESPONSES:
        yield from _response_text(answer)
        return
    for choice in answer.get("choices") or ():
        message = choice.get("message") or {}
        if not message.get("tool_calls") and not message.get("refusal"):
            text = choice.get("text") if endpoint is Endpoint.COMPLETIONS else message.get("content")
            yield FinishedText(choice, text or "", choice.get("finish_reason"))


def finish_reasons(endpoint: Endpoint, answer: JsonObject) -> Iterator[str]:
    """Why each text of a whole answer ended; of a response, its status."""
    if endpoint is Endpoint.RESPONSES:
        if isinstance(status := answer.get("status"), str):
            yield status
        return
    for choice in answer.get("choices") or ():
        if isinstance(reason := choice.get("finish_reason"), str):
            yield reason


def _label_response(response: JsonObject, resolution: Resolution) -> None:
    response["model"] = resolution.model
    response["metadata"] = {**(response.get("metadata") or {}), ADAPTER_FIELD: resolution.adapter}
    # Nothing is kept here, whatever the engine's own habit.
    response["store"] = False


def _response_text(response: JsonObject) -> Iterator[FinishedText]:
    items = response.get("output") or ()
    messages = [item for item in items if item.get("type") == "message"]
    if not messages and any(item.get("type") in _CALLS for item in items):
        return
    parts = [
        part["text"]
        for message in messages
        for part in message.get("content") or ()
        if part.get("type") == "output_text"
    ]
    reason = "length" if response.get("status") == "incomplete" else "stop"
    yield FinishedText(response["metadata"], "".join(parts), reason)


class EventReader(Protocol):
    """Reads the events of one stream."""

    usage: JsonObject | None
    deltas: int
    """Events so far that carried something generated."""
    finished: list[FinishedText]
    """Texts that ended since the list was last emptied; collected only where they are looked at."""
    finish_reasons: list[str]
    """Why each text that has ended did; of a response, its status."""
    broken: bool
    """Whether the engine itself told the client, in an event, that the answer failed."""
    finish_reason: str
    """Why the first choice ended; collected as ``finished`` is."""

    @property
    def calls(self) -> Sequence[Call]:
        """The tool calls of the first choice; collected as ``finished`` is."""
        ...

    def accept(self, event: JsonObject) -> JsonObject | None:
        """The event for the client; None for one that it did not ask for."""
        ...

    def error_event(self, error: JsonObject) -> JsonObject:
        """The last event of a stream that failed. ``error`` is the OpenAI envelope."""
        ...


class ChoiceEvents:
    """Chunks of chat and text completions."""

    def __init__(self, resolution: Resolution, *, include_usage: bool, keep_text: bool) -> None:
        self._model = resolution.model
        self._fingerprint = resolution.fingerprint
        self._include_usage = include_usage
        self._texts: dict[int, list[str]] | None = {} if keep_text else None
        self._calling: set[int] = set()
        """Choices that call a tool."""
        self._pieces = CallPieces()
        self.usage: JsonObject | None = None
        self.deltas = 0
        self.finished: list[FinishedText] = []
        self.finish_reasons: list[str] = []
        self.broken = False
        self.finish_reason = ""

    @property
    def calls(self) -> Sequence[Call]:
        """See EventReader."""
        return self._pieces.calls()

    def accept(self, event: JsonObject) -> JsonObject | None:
        """Labelled; the closing usage chunk only where it was asked for."""
        usage = event.get("usage")
        if usage is not None:
            self.usage = usage
        choices = event.get("choices")
        if not choices and usage is not None and not self._include_usage:
            return None
        event["model"] = self._model
        event["system_fingerprint"] = self._fingerprint
        if not self._include_usage:
            event.pop("usage", None)
        elif usage is None:
            event["usage"] = None
        for choice in choices or ():
            if _carries_text(choice):
                self.deltas += 1
            if (reason := choice.get("finish_reason")) is not None:
                self.finish_reasons.append(str(reason))
            if self._texts is not None:
                self._collect(choice, self._texts)
        return event

    def error_event(self, error: JsonObject) -> JsonObject:
        """The envelope itself: OpenAI's SDKs raise on it."""
        return error

    def _collect(self, choice: JsonObject, texts: dict[int, list[str]]) -> None:
        index = choice.get("index", 0)
        delta = choice.get("delta")
        piece = choice.get("text") if delta is None else delta.get("content")
        if piece:
            texts.setdefault(index, []).append(piece)
        if delta and delta.get("tool_calls"):
            self._calling.add(index)
            if index == 0:
                self._pieces.add(delta["tool_calls"])
        if choice.get("finish_reason") is not None:
            if index == 0:
                self.finish_reason = choice["finish_reason"]
            text = "".join(texts.pop(index, ()))
            if index not in self._calling:
                self.finished.append(FinishedText(choice, text, choice["finish_reason"]))


def _carries_text(choice: JsonObject) -> bool:
    delta = choice.get("delta")
    if delta is None:
        return bool(choice.get("text"))
    return any(value and name != "role" for name, value in delta.items())


class ResponseEvents:
    """Events of the responses API."""

    def __init__(self, resolution: Resolution, *, keep_text: bool) -> None:
        self._resolution = resolution
        self._keep_text = keep_text
        self._sequence = -1
        self.calls: Sequence[Call] = ()
        self.usage: JsonObject | None = None
        self.deltas = 0
        self.finished: list[FinishedText] = []
        self.finish_reasons: list[str] = []
        self.broken = False
        self.finish_reason = ""

    def accept(self, event: JsonObject) -> JsonObject | None:
        """Every event; those that carry the response object are labelled."""
        self._sequence = event.get("sequence_number", self._sequence + 1)
        kind = event.get("type", "")
        if kind.endswith(".delta"):
            self.deltas += 1
        response = event.get("response")
        if isinstance(response, dict):
            _label_response(response, self._resolution)
            self.usage = response.get("usage") or self.usage
            self.broken = kind == "response.failed"
            if kind in _ENDS:
                self.finish_reasons.extend(finish_reasons(Endpoint.RESPONSES, response))
            if self._keep_text and kind in ("response.completed", "response.incomplete"):
                self.finished.extend(_response_text(response))
                self.calls = made_calls(Endpoint.RESPONSES, response)
                self.finish_reason = end_of(Endpoint.RESPONSES, response)
        return event

    def error_event(self, error: JsonObject) -> JsonObject:
        """OpenAI's ``error`` event, with the envelope that its SDKs raise on besides."""
        inner = error["error"]
        return {
            "type": "error",
            "code": inner["code"],
            "message": inner["message"],
            "param": inner["param"],
            "sequence_number": self._sequence + 1,
            "error": inner,
        }


def event_reader(endpoint: Endpoint, body: JsonObject, resolution: Resolution, *, keep_text: bool) -> EventReader:
    """The reader for a stream that answers ``body``."""
    if endpoint is Endpoint.RESPONSES:
        return ResponseEvents(resolution, keep_text=keep_text)
    options = body.get("stream_options")
    include_usage = isinstance(options, dict) and bool(options.get("include_usage"))
    return ChoiceEvents(resolution, include_usage=include_usage, keep_text=keep_text)


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def answer_id(answer: JsonObject) -> str:
    """The ``id`` of an answer or of an event of one; empty where there is none."""
    found = answer.get("id") or (answer.get("response") or {}).get("id")
    return found if isinstance(found, str) else ""

"""Output contracts: how a task's answers are constrained while decoding, and checked again afterwards. Pure."""

import re
from collections.abc import Callable
from enum import StrEnum
from typing import Any

import orjson
from jsonschema import Draft202012Validator

from serving.config import OutputContract
from serving.engine.protocol import Endpoint, JsonObject
from serving.errors import InvalidRequest
from serving.grammars import grammar_matcher

_FORMAT_NAME = "contract"


class Violation(StrEnum):
    """How an answer broke its contract."""

    MISMATCH = "mismatch"
    """It ended by itself and is not of the shape."""
    TRUNCATED = "truncated"
    """A token limit cut it off before it had the shape."""


class Contract:
    """One task's contract, compiled once."""

    def __init__(self, settings: OutputContract) -> None:
        self._settings = settings
        self._matches = _matcher(settings)
        self.slow = settings.grammar is not None
        """Whether a check can take milliseconds, so that it belongs into a thread."""

    def check(self, text: str, finish_reason: str | None) -> Violation | None:
        """What is wrong with an answer; None where it satisfies the contract."""
        if self._matches(text):
            return None
        return Violation.TRUNCATED if finish_reason == "length" else Violation.MISMATCH

    def constrain(self, endpoint: Endpoint, body: JsonObject, *, vllm: bool) -> None:
        """Put the fields into ``body`` that make an engine decode by this contract.

        ``vllm`` says that the engine is vLLM: it takes ``structured_outputs``, which other servers may refuse. They
        get a JSON Schema in OpenAI's own field, and nothing for the other kinds, which that API cannot express: the
        check afterwards is then the only guard.

        Raises:
            InvalidRequest: the caller asks for another shape, or for tools, which a constrained answer cannot call.
        """
        self._refuse_conflicts(endpoint, body)
        schema = self._settings.json_schema
        if schema is not None and endpoint is Endpoint.RESPONSES:
            body["text"] = {**(body.get("text") or {}), "format": self._text_format(schema)}
            return
        if schema is not None and endpoint is Endpoint.CHAT:
            body["response_format"] = _response_format(schema)
            return
        if vllm:
            body["structured_outputs"] = self._structured_outputs()

    def _structured_outputs(self) -> JsonObject:
        settings = self._settings
        if settings.json_schema is not None:
            return {"json": settings.json_schema}
        if settings.regex is not None:
            return {"regex": settings.regex}
        if settings.choice is not None:
            return {"choice": list(settings.choice)}
        return {"grammar": settings.grammar}

    def _text_format(self, schema: JsonObject) -> JsonObject:
        return {"type": "json_schema", "name": _FORMAT_NAME, "schema": schema, "strict": True}

    def _refuse_conflicts(self, endpoint: Endpoint, body: JsonObject) -> None:
        if body.get("tools") and body.get("tool_choice") != "none":
            raise InvalidRequest("This model's answers have a fixed shape; it does not call tools.", param="tools")
        if body.get("echo"):
            raise InvalidRequest("This model's answers have a fixed shape, without the prompt.", param="echo")
        form, place = body.get("response_format"), "response_format"
        if endpoint is Endpoint.RESPONSES:
            text = body.get("text")
            form, place = (text.get("format") if isinstance(text, dict) else None), "text.format"
        if form is not None and not self._is_own_format(form):
            raise InvalidRequest(
                f"This model's answers have a fixed shape, and `{place}` asks for another; leave it out.", param=place
            )
        own = body.get("structured_outputs")
        if own is not None and own != self._structured_outputs():
            raise InvalidRequest(
                "This model's answers have a fixed shape, and `structured_outputs` asks for another; leave it out.",
                param="structured_outputs",
            )
        body.pop("structured_outputs", None)

    def _is_own_format(self, form: Any) -> bool:
        """Whether a caller's format is this very contract; its name and ``strict`` do not matter."""
        if not isinstance(form, dict) or form.get("type") != "json_schema":
            return False
        inner = form.get("json_schema", form)
        return isinstance(inner, dict) and inner.get("schema") == self._settings.json_schema is not None


def _response_format(schema: JsonObject) -> JsonObject:
    return {"type": "json_schema", "json_schema": {"name": _FORMAT_NAME, "schema": schema, "strict": True}}


def _matcher(settings: OutputContract) -> Callable[[str], bool]:
    if settings.json_schema is not None:
        validator = Draft202012Validator(settings.json_schema)
        return lambda text: _is_valid_json(text, validator)
    if settings.regex is not None:
        pattern = re.compile(settings.regex)
        return lambda text: pattern.fullmatch(text) is not None
    if settings.choice is not None:
        return frozenset(settings.choice).__contains__
    return grammar_matcher(settings.grammar or "")


def _is_valid_json(text: str, validator: Draft202012Validator) -> bool:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return validator.is_valid(value)

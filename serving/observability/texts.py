"""Prompts and answers for the log of a task that asks for them: bounded, and redacted. Pure."""

from collections.abc import Iterable, Iterator
from typing import Any

from monitoring.redaction import redact
from serving.engine.protocol import Endpoint, JsonObject

_MARGIN = 1024
"""Characters beyond the limit that are read, so that what ends behind it is recognised; what they cut is dropped."""
CUT = "…"


def safe_text(text: str, limit: int) -> str:
    """``text`` redacted, and no longer than ``limit`` characters and a sign that something is missing."""
    clean = redact(text[: limit + _MARGIN])
    if len(text) > limit + _MARGIN:
        return clean[: max(min(limit, len(clean) - _MARGIN), 0)] + CUT
    return clean if len(clean) <= limit else clean[:limit] + CUT


def prompt_text(endpoint: Endpoint, body: JsonObject) -> str:
    """The texts of a request's prompt, with the role of each; what is no text, such as images, is left out."""
    match endpoint:
        case Endpoint.CHAT:
            given: Any = body.get("messages")
        case Endpoint.COMPLETIONS:
            given = body.get("prompt")
        case _:
            given = body.get("input")
    return "\n".join(_lines(given))


def _lines(given: Any) -> Iterator[str]:
    if isinstance(given, str):
        yield given
        return
    for turn in given if isinstance(given, list) else ():
        if isinstance(turn, str):
            yield turn
        elif isinstance(turn, dict):
            yield f"{turn.get('role', '')}: {' '.join(_parts(turn.get('content')))}"


def _parts(content: Any) -> Iterable[str]:
    if isinstance(content, str):
        return (content,)
    parts = content if isinstance(content, list) else ()
    return (part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str))

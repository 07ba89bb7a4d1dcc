"""Passages for tests."""

from typing import Any

from serving.grounding.prompt import GivenPassage
from serving.knowledge.protocol import FoundPassage


def found(text: str, **changes: Any) -> FoundPassage:
    """A passage that says ``text``."""
    fields: dict[str, Any] = {
        "store_id": "vs_1",
        "file_id": "file-1",
        "filename": "policy.md",
        "title": "Policy",
        "source": "docs/policy.md",
        "version": "1",
        "number": 0,
        "text": text,
        "context": "",
        "score": 0.5,
        "similarity": 0.5,
    }
    return FoundPassage(**fields | changes)


def given(*texts: str) -> tuple[GivenPassage, ...]:
    """Passages 1, 2, … as a prompt has them."""
    return tuple(GivenPassage(number, found(text, number=number), text) for number, text in enumerate(texts, 1))

"""Observed answers for tests: a good one, and what is changed of it."""

from typing import Any

from monitoring.observed import ObservedAnswer

ANSWER = "Your parcel left the warehouse in Leeds on Monday and will be with you within three days."


def observed(answer: str = ANSWER, **changes: Any) -> ObservedAnswer:
    """A good answer of free form, but for ``changes``."""
    fields: dict[str, Any] = {
        "request_id": "req_1",
        "at": 1_700_000_000.0,
        "task": "support",
        "adapter": "support@3f9a1c2e",
        "role": "stable",
        "outcome": "ok",
        "prompt": "Where is my parcel now, and when will it be here? I have been waiting for it since last week.",
        "answer": answer,
        "finish_reason": "stop",
    }
    return ObservedAnswer(**(fields | changes))

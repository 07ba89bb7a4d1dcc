"""What a training tells while it runs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened."""

    type: Literal["message", "metrics", "checkpoint", "phase"]
    message: str
    data: Mapping[str, Any] = field(default_factory=dict)
    level: Literal["info", "warn", "error"] = "info"


Listener = Callable[[Event], None]


def as_lines(progress: Progress) -> Listener:
    """A listener that tells ``progress`` every event's message."""
    return lambda event: progress(event.message)


def silence(event: Event) -> None:
    """A listener for all processes of a training but the first."""


def phase(name: Literal["validating", "training", "writing"]) -> Event:
    """The event that a phase begins."""
    return Event("phase", name, {"phase": name})

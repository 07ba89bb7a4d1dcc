"""What a trainer writes into its ``events.jsonl``, as records. Pure but for the reading."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serving.jobs.types import Json, NewCheckpoint, NewEvent, News

NAME = "events.jsonl"

_PIECE_BYTES = 4 * 1024 * 1024
_LONGEST_LINE = 256 * 1024
_LONGEST_MESSAGE = 4_000
_LEVELS = ("info", "warn", "error")
_PHASES = ("validating", "training", "writing")


def read_news(path: Path, read_to: int) -> News | None:
    """What was written behind the byte ``read_to``, in whole lines; None where there is nothing new.

    A line that is no event, such as one that a killed trainer broke off, is passed over. Where on this machine the
    folder is, is left out of what is told.
    """
    try:
        with path.open("rb") as file:
            file.seek(read_to)
            piece = file.read(_PIECE_BYTES)
    except FileNotFoundError:
        return None
    end = piece.rfind(b"\n") + 1
    if not end and len(piece) < _LONGEST_LINE:
        return None
    # A line without an end that is longer than any event is passed over as well.
    end = end or len(piece)
    place = f"{path.parent}/"
    entries = [entry for line in piece[:end].splitlines() if (entry := _entry(line, place)) is not None]
    return _news(entries, read_to + end)


def _entry(line: bytes, place: str) -> dict[str, Any] | None:
    try:
        entry = _plain(json.loads(line), place)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) and isinstance(entry.get("type"), str) else None


def _news(entries: list[dict[str, Any]], read_to: int) -> News:
    events: list[NewEvent] = []
    checkpoints: list[NewCheckpoint] = []
    phase: str | None = None
    seconds_left: float | None = None
    for entry in entries:
        event = _event(entry)
        events.append(event)
        match entry["type"]:
            case "checkpoint":
                checkpoints += _checkpoint(event)
            case "metrics":
                seconds_left = number(event.data.get("seconds_left"), seconds_left)
            case "phase":
                found = event.data.get("phase", event.message)
                phase = found if found in _PHASES else phase
    return News(tuple(events), tuple(checkpoints), phase, seconds_left, read_to)


def _event(entry: Mapping[str, Any]) -> NewEvent:
    data = entry.get("data")
    level = entry.get("level")
    return NewEvent(
        message=text_of(entry.get("message"))[:_LONGEST_MESSAGE],
        at=number(entry.get("at"), 0.0) or 0.0,
        level=level if level in _LEVELS else "info",
        kind="metrics" if entry["type"] == "metrics" else "message",
        data=data if isinstance(data, dict) else {},
    )


def _checkpoint(event: NewEvent) -> list[NewCheckpoint]:
    step, path, metrics = event.data.get("step"), event.data.get("path"), event.data.get("metrics")
    if not isinstance(step, int) or not isinstance(path, str):
        return []
    return [NewCheckpoint(step, path, metrics if isinstance(metrics, dict) else {}, event.at)]


def text_of(value: object) -> str:
    """``value`` as text that every database keeps."""
    text = value if isinstance(value, str) else "" if value is None else str(value)
    return text.replace("\x00", "").encode("utf-8", "replace").decode()


def _plain(value: Any, place: str) -> Any:
    """JSON without ``place``, and without what no database or client takes: NUL, half surrogate pairs, NaN."""
    if isinstance(value, dict):
        return {text_of(name): _plain(one, place) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one, place) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return text_of(value).replace(place, "") if isinstance(value, str) else value


def number(value: object, default: float | None = None) -> float | None:
    """``value`` where it is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return default
    return float(value)


def shown_metrics(metrics: Json) -> dict[str, float]:
    """The metrics of a checkpoint that are numbers."""
    return {name: value for name, one in metrics.items() if (value := number(one)) is not None}

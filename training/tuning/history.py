"""What a training measured so far, read from the trainer's log. Pure.

The log travels with every checkpoint, so that what is decided from it is decided alike after a restart.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

Log = Sequence[Mapping[str, Any]]
Points = list[tuple[int, float]]
"""(optimiser step, value), in the order of the steps."""

HELDOUT_LOSS = "eval_loss"


def points(log: Log, name: str) -> Points:
    """Every value that was logged under ``name``, without those that are no finite number."""
    values = [(int(entry["step"]), float(entry[name])) for entry in _entries(log, name)]
    return [(step, value) for step, value in values if math.isfinite(value)]


def best(log: Log) -> tuple[int, float] | None:
    """The step of the lowest held-out loss after training began, and that loss; the earliest of equals."""
    measured = [(loss, step) for step, loss in points(log, HELDOUT_LOSS) if step > 0]
    if not measured:
        return None
    loss, step = min(measured)
    return step, loss


def is_exhausted(log: Log, patience: int | None) -> bool:
    """Whether the last ``patience`` held-out losses brought no new best."""
    found = best(log)
    if patience is None or found is None:
        return False
    return sum(int(entry["step"]) > found[0] for entry in _entries(log, HELDOUT_LOSS)) >= patience


def at(log: Log, name: str, step: int) -> float | None:
    """What was logged under ``name`` at ``step``, if anything was."""
    return dict(points(log, name)).get(step)


def mean_until(log: Log, name: str, step: int) -> float:
    """The mean of what was logged under ``name`` up to ``step``; nan where there is nothing."""
    values = [value for logged, value in points(log, name) if logged <= step]
    return sum(values) / len(values) if values else float("nan")


def _entries(log: Log, name: str) -> list[Mapping[str, Any]]:
    return [entry for entry in log if name in entry and "step" in entry]

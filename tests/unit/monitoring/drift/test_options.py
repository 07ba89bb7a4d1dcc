"""What a detector can be asked for."""

from typing import Any

import pytest

from monitoring.drift.options import ROW_BYTES, DriftOptions

_WRONG: dict[str, dict[str, Any]] = {
    "few rows in a reference": {"least_reference": 10},
    "a reference that holds fewer rows than it must have": {"reference_size": 100},
    "a reference that freezes too early": {"reference_requests": 100},
    "a tiny live window": {"live_size": 5},
    "no look": {"looks": ()},
    "a look at nothing": {"looks": (5, 100)},
    "looks that do not grow": {"looks": (200, 200)},
    "a negative duration": {"window_s": -1.0},
    "a reference that never ends": {"reference_s": float("inf")},
    "no neighbour": {"neighbours": 0},
    "a negative number of prompts": {"unusual": -1},
    "a negative map": {"map_points": -1},
    "a negative length": {"text_length": -1},
    "a weight of no signal": {"weights": {"topic": 1.0}},
    "a negative weight": {"weights": {"topics": -1.0}},
    "no weight": {"weights": {"topics": 0.0}},
    "two rates": {"false_alarms_per_window": 0.05},
    "no rate": {"false_alarms_per_day": None},
    "a rate of nothing": {"false_alarms_per_day": 0.0},
    "a rate of everything": {"false_alarms_per_day": 4.0},
    "a rate by the day for windows that may be of any length": {"window_s": 0.0},
    "a rate that no test could keep": {"false_alarms_per_day": 1e-6},
    "a weight that leaves too little": {"weights": {"topics": 1.0, "language": 1e-6}},
    "more looks than the rate can be shared among": {"looks": tuple(range(30, 1000))},
    "a share of nothing": {"share": 0.0},
    "more than all": {"share": 1.5},
}


@pytest.mark.parametrize("wrong", _WRONG.values(), ids=list(_WRONG))
def test_what_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must|give one|needs a window_s|names no signal"):
        DriftOptions(**wrong)


def test_a_rate_by_the_day_is_shared_by_the_windows_of_a_day() -> None:
    assert DriftOptions(false_alarms_per_day=0.08, window_s=6 * 3_600).window_alpha == pytest.approx(0.02)


def test_a_rate_by_the_window_is_that_of_every_window() -> None:
    options = DriftOptions(false_alarms_per_day=None, false_alarms_per_window=0.03, window_s=0)

    assert options.window_alpha == 0.03


def test_the_memory_that_is_stated_grows_with_rows_vectors_and_texts() -> None:
    options = DriftOptions(reference_size=300, live_size=100, text_length=50)

    assert options.memory_bytes(384) == 400 * (768 + ROW_BYTES) + 100 * 200

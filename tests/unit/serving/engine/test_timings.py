"""What vLLM tells of a request's time."""

from typing import Any

import pytest

from serving.engine.protocol import EngineTimings
from serving.engine.timings import drop_timings, note_timings


def _noted(answer: dict[str, Any]) -> float | None:
    timings = EngineTimings()
    note_timings(timings, answer)
    return timings.queue_s


def test_the_queue_is_told_in_milliseconds() -> None:
    assert _noted({"metrics": {"queue_time_ms": 250.0, "mean_itl_ms": 3.0}}) == 0.25
    assert _noted({"metrics": {"queue_time_ms": 0}}) == 0


@pytest.mark.parametrize(
    "metrics", [None, [], "fast", {}, *({"queue_time_ms": value} for value in (None, "12", True, -1, float("nan")))]
)
def test_what_is_no_time_is_not_noted(metrics: Any) -> None:
    assert _noted({"metrics": metrics}) is None


def test_an_answer_that_tells_nothing_takes_nothing_back() -> None:
    timings = EngineTimings()
    pieces: list[Any] = [{"metrics": {"queue_time_ms": 4}}, {"choices": []}, {"metrics": None}]
    for piece in pieces:
        note_timings(timings, piece)
    assert timings.queue_s == 0.004


def test_times_that_nobody_asked_for_are_left_out() -> None:
    answer: dict[str, Any] = {"id": "x", "metrics": {"queue_time_ms": 4}}
    drop_timings(answer)
    assert answer == {"id": "x"}


def test_what_vllm_tells_unasked_stays() -> None:
    answer: dict[str, Any] = {"metrics": {"queue_time_ms": 4, "speculative_decoding": {"accepted": 3}}}
    drop_timings(answer)
    assert answer == {"metrics": {"speculative_decoding": {"accepted": 3}}}


def test_an_answer_without_times_stays_as_it_is() -> None:
    answer: dict[str, Any] = {"id": "x"}
    drop_timings(answer)
    assert answer == {"id": "x"}

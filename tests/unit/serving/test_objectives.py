"""Service level objectives, from the file to what is counted."""

from typing import Any

import pytest

from monitoring.slo import Objective
from serving.config import parse_config
from serving.errors import ConfigInvalid
from serving.objectives import objectives_of


def _objectives(slo: Any) -> tuple[Objective, ...]:
    return objectives_of(parse_config({"model": {"id": "org/base"}, "tasks": {"support": {"slo": slo}, "other": {}}}))


def test_a_task_without_the_section_promises_nothing() -> None:
    assert _objectives(None) == ()


def test_an_empty_section_promises_to_answer() -> None:
    assert _objectives({}) == (Objective("support", "availability", 0.999, min_requests=10),)


def test_every_objective_of_a_task_is_counted() -> None:
    slo = {
        "availability": 0.99,
        "ttft": {"threshold_s": 0.5},
        "duration": {"threshold_s": 8.0, "target": 0.9},
        "min_requests": 0,
    }

    assert _objectives(slo) == (
        Objective("support", "availability", 0.99),
        Objective("support", "ttft", 0.95, 0.5),
        Objective("support", "duration", 0.9, 8.0),
    )


def test_a_latency_alone_can_be_promised() -> None:
    assert [one.slo for one in _objectives({"availability": None, "ttft": {"threshold_s": 1.0}})] == ["ttft"]


@pytest.mark.parametrize(
    ("slo", "problem"),
    [
        ({"availability": 1.0}, "`tasks.support.slo.availability`: must be less than 1"),
        ({"availability": 99.9}, "`tasks.support.slo.availability`: must be less than 1"),
        ({"availability": None}, "`tasks.support.slo`: promises nothing"),
        ({"ttft": {}}, "`tasks.support.slo.ttft.threshold_s`: is required"),
        ({"ttft": {"threshold_s": 0.0}}, "`tasks.support.slo.ttft.threshold_s`: must be more than 0"),
        ({"ttft": {"threshold": 1.0}}, "did you mean `threshold_s`?"),
    ],
)
def test_a_promise_that_cannot_be_kept_or_measured_is_refused(slo: Any, problem: str) -> None:
    with pytest.raises(ConfigInvalid) as refusal:
        _objectives(slo)
    assert problem in str(refusal.value)

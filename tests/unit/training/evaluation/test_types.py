"""What a run of a suite says of its cases."""

import pytest

from training.evaluation.types import Answer, CaseResult, SuiteRun


def _run(*scores: tuple[str, int, float]) -> SuiteRun:
    results = tuple(CaseResult(case, repeat, Answer("x"), {"exact": value}) for case, repeat, value in scores)
    return SuiteRun("triage", "0" * 64, "triage", None, "exact", results, {})


def test_a_case_counts_once_however_often_it_was_asked() -> None:
    assert _run(("a", 0, 1.0), ("a", 1, 0.0), ("b", 0, 1.0)).values("exact") == {"a": 0.5, "b": 1.0}


def test_an_unknown_metric_is_an_error() -> None:
    with pytest.raises(KeyError):
        _run(("a", 0, 1.0)).values("exact_match")

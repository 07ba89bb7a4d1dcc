"""What the benchmarks make of suites and their runs."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.suite_runs import baseline_run, cut_off, describe, plain, told
from training.evaluation.scoring import score
from training.evaluation.suite import Suite, load_suite
from training.evaluation.types import Answer, SuiteRun

LABELS = ("refund", "top_up")


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    rows = [
        {
            "id": str(number),
            "messages": [{"role": "user", "content": f"question {number}"}],
            "expected": LABELS[number % 2],
        }
        for number in range(4)
    ]
    (tmp_path / "cases.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    path = tmp_path / "suite.yaml"
    path.write_text("name: two\ncases: cases.jsonl\nscorers: [{kind: classification}]\n", encoding="utf-8")
    return load_suite(path)


def _run(suite: Suite, *answers: Answer) -> SuiteRun:
    results = tuple(score(suite, case, answer, 0) for case, answer in zip(suite.cases, answers, strict=True))
    record = {"baseline": {"method": "a line", "predictions": {case.id: "refund" for case in suite.cases}}}
    return SuiteRun(suite.name, suite.digest, "base", None, suite.primary, results, record)


def test_the_baseline_answers_the_same_cases_as_a_model(suite: Suite) -> None:
    run = _run(suite, *[Answer("top_up")] * 4)
    found = baseline_run(suite, run)
    assert (found.model, found.suite_digest) == ("a line", run.suite_digest)
    assert found.values("accuracy") == {"0": 1.0, "1": 0.0, "2": 1.0, "3": 0.0}


def test_accuracy_and_macro_f1_come_with_their_intervals(suite: Suite) -> None:
    found = describe(suite, baseline_run(suite, _run(suite, *[Answer("top_up")] * 4)))
    assert found["metrics"]["accuracy"]["mean"] == 0.5
    assert found["metrics"]["macro_f1"]["mean"] == round(1 / 3, 4)
    assert 0 < found["metrics"]["accuracy"]["low"] < 0.5 < found["metrics"]["accuracy"]["high"] < 1


def test_answers_that_a_token_limit_ended_are_counted(suite: Suite) -> None:
    whole, cut = Answer("refund", finish_reason="stop"), Answer("refu", finish_reason="length")
    assert cut_off(_run(suite, whole, cut, whole, whole)) == 0.25


def test_a_told_suite_has_one_system_message_and_another_digest(suite: Suite) -> None:
    twice = told(told(suite, "one"), "two")
    assert [[one["role"] for one in case.messages] for case in twice.cases] == [["system", "user"]] * 4
    assert {case.messages[0]["content"] for case in twice.cases} == {"two"}
    assert twice.digest != suite.digest


def test_numbers_of_numpy_become_plain_ones() -> None:
    assert type(plain({"value": np.float64(0.5)})["value"]) is float

"""The examples' suites: they load, their references are right by them, and their cases are what the data gives."""

import re
from pathlib import Path

import pytest

from examples.datasets.cited_suite import TARGET, cases
from training.evaluation.scoring import score
from training.evaluation.suite import load_suite
from training.evaluation.types import Answer

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
SUITES = sorted((EXAMPLES / "suites").glob("*.yaml"))


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_a_reference_answer_has_every_metric(path: Path) -> None:
    suite = load_suite(path)
    assert suite.name == path.stem
    assert len(suite.cases) >= 100
    for case in suite.cases:
        found = score(suite, case, Answer(case.expected or ""), 0)
        assert set(found.scores.values()) == {1.0}, found.notes
        assert set(found.scores) == set(suite.metrics)


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_an_empty_answer_has_no_primary_metric(path: Path) -> None:
    suite = load_suite(path)
    assert {score(suite, case, Answer(""), 0).scores[suite.primary] for case in suite.cases} == {0.0}


def test_the_cited_cases_are_what_the_held_out_rows_give() -> None:
    assert TARGET.read_text(encoding="utf-8").splitlines() == cases()


def test_every_cited_passage_stands_in_the_context() -> None:
    for case in load_suite(EXAMPLES / "suites" / "cited-answers.yaml").cases:
        for number in re.findall(r"\[(\d+)\]", case.expected or ""):
            statement = (case.expected or "").partition(" [")[0]
            assert statement in case.context[int(number) - 1]

"""Tuning sees one part of the questions and reports on the other."""

import pytest

from retrieval.ir_metrics import Measure
from retrieval.tuning import split, tune_fusion

QUESTIONS = [f"question {number}" for number in range(80)]
GOOD = [("right", 1.0), ("wrong", 0.5), ("other", 0.0)]
BAD = [("wrong", 1.0), ("other", 0.5), ("right", 0.0)]


def test_a_question_is_always_on_the_same_side() -> None:
    tune, report = split(QUESTIONS)
    assert set(tune) | set(report) == set(QUESTIONS)
    assert not set(tune) & set(report)
    assert 20 < len(tune) < 60
    smaller = split(QUESTIONS[:40])
    assert set(smaller[0]) <= set(tune)
    assert set(smaller[1]) <= set(report)


def test_the_better_arm_gets_the_weight() -> None:
    lists = {question: {"dense": GOOD, "lexical": BAD} for question in QUESTIONS}
    tuned = tune_fusion(lists, {question: {"right": 1} for question in QUESTIONS}, Measure("mrr"))
    assert tuned.weights["dense"] > tuned.weights["lexical"]
    assert tuned.value == 1
    assert tuned.arms == {"dense": 1.0, "lexical": pytest.approx(1 / 3)}


def test_what_is_kept_back_does_not_change_the_weights() -> None:
    tune, report = split(QUESTIONS)
    qrels = {question: {"right": 1} for question in QUESTIONS}
    lists = {question: {"dense": GOOD, "lexical": BAD} for question in QUESTIONS}
    turned = lists | {question: {"dense": BAD, "lexical": GOOD} for question in report}
    one, other = (tune_fusion(each, qrels, Measure("mrr")) for each in (lists, turned))
    assert one.weights == other.weights
    assert one.tuned_on == len(tune)
    assert other.reported_on == len(report)
    assert other.value < one.value


def test_one_arm_cannot_be_weighed() -> None:
    with pytest.raises(ValueError, match="two arms"):
        tune_fusion({"q": {"dense": GOOD}}, {"q": {"right": 1}}, Measure("mrr"))

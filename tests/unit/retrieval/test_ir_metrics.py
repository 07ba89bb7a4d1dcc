"""Measures of ranked lists, against values worked out by hand."""

import math

import pytest

from retrieval.ir_metrics import Measure, mean_over, ndcg_at, recall_at, reciprocal_position

GRADES = {"a": 3, "b": 1, "c": 0, "d": 2}


def test_ndcg_is_the_gain_against_the_best_order() -> None:
    gain = 1 / math.log2(2) + 3 / math.log2(4)  # b first, c second, a third
    best = 3 / math.log2(2) + 2 / math.log2(3) + 1 / math.log2(4)
    assert ndcg_at(3, ["b", "c", "a", "d"], GRADES) == pytest.approx(gain / best)
    assert ndcg_at(3, ["a", "d", "b"], GRADES) == pytest.approx(1)


def test_recall_counts_relevant_documents_only() -> None:
    assert recall_at(2, ["c", "a", "b"], GRADES) == pytest.approx(1 / 3)
    assert recall_at(5, ["a", "b", "d"], GRADES) == 1


def test_the_reciprocal_position_is_that_of_the_first_relevant_one() -> None:
    assert reciprocal_position(["c", "x", "d"], GRADES) == pytest.approx(1 / 3)
    assert reciprocal_position(["c", "x"], GRADES) == 0


def test_a_negative_grade_is_not_relevant() -> None:
    assert ndcg_at(2, ["spam", "a"], {"spam": -2, "a": 1}) == pytest.approx(1 / math.log2(3))


def test_the_mean_is_over_queries_that_have_an_answer() -> None:
    qrels = {"1": {"a": 1}, "2": {"b": 1}, "3": {"c": 0}}
    assert mean_over(qrels, {"1": ["a"]}, Measure("recall@1")) == 0.5
    with pytest.raises(ValueError, match="no query"):
        mean_over({"3": {"c": 0}}, {}, Measure("mrr"))


@pytest.mark.parametrize("name", ["ndcg", "ndcg@0", "recall@x", "mrr@5", "accuracy@1", ""])
def test_an_unknown_measure_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no measure"):
        Measure(name)

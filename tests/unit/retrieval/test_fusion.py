"""Joining lists."""

import pytest

from retrieval.fusion import FusionMethod, fuse, min_max, reciprocal

DENSE = [("a", 0.9), ("b", 0.8), ("c", 0.1)]
LEXICAL = [("c", 30.0), ("d", 20.0), ("a", 10.0)]


def test_min_max_stretches_scores_to_zero_and_one() -> None:
    assert min_max(DENSE) == pytest.approx({"a": 1, "b": 0.875, "c": 0})
    assert min_max([("only", 7.0)]) == {"only": 1.0}
    assert min_max([]) == {}


def test_reciprocal_scores_follow_the_paper() -> None:
    assert reciprocal(LEXICAL) == pytest.approx({"c": 1, "d": 61 / 62, "a": 61 / 63})


def test_weights_decide_between_the_arms() -> None:
    arms = {"dense": DENSE, "lexical": LEXICAL}
    assert fuse(FusionMethod.MIN_MAX, arms, {"dense": 0.9, "lexical": 0.1})[0][0] == "a"
    assert fuse(FusionMethod.MIN_MAX, arms, {"dense": 0.1, "lexical": 0.9})[0][0] == "c"


def test_scores_of_a_fused_list_are_weighted_means() -> None:
    fused = dict(fuse(FusionMethod.MIN_MAX, {"dense": DENSE, "lexical": LEXICAL}, {"dense": 3, "lexical": 1}))
    assert fused == pytest.approx({"a": 0.75, "b": 0.75 * 0.875, "c": 0.25, "d": 0.25 * 0.5})


@pytest.mark.parametrize("method", list(FusionMethod))
def test_an_arm_that_found_nothing_changes_nothing(method: FusionMethod) -> None:
    alone = fuse(method, {"dense": DENSE}, {})
    assert fuse(method, {"dense": DENSE, "lexical": []}, {"dense": 0.2, "lexical": 0.8}) == alone


def test_an_arm_of_weight_zero_brings_no_candidates() -> None:
    fused = fuse(FusionMethod.RRF, {"dense": DENSE, "lexical": LEXICAL}, {"lexical": 0})
    assert [one for one, _ in fused] == ["a", "b", "c"]


def test_ties_have_one_order() -> None:
    assert fuse(FusionMethod.RRF, {"x": [(2, 1.0)], "y": [(1, 1.0)]}, {}) == [(1, 0.5), (2, 0.5)]

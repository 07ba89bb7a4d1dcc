"""How sure an answer is, against what is usual."""

import math
import random

import pytest

from monitoring.quality.confidence import (
    ConfidenceReference,
    Spread,
    Usual,
    confidence,
    mean_entropy,
    mean_logprob,
)
from monitoring.quality.options import ConfidenceOptions
from tests.observed_answers import observed

_USUAL = Usual(Spread(0.3, 0.1), Spread(0.5, 0.1))


def _reference(answers: int = 200, seed: int = 1) -> ConfidenceReference:
    chosen, reference = random.Random(seed), ConfidenceReference()
    for _ in range(answers):
        logprobs = tuple(chosen.uniform(-0.6, 0.0) for _ in range(30))
        reference.add(observed(logprobs=logprobs, entropies=tuple(-one for one in logprobs)))
    return reference


@pytest.mark.parametrize(
    ("logprobs", "entropies", "badness"),
    [
        ((-0.3, -0.3), (0.5, 0.5), 0),
        ((-0.1,), (0.1,), 0),
        ((-0.75,), None, 0.5),
        ((-0.9,), None, 1),
        (None, (1.1,), 1),
        ((-0.3,), (1.1,), 1),
        ((-math.inf,), None, 1),
    ],
)
def test_doubt_is_graded_by_the_worse_of_two_measures(
    logprobs: tuple[float, ...] | None, entropies: tuple[float, ...] | None, badness: float
) -> None:
    check = confidence(observed(logprobs=logprobs, entropies=entropies), ConfidenceOptions(), _USUAL)
    assert check is not None
    assert check.badness == pytest.approx(badness)


@pytest.mark.parametrize("logprobs", [None, (), (math.nan,)])
def test_without_log_probabilities_there_is_no_verdict(logprobs: tuple[float, ...] | None) -> None:
    assert confidence(observed(logprobs=logprobs), ConfidenceOptions(), _USUAL) is None


def test_without_a_reference_there_is_no_verdict() -> None:
    assert confidence(observed(logprobs=(-9.0,)), ConfidenceOptions(), None) is None


def test_one_impossible_token_does_not_decide_a_mean() -> None:
    assert mean_logprob(observed(logprobs=(-1e9, 0.0))) == -10
    assert mean_entropy(observed(entropies=(0.5, 1.5))) == 1
    assert mean_entropy(observed()) is None


def test_what_is_usual_is_known_once_there_is_enough() -> None:
    assert _reference(99).usual is None
    usual = _reference(200).usual
    assert usual is not None
    assert usual.doubt is not None
    assert usual.doubt.median == pytest.approx(0.3, abs=0.02)
    assert 0.02 <= usual.doubt.scale < 0.06


def test_usual_answers_are_hardly_ever_called_doubtful() -> None:
    usual, chosen = _reference(400).usual, random.Random(2)
    bad = 0
    for _ in range(300):
        answer = observed(logprobs=tuple(chosen.uniform(-0.6, 0.0) for _ in range(30)))
        check = confidence(answer, ConfidenceOptions(), usual)
        assert check is not None
        bad += check.bad
    assert bad <= 2


def test_a_skewed_tail_is_usual_too() -> None:
    """A classifier that is nearly always certain, and sometimes not."""
    reference, chosen = ConfidenceReference(), random.Random(3)
    for _ in range(400):
        reference.add(observed(logprobs=(-0.7 if chosen.random() < 0.1 else -0.001,)))
    check = confidence(observed(logprobs=(-0.7,)), ConfidenceOptions(), reference.usual)
    assert check is not None
    assert not check.bad


def test_the_first_answers_are_what_is_usual() -> None:
    reference = ConfidenceReference(size=150)
    for _ in range(150):
        reference.add(observed(logprobs=(-0.3,)))
    usual = reference.usual
    for _ in range(1000):
        reference.add(observed(logprobs=(-5.0,)))
    assert reference.usual is usual


def test_a_reference_cannot_need_more_than_it_holds() -> None:
    with pytest.raises(ValueError, match="fewest"):
        ConfidenceReference(size=10, fewest=11)

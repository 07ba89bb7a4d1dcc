"""Several answers to one prompt."""

import pytest

from monitoring.quality.agreement import self_consistency, token_f1
from monitoring.quality.options import AgreementOptions

_LONG = "The parcel left the warehouse in Leeds on Monday and will arrive within three days"


def _badness(*samples: str) -> float | None:
    check = self_consistency(samples, AgreementOptions())
    return None if check is None else check.badness


@pytest.mark.parametrize(
    ("samples", "badness"),
    [
        (("Paris", "paris.", "Paris!"), 0),
        (("Paris", "Lyon"), 1),
        (("Paris", "Paris", "Lyon"), pytest.approx(2 / 3)),
        (('{"a": 1, "b": 2}', '{"b": 2.0, "a": 1}'), 0),
        (('{"a": 1}', '{"a": 2}'), 1),
        ((_LONG, _LONG, _LONG), 0),
        ((_LONG, f"{_LONG} or four"), 0),
        ((_LONG, "Nobody knows anything about it; ask somebody else, somewhere else, at some other time"), 1),
    ],
)
def test_badness_is_disagreement(samples: tuple[str, ...], badness: float) -> None:
    assert _badness(*samples) == badness


@pytest.mark.parametrize("samples", [(), ("one",), ("one", " ")])
def test_one_answer_agrees_with_nothing(samples: tuple[str, ...]) -> None:
    assert _badness(*samples) is None


def test_no_more_samples_are_compared_than_asked_for() -> None:
    check = self_consistency(["a", "a", "b"], AgreementOptions(most_samples=2))
    assert check is not None
    assert check.badness == 0


def test_f1_counts_words_as_often_as_they_come() -> None:
    assert token_f1(["a", "a", "b"], ["a"]) == 0.5
    assert token_f1([], []) == 1
    assert token_f1(["a"], []) == 0

"""Exact, normalised and regular-expression match."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.suite_factory import case_of
from training.evaluation.scorers.protocol import Score
from training.evaluation.scorers.text import Exact, Normalised, Regex, RegexSettings, normalise, same_text
from training.evaluation.types import Answer


@pytest.mark.parametrize(("text", "value"), [("Yes", 1), ("yes", 0), ("Yes\n", 0), ("", 0), ("Yes\u200b", 0)])
def test_an_exact_match_is_the_same_sign_by_sign(text: str, value: float) -> None:
    assert Exact().score(case_of("Yes"), Answer(text))["exact"].value == value


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Yes.", "  yes "),
        ("Straße", "STRASSE"),
        ("\uff21\uff22\uff23", "abc"),
        ("ﬁle", "FILE"),
        ("cafe\u0301", "café"),
        ("don’t", "don't"),
        ("well-known", "well known"),
        ("a\u200bb", "ab"),
        ('"Paris"', "Paris!"),
        ("a\tb\n\nc", "a b c"),
        ("!!!", " !!! "),
    ],
)
def test_normalised_texts_that_are_equal(one: str, other: str) -> None:
    assert same_text(one, other)
    assert same_text(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1.5", "15"),
        ("-5", "5"),
        ("10:30", "1030"),
        ("C++", "C"),
        ("$5", "5"),
        ("50%", "50"),
        ("!!!", "???"),
        ("yes", ""),
    ],
)
def test_normalised_texts_that_differ(one: str, other: str) -> None:
    assert not same_text(one, other)


@given(st.text())
def test_what_is_normalised_stays_as_it_is(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once


@given(st.text())
def test_a_normalised_match_never_raises_and_accepts_the_reference(text: str) -> None:
    assert Normalised().score(case_of(text), Answer(text))["normalised"].value == 1.0


@pytest.mark.parametrize(
    ("wanted", "text", "value"),
    [
        ("29 EUR", "It costs 29\u00a0eur per month.", 1),
        ("29 EUR", "29 EUR", 1),
        ("do --it", "Run `do --it`, **now**.", 1),
        ("29 EUR", "It costs 1.29 EUR.", 0),
        ("29 EUR", "It costs 129 EUR.", 0),
        ("29 EUR", "It costs 29 EUROS.", 0),
        ("29 EUR", "", 0),
        ("!", "Wow!", 0),
        ("", "anything", 0),
    ],
)
def test_a_reference_may_stand_anywhere_in_the_answer_as_whole_words(wanted: str, text: str, value: float) -> None:
    assert Normalised("anywhere").score(case_of(wanted), Answer(text))["normalised"].value == value
    assert Normalised().score(case_of(wanted), Answer(f"{text}, he said"))["normalised"].value == 0


def test_a_wrong_answer_says_what_was_wanted() -> None:
    (score,) = Normalised().score(case_of("Paris"), Answer("Rome")).values()
    assert score == Score(0.0, "wanted 'Paris', got 'Rome'")


def _regex(text: str, **settings: object) -> float:
    scorer = Regex(RegexSettings.model_validate({"kind": "regex", **settings}))
    return scorer.score(case_of(), Answer(text))["regex"].value


def test_a_pattern_is_looked_for_where_the_suite_says() -> None:
    assert _regex("order 66 now", pattern=r"\d+") == 1
    assert _regex("order 66 now", pattern=r"\d+", where="whole") == 0
    assert _regex("66", pattern=r"\d+", where="whole") == 1
    assert _regex("order 66 now", pattern=r"\d+", where="nowhere") == 0
    assert _regex("no digits", pattern=r"\d+", where="nowhere") == 1
    assert _regex("SORRY", pattern="sorry") == 0
    assert _regex("SORRY", pattern="sorry", ignore_case=True) == 1


def test_a_pattern_that_backtracks_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.evaluation.scorers.text.REGEX_TIMEOUT_S", 0.05)
    scorer = Regex(RegexSettings(kind="regex", pattern=r"(?:(?:x+x+)+y|(?:x|xx)+\d)"))
    score = scorer.score(case_of(), Answer("x" * 5000))["regex"]
    assert score.value == 0
    assert "took longer" in score.note

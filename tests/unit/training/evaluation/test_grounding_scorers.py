"""Citations and groundedness."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.suite_factory import ask, case_of, make_suite
from training.errors import SuiteInvalid
from training.evaluation.scorers.citations import Citations
from training.evaluation.scorers.groundedness import Groundedness, GroundednessSettings, split_sentences
from training.evaluation.types import Answer

CONTEXT = ("Refunds take 30 days.  They are free of charge.", "Passwords have at least 12 characters.")


def _cited(text: str, expected: str | None = None, *annotations: Any) -> tuple[float, float, float]:
    found = Citations().score(case_of(expected, context=CONTEXT), Answer(text, citations=annotations))
    return found["cited"].value, found["citations_found"].value, found["cited_passages"].value


def _annotation(quote: Any) -> dict[str, Any]:
    return {"type": "url_citation", "url_citation": {"url": "u", "quote": quote}}


@pytest.mark.parametrize("text", ["It takes 30 days [1].", "[1]", "So it is. [1][1]", "It takes (see [1]) days"])
def test_a_marker_cites_the_passage_of_its_number(text: str) -> None:
    assert _cited(text, "Refunds take 30 days. [1]") == (1, 1, 1)


@pytest.mark.parametrize("text", ["a[1]", "[[1]]", "[1](http://x)", "[01]", "[ 1 ]", "[one]", "(1)", "", "f()[1]"])
def test_what_only_looks_like_a_marker_cites_nothing(text: str) -> None:
    assert _cited(text, "Refunds take 30 days. [1]") == (0, 0, 0)


def test_a_marker_of_no_passage_is_not_found() -> None:
    assert _cited("It takes 30 days [1, 7].", "x [1]") == (1, 0.5, 0.5)


def test_another_passage_is_found_and_wrong() -> None:
    assert _cited("It takes 30 days [2].", "x [1]") == (1, 1, 0)


def test_an_answer_that_should_cite_nothing_is_right_without_citations() -> None:
    assert _cited("The documents do not tell.", "The documents do not tell.") == (1, 1, 1)
    assert _cited("It takes 30 days [1].", "The documents do not tell.") == (0, 1, 0)


def test_without_a_reference_an_answer_must_cite() -> None:
    assert _cited("Yes [2].") == (1, 1, 1)
    assert _cited("Yes.") == (0, 0, 0)


def test_a_quote_counts_where_the_context_holds_it() -> None:
    assert _cited("x", None, _annotation("refunds take\n30 days. they are free")) == (1, 1, 1)
    assert _cited("x", None, _annotation("Refunds take 31 days.")) == (1, 0, 0)
    assert _cited("x [1]", "y [1]", _annotation("Passwords have at least")) == (1, 1, 0)


@pytest.mark.parametrize("quote", ["e", "30 days", "take 30", "."])
def test_a_quote_of_a_word_or_two_is_none(quote: str) -> None:
    assert _cited("x", None, _annotation(quote)) == (1, 0, 0)


def test_a_whole_passage_may_be_short_and_scripts_without_spaces_count_by_their_letters() -> None:
    case = case_of(context=("79 EUR", "\u8fd4\u54c1\u306f\u4e09\u5341\u65e5\u4ee5\u5185"))
    for quote, value in (("79 EUR", 1), ("79", 0), ("\u4e09\u5341\u65e5", 1), ("\u4e09\u5341", 0)):
        found = Citations().score(case, Answer("x", citations=(_annotation(quote),)))
        assert found["citations_found"].value == value


@pytest.mark.parametrize("annotation", [_annotation(None), _annotation(""), _annotation(3), {"type": "file_citation"}])
def test_a_citation_without_a_quote_is_not_found(annotation: Any) -> None:
    assert _cited("x", None, annotation) == (1, 0, 0)


@pytest.mark.parametrize("annotation", [None, "x", {}, {"type": "file_path"}, {"type": 3}])
def test_an_annotation_of_another_kind_is_no_citation(annotation: Any) -> None:
    assert _cited("x [1]", None, annotation) == (1, 1, 1)


def _grounded(text: str, **settings: Any) -> float:
    scorer = Groundedness(GroundednessSettings.model_validate({"kind": "groundedness", **settings}))
    return scorer.score(case_of(context=CONTEXT), Answer(text))["grounded"].value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Refunds take 30 days. [1]", 1),
        ("REFUNDS take 30 days!", 1),
        ("Refunds take 31 days.", 0),
        ("Refunds take thirty years in the mountains of Norway.", 0),
        ("Refunds take 30 days. Bananas grow in Iceland.", 0.5),
        ("1. Refunds take 30 days\n2. Passwords have 12 characters", 1),
        # Words from two passages make a claim that neither has.
        ("Passwords take 30 days.", 0),
        ("", 0),
        ("...", 0),
        ("It is.", 0),
        ("Refunds take 30 days. So it is.", 0.5),
        ("[1]", 0),
    ],
)
def test_a_sentence_is_grounded_where_one_passage_has_its_words_and_numbers(text: str, value: float) -> None:
    assert _grounded(text) == value


def test_thousands_are_one_number_however_they_are_written() -> None:
    scorer = Groundedness(GroundednessSettings(kind="groundedness"))
    case = case_of(context=("It costs 1,250 crowns.",))
    assert scorer.score(case, Answer("It costs 1250 crowns."))["grounded"].value == 1
    assert scorer.score(case, Answer("It costs 1.25 crowns."))["grounded"].value == 0


def test_an_admission_claims_nothing() -> None:
    assert _grounded("The documents do not tell.") == 0
    assert _grounded("The documents do not tell.", no_claim=["the documents do not tell."]) == 1


def test_a_higher_threshold_demands_more_words() -> None:
    assert _grounded("Refunds quickly take days", threshold=0.75) == 1
    assert _grounded("Refunds quickly take days", threshold=0.8) == 0


def test_sentences_are_those_that_hold_a_word() -> None:
    assert split_sentences("One is 1.5 long. Two! ...\n- \n3. Three") == ["One is 1.5 long.", "Two!", "Three"]


@given(st.text())
def test_no_answer_makes_a_scorer_fail(text: str) -> None:
    assert 0 <= _grounded(text) <= 1
    assert all(0 <= value <= 1 for value in _cited(text, text))


@pytest.mark.parametrize("kind", ["citations", "groundedness"])
def test_a_case_without_context_is_refused(tmp_path: Path, kind: str) -> None:
    with pytest.raises(SuiteInvalid, match=r"cases.jsonl:2: .* has no `context`"):
        make_suite(tmp_path, [ask("1", context=["x"]), ask("2")], {"kind": kind})


def test_a_pattern_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SuiteInvalid, match="not a regular expression"):
        make_suite(tmp_path, [ask("1", context=["x"])], {"kind": "groundedness", "no_claim": ["("]})

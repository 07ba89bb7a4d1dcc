"""Answers against their passages."""

from time import perf_counter
from typing import Any

import pytest

from monitoring.quality.grounding import citation, content_words, grounded, numbers
from monitoring.quality.languages import FunctionWordDetector
from monitoring.quality.options import GroundingOptions
from tests.observed_answers import observed

_PASSAGES = (
    "Worn shoes can be exchanged within 30 days of delivery if the receipt is kept. Refunds take five working days.",
    "The warehouse in Porto ships ceramic lamps every Tuesday; orders of 1,200 euros and more travel insured.",
)
_PROMPT = "Can I exchange shoes that I have worn?"
_FAITHFUL = "Yes. Worn shoes can be exchanged within 30 days of delivery, as long as the receipt is kept [1]."
_INVENTED = "Our founder loves gardening and painting, and she often tells visitors about mountains and ancient music."
_GERMAN = "Ja, Schuhe können innerhalb von 30 Tagen nach der Lieferung umgetauscht werden, wenn der Beleg noch da ist."


def _grounded(answer: str, **changes: Any) -> float | None:
    facts = {"passages": _PASSAGES, "prompt": _PROMPT} | changes
    check = grounded(observed(answer, **facts), GroundingOptions(), FunctionWordDetector())
    return None if check is None else check.badness


def _citation(answer: str, options: GroundingOptions | None = None, **changes: Any) -> float | None:
    facts = {"passages": _PASSAGES, "prompt": _PROMPT} | changes
    check = citation(observed(answer, **facts), options or GroundingOptions(), FunctionWordDetector())
    return None if check is None else check.badness


def test_an_answer_from_the_passages_is_grounded() -> None:
    assert _grounded(_FAITHFUL) == 0


def test_an_answer_that_ignores_the_passages_is_not() -> None:
    assert _grounded(_INVENTED) == 1


def test_words_of_the_prompt_earn_nothing() -> None:
    assert _grounded("Shoes that are worn: exchange. " + _INVENTED) == 1


def test_a_number_that_stands_nowhere_is_bad() -> None:
    assert _grounded(_FAITHFUL.replace("30", "90")) == 1
    assert _grounded("Orders of 1200 euros and more travel insured from the warehouse in Porto.") == 0


def test_a_number_of_the_prompt_may_be_repeated() -> None:
    prompt = "I bought shoes 12 days ago. Can I exchange them?"
    answer = "12 days ago: worn shoes can be exchanged within 30 days of delivery, with receipt."
    assert _grounded(answer, prompt=prompt) == 0


def test_claims_that_the_gateway_found_unsupported_count() -> None:
    assert _grounded(_FAITHFUL, unsupported_claims=1) == 1


def test_numbers_of_lists_and_citations_are_no_claims() -> None:
    listed = "1. Worn shoes can be exchanged within 30 days of delivery [1].\n2. The receipt has to be kept [1]."
    assert _grounded(listed) == 0


@pytest.mark.parametrize(
    ("answer", "changes"),
    [(_FAITHFUL, {"passages": ()}), ("Yes.", {}), ("", {}), (_GERMAN, {})],
)
def test_there_is_no_verdict_where_nothing_can_be_compared(answer: str, changes: dict[str, Any]) -> None:
    assert _grounded(answer, **changes) is None


def test_passages_that_are_not_read_whole_accuse_nobody() -> None:
    short = GroundingOptions(most_characters=len(_PASSAGES[0]) + 10)
    answer = observed("Lamps from Porto ship every Tuesday [2].", passages=_PASSAGES, prompt=_PROMPT, citations=1)
    assert grounded(answer, short, FunctionWordDetector()) is None
    assert _citation(answer.answer, short, citations=1) == 0
    assert _citation("Worn shoes can be exchanged within 30 days of delivery [2].", short, citations=1) == 0


def test_names_of_json_are_no_words_of_the_answer() -> None:
    text = '{"exchangeable_articles": "worn shoes", "conditions": "within 30 days of delivery, receipt kept"}'
    assert _grounded(text) == 0


def test_words_and_numbers_are_compared_by_what_they_mean() -> None:
    assert numbers("1,000 and 12.5 and ３") == {"1000", "12.5", "3"}
    assert content_words("The deliveries of the delivery") == {"delive"}
    assert content_words("倉庫から出荷") >= {"倉庫", "出荷"}


def test_right_citations_are_good() -> None:
    assert _citation(_FAITHFUL, citations=1) == 0
    assert _citation("Refunds take five working days. [1] Lamps from Porto ship every Tuesday. [2]", citations=2) == 0


@pytest.mark.parametrize(
    ("counted", "badness"),
    [({"citations": 0, "dropped_citations": 1}, 1), ({"citations": 3, "dropped_citations": 1}, 0.5)],
)
def test_a_citation_of_what_was_not_given_is_bad(counted: dict[str, Any], badness: float) -> None:
    assert _citation(_FAITHFUL, **counted) == badness


def test_a_citation_of_the_wrong_passage_is_bad() -> None:
    assert _citation("Worn shoes can be exchanged within 30 days of delivery [2].", citations=1) == 1


def test_without_citations_there_is_a_verdict_only_where_they_are_required() -> None:
    assert _citation(_FAITHFUL) is None
    required = GroundingOptions(requires_citations=True)
    assert _citation(_FAITHFUL, required) == 1
    assert _citation(_FAITHFUL, required, passages=()) is None


def test_details_quote_nothing() -> None:
    answer = observed(_INVENTED, passages=_PASSAGES, prompt=_PROMPT)
    check = grounded(answer, GroundingOptions(), FunctionWordDetector())
    assert check is not None
    assert check.detail == "its words are not the passages'"


def test_no_answer_takes_long() -> None:
    began = perf_counter()
    for text in ("\n" * 200_000, "1" * 200_000, "[1]" * 60_000, '"' * 200_000, "word " * 40_000, "\ufdfa" * 50_000):
        facts: dict[str, Any] = {"passages": (text, *_PASSAGES), "citations": 1}
        grounded(observed(text, **facts), GroundingOptions(), FunctionWordDetector())
        citation(observed(text, **facts), GroundingOptions(), FunctionWordDetector())
    assert perf_counter() - began < 10

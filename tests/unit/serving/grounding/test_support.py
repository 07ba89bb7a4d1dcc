"""What passages bear out."""

import pytest

from serving.grounding.support import Quotable, citing_sentence, unsupported


@pytest.mark.parametrize(
    ("claim", "source"),
    [
        ("1,000", "1000 euros"),
        ("1.000", "1,000 euros"),
        ("1000000", "1,000,000"),
        ("12345", "12 345 units"),
        ("2.50", "2,5 percent"),
        ("3.0", "3"),
        ("1,234.50", "1234.5"),
        ("30", "within thirty days"),
        ("007", "7"),
    ],
)
def test_a_number_may_be_written_in_many_ways(claim: str, source: str) -> None:
    assert unsupported(f"It is {claim}.", [source]) == ()


@pytest.mark.parametrize("claim", ["1001", "10", "2.55", "100.0.1"])
def test_a_number_that_stands_nowhere_is_a_claim_without_support(claim: str) -> None:
    assert unsupported(f"It is {claim} or {claim}.", ["1000 and 2.5"]) == (claim,)


def test_quotations_are_compared_without_case_and_spacing() -> None:
    assert unsupported('They say "Free  of charge."', ["it is free of\ncharge today"]) == ()
    assert unsupported("They say \u201cfor ever\u201d.", ["it is free"]) == ("for ever",)


def test_markers_and_the_numbers_of_lists_are_no_claims() -> None:
    assert unsupported("1. Ask [3].\n2) Wait [4, 5].", ["nothing"]) == ()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("One. Refunds take days [1]. Next.", "Refunds take days ."),
        ("One. Refunds take days. [1] Next.", "Refunds take days."),
        ("According to [1], refunds take days. Next.", "According to , refunds take days."),
        ("[1] says so. Next.", "says so."),
        ("Title\n[1] says so. Next.", "says so."),
        ("[1]", ""),
    ],
)
def test_the_sentence_that_a_marker_speaks_for(text: str, sentence: str) -> None:
    start = text.index("[1]")
    assert citing_sentence(text, start, start + 3) == sentence


def test_the_best_quote_shares_rare_words_rather_than_many() -> None:
    passage = "The warranty of the device is for the owner of the device. The battery lasts a year."
    assert Quotable(passage).best("the battery") == "The battery lasts a year."
    assert Quotable("No overlap here.").best("something else entirely") == ""
    assert len(Quotable("word " * 900).best("word")) <= 500

"""Near-duplicates and replaced statements."""

from retrieval.refine import split_superseded, without_near_duplicates
from retrieval.types import DocumentMeta, Match, Passage

PRICE = "The Vault plan costs {} EUR a month and includes five seats and daily backups."


def match(document: int, text: str, score: float = 1.0, context: str = "Prices") -> Match:
    return Match(Passage(document, 0, text, context), score)


def test_the_better_one_of_two_near_duplicates_stays() -> None:
    first, second = match(1, "one two three four five six"), match(2, "One two three, four five six!")
    other = match(3, "something else altogether is said here")
    assert without_near_duplicates([first, second, other], 0.9) == [first, other]


def test_texts_that_differ_enough_both_stay() -> None:
    both = [match(1, PRICE.format(40)), match(2, "The Locker plan costs 12 EUR a month and has a single seat only.")]
    assert without_near_duplicates(both, 0.9) == both


def test_short_texts_are_compared_whole() -> None:
    assert len(without_near_duplicates([match(1, "40 EUR"), match(2, "45 EUR"), match(3, "40 EUR")], 1.0)) == 2


def metas(*pairs: tuple[str, int]) -> dict[int, DocumentMeta]:
    return {
        number: DocumentMeta(f"d{number}", title=title, effective_at=at) for number, (title, at) in enumerate(pairs, 1)
    }


def test_the_later_version_of_a_statement_holds_whatever_its_score() -> None:
    old, new = match(1, PRICE.format(40), 0.9), match(2, PRICE.format(45), 0.3)
    table = metas(("Price list", 100), ("Price list", 200))
    holding, replaced = split_superseded([old, new], table.__getitem__, 0.5)
    assert holding == [new]
    assert [(one.match, one.by) for one in replaced] == [(old, new.passage)]


def test_statements_of_the_same_time_are_both_shown() -> None:
    both = [match(1, PRICE.format(40)), match(2, PRICE.format(45))]
    holding, replaced = split_superseded(both, metas(("Price list", 100), ("Price list", 100)).__getitem__, 0.5)
    assert holding == both
    assert replaced == []


def test_another_title_another_heading_or_other_words_replace_nothing() -> None:
    old = match(1, PRICE.format(40))
    new = match(2, PRICE.format(45))
    elsewhere = match(2, PRICE.format(45), context="Archive")
    unlike = match(2, "Backups are kept for thirty days in two regions.")
    same, other = metas(("Price list", 1), ("Price list", 2)), metas(("Price list", 1), ("Offers", 2))
    for later, table in ((new, other), (elsewhere, same), (unlike, same)):
        assert split_superseded([old, later], table.__getitem__, 0.5) == ([old, later], [])


def test_passages_of_one_document_do_not_replace_each_other() -> None:
    both = [match(1, PRICE.format(40)), Match(Passage(1, 1, PRICE.format(45), "Prices"), 0.5)]
    assert split_superseded(both, metas(("Price list", 1)).__getitem__, 0.5)[0] == both

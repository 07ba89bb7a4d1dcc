"""Texts as a diagnosis compares them: by their words and numbers. Pure."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

_CITATION = re.compile(r"\[\d+(?:\s*,\s*\d+)*\]")
_WORD = re.compile(r"\d+(?:[.,:]\d+)*|[^\W\d_]+(?:['’][^\W\d_]+)*")
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_SENTENCE_END = re.compile(r"(?<=[.!?。！？])\s+|\n+")
_COMMON = frozenset(
    """
    a an and are as at be been by can could do does for from had has have how i if in into is it its may me must
    my of on or our per shall should so such than that the their them then there these they this those to was we
    were what when where which who why will with would you your please answer yes
    """.split()  # noqa: SIM905
)
_NEGATIONS = frozenset(
    ("no", "not", "never", "none", "without", "cannot", "can't", "don't", "doesn't", "isn't", "won't", "nicht", "kein")
)
_UNSURE = re.compile(
    r"\b(?:(?:do|does|did|is|are|was|were)(?: not|n['’]t)|cannot|can['’]t|unable to|no)\b.{0,40}?"
    r"\b(?:know|tell|say|state|stated|mention|mentioned|contain|information|find|found|answer|provided|sure)\b",
    re.IGNORECASE | re.DOTALL,
)


def words(text: str) -> list[str]:
    """Words, case-folded, and numbers, without thousands separators and trailing zeros; no citation markers."""
    plain = _CITATION.sub(" ", unicodedata.normalize("NFKC", text)).casefold()
    return [_number(one) if one[0].isdigit() else one for one in _WORD.findall(plain)]


def is_number(word: str) -> bool:
    """Whether a word of :func:`words` is a number."""
    return word[:1].isdigit()


def content_words(text: Iterable[str], question: Iterable[str] = ()) -> set[str]:
    """What tells one answer from another: no common words, and none of the question's."""
    return set(text) - _COMMON - set(question)


def negated(text: Iterable[str]) -> bool:
    """Whether there is a negation."""
    return not _NEGATIONS.isdisjoint(text)


def abstains(text: str) -> bool:
    """Whether an answer says that it does not know, or that the documents do not tell; short texts alone."""
    return len(text) < 200 and _UNSURE.search(text) is not None


def names(text: str) -> set[str]:
    """Words that are written with a capital inside a sentence, case-folded."""
    return {
        one.casefold()
        for sentence in sentences(text)
        for place, one in enumerate(_WORD.findall(sentence))
        if place and one[0].isupper()
    }


def sentences(text: str) -> list[str]:
    """Sentences and lines."""
    return [one for one in _SENTENCE_END.split(text) if one.strip()]


def windows(pieces: Sequence[str]) -> Iterator[list[str]]:
    """The words of each sentence, and of each two that follow one another."""
    split = [words(one) for one in pieces]
    yield from split
    for one, other in pairwise(split):
        yield one + other


def holds_run(text: Sequence[str], run: Sequence[str]) -> bool:
    """Whether the words of ``run`` stand in ``text`` one after the other."""
    size = len(run)
    return size > 0 and any(text[place : place + size] == run for place in range(len(text) - size + 1))


def _number(text: str) -> str:
    if _THOUSANDS.fullmatch(text):
        text = text.replace(",", "")
    if text.count(".") == 1 and "," not in text and ":" not in text:
        text = text.rstrip("0").rstrip(".")
    return text

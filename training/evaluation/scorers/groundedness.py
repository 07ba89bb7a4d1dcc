"""How much of an answer its context bears out, by words alone.

A sentence is supported where one passage holds at least ``threshold`` of its content words, and every number of it
stands in that passage; one of function words alone is not. This is unigram precision against the best passage (Lin,
"ROUGE", 2004) with numbers made strict, since a wrong number in the right words is what a lexical overlap misses most.
It sees neither paraphrase nor negation: a low value says that the words are not the context's, a high one does not
prove the claim. Languages that are written without spaces are compared by whole runs of letters, which is too strict
for them.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import regex
from pydantic import Field, field_validator

from training.evaluation.scorers.protocol import Materials, Named, Score, Scores, shorten
from training.evaluation.scorers.text import REGEX_TIMEOUT_S
from training.evaluation.types import Answer, Case

_MARKERS = re.compile(r"\[\d{1,3}(?:, ?\d{1,3})*\]")
_SENTENCE_END = re.compile(r"(?<=[.!?\u3002\uff01\uff1f])(?=\s|$)|\n")
_LIST_NUMBER = re.compile(r"^[^\S\n]*\d{1,3}[.)](?=\s)", re.MULTILINE)
_WORD = re.compile(r"\w+")
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_GROUPED = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_FUNCTION_WORDS = (
    "a an and are as at be been but by can do does for from had has have he her his i if in is it its may no not of on "
    "or our she should so such than that the their them then there these they this those to was we were what when "
    "which who will with would you your"
)
_STOP_WORDS = frozenset(_FUNCTION_WORDS.split())


class GroundednessSettings(Named):
    """The context supports what the answer says."""

    kind: Literal["groundedness"]
    threshold: float = Field(default=0.7, gt=0, le=1)
    """Share of a sentence's content words that one passage must hold."""
    no_claim: tuple[str, ...] = ()
    """Regular expressions of whole sentences that claim nothing, such as that the documents do not tell."""

    @field_validator("no_claim")
    @classmethod
    def _compile(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            try:
                regex.compile(pattern)
            except regex.error as error:
                raise ValueError(f"not a regular expression: {pattern!r}: {error}") from error
        return patterns

    def build(self, materials: Materials) -> "Groundedness":
        """Raises SuiteInvalid for a case without context."""
        for case in materials.cases:
            materials.demand(bool(case.context), case, "has no `context`, which groundedness is checked against")
        return Groundedness(self)


@dataclass(frozen=True)
class Groundedness:
    """Scores ``grounded``: the share of the answer's sentences that the context supports."""

    settings: GroundednessSettings
    metrics = ("grounded",)

    @cached_property
    def _no_claim(self) -> "list[regex.Pattern[str]]":
        return [regex.compile(pattern, regex.IGNORECASE) for pattern in self.settings.no_claim]

    def score(self, case: Case, answer: Answer) -> Scores:
        """An empty answer scores 0, one whose every sentence claims nothing 1."""
        sentences = split_sentences(answer.text)
        claims = [one for one in sentences if not any(_is_all(pattern, one) for pattern in self._no_claim)]
        if not sentences:
            return {"grounded": Score(0.0, "says nothing")}
        passages = [(_words(one), numbers(one)) for one in case.context]
        alone = [one for one in claims if not self._is_supported(one, passages)]
        note = f"not in the context: {shorten(alone[0])!r}" if alone else ""
        return {"grounded": Score(1 - len(alone) / len(claims) if claims else 1.0, note)}

    def _is_supported(self, sentence: str, passages: list[tuple[frozenset[str], frozenset[str]]]) -> bool:
        words, values = _words(sentence), numbers(sentence)
        if not words and not values:
            return False
        return any(
            values <= known_values and len(words & known) >= self.settings.threshold * len(words)
            for known, known_values in passages
        )


def _is_all(pattern: "regex.Pattern[str]", sentence: str) -> bool:
    try:
        return pattern.fullmatch(sentence, timeout=REGEX_TIMEOUT_S) is not None
    except TimeoutError:
        return False


def split_sentences(text: str) -> list[str]:
    """The sentences and lines of a text that hold a word, without citation markers and list numbers."""
    plain = _LIST_NUMBER.sub(" ", _MARKERS.sub(" ", text))
    return [" ".join(raw.split()) for raw in _SENTENCE_END.split(plain) if _WORD.search(raw)]


def numbers(text: str) -> frozenset[str]:
    """The numbers of a text; ``1,000`` and ``1000`` are one."""
    found = _NUMBER.findall(unicodedata.normalize("NFKC", text))
    return frozenset(one.replace(",", "") if _GROUPED.fullmatch(one) else one for one in found)


def _words(text: str) -> frozenset[str]:
    """Content words: those that are no number and carry meaning of their own."""
    found = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    return frozenset(one for one in found if one not in _STOP_WORDS and not one.isdecimal())

"""Answers as text: exact match, normalised match, regular expressions."""

import unicodedata
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import regex
from pydantic import Field, field_validator

from training.evaluation.scorers.protocol import Materials, Named, Score, Scorer, Scores, shorten
from training.evaluation.types import Answer, Case

REGEX_TIMEOUT_S = 1.0
"""A pattern that backtracks without end on some answer must not hold up the run."""


class ExactSettings(Named):
    """The answer is the reference, sign by sign."""

    kind: Literal["exact"]

    def build(self, materials: Materials) -> Scorer:
        """Raises SuiteInvalid for a case without a reference."""
        for case in materials.cases:
            materials.demand(case.expected is not None, case, "has no `expected`, which `exact` compares with")
        return Exact()


class NormalisedSettings(Named):
    """The answer is the reference but for case, white space, punctuation and ways of writing one character."""

    kind: Literal["normalised"]
    where: Literal["whole", "anywhere"] = "whole"
    """Whether the reference is all of the answer, or stands somewhere in it, as whole words."""

    def build(self, materials: Materials) -> Scorer:
        """Raises SuiteInvalid for a case without a reference."""
        for case in materials.cases:
            materials.demand(case.expected is not None, case, "has no `expected`, which `normalised` compares with")
        return Normalised(self.where)


class RegexSettings(Named):
    """A pattern occurs in the answer, is all of it, or does not occur."""

    kind: Literal["regex"]
    pattern: str = Field(min_length=1)
    where: Literal["anywhere", "whole", "nowhere"] = "anywhere"
    ignore_case: bool = False

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            regex.compile(pattern)
        except regex.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return pattern

    def build(self, materials: Materials) -> Scorer:
        """The scorer."""
        return Regex(self)


class Exact:
    """Scores ``exact``."""

    metrics = ("exact",)

    def score(self, case: Case, answer: Answer) -> Scores:
        """1 where both texts are the same."""
        if answer.text == case.expected:
            return {"exact": Score(1.0)}
        return {"exact": Score(0.0, f"wanted {shorten(case.expected or '')!r}, got {shorten(answer.text)!r}")}


@dataclass(frozen=True)
class Normalised:
    """Scores ``normalised``."""

    where: Literal["whole", "anywhere"] = "whole"
    metrics = ("normalised",)

    def score(self, case: Case, answer: Answer) -> Scores:
        """1 where both texts are the same once normalised, or the reference stands in the answer."""
        wanted = case.expected or ""
        if same_text(wanted, answer.text) or (self.where == "anywhere" and stands_in(wanted, answer.text)):
            return {"normalised": Score(1.0)}
        note = f"wanted {shorten(case.expected or '')!r}, got {shorten(answer.text)!r}"
        return {"normalised": Score(0.0, note)}


@dataclass(frozen=True)
class Regex:
    """Scores ``regex``. Python's syntax; a pattern that takes longer than a second counts as not matching."""

    settings: RegexSettings
    metrics = ("regex",)

    @cached_property
    def _pattern(self) -> "regex.Pattern[str]":
        return regex.compile(self.settings.pattern, regex.IGNORECASE if self.settings.ignore_case else 0)

    def score(self, case: Case, answer: Answer) -> Scores:
        """1 where the pattern is where it should be."""
        whole = self.settings.where == "whole"
        try:
            match = (self._pattern.fullmatch if whole else self._pattern.search)(answer.text, timeout=REGEX_TIMEOUT_S)
        except TimeoutError:
            return {"regex": Score(0.0, f"the pattern took longer than {REGEX_TIMEOUT_S:g} s on this answer")}
        if (match is None) == (self.settings.where == "nowhere"):
            return {"regex": Score(1.0)}
        return {"regex": Score(0.0, "the pattern does not match" if match is None else f"found {match[0][:80]!r}")}


def same_text(one: str, other: str) -> bool:
    """Whether two texts are equal once normalised; texts of punctuation alone are compared as they are."""
    normal = normalise(one)
    return normal == normalise(other) if normal else one.strip() == other.strip()


def stands_in(part: str, text: str) -> bool:
    """Whether a text, once normalised and without Markdown's backticks, stands in another as whole words.

    One of punctuation alone stands in none.
    """
    inner, outer = (normalise(one.replace("`", " ")) for one in (part, text))
    return bool(inner) and f" {inner} " in f" {outer} "


def normalise(text: str) -> str:
    """What is compared: by these rules, in this order.

    1. Unicode NFKC, case folding, NFKC again: full-width letters, ligatures and ``ß`` have one writing.
    2. Invisible characters (Unicode's Cf and Cc, but for white space) go.
    3. Punctuation (Unicode's P) becomes a space, except between two digits (``1.5``, ``10:30``) and a minus before a
       digit that no letter or digit precedes (``-5``). ``%`` and symbols such as ``$`` and ``+`` stay.
    4. White space becomes single spaces, none at the ends.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    seen = "".join(one for one in folded if one.isspace() or unicodedata.category(one) not in ("Cf", "Cc"))
    kept = [one if _is_kept(seen, place) else " " for place, one in enumerate(seen)]
    return " ".join("".join(kept).split())


def _is_kept(text: str, place: int) -> bool:
    if text[place] in "%‰" or not unicodedata.category(text[place]).startswith("P"):
        return True
    before = text[place - 1] if place else ""
    after = text[place + 1] if place + 1 < len(text) else ""
    if not after.isdigit():
        return False
    return before.isdigit() or (text[place] == "-" and not before.isalnum())

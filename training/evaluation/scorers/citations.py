"""Answers that cite: whether they do, and whether what they cite stands in the context.

A citation is an entry of the message's ``annotations`` (OpenAI's, with Loraplex's ``quote``), or a marker such as
``[1]`` or ``[1, 2]`` in the text, which names a passage of the case's context by its place, from 1. Where an answer has
annotations its markers are theirs, and not counted again.
"""

import re
from dataclasses import dataclass
from typing import Any, Literal

from training.evaluation.scorers.protocol import Materials, Named, Score, Scores, shorten
from training.evaluation.types import Answer, Case

_NUMBERS = r"\[[1-9]\d{0,2}(?:, ?[1-9]\d{0,2})*\]"
_MARKERS = re.compile(rf"(?<![\w)\]\[])(?:{_NUMBERS})+(?![(\[\]])")
"""One or several in a row; indexing, Markdown links and brackets in brackets are none."""
LEAST_WORDS = 3
"""Of a quote that is not a whole passage."""
# Letters of scripts that are written without spaces are words of their own.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]|\w+")


class CitationsSettings(Named):
    """The answer cites its context."""

    kind: Literal["citations"]

    def build(self, materials: Materials) -> "Citations":
        """Raises SuiteInvalid for a case without context."""
        for case in materials.cases:
            materials.demand(bool(case.context), case, "has no `context`, which citations are checked against")
        return Citations()


@dataclass(frozen=True, slots=True)
class Citation:
    """One citation of an answer."""

    passage: int | None
    """The place in the context of what it cites, from 0; None where it is not there."""
    told: str
    """What it cites, for people."""


@dataclass(frozen=True, slots=True)
class Citations:
    """Scores ``cited`` (it cites where the reference does, and does not where the reference does not; without a
    reference: it cites), ``citations_found`` (the share of its citations that stand in the context: the passage,
    or a quote of three words or more) and ``cited_passages`` (Jaccard overlap of the passages that it and the reference
    cite; without a reference the same as ``citations_found``).
    """

    metrics = ("cited", "citations_found", "cited_passages")

    def score(self, case: Case, answer: Answer) -> Scores:
        """An answer that rightly cites nothing has every metric 1, one that wrongly cites nothing 0."""
        found = citations(answer, case.context)
        wanted = None if case.expected is None else citations(Answer(case.expected), case.context)
        should = wanted is None or bool(wanted)
        cited = (
            Score(1.0) if bool(found) == should else Score(0.0, "cites nothing" if should else "cites, and should not")
        )
        lost = [one.told for one in found if one.passage is None]
        if found:
            share = Score(1 - len(lost) / len(found), f"not in the context: {', '.join(lost)}" if lost else "")
        else:
            share = Score(0.0, "cites nothing") if should else Score(1.0)
        passages = share if wanted is None else _overlap(_passages(wanted), _passages(found))
        return {"cited": cited, "citations_found": share, "cited_passages": passages}


def citations(answer: Answer, context: tuple[str, ...]) -> list[Citation]:
    """What an answer cites, in its order."""
    annotated = [one for annotation in answer.citations if (one := _annotated(annotation, context)) is not None]
    if annotated:
        return annotated
    numbers = [int(number) for markers in _MARKERS.findall(answer.text) for number in re.findall(r"\d+", markers)]
    return [Citation(number - 1 if number <= len(context) else None, f"[{number}]") for number in numbers]


def _annotated(annotation: Any, context: tuple[str, ...]) -> Citation | None:
    """The citation in an annotation; None for an annotation of another kind."""
    if not isinstance(annotation, dict) or annotation.get("type") not in ("url_citation", "file_citation"):
        return None
    inner = annotation.get(str(annotation["type"]), annotation)
    quote = inner.get("quote") if isinstance(inner, dict) else None
    if not isinstance(quote, str) or not quote.strip():
        return Citation(None, "a citation without a quote")
    folded = _folded(quote)
    place = next((place for place, passage in enumerate(context) if _is_quoted(folded, _folded(passage))), None)
    return Citation(place, repr(shorten(quote, 60)))


def _is_quoted(quote: str, passage: str) -> bool:
    """A few words of a passage or all of it: one letter stands in every passage."""
    return quote in passage and (quote == passage or len(_WORD.findall(quote)) >= LEAST_WORDS)


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _passages(found: list[Citation]) -> set[int | None]:
    return {one.passage for one in found}


def _overlap(wanted: set[int | None], found: set[int | None]) -> Score:
    if not wanted and not found:
        return Score(1.0)
    right = {one for one in wanted & found if one is not None}
    value = len(right) / len(wanted | found)
    return Score(value, "" if value == 1.0 else f"wanted {_numbers(wanted)}, got {_numbers(found)}")


def _numbers(places: set[int | None]) -> str:
    return ", ".join(sorted("?" if place is None else f"[{place + 1}]" for place in places)) or "none"

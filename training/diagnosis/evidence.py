"""Whether retrieved passages hold what the oracle's say, although they are cut differently. Pure."""

from collections.abc import Sequence

from training.diagnosis.prompt import question_of
from training.diagnosis.reading import References
from training.diagnosis.words import content_words, is_number, names, sentences, windows, words
from training.evaluation.types import Case

FOUND_AT = 0.6
"""Of the words of the oracle's sentence, those that must stand together in a retrieved passage."""


def coverage(case: Case, references: References, passages: Sequence[str]) -> float:
    """How much of the case's evidence stands in ``passages``, in [0, 1].

    Where oracle passages state the reference, the best of their sentences that do counts: one is enough, and a
    retrieved
    sentence without the reference's own words counts 0 — an outdated price is no evidence of the present one. Otherwise
    every oracle passage is needed, numbers included, and the least covered counts. A passage that lacks a name which
    question and evidence share is about something else, and holds nothing.
    """
    fact = references.fact(case)
    named = names(question_of(case)) & set(words("\n".join(case.context)))
    passages = [one for one in passages if named <= set(words(one))]
    bearing = [one for one in case.context if references.states(case, (one,))]
    if bearing:
        pieces = [piece for one in bearing for piece in _bearing(one, fact)]
        return max(_covered(set(piece), fact, passages) for piece in pieces)
    return min((_whole(one, passages) for one in case.context), default=0.0)


def _bearing(passage: str, fact: set[str]) -> list[list[str]]:
    """The shortest stretches of a passage that have the fact's words: sentences, pairs, or all of it."""
    stretches = [one for one in windows(sentences(passage)) if fact <= set(one)]
    return stretches or [words(passage)]


def _covered(wanted: set[str], fact: set[str], passages: Sequence[str]) -> float:
    """The best share of the wanted words in two sentences of one passage that has all of the fact's."""
    content = content_words(wanted) or wanted
    best = 0.0
    for passage in passages:
        for window in windows(sentences(passage)):
            if fact <= set(window):
                best = max(best, len(content & set(window)) / len(content))
    if not best:
        # A fact that a passage spreads over many sentences, such as a table.
        whole = max((set(words(one)) for one in passages if fact <= set(words(one))), key=len, default=set())
        best = len(content & whole) / len(content) if len(content & whole) == len(content) else 0.0
    return best


def _whole(oracle: str, passages: Sequence[str]) -> float:
    """The share of an oracle passage's words in the best retrieved one; 0 where a number of it is missing there."""
    wanted = content_words(words(oracle)) or set(words(oracle))
    numbers = {one for one in wanted if is_number(one)}
    shares = [len(wanted & found) / len(wanted) for one in passages if numbers <= (found := set(words(one)))]
    return max(shares, default=0.0) if wanted else 0.0

"""What a list of hits loses before it is used: near-duplicates, and statements that a later version replaced. Pure."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from retrieval.types import DocumentMeta, Match, Passage

_WORD = re.compile(r"\w+")
_SHINGLE = 3


@dataclass(frozen=True, slots=True)
class Superseded:
    """A passage whose statement a later version replaced."""

    match: Match
    by: Passage


def without_near_duplicates(matches: Sequence[Match], threshold: float) -> list[Match]:
    """The list without passages that say the same words as a better one.

    Two texts are near-duplicates where the Jaccard similarity of their shingles of three words (Broder: On the
    resemblance and containment of documents, 1997) reaches ``threshold``; 1 removes only equal ones.
    """
    kept: list[Match] = []
    shingles: list[frozenset[tuple[str, ...]]] = []
    for match in matches:
        own = shingles_of(match.passage.text)
        if not any(_resembles(own, other, threshold) for other in shingles):
            kept.append(match)
            shingles.append(own)
    return kept


def split_superseded(
    matches: Sequence[Match], meta_of: Callable[[int], DocumentMeta], threshold: float
) -> tuple[list[Match], list[Superseded]]:
    """What still holds, in its order, and what a later version of the same statement replaced.

    Two passages state the same where they stand under the same headings of documents of one title (or, without a
    title, one source), and their words resemble each other by at least ``threshold``. The one that took effect later
    holds; of two that took effect at the same time, neither is replaced: the reader is to see both.
    """
    order = sorted(matches, key=lambda match: -meta_of(match.passage.document).effective_at)
    holding: list[Match] = []
    replaced: dict[int, Superseded] = {}
    for match in order:
        winner = next((one for one in holding if _replaces(one, match, meta_of, threshold)), None)
        if winner is None:
            holding.append(match)
        else:
            replaced[match.passage.key] = Superseded(match, winner.passage)
    return (
        [match for match in matches if match.passage.key not in replaced],
        [replaced[match.passage.key] for match in matches if match.passage.key in replaced],
    )


def shingles_of(text: str) -> frozenset[tuple[str, ...]]:
    """Runs of three words; of a shorter text, the text."""
    words = [word.lower() for word in _WORD.findall(text)]
    if len(words) < _SHINGLE:
        return frozenset({tuple(words)})
    return frozenset(tuple(words[start : start + _SHINGLE]) for start in range(len(words) - _SHINGLE + 1))


def resemblance(one: frozenset[tuple[str, ...]], other: frozenset[tuple[str, ...]]) -> float:
    """The Jaccard similarity of two sets."""
    shared = len(one & other)
    union = len(one) + len(other) - shared
    return shared / union if union else 1.0


def _resembles(one: frozenset[tuple[str, ...]], other: frozenset[tuple[str, ...]], threshold: float) -> bool:
    """Sets of sizes that differ by more than the threshold need no closer look, and most pairs do."""
    sizes = sorted((len(one), len(other)))
    return sizes[0] >= threshold * sizes[1] and resemblance(one, other) >= threshold


def _replaces(later: Match, earlier: Match, meta_of: Callable[[int], DocumentMeta], threshold: float) -> bool:
    new, old = meta_of(later.passage.document), meta_of(earlier.passage.document)
    if new.effective_at <= old.effective_at or later.passage.document == earlier.passage.document:
        return False
    if (new.title or new.source) != (old.title or old.source) or later.passage.context != earlier.passage.context:
        return False
    words = [frozenset((word.lower(),) for word in _WORD.findall(one.passage.text)) for one in (later, earlier)]
    return resemblance(*words) >= threshold

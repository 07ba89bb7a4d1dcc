"""How a search is narrowed to a selection with nothing but integers, so that k passages come back where k exist. Pure.

Two plans, by what is cheaper: more passages than asked for, of which those that are not allowed are dropped, or a list
of the allowed documents. A list of thousands takes a server longer to read than everything else that it does, so
dropping comes first where enough is allowed. It may fall short; then the allowed documents are listed whatever their
number, in several searches if they are many, which is exact.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from retrieval.selection import Numbers, Selection
from retrieval.types import PASSAGE_BITS

MAX_LIMIT = 16_384
"""More is refused by Milvus."""
LIST_LIMIT = 4_096
"""Longer lists are avoided where dropping will do: they are parsed for every search."""
LIST_CHUNK = 32_768
"""Documents in one expression where nothing else is left."""
_EASILY_DROPPED_SHARE = 0.2
"""Where as many are allowed, dropping is cheapest."""
_DROPPED_SHARE = 0.05
"""Where fewer are allowed, dropping would need too many passages."""
_SPARE = 1.25
"""How many more passages are asked for than dropping needs on average."""
_SLACK = 8


@dataclass(frozen=True, slots=True)
class Attempt:
    """One search, to be made with every one of its expressions."""

    limit: int
    expressions: tuple[str, ...]
    exact: bool
    """Whether what it does not find does not exist."""


Found = tuple[int, float]
"""Key of a passage, and its score."""
Find = Callable[[int, str], list[Found]]
"""(limit, expression) → what is found, best first."""
Exactly = Callable[[Numbers], list[Found]]
"""Documents → every passage of them, in any order."""


def search(find: Find, k: int, selection: Selection, *, exactly: Exactly | None = None) -> list[Found]:
    """The best ``k`` matches of allowed documents, or as many as there are.

    ``find`` may return passages of other documents, such as those being removed: they are dropped here. An approximate
    index may return fewer than it could: HNSW of Milvus 2.3 found 1 to 4 of 10 passages of the one allowed document
    among a hundred, whatever its parameters. Where it brings fewer than ``k``, ``exactly`` is asked for all.
    """
    if k < 1 or not len(selection.allowed):
        return []
    kept: list[Found] = []
    for attempt in attempts(k, selection):
        kept, ended = _made(find, attempt, k, selection)
        if ended or attempt.exact or len(kept) == k:
            break
    if len(kept) < k and exactly is not None:
        kept = _best(exactly(selection.allowed), k)
    return kept


def attempts(k: int, selection: Selection) -> Iterator[Attempt]:
    """Searches to make until one has brought ``k`` passages, the cheapest first."""
    allowed, denied = selection.allowed, selection.denied
    limit = min(k + _SLACK, MAX_LIMIT)
    if not len(denied):
        yield Attempt(limit, ("",), exact=False)
    elif selection.share < _EASILY_DROPPED_SHARE and len(allowed) <= LIST_LIMIT:
        yield Attempt(limit, (documents_in(allowed),), exact=True)
        return
    elif selection.share >= _DROPPED_SHARE:
        yield Attempt(min(int(_SPARE * k / selection.share) + _SLACK, MAX_LIMIT), ("",), exact=False)
    lists = range(0, len(allowed), LIST_CHUNK)
    yield Attempt(limit, tuple(documents_in(allowed[start : start + LIST_CHUNK]) for start in lists), exact=True)


def documents_in(numbers: Iterable[int]) -> str:
    """The expression for passages of these documents: integers, and nothing that anybody typed."""
    return f"document in [{','.join(str(int(number)) for number in numbers)}]"


def _made(find: Find, attempt: Attempt, k: int, selection: Selection) -> tuple[list[Found], bool]:
    """The best ``k`` that the attempt finds, and whether it found everything that it could."""
    found: list[Found] = []
    ended = True
    for expression in attempt.expressions:
        part = find(attempt.limit, expression)
        ended = ended and len(part) < attempt.limit
        found += [(key, score) for key, score in part if key >> PASSAGE_BITS in selection]
    return _best(found, k), ended


def _best(found: list[Found], k: int) -> list[Found]:
    return sorted(found, key=lambda one: (-one[1], one[0]))[:k]

"""``Mirror``: the passages of one index in arrays, searched exactly, in the process that owns them.

Embedded Milvus walks through its rows in Python for every search, so that a hundred thousand passages take most of a
second; one product of a matrix with a vector, and sums over posting lists, take a few hundredths. BM25 is the one of
Robertson and Zaragoza (2009), with the inverse document frequency of Lucene, over all passages of the index.
"""

import math
import threading
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.indexes.memory import K1, B, words
from retrieval.selection import Selection
from retrieval.types import Match, Passage, Vectors

Floats = NDArray[np.float32]
Rows = NDArray[np.uint32]

_FIRST_CAPACITY = 1_024
_WASTE = 1 / 3
"""Share of dead rows at which the arrays are made anew."""
_MOST_COUNTED = 2**16 - 1


@dataclass(slots=True)
class _Posting:
    """The rows that have a word, and how often."""

    rows: "array[int]" = field(default_factory=lambda: array("I"))
    counts: "array[int]" = field(default_factory=lambda: array("H"))


class _Columns:
    """Rows are appended and marked dead, never changed: who holds the arrays may read while more is appended."""

    def __init__(self, dimension: int, capacity: int = _FIRST_CAPACITY) -> None:
        self.passages: list[Passage] = []
        self.places: dict[int, int] = {}
        """Row of each key that is alive."""
        self.vectors: Vectors = np.empty((capacity, dimension), dtype=np.float32)
        self.keys: NDArray[np.int64] = np.empty(capacity, dtype=np.int64)
        self.documents: NDArray[np.int64] = np.empty(capacity, dtype=np.int64)
        self.lengths: Floats = np.empty(capacity, dtype=np.float32)
        self.alive: NDArray[np.bool_] = np.zeros(capacity, dtype=bool)
        self.postings: dict[str, _Posting] = {}

    def __len__(self) -> int:
        return len(self.passages)

    def append(self, passage: Passage, vector: Vectors, counted: Counter[str]) -> None:
        row = len(self)
        if row == len(self.keys):
            self._grow()
        self.bury(passage.key)
        self.vectors[row], self.keys[row], self.documents[row] = vector, passage.key, passage.document
        self.lengths[row], self.alive[row] = counted.total(), True
        for word, count in counted.items():
            posting = self.postings.setdefault(word, _Posting())
            posting.rows.append(row)
            posting.counts.append(min(count, _MOST_COUNTED))
        self.places[passage.key] = row
        self.passages.append(passage)

    def bury(self, key: int) -> None:
        row = self.places.pop(key, None)
        if row is not None:
            self.alive[row] = False

    def rebuilt(self) -> "_Columns":
        """The same without the dead rows."""
        kept = np.flatnonzero(self.alive[: len(self)])
        fresh = _Columns(self.vectors.shape[1], max(2 * len(kept), _FIRST_CAPACITY))
        for name in ("vectors", "keys", "documents", "lengths", "alive"):
            getattr(fresh, name)[: len(kept)] = getattr(self, name)[kept]
        fresh.passages = [self.passages[row] for row in kept]
        fresh.places = {passage.key: row for row, passage in enumerate(fresh.passages)}
        new_row = np.cumsum(self.alive[: len(self)]) - 1
        for word, posting in self.postings.items():
            rows, counts = _arrays(posting)
            alive = self.alive[rows]
            if alive.any():
                moved = new_row[rows[alive]].astype(np.uint32)
                fresh.postings[word] = _Posting(
                    array("I", moved.tobytes()), array("H", counts[alive].astype(np.uint16).tobytes())
                )
        return fresh

    def _grow(self) -> None:
        for name in ("vectors", "keys", "documents", "lengths", "alive"):
            old = getattr(self, name)
            new = np.zeros((2 * len(old), *old.shape[1:]), dtype=old.dtype)
            new[: len(old)] = old
            setattr(self, name, new)


class Mirror:
    """Passages and their vectors. Thread-safe; searches go on while it changes."""

    def __init__(self, dimension: int) -> None:
        self._columns = _Columns(dimension)
        self._writing = threading.Lock()
        self._reading = threading.Lock()

    def put(self, passages: Sequence[Passage], vectors: Vectors) -> None:
        """Add passages; those whose keys are there take the others' places."""
        counted = [Counter(words(passage.searchable)) for passage in passages]
        with self._writing:
            for passage, vector, counts in zip(passages, vectors, counted, strict=True):
                with self._reading:
                    self._columns.append(passage, vector, counts)
            self._tidy()

    def remove(self, documents: Iterable[int]) -> None:
        """Drop every passage of these documents."""
        gone = np.fromiter(documents, dtype=np.int64)
        with self._writing:
            columns = self._columns
            for row in np.flatnonzero(np.isin(columns.documents[: len(columns)], gone)):
                with self._reading:
                    columns.bury(int(columns.keys[row]))
            self._tidy()

    def search_dense(self, vector: Vectors, k: int, selection: Selection) -> list[Match]:
        """See PassageIndex."""
        seen = self._see(())
        scores: Floats = seen.vectors @ vector.astype(np.float32)
        return seen.best(scores, seen.allowed(selection), k)

    def search_lexical(self, text: str, k: int, selection: Selection) -> list[Match]:
        """See PassageIndex."""
        seen = self._see(dict.fromkeys(words(text)))
        there = int(seen.alive.sum())
        if not there or not seen.postings:
            return []
        mean_length = float(seen.lengths[seen.alive].mean()) or 1.0
        norms = (K1 * (1 - B + B * seen.lengths / mean_length)).astype(np.float32)
        scores: Floats = np.zeros(len(seen.keys), dtype=np.float32)
        for rows, counts in seen.postings:
            having = int(np.count_nonzero(seen.alive[rows]))
            weight = math.log(1 + (there - having + 0.5) / (having + 0.5))
            scores[rows] += np.float32(weight * (K1 + 1)) * counts / (counts + norms[rows])
        return seen.best(scores, seen.allowed(selection) & (scores > 0), k)

    def passages(self, document: int) -> list[Passage]:
        """A document's passages in order."""
        return self.stored(document)[0]

    def stored(self, document: int) -> tuple[list[Passage], Vectors]:
        """The same with their vectors."""
        seen = self._see(())
        rows = np.flatnonzero(seen.alive & (seen.documents == document))
        rows = rows[np.argsort(seen.keys[rows])]
        return [seen.passages[row] for row in rows], seen.vectors[rows]

    def count(self) -> int:
        """How many passages there are."""
        with self._reading:
            return len(self._columns.places)

    def documents(self) -> set[int]:
        """The documents that have a passage."""
        seen = self._see(())
        return set(map(int, np.unique(seen.documents[seen.alive])))

    def _see(self, query: Iterable[str]) -> "_Seen":
        with self._reading:
            columns = self._columns
            rows = len(columns)
            found = [columns.postings[word] for word in query if word in columns.postings]
            return _Seen(
                columns.passages,
                columns.vectors[:rows],
                columns.keys[:rows],
                columns.documents[:rows],
                columns.lengths[:rows],
                columns.alive[:rows].copy(),
                [_arrays(posting) for posting in found],
            )

    def _tidy(self) -> None:
        """Make the arrays anew where too much of them is dead. Searches read the old ones meanwhile."""
        columns = self._columns
        if len(columns) > _FIRST_CAPACITY and len(columns) - len(columns.places) > _WASTE * len(columns):
            fresh = columns.rebuilt()
            with self._reading:
                self._columns = fresh


@dataclass(frozen=True, slots=True)
class _Seen:
    """The rows that there were at one moment."""

    passages: list[Passage]
    vectors: Vectors
    keys: NDArray[np.int64]
    documents: NDArray[np.int64]
    lengths: Floats
    alive: NDArray[np.bool_]
    postings: list[tuple[Rows, Floats]]

    def allowed(self, selection: Selection) -> NDArray[np.bool_]:
        """Which rows a search may return."""
        if not len(selection.allowed):
            return np.zeros(len(self.keys), dtype=bool)
        places = np.searchsorted(selection.allowed, self.documents)
        places[places == len(selection.allowed)] = 0
        mask: NDArray[np.bool_] = self.alive & (selection.allowed[places] == self.documents)
        return mask

    def best(self, scores: Floats, mask: NDArray[np.bool_], k: int) -> list[Match]:
        """The best ``k`` rows under the mask; of equals, those with the smaller keys."""
        rows = np.flatnonzero(mask)
        if k < 1 or not len(rows):
            return []
        if len(rows) > k:
            least = np.partition(scores[rows], len(rows) - k)[len(rows) - k]
            rows = rows[scores[rows] >= least]
        ordered = rows[np.lexsort((self.keys[rows], -scores[rows]))[:k]]
        return [Match(self.passages[row], float(scores[row])) for row in ordered]


def _arrays(posting: _Posting) -> tuple[Rows, Any]:
    """Copies: the originals grow."""
    return np.array(posting.rows, dtype=np.uint32), np.array(posting.counts, dtype=np.float32)

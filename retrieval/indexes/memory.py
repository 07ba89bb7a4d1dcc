"""The reference index: exact, in memory, small enough to be right by reading. For tests and for trying things."""

import math
import re
import threading
from collections import Counter
from collections.abc import Sequence

import numpy as np

from retrieval.errors import IndexMismatch
from retrieval.indexes.protocol import Capabilities, IndexSpec
from retrieval.selection import Selection
from retrieval.types import Match, Passage, Vectors

K1, B = 1.2, 0.75
"""BM25's constants as Lucene and Milvus have them."""
_WORD = re.compile(r"\w+")


class MemoryIndex:
    """A list of passages that is read from end to end."""

    def __init__(self, spec: IndexSpec) -> None:
        self.spec = spec
        self._rows: dict[int, tuple[Passage, Vectors, Counter[str]]] = {}
        self._lock = threading.Lock()

    def add(self, passages: Sequence[Passage], vectors: Vectors) -> None:
        """See PassageIndex."""
        check_shapes(self.spec, passages, vectors)
        with self._lock:
            rows = dict(self._rows)
            for passage, vector in zip(passages, vectors, strict=True):
                rows[passage.key] = (passage, vector, Counter(words(passage.searchable)))
            self._rows = rows

    def remove(self, documents: Sequence[int]) -> None:
        """See PassageIndex."""
        gone = set(documents)
        with self._lock:
            self._rows = {key: row for key, row in self._rows.items() if row[0].document not in gone}

    def search_dense(self, vector: Vectors, k: int, selection: Selection) -> list[Match]:
        """See PassageIndex."""
        rows = self._rows.values()
        scored = [
            Match(passage, float(np.dot(vector, one))) for passage, one, _ in rows if passage.document in selection
        ]
        return _best(scored, k)

    def search_lexical(self, text: str, k: int, selection: Selection) -> list[Match]:
        """See PassageIndex."""
        rows = list(self._rows.values())
        if not rows:
            return []
        mean_length = sum(counts.total() for _, _, counts in rows) / len(rows) or 1.0
        weights = {}
        for word in words(text):
            having = sum(word in counts for _, _, counts in rows)
            weights[word] = math.log(1 + (len(rows) - having + 0.5) / (having + 0.5))
        scored = []
        for passage, _, counts in rows:
            if passage.document in selection:
                length = 1 - B + B * counts.total() / mean_length
                score = sum(
                    weight * counts[word] * (K1 + 1) / (counts[word] + K1 * length) for word, weight in weights.items()
                )
                if score > 0:
                    scored.append(Match(passage, score))
        return _best(scored, k)

    def passages(self, document: int) -> list[Passage]:
        """See PassageIndex."""
        found = (passage for passage, _, _ in self._rows.values() if passage.document == document)
        return sorted(found, key=lambda passage: passage.number)

    def stored(self, document: int) -> tuple[list[Passage], Vectors]:
        """See PassageIndex."""
        rows = sorted(
            (row for row in self._rows.values() if row[0].document == document), key=lambda row: row[0].number
        )
        vectors = np.array([row[1] for row in rows], dtype=np.float32).reshape(len(rows), self.spec.dimension)
        return [row[0] for row in rows], vectors

    def count(self) -> int:
        """See PassageIndex."""
        return len(self._rows)

    def documents(self) -> set[int]:
        """See PassageIndex."""
        return {passage.document for passage, _, _ in self._rows.values()}


class MemoryIndexStore:
    """Indexes that end with the process."""

    def __init__(self) -> None:
        self._indexes: dict[str, MemoryIndex] = {}
        self.capabilities = Capabilities(lexical=True, description="in memory: exact, and gone with the process")

    def create(self, name: str, spec: IndexSpec) -> MemoryIndex:
        """See IndexStore."""
        index = self._indexes.setdefault(name, MemoryIndex(spec))
        require_same(name, index.spec, spec)
        return index

    def open(self, name: str) -> MemoryIndex | None:
        """See IndexStore."""
        return self._indexes.get(name)

    def drop(self, name: str) -> None:
        """See IndexStore."""
        self._indexes.pop(name, None)

    def names(self) -> list[str]:
        """See IndexStore."""
        return sorted(self._indexes)

    def close(self) -> None:
        """See IndexStore."""


def words(text: str) -> list[str]:
    """Runs of letters and digits in lower case."""
    return [word.lower() for word in _WORD.findall(text)]


def check_shapes(spec: IndexSpec, passages: Sequence[Passage], vectors: Vectors) -> None:
    """Raises ValueError unless there is a vector of the index's dimension for each passage, all of finite numbers."""
    if vectors.shape != (len(passages), spec.dimension):
        raise ValueError(f"{len(passages)} passages need vectors of shape ({len(passages)}, {spec.dimension})")
    if not np.isfinite(vectors).all():
        raise ValueError("a vector holds a number that is not finite")


def require_same(name: str, there: IndexSpec, wanted: IndexSpec) -> None:
    """Raises IndexMismatch where an index holds vectors of another model."""
    if there != wanted:
        raise IndexMismatch(
            f"the index {name} holds vectors of {there.embedder} ({there.dimension} dimensions), "
            f"not of {wanted.embedder} ({wanted.dimension}); it has to be built again"
        )


def _best(scored: list[Match], k: int) -> list[Match]:
    return sorted(scored, key=lambda match: (-match.score, match.passage.key))[:k]

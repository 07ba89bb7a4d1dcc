"""``PassageIndex``: what every index can do, whatever it is made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from retrieval.selection import Selection
from retrieval.types import Match, Passage, Vectors


@dataclass(frozen=True, slots=True)
class IndexSpec:
    """What an index was made for."""

    dimension: int
    embedder: str
    """Fingerprint of the model whose vectors it holds."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a store of indexes can do."""

    lexical: bool
    """Whether ``search_lexical`` finds anything."""
    description: str
    """For the operator: what it is, and what it lacks."""
    comfortable_passages: int | None = None
    """Up to how many passages in one index it answers well; None: no limit is known."""


class PassageIndex(Protocol):
    """The passages of one knowledge base. Thread-safe.

    Every method may raise IndexUnavailable. Searches return exactly what the selection allows: where at least ``k``
    passages of allowed documents exist, ``k`` are returned, however few those are among all.
    """

    spec: IndexSpec

    def add(self, passages: Sequence[Passage], vectors: Vectors) -> None:
        """Store passages; on return they are durable and found. A passage with the same key is replaced.

        Raises:
            ValueError: the vectors' shape does not fit the passages or the index.
        """
        ...

    def remove(self, documents: Sequence[int]) -> None:
        """Remove every passage of these documents; unknown ones are no error."""
        ...

    def search_dense(self, vector: Vectors, k: int, selection: Selection) -> list[Match]:
        """The passages nearest to ``vector``, shape ``(dimension,)``, best first; the score is the cosine."""
        ...

    def search_lexical(self, text: str, k: int, selection: Selection) -> list[Match]:
        """The passages that share words with ``text``, best first; the score is BM25's.

        At most as many as share a word. Nothing where the store cannot do it.
        """
        ...

    def passages(self, document: int) -> list[Passage]:
        """A document's passages in order."""
        ...

    def stored(self, document: int) -> tuple[list[Passage], Vectors]:
        """A document's passages in order with their vectors, shape ``(passages, dimension)``: what :meth:`add` took."""
        ...

    def count(self) -> int:
        """How many passages are stored."""
        ...

    def documents(self) -> set[int]:
        """The documents that have a passage here, wanted or left over."""
        ...


class IndexStore(Protocol):
    """Where indexes live. Thread-safe. Every method may raise IndexUnavailable."""

    @property
    def capabilities(self) -> Capabilities:
        """What indexes here can do."""
        ...

    def create(self, name: str, spec: IndexSpec) -> PassageIndex:
        """A new, empty index; one of that name that exists is opened if it is made for the same.

        Args:
            name: letters, digits and underscores.

        Raises:
            IndexMismatch: the one that exists holds vectors of another model.
        """
        ...

    def open(self, name: str) -> PassageIndex | None:
        """An index that exists; None if there is none of that name."""
        ...

    def drop(self, name: str) -> None:
        """Remove an index and what is in it; unknown names are no error."""
        ...

    def names(self) -> list[str]:
        """Every index here that is ours."""
        ...

    def close(self) -> None:
        """Release everything. Safe to call twice."""
        ...

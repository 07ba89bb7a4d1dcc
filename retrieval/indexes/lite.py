"""``LiteIndex``: passages kept by Milvus Lite in one file, and searched in a mirror of them in memory.

Lite is where they are durable: what it acknowledged survives a ``kill -9``. It is not asked to search: it reads every
row in Python for each question, loses rows to concurrent writers, and returns too few hits under filters.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pymilvus import MilvusClient

from retrieval.indexes.memory import check_shapes
from retrieval.indexes.milvus_store import BATCH, FIELDS, MilvusStore, passage_of, passage_schema, row_of
from retrieval.indexes.mirror import Mirror
from retrieval.indexes.narrowing import documents_in
from retrieval.indexes.protocol import Capabilities, IndexSpec
from retrieval.selection import Selection
from retrieval.types import Match, Passage, Vectors

LITE_PASSAGES = 100_000
"""Beyond it a server is advised: opening so many takes half a minute. See docs/retrieval.md."""
_PAGE = 16_384
"""Rows of one query when a collection is opened: Lite walks through all of them each time, and makes Python numbers of
every vector that it returns."""
_CHANNEL = {"grpc.keepalive_time_ms": 3_600_000, "grpc.keepalive_permit_without_calls": False}
"""Lite's server, in this process, closes connections that ping it as often as the client does by default."""


class LiteStore(MilvusStore["LiteIndex"]):
    """Collections in a file that one process at a time may have open.

    Args:
        path: ends in ``.db``; folders above it are made.

    Raises:
        IndexUnavailable: it cannot be opened.
    """

    capabilities = Capabilities(
        lexical=True,
        description="Milvus Lite, mirrored in memory: dense and BM25, both exact; one process",
        comfortable_passages=LITE_PASSAGES,
    )

    def __init__(self, path: str) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        super().__init__(lambda: MilvusClient(path, grpc_options=_CHANNEL), path, None)

    def _describe(self, spec: IndexSpec) -> tuple[Any, Any]:
        indexes = MilvusClient.prepare_index_params()
        # Lite loads no collection without one; this one costs nothing to make.
        indexes.add_index("vector", index_type="FLAT", metric_type="COSINE")
        return passage_schema(spec), indexes

    def _open(self, collection: str, spec: IndexSpec) -> "LiteIndex":
        return LiteIndex(self, collection, spec)


class LiteIndex:
    """One collection."""

    def __init__(self, store: LiteStore, collection: str, spec: IndexSpec) -> None:
        self.spec = spec
        self._store = store
        self._collection = collection
        self._mirror = Mirror(spec.dimension)
        self._read()

    def add(self, passages: Sequence[Passage], vectors: Vectors) -> None:
        """See PassageIndex."""
        check_shapes(self.spec, passages, vectors)
        for start in range(0, len(passages), BATCH):
            batch, points = passages[start : start + BATCH], vectors[start : start + BATCH]
            rows = [row_of(passage, point) for passage, point in zip(batch, points, strict=True)]
            self._store.upsert(self._collection, rows)
            self._mirror.put(batch, points)

    def remove(self, documents: Sequence[int]) -> None:
        """See PassageIndex."""
        for start in range(0, len(documents), BATCH):
            gone = documents[start : start + BATCH]
            self._store.delete(self._collection, documents_in(gone))
            self._mirror.remove(gone)

    def search_dense(self, vector: Vectors, k: int, selection: Selection) -> list[Match]:
        """See PassageIndex."""
        if vector.shape != (self.spec.dimension,):
            raise ValueError(f"the query needs a vector of shape ({self.spec.dimension},)")
        return self._mirror.search_dense(vector, k, selection)

    def search_lexical(self, text: str, k: int, selection: Selection) -> list[Match]:
        """See PassageIndex."""
        return self._mirror.search_lexical(text, k, selection)

    def passages(self, document: int) -> list[Passage]:
        """See PassageIndex."""
        return self._mirror.passages(document)

    def stored(self, document: int) -> tuple[list[Passage], Vectors]:
        """See PassageIndex."""
        return self._mirror.stored(document)

    def count(self) -> int:
        """See PassageIndex."""
        return self._mirror.count()

    def documents(self) -> set[int]:
        """See PassageIndex."""
        return self._mirror.documents()

    def _read(self) -> None:
        """Fill the mirror with what was stored. Raises IndexUnavailable."""
        keys = sorted(int(row["key"]) for row in self._rows("key >= 0", ["key"], limit=None))
        for start in range(0, len(keys), _PAGE):
            page = keys[start : start + _PAGE]
            rows = self._rows(f"key >= {page[0]} and key <= {page[-1]}", [*FIELDS, "vector"], limit=_PAGE)
            self._mirror.put([passage_of(row) for row in rows], np.array([row["vector"] for row in rows], np.float32))

    def _rows(self, expression: str, fields: list[str], *, limit: int | None) -> list[dict[str, Any]]:
        return self._store.query(self._collection, expression, fields, limit=limit)

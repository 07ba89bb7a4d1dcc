"""``MilvusIndex``: passages in a Milvus server or cluster.

What older servers lack or get wrong is handled here and nowhere else: collections are loaded on opening, filters hold
integers alone (see :mod:`retrieval.selection`), and a server without BM25 says so.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pymilvus import DataType, Function, FunctionType, MilvusClient

from retrieval.indexes.memory import check_shapes
from retrieval.indexes.milvus_store import BATCH, FIELDS, PAGE, MilvusStore, passage_of, passage_schema, row_of
from retrieval.indexes.narrowing import LIST_CHUNK, Found, documents_in, search
from retrieval.indexes.passage_cache import PassageCache
from retrieval.indexes.protocol import Capabilities, IndexSpec, IndexStore
from retrieval.selection import Numbers, Selection
from retrieval.types import PASSAGE_BITS, Match, Passage, Vectors

_BM25_SINCE = (2, 5)
_LOAD_S = 120.0
"""A server reads a whole collection into memory before it searches it."""
_RECONNECT = {"grpc.min_reconnect_backoff_ms": 1_000, "grpc.max_reconnect_backoff_ms": 2_000}
"""By default a server that comes back is found after up to two minutes."""
_BUILD = {"M": 16, "efConstruction": 200}
_LEAST_EF = 64


def open_milvus(uri: str, *, token: str = "") -> IndexStore:
    """Milvus Lite where ``uri`` is a path, a server or cluster where it is a URL. Raises IndexUnavailable."""
    if "://" in uri:
        return MilvusIndexStore(uri, token=token)
    from retrieval.indexes.lite import LiteStore

    return LiteStore(str(Path(uri)))


class MilvusIndexStore(MilvusStore["MilvusIndex"]):
    """Collections of a server or cluster.

    Args:
        uri: its URL.
        token: ``user:password`` or an API key, for servers that ask for one.
        database: of the server.
        timeout_s: how long one operation may take.

    Raises:
        IndexUnavailable: it cannot be reached.
    """

    def __init__(self, uri: str, *, token: str = "", database: str = "", timeout_s: float = 10.0) -> None:
        super().__init__(
            # A connection that is shared with other stores would have their settings, and end with them.
            lambda: MilvusClient(
                uri, token=token, db_name=database, timeout=timeout_s, dedicated=True, grpc_options=_RECONNECT
            ),
            uri,
            timeout_s,
        )
        self.cache = PassageCache()
        self.capabilities = self._probe()

    @property
    def _load_s(self) -> float | None:
        return max(self.limit_s or 0.0, _LOAD_S)

    def _probe(self) -> Capabilities:
        version = self.call(lambda client: client.get_server_version(timeout=self.limit_s)).lstrip("v")
        lexical = tuple(int(part) for part in version.split(".")[:2]) >= _BM25_SINCE
        lack = "" if lexical else ", no BM25 (it came with 2.5): searches are dense only"
        return Capabilities(lexical, f"Milvus {version}{': dense and BM25' if lexical else lack}")

    def _describe(self, spec: IndexSpec) -> tuple[Any, Any]:
        schema, indexes = passage_schema(spec), MilvusClient.prepare_index_params()
        indexes.add_index("vector", index_type="HNSW", metric_type="COSINE", params=_BUILD)
        if self.capabilities.lexical:
            indexes.add_index("document", index_type="INVERTED")
            schema.add_field("searchable", DataType.VARCHAR, max_length=65_535, enable_analyzer=True)
            schema.add_field("terms", DataType.SPARSE_FLOAT_VECTOR)
            schema.add_function(Function("bm25", FunctionType.BM25, ["searchable"], ["terms"]))
            indexes.add_index("terms", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25")
        return schema, indexes

    def _open(self, collection: str, spec: IndexSpec) -> "MilvusIndex":
        return MilvusIndex(self, collection, spec)


class MilvusIndex:
    """One collection."""

    def __init__(self, store: MilvusIndexStore, collection: str, spec: IndexSpec) -> None:
        self.spec = spec
        self._store = store
        self._collection = collection

    def add(self, passages: Sequence[Passage], vectors: Vectors) -> None:
        """See PassageIndex."""
        check_shapes(self.spec, passages, vectors)
        rows = [self._row(passage, vector) for passage, vector in zip(passages, vectors, strict=True)]
        for start in range(0, len(rows), BATCH):
            self._store.upsert(self._collection, rows[start : start + BATCH])
            self._store.cache.put(self._collection, passages[start : start + BATCH])

    def remove(self, documents: Sequence[int]) -> None:
        """See PassageIndex."""
        for start in range(0, len(documents), BATCH):
            self._store.delete(self._collection, documents_in(documents[start : start + BATCH]))

    def search_dense(self, vector: Vectors, k: int, selection: Selection) -> list[Match]:
        """See PassageIndex."""
        if vector.shape != (self.spec.dimension,):
            raise ValueError(f"the query needs a vector of shape ({self.spec.dimension},)")
        data = [vector.tolist()]

        def find(limit: int, expression: str) -> list[Found]:
            params = {"metric_type": "COSINE", "params": {"ef": max(_LEAST_EF, limit)}}
            return self._find("vector", data, limit, expression, params)

        return self._matches(search(find, k, selection, exactly=lambda allowed: self._exactly(vector, allowed)))

    def search_lexical(self, text: str, k: int, selection: Selection) -> list[Match]:
        """See PassageIndex."""
        if not self._store.capabilities.lexical or not text.strip():
            return []

        def find(limit: int, expression: str) -> list[Found]:
            return self._find("terms", [text], limit, expression, {"metric_type": "BM25"})

        return self._matches(search(find, k, selection))

    def passages(self, document: int) -> list[Passage]:
        """See PassageIndex."""
        return [passage_of(row) for row in self._rows_of(document, FIELDS, PAGE)]

    def stored(self, document: int) -> tuple[list[Passage], Vectors]:
        """See PassageIndex."""
        rows = list(self._rows_of(document, [*FIELDS, "vector"], BATCH))
        vectors = np.array([row["vector"] for row in rows], dtype=np.float32).reshape(len(rows), self.spec.dimension)
        return [passage_of(row) for row in rows], vectors

    def count(self) -> int:
        """See PassageIndex."""
        counted = self._store.query(self._collection, "", ["count(*)"], limit=None)
        return int(counted[0]["count(*)"])

    def documents(self) -> set[int]:
        """See PassageIndex."""
        # The client's own iterator asks for some things without a deadline, and pages of a query are in no order.
        found: set[int] = set()
        ranges = [(0, 1 << (63 - PASSAGE_BITS))]
        while ranges:
            first, end = ranges.pop()
            rows = self._query(f"number == 0 and document >= {first} and document < {end}", ["document"])
            if len(rows) < PAGE:
                found.update(int(row["document"]) for row in rows)
            else:
                middle = (first + end) // 2
                ranges += [(first, middle), (middle, end)]
        return found

    def _rows_of(self, document: int, fields: list[str], page: int) -> Iterator[dict[str, Any]]:
        """A document's rows in order, read ``page`` at a time."""
        after = -1
        while rows := self._query(
            f"{documents_in([document])} and number > {after} and number <= {after + page}", fields
        ):
            yield from sorted(rows, key=lambda row: int(row["number"]))
            after = max(int(row["number"]) for row in rows)

    def _read(self, expression: str, fields: list[str]) -> list[dict[str, Any]]:
        """Rows for a search, which may be as late as a search itself."""
        return self._store.query(self._collection, expression, fields, consistency_level="Session")

    def _query(self, expression: str, fields: list[str]) -> list[dict[str, Any]]:
        return self._store.query(self._collection, expression, fields)

    def _find(self, field: str, data: list[Any], limit: int, expression: str, params: dict[str, Any]) -> list[Found]:
        """Keys and scores. Texts come from the cache: most of a search's time went into reading them."""
        found = self._store.call(
            lambda client: client.search(
                self._collection,
                data=data,
                anns_field=field,
                limit=limit,
                filter=expression,
                search_params=params,
                timeout=self._store.limit_s,
            )
        )
        return [(int(key), float(score)) for key, score in zip(found[0].ids, found[0].distances, strict=True)]

    def _exactly(self, vector: Vectors, documents: Numbers) -> list[Found]:
        """Every passage of these documents and its cosine, without the index."""
        found: list[Found] = []
        starts = range(0, len(documents), LIST_CHUNK)
        spans = [(documents[start : start + LIST_CHUNK], 0, 1 << PASSAGE_BITS) for start in starts]
        while spans:
            some, first, end = spans.pop()
            rows = self._read(f"{documents_in(some)} and number >= {first} and number < {end}", ["key", "vector"])
            if len(rows) == PAGE:  # there may be more
                half, middle = len(some) // 2, (first + end) // 2
                spans += (
                    [(some[:half], first, end), (some[half:], first, end)]
                    if half
                    else [(some, first, middle), (some, middle, end)]
                )
            elif rows:
                scores = np.array([row["vector"] for row in rows], dtype=np.float32) @ vector
                found += [(int(row["key"]), float(score)) for row, score in zip(rows, scores, strict=True)]
        return found

    def _matches(self, found: list[Found]) -> list[Match]:
        """The passages behind the keys. One that was removed since is left out."""
        cache = self._store.cache
        there = cache.get(self._collection, [key for key, _ in found])
        missing = [key for key, _ in found if key not in there]
        for start in range(0, len(missing), PAGE):
            rows = self._read(f"key in [{','.join(map(str, missing[start : start + PAGE]))}]", FIELDS)
            fetched = list(map(passage_of, rows))
            cache.put(self._collection, fetched)
            there |= {passage.key: passage for passage in fetched}
        return [Match(there[key], score) for key, score in found if key in there]

    def _row(self, passage: Passage, vector: Vectors) -> dict[str, Any]:
        row = row_of(passage, vector)
        return row | ({"searchable": passage.searchable} if self._store.capabilities.lexical else {})

"""``MilvusIndex``: Milvus Lite in a folder, a Milvus server or a cluster, by URI alone.

What Lite and older servers lack or get wrong is handled here and nowhere else: writers take turns (concurrent ones lose
rows in Lite), collections are loaded on opening, rows are flushed before they make searches slow, filters hold integers
alone (see :mod:`retrieval.selection`), and scores are brought to one sign.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import grpc
import numpy as np
from pymilvus import DataType, Function, FunctionType, MilvusClient
from pymilvus.exceptions import MilvusException

from retrieval.errors import IndexUnavailable
from retrieval.indexes.memory import check_shapes, require_same
from retrieval.indexes.narrowing import documents_in, search
from retrieval.indexes.protocol import Capabilities, IndexSpec
from retrieval.selection import Selection
from retrieval.types import PASSAGE_BITS, Match, Passage, Vectors

T = TypeVar("T")

LITE_PASSAGES = 100_000
"""Beyond it a server is advised: Lite's time for a search grows with the passages, a server's hardly does. See
docs/retrieval.md."""
_PREFIX = "loraplex_"
_EMBEDDER = "loraplex.embedder"
_BATCH = 512
_PAGE = 4_096
_FLUSH_ROWS = 2_000
"""Rows that Lite may hold unflushed: it reads them one by one in every search."""
_BM25_SINCE = (2, 5)
_LOAD_S = 120.0
"""A server reads a whole collection into memory before it searches it."""
_RECONNECT = {"grpc.min_reconnect_backoff_ms": 1_000, "grpc.max_reconnect_backoff_ms": 2_000}
"""By default a server that comes back is found after up to two minutes."""
_LITE_CHANNEL = {"grpc.keepalive_time_ms": 3_600_000, "grpc.keepalive_permit_without_calls": False}
"""Lite's server, in this process, closes connections that ping it as often as the client does by default."""
_FIELDS = ["document", "number", "text", "context"]


@dataclass(frozen=True, slots=True)
class _Arm:
    """How one arm is built and searched on one kind of Milvus."""

    index_type: str
    build: dict[str, int]
    search: dict[str, int]
    thorough: dict[str, int]


# Lite's HNSW returns too few hits under a filter and drops its parameters; its IVF is as fast, and exact when told to.
_LITE = _Arm("IVF_FLAT", {"nlist": 128}, {"nprobe": 24}, {"nprobe": 128})
_SERVER = _Arm("HNSW", {"M": 16, "efConstruction": 200}, {"ef": 64}, {"ef": 4_096})


class MilvusIndexStore:
    """Collections of one Milvus whose names begin with ``loraplex_``.

    Args:
        uri: a path that ends in ``.db`` for Milvus Lite, which only one process can have open, else the URL of a
            server or cluster.
        token: ``user:password`` or an API key, for servers that ask for one.
        database: of a server.
        timeout_s: how long a server may take for one operation. Lite, which is no server, may take any time.

    Raises:
        IndexUnavailable: it cannot be opened or reached.
    """

    def __init__(self, uri: str, *, token: str = "", database: str = "", timeout_s: float = 10.0) -> None:
        self.is_lite = "://" not in uri
        self.limit_s = None if self.is_lite else timeout_s
        self._writing = threading.Lock()
        self._opened: dict[str, MilvusIndex] = {}
        if self.is_lite:
            Path(uri).parent.mkdir(parents=True, exist_ok=True)
        self._client = _translated(
            # A connection that is shared with other stores would have their settings, and end with them.
            lambda: MilvusClient(
                uri,
                token=token,
                db_name=database,
                timeout=timeout_s,
                dedicated=not self.is_lite,
                grpc_options=_LITE_CHANNEL if self.is_lite else _RECONNECT,
            ),
            f"{uri} cannot be opened",
        )
        self.capabilities = self._probe()

    def create(self, name: str, spec: IndexSpec) -> "MilvusIndex":
        """See IndexStore."""
        there = self.open(name)
        if there is not None:
            require_same(name, there.spec, spec)
            return there
        with self._writing:
            _translated(lambda: self._create(_PREFIX + name, spec), f"the collection {name} cannot be created")
        opened = self.open(name)
        if opened is None:
            raise IndexUnavailable(f"the collection {name} is not there after it was created")
        return opened

    def open(self, name: str) -> "MilvusIndex | None":
        """See IndexStore."""
        if name not in self._opened:
            spec = _translated(lambda: self._spec_of(_PREFIX + name), f"the collection {name} cannot be opened")
            if spec is None:
                return None
            self._opened[name] = MilvusIndex(self, _PREFIX + name, spec)
        return self._opened[name]

    def drop(self, name: str) -> None:
        """See IndexStore."""
        self._opened.pop(name, None)
        with self._writing:
            self.call(lambda client: client.drop_collection(_PREFIX + name, timeout=self.limit_s))

    def names(self) -> list[str]:
        """See IndexStore."""
        there: list[str] = self.call(lambda client: client.list_collections(timeout=self.limit_s))
        return sorted(name.removeprefix(_PREFIX) for name in there if name.startswith(_PREFIX))

    def close(self) -> None:
        """See IndexStore."""
        self._opened.clear()
        self._client.close()

    def call(self, work: Callable[[MilvusClient], T]) -> T:
        """One operation. Raises IndexUnavailable."""
        return _translated(lambda: work(self._client), "Milvus refused or cannot be reached")

    def write(self, work: Callable[[MilvusClient], T]) -> T:
        """One change; only one at a time is made. Raises IndexUnavailable."""
        with self._writing:
            return self.call(work)

    @property
    def exactly(self) -> dict[str, Any]:
        """Options of a query that sees every change. Older servers show what was deleted for a while otherwise.

        Searches do without: it costs a fifth of a second there, and what they find is checked anyway.
        """
        return {"timeout": self.limit_s, "consistency_level": "Strong"}

    @property
    def dense(self) -> _Arm:
        """How vectors are indexed here."""
        return _LITE if self.is_lite else _SERVER

    def _probe(self) -> Capabilities:
        if self.is_lite:
            description = "Milvus Lite: dense and BM25, one process"
            return Capabilities(lexical=True, description=description, comfortable_passages=LITE_PASSAGES)
        version = self.call(lambda client: client.get_server_version(timeout=self.limit_s)).lstrip("v")
        lexical = tuple(int(part) for part in version.split(".")[:2]) >= _BM25_SINCE
        lack = "" if lexical else ", no BM25 (it came with 2.5): searches are dense only"
        return Capabilities(lexical, f"Milvus {version}{': dense and BM25' if lexical else lack}")

    def _create(self, collection: str, spec: IndexSpec) -> None:
        schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("key", DataType.INT64, is_primary=True)
        schema.add_field("document", DataType.INT64)
        schema.add_field("number", DataType.INT64)
        schema.add_field("text", DataType.VARCHAR, max_length=65_535)
        schema.add_field("context", DataType.VARCHAR, max_length=65_535)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=spec.dimension)
        indexes = MilvusClient.prepare_index_params()
        arm = self.dense
        indexes.add_index("vector", index_type=arm.index_type, metric_type="COSINE", params=arm.build)
        if self.is_lite or self.capabilities.lexical:
            indexes.add_index("document", index_type="INVERTED")
        if self.capabilities.lexical:
            schema.add_field("searchable", DataType.VARCHAR, max_length=65_535, enable_analyzer=True)
            schema.add_field("terms", DataType.SPARSE_FLOAT_VECTOR)
            schema.add_function(Function("bm25", FunctionType.BM25, ["searchable"], ["terms"]))
            indexes.add_index("terms", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25")
        self._client.create_collection(
            collection,
            schema=schema,
            timeout=self.limit_s,
            consistency_level="Session",
            properties={_EMBEDDER: spec.embedder},
        )
        # There is nothing to index yet, and so nothing to wait for.
        self._client.create_index(collection, indexes, timeout=self.limit_s, sync=False)

    def _spec_of(self, collection: str) -> IndexSpec | None:
        if not self._client.has_collection(collection, timeout=self.limit_s):
            return None
        described = self._client.describe_collection(collection, timeout=self.limit_s)
        dimension = next(field["params"]["dim"] for field in described["fields"] if field["name"] == "vector")
        self._client.load_collection(collection, timeout=self.limit_s and max(self.limit_s, _LOAD_S))
        return IndexSpec(int(dimension), described["properties"].get(_EMBEDDER, ""))


class MilvusIndex:
    """One collection."""

    def __init__(self, store: MilvusIndexStore, collection: str, spec: IndexSpec) -> None:
        self.spec = spec
        self._store = store
        self._collection = collection
        self._unflushed = 0

    def add(self, passages: Sequence[Passage], vectors: Vectors) -> None:
        """See PassageIndex."""
        check_shapes(self.spec, passages, vectors)
        rows = [self._row(passage, vector) for passage, vector in zip(passages, vectors, strict=True)]
        for start in range(0, len(rows), _BATCH):
            self._upsert(rows[start : start + _BATCH])
        self._unflushed += len(passages)
        if self._unflushed >= _FLUSH_ROWS:
            self.flush()

    def flush(self) -> None:
        """Let Lite index what was added since; servers do that by themselves."""
        if self._store.is_lite and self._unflushed:
            self._unflushed = 0
            self._store.write(lambda client: client.flush(self._collection))

    def remove(self, documents: Sequence[int]) -> None:
        """See PassageIndex."""
        for start in range(0, len(documents), _BATCH):
            self._delete(documents_in(documents[start : start + _BATCH]))

    def search_dense(self, vector: Vectors, k: int, selection: Selection) -> list[Match]:
        """See PassageIndex."""
        if vector.shape != (self.spec.dimension,):
            raise ValueError(f"the query needs a vector of shape ({self.spec.dimension},)")
        arm, data = self._store.dense, [vector.tolist()]

        def find(limit: int, expression: str, thorough: bool) -> list[Match]:  # noqa: FBT001
            params = dict(arm.thorough if thorough else arm.search)
            if "ef" in params:
                params["ef"] = max(params["ef"], limit)
            return self._find("vector", data, limit, expression, {"metric_type": "COSINE", "params": params})

        return search(find, k, selection, approximate=True)

    def search_lexical(self, text: str, k: int, selection: Selection) -> list[Match]:
        """See PassageIndex."""
        if not self._store.capabilities.lexical or not text.strip():
            return []

        def find(limit: int, expression: str, thorough: bool) -> list[Match]:  # noqa: FBT001
            return self._find("terms", [text], limit, expression, {"metric_type": "BM25"})

        return search(find, k, selection, approximate=False)

    def passages(self, document: int) -> list[Passage]:
        """See PassageIndex."""
        found: list[Passage] = []
        while True:
            after = found[-1].number if found else -1
            expression = f"{documents_in([document])} and number > {after} and number <= {after + _PAGE}"
            rows = self._query(expression, _FIELDS)
            if not rows:
                return found
            found += sorted(map(_passage, rows), key=lambda passage: passage.number)

    def count(self) -> int:
        """See PassageIndex."""
        counted = self._store.call(
            lambda client: client.query(self._collection, filter="", output_fields=["count(*)"], **self._store.exactly)
        )
        return int(counted[0]["count(*)"])

    def documents(self) -> set[int]:
        """See PassageIndex."""
        # The client's own iterator asks for some things without a deadline, and pages of a query are in no order.
        found: set[int] = set()
        ranges = [(0, 1 << (63 - PASSAGE_BITS))]
        while ranges:
            first, end = ranges.pop()
            rows = self._query(f"number == 0 and document >= {first} and document < {end}", ["document"])
            if len(rows) < _PAGE:
                found.update(int(row["document"]) for row in rows)
            else:
                middle = (first + end) // 2
                ranges += [(first, middle), (middle, end)]
        return found

    def _upsert(self, rows: list[dict[str, Any]]) -> None:
        self._store.write(lambda client: client.upsert(self._collection, rows, timeout=self._store.limit_s))

    def _delete(self, expression: str) -> None:
        limit_s = self._store.limit_s
        self._store.write(lambda client: client.delete(self._collection, filter=expression, timeout=limit_s))

    def _query(self, expression: str, fields: list[str]) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._store.call(
            lambda client: client.query(
                self._collection, filter=expression, output_fields=fields, limit=_PAGE, **self._store.exactly
            )
        )
        return rows

    def _find(self, field: str, data: list[Any], limit: int, expression: str, params: dict[str, Any]) -> list[Match]:
        found = self._store.call(
            lambda client: client.search(
                self._collection,
                data=data,
                anns_field=field,
                limit=limit,
                filter=expression,
                search_params=params,
                output_fields=_FIELDS,
                timeout=self._store.limit_s,
            )
        )
        # Lite gives BM25 scores with a minus sign, servers without.
        sign = -1.0 if field == "terms" and self._store.is_lite else 1.0
        return [Match(_passage(hit["entity"]), sign * hit["distance"]) for hit in found[0]]

    def _row(self, passage: Passage, vector: Vectors) -> dict[str, Any]:
        row = {
            "key": passage.key,
            "document": passage.document,
            "number": passage.number,
            "text": passage.text,
            "context": passage.context,
            "vector": np.asarray(vector, dtype=np.float32),
        }
        return row | ({"searchable": passage.searchable} if self._store.capabilities.lexical else {})


def _passage(row: dict[str, Any]) -> Passage:
    return Passage(int(row["document"]), int(row["number"]), row["text"], row["context"])


def _translated(work: Callable[[], T], what: str) -> T:
    try:
        return work()
    except MilvusException as error:
        raise IndexUnavailable(f"{what}: {error.message or error}") from error
    except grpc.RpcError as error:
        raise IndexUnavailable(f"{what}: {getattr(error, 'details', str)() or type(error).__name__}") from error
    except (OSError, grpc.FutureTimeoutError) as error:
        raise IndexUnavailable(f"{what}: {error or type(error).__name__}") from error

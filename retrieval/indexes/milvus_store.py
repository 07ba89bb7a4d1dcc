"""What Milvus Lite and a Milvus server have in common: a connection, collections by name, one writer at a time."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import grpc
import numpy as np
from pymilvus import DataType, MilvusClient
from pymilvus.exceptions import MilvusException

from retrieval.errors import IndexUnavailable
from retrieval.indexes.memory import require_same
from retrieval.indexes.protocol import Capabilities, IndexSpec, PassageIndex
from retrieval.types import Passage, Vectors

T = TypeVar("T")
IndexT = TypeVar("IndexT", bound=PassageIndex)

PAGE = 4_096
"""Rows of one query."""
BATCH = 512
"""Rows of one change."""
FIELDS = ["document", "number", "text", "context"]
_PREFIX = "loraplex_"
_EMBEDDER = "loraplex.embedder"


class MilvusStore(ABC, Generic[IndexT]):
    """Collections of one Milvus whose names begin with ``loraplex_``. Writers take turns.

    Args:
        connect: opens the connection.
        limit_s: how long one operation may take; None where it may take any time.

    Raises:
        IndexUnavailable: it cannot be opened or reached.
    """

    capabilities: Capabilities

    def __init__(self, connect: Callable[[], MilvusClient], uri: str, limit_s: float | None) -> None:
        self.limit_s = limit_s
        self._writing = threading.Lock()
        self._opening = threading.Lock()
        self._opened: dict[str, IndexT] = {}
        self._client = translated(connect, f"{uri} cannot be opened")

    @abstractmethod
    def _describe(self, spec: IndexSpec) -> tuple[Any, Any]:
        """The schema and the indexes of a new collection."""

    @abstractmethod
    def _open(self, collection: str, spec: IndexSpec) -> IndexT:
        """A collection that exists and is loaded."""

    @property
    def _load_s(self) -> float | None:
        """How long it may take until a collection can be searched."""
        return self.limit_s

    def create(self, name: str, spec: IndexSpec) -> IndexT:
        """See IndexStore."""
        there = self.open(name)
        if there is not None:
            require_same(name, there.spec, spec)
            return there
        with self._writing:
            translated(lambda: self._create(_PREFIX + name, spec), f"the collection {name} cannot be created")
        opened = self.open(name)
        if opened is None:
            raise IndexUnavailable(f"the collection {name} is not there after it was created")
        return opened

    def open(self, name: str) -> IndexT | None:
        """See IndexStore."""
        with self._opening:
            if name not in self._opened:
                found = translated(lambda: self._find(_PREFIX + name), f"the collection {name} cannot be opened")
                if found is None:
                    return None
                self._opened[name] = found
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
        return translated(lambda: work(self._client), "Milvus refused or cannot be reached")

    def upsert(self, collection: str, rows: list[dict[str, Any]]) -> None:
        """Write rows; on return they are durable. Raises IndexUnavailable."""
        with self._writing:
            self.call(lambda client: client.upsert(collection, rows, timeout=self.limit_s))

    def delete(self, collection: str, expression: str) -> None:
        """Remove the rows for which ``expression`` holds. Raises IndexUnavailable."""
        with self._writing:
            self.call(lambda client: client.delete(collection, filter=expression, timeout=self.limit_s))

    def query(self, collection: str, expression: str, fields: list[str], **options: Any) -> list[dict[str, Any]]:
        """Up to ``PAGE`` rows, in no order, with every change so far. Raises IndexUnavailable.

        Older servers show what was deleted for a while otherwise. Searches do without: it costs a fifth of a second
        there, and what they find is checked anyway.
        """
        options = {"limit": PAGE, "timeout": self.limit_s, "consistency_level": "Strong"} | options
        rows: list[dict[str, Any]] = self.call(
            lambda client: client.query(collection, filter=expression, output_fields=fields, **options)
        )
        return rows

    def _create(self, collection: str, spec: IndexSpec) -> None:
        schema, indexes = self._describe(spec)
        self._client.create_collection(
            collection,
            schema=schema,
            timeout=self.limit_s,
            consistency_level="Session",
            properties={_EMBEDDER: spec.embedder},
        )
        # There is nothing to index yet, and so nothing to wait for.
        self._client.create_index(collection, indexes, timeout=self.limit_s, sync=False)

    def _find(self, collection: str) -> IndexT | None:
        if not self._client.has_collection(collection, timeout=self.limit_s):
            return None
        described = self._client.describe_collection(collection, timeout=self.limit_s)
        dimension = next(field["params"]["dim"] for field in described["fields"] if field["name"] == "vector")
        self._client.load_collection(collection, timeout=self._load_s)
        return self._open(collection, IndexSpec(int(dimension), described["properties"].get(_EMBEDDER, "")))


def passage_schema(spec: IndexSpec) -> Any:
    """The fields that every collection has."""
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("key", DataType.INT64, is_primary=True)
    schema.add_field("document", DataType.INT64)
    schema.add_field("number", DataType.INT64)
    schema.add_field("text", DataType.VARCHAR, max_length=65_535)
    schema.add_field("context", DataType.VARCHAR, max_length=65_535)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=spec.dimension)
    return schema


def row_of(passage: Passage, vector: Vectors) -> dict[str, Any]:
    """The row that holds a passage."""
    return {
        "key": passage.key,
        "document": passage.document,
        "number": passage.number,
        "text": passage.text,
        "context": passage.context,
        "vector": np.asarray(vector, dtype=np.float32),
    }


def passage_of(row: dict[str, Any]) -> Passage:
    """The passage that a row holds."""
    return Passage(int(row["document"]), int(row["number"]), row["text"], row["context"])


def translated(work: Callable[[], T], what: str) -> T:
    """What ``work`` returns. Raises IndexUnavailable for whatever goes wrong with Milvus."""
    try:
        return work()
    except MilvusException as error:
        raise IndexUnavailable(f"{what}: {error.message or error}") from error
    except grpc.RpcError as error:
        raise IndexUnavailable(f"{what}: {getattr(error, 'details', str)() or type(error).__name__}") from error
    except (OSError, grpc.FutureTimeoutError) as error:
        raise IndexUnavailable(f"{what}: {error or type(error).__name__}") from error

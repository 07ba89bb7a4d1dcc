"""The passages of one document with their vectors, as they leave an index for another one."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from retrieval.indexes.protocol import IndexSpec
from retrieval.types import Passage, Vectors


@dataclass(frozen=True, slots=True)
class Edition:
    """What an index holds of a document."""

    index: str
    number: int
    spec: IndexSpec
    passages: list[Passage]
    vectors: Vectors
    """Shape ``(passages, dimension)``."""

    def view(self) -> dict[str, Any]:
        """The same for another process, as JSON."""
        return {
            "object": "vector_store.file_passages",
            "index": self.index,
            "edition": self.number,
            "dimension": self.spec.dimension,
            "embedder": self.spec.embedder,
            "passages": [[one.number, one.text, one.context] for one in self.passages],
            "vectors": base64.b64encode(vector_bytes(self.vectors)).decode(),
        }

    @classmethod
    def of_view(cls, view: Mapping[str, Any]) -> "Edition":
        """What :meth:`view` told. Raises ValueError, KeyError, TypeError where it is something else."""
        spec, number = IndexSpec(int(view["dimension"]), str(view["embedder"])), int(view["edition"])
        passages = [Passage(number, place, words, context) for place, words, context in view["passages"]]
        vectors = vectors_of(base64.b64decode(view["vectors"]), len(passages), spec.dimension)
        return cls(str(view["index"]), number, spec, passages, vectors)


def vector_bytes(vectors: Vectors) -> bytes:
    """Little-endian float32, row by row."""
    return np.ascontiguousarray(vectors, dtype="<f4").tobytes()


def vectors_of(data: bytes, count: int, dimension: int) -> Vectors:
    """What :func:`vector_bytes` made of them. Raises ValueError where they are more or fewer."""
    return np.frombuffer(data, dtype="<f4").reshape(count, dimension).astype(np.float32)

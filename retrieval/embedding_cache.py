"""``CachingEmbedder``: texts that were embedded before are not embedded again."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from retrieval.embedding import Closing, Embedder, TokenEmbedder
from retrieval.types import Vectors
from retrieval.vector_cache import VectorCache

_QUERIES = 2_048
"""Questions whose vectors are kept in memory."""


class CachingEmbedder:
    """Vectors of documents by the content of their texts, in a file; those of the latest questions in memory.

    An edited document is embedded where it changed, and one that was interrupted goes on where it stopped. Models may
    share a file: each finds its own vectors alone. A file that fails is passed over, see :mod:`retrieval.vector_cache`.

    Args:
        path: of the file.
        max_bytes: of the file.
        batch_size: texts that are embedded before their vectors are kept.
    """

    def __init__(self, embedder: Embedder, path: Path, max_bytes: int, *, batch_size: int = 256) -> None:
        self._embedder = embedder
        self._cache = VectorCache(path, max_bytes)
        self._queries = _Recent(_QUERIES)
        self._batch_size = batch_size
        self.fingerprint = embedder.fingerprint
        self.dimension = embedder.dimension
        self.max_tokens = embedder.max_tokens

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """See Embedder. A text that occurs twice is embedded once."""
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        places: dict[bytes, list[int]] = {}
        for place, text in enumerate(texts):
            places.setdefault(self._key(text), []).append(place)
        known = self._cache.get(list(places), self.dimension)
        for key, vector in known.items():
            vectors[places[key]] = vector
        missing = [key for key in places if key not in known]
        for batch in _batches(missing, self._batch_size):
            made = self._embedder.embed_documents([texts[places[key][0]] for key in batch])
            for key, vector in zip(batch, made, strict=True):
                vectors[places[key]] = vector
            self._cache.put(dict(zip(batch, made, strict=True)))
        return vectors

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """See Embedder."""
        known = {text: vector for text in texts if (vector := self._queries.get(text)) is not None}
        missing = [text for text in dict.fromkeys(texts) if text not in known]
        if missing:
            made = self._embedder.embed_queries(missing)
            for text, vector in zip(missing, made, strict=True):
                known[text] = vector
                self._queries.put(text, vector)
        return np.stack([known[text] for text in texts]) if texts else np.zeros((0, self.dimension), dtype=np.float32)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """See Embedder."""
        return self._embedder.count_tokens(texts)

    def close(self) -> None:
        """Close the file, and what the embedder itself holds. Safe to call twice."""
        self._cache.close()
        if isinstance(self._embedder, Closing):
            self._embedder.close()

    def _key(self, text: str) -> bytes:
        return hashlib.sha256(f"{self.fingerprint}\0{text}".encode("utf-8", "surrogatepass")).digest()


class CachingTokenEmbedder(CachingEmbedder):
    """The same over a TokenEmbedder, whose vectors for each token are not in the file: they are many."""

    def __init__(self, embedder: Embedder, tokens: TokenEmbedder, path: Path, max_bytes: int) -> None:
        super().__init__(embedder, path, max_bytes)
        self._tokens = tokens

    def token_vectors(self, texts: Sequence[str], *, query: bool) -> list[Vectors]:
        """See TokenEmbedder."""
        return self._tokens.token_vectors(texts, query=query)


def with_cache(embedder: Embedder, path: Path, max_bytes: int) -> CachingEmbedder:
    """The embedder with a cache: a TokenEmbedder where it is one."""
    if isinstance(embedder, TokenEmbedder):
        return CachingTokenEmbedder(embedder, embedder, path, max_bytes)
    return CachingEmbedder(embedder, path, max_bytes)


class _Recent:
    """The most recently used vectors. Thread-safe."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._using = threading.Lock()
        self._vectors: OrderedDict[str, Vectors] = OrderedDict()

    def get(self, text: str) -> Vectors | None:
        with self._using:
            if text in self._vectors:
                self._vectors.move_to_end(text)
            return self._vectors.get(text)

    def put(self, text: str, vector: Vectors) -> None:
        with self._using:
            self._vectors[text] = vector
            self._vectors.move_to_end(text)
            if len(self._vectors) > self._size:
                self._vectors.popitem(last=False)


def _batches(keys: Sequence[bytes], size: int) -> Iterator[Sequence[bytes]]:
    return (keys[start : start + size] for start in range(0, len(keys), size))

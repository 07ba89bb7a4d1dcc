"""``CachedTokenVectors``: the token vectors of passages that were looked at before, in memory."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.embedding import TokenEmbedder
from retrieval.types import Vectors

_LEVELS = 127


@dataclass(frozen=True, slots=True)
class _Kept:
    """Vectors in a quarter of their size: each token's components as whole parts of its largest one."""

    codes: NDArray[np.int8]
    scales: Vectors

    @classmethod
    def of(cls, vectors: Vectors) -> "_Kept":
        scales = np.abs(vectors).max(axis=1, keepdims=True, initial=0.0) / _LEVELS
        codes = np.rint(vectors / np.where(scales == 0, 1, scales)).astype(np.int8)
        return cls(codes, scales.astype(np.float32))

    @property
    def nbytes(self) -> int:
        return self.codes.nbytes + self.scales.nbytes

    def vectors(self) -> Vectors:
        return self.codes * self.scales


class CachedTokenVectors:
    """A TokenEmbedder that keeps what it made of documents and questions, the latest used. Thread-safe.

    A passage's vectors are some hundred times its text, and making them is what late interaction takes its time for.
    They are kept in 8 bits a component, which moves a cosine by less than 0.01.

    Args:
        max_bytes: of all that is kept. What is larger by itself is not kept.
    """

    def __init__(self, embedder: TokenEmbedder, max_bytes: int) -> None:
        self._embedder = embedder
        self._max_bytes = max_bytes
        self._bytes = 0
        self._using = threading.Lock()
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()

    @property
    def nbytes(self) -> int:
        """Size of what is kept now, in bytes."""
        return self._bytes

    def token_vectors(self, texts: Sequence[str], *, query: bool) -> list[Vectors]:
        """See TokenEmbedder."""
        keys = [_key(text, query=query) for text in texts]
        known = self._known(keys)
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if missing:
            made = self._embedder.token_vectors(list(missing.values()), query=query)
            known.update((key, _Kept.of(vectors)) for key, vectors in zip(missing, made, strict=True))
            self._keep({key: known[key] for key in missing})
        return [known[key].vectors() for key in keys]

    def _known(self, keys: Sequence[bytes]) -> dict[bytes, _Kept]:
        with self._using:
            known = {key: self._kept[key] for key in keys if key in self._kept}
            for key in known:
                self._kept.move_to_end(key)
        return known

    def _keep(self, made: dict[bytes, _Kept]) -> None:
        with self._using:
            for key, kept in made.items():
                if key in self._kept or kept.nbytes > self._max_bytes:
                    continue
                self._kept[key] = kept
                self._bytes += kept.nbytes
            while self._bytes > self._max_bytes:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes


def _key(text: str, *, query: bool) -> bytes:
    return hashlib.sha256(f"{query:d}{text}".encode("utf-8", "surrogatepass")).digest()

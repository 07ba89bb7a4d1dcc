"""A deterministic embedder without a model: the hashing trick over words."""

import zlib
from collections.abc import Sequence

import numpy as np

from retrieval.embedding import normalised
from retrieval.indexes.memory import words
from retrieval.types import Vectors


class WordEmbedder:
    """Texts that share words are near each other."""

    fingerprint = "words-64"
    dimension = 64
    max_tokens = 128

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        rows = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in words(text):
                row[zlib.crc32(word.encode()) % self.dimension] += 1
        return normalised(rows)

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        return self.embed_documents(texts)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(words(text)) for text in texts]

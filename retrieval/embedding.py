"""``Embedder``: texts to vectors, in this process or behind a URL."""

import hashlib
import json
import math
import os
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import httpx
import numpy as np

from retrieval.errors import EmbedderUnavailable, RerankerUnavailable
from retrieval.refusal import refuse_rejected
from retrieval.turns import Turns, in_turns
from retrieval.types import Vectors

_CHARACTERS_PER_TOKEN = 3
"""For models behind a URL, whose tokenizer is not here: an estimate on the safe side for English and code."""

_COUNTED_AT_ONCE = 1_024

_TOKEN_BATCH = 8
"""Passages whose token vectors are made in one turn: whoever asks meanwhile waits for no more."""


class Embedder(Protocol):
    """A model that turns texts into vectors of length 1. Thread-safe.

    Embedding raises EmbedderUnavailable.
    """

    fingerprint: str
    """The model and how it is used: equal fingerprints give equal vectors, and nothing else may share an index."""
    dimension: int
    max_tokens: int
    """Of a document's text; what is longer would be cut."""

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Shape ``(len(texts), dimension)``."""
        ...

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """The same for questions, which some models want marked as such."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, special tokens left out."""
        ...


@runtime_checkable
class Closing(Protocol):
    """A model that holds connections or files."""

    def close(self) -> None:
        """Let go of them. Safe to call twice."""
        ...


@runtime_checkable
class TokenEmbedder(Protocol):
    """An embedder that also gives a vector for each token, which late interaction compares."""

    def token_vectors(self, texts: Sequence[str], *, query: bool) -> list[Vectors]:
        """For each text, shape ``(tokens, dimension)``, special tokens left out. Raises RerankerUnavailable."""
        ...


class SentenceTransformersEmbedder:
    """A sentence-transformers model in this process.

    Args:
        model: a folder, or an id on the hub.
        query_prefix: put before questions; default: what the model's own configuration says.
        document_prefix: put before documents; default: what the model's own configuration says.
        batch_size: texts in one forward pass.
        device: ``cpu``, ``cuda``; default: what there is.

    Raises:
        EmbedderUnavailable: the model cannot be loaded.
    """

    def __init__(
        self,
        model: str,
        *,
        query_prefix: str | None = None,
        document_prefix: str | None = None,
        batch_size: int = 32,
        device: str | None = None,
    ) -> None:
        from sentence_transformers import SentenceTransformer

        _leave_a_core()
        given = {"query": query_prefix, "document": document_prefix}
        prompts = {name: prefix for name, prefix in given.items() if prefix is not None}
        try:
            self._model = SentenceTransformer(model, device=device, prompts=prompts or None)
        except (OSError, ValueError, ImportError, RuntimeError) as error:
            raise EmbedderUnavailable(f"the embedding model {model} cannot be loaded: {error}") from error
        self._batch_size = batch_size
        # A fast tokenizer may not be borrowed twice, so even counting takes a turn.
        self._turns = Turns()
        self.dimension = int(self._model.get_embedding_dimension())
        longest = max(self.count_tokens(list(self._model.prompts.values())), default=0)
        self.max_tokens = int(self._model.max_seq_length) - self._model.tokenizer.num_special_tokens_to_add() - longest
        self.fingerprint = f"{_weights_digest(self._model)}:{json.dumps(self._model.prompts, sort_keys=True)}"

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """See Embedder. Questions get their turn between two batches."""
        return self._encoded(self._model.encode_document, texts, urgent=False)

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """See Embedder."""
        return self._encoded(self._model.encode_query, texts, urgent=True)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """See Embedder."""

        def count(part: list[str]) -> list[int]:
            encoded = self._model.tokenizer(part, add_special_tokens=False, truncation=False, verbose=False)
            return [len(ids) for ids in encoded["input_ids"]]

        return in_turns(count, texts, _COUNTED_AT_ONCE, self._turns, urgent=False)

    def token_vectors(self, texts: Sequence[str], *, query: bool) -> list[Vectors]:
        """See TokenEmbedder."""
        encode = self._model.encode_query if query else self._model.encode_document
        special = set(self._model.tokenizer.all_special_ids)

        def vectors(part: list[str]) -> list[Vectors]:
            found = encode(part, output_value=None, batch_size=self._batch_size, show_progress_bar=False)
            return [_of_tokens(one, special) for one in found]

        return in_turns(vectors, texts, min(self._batch_size, _TOKEN_BATCH), self._turns, urgent=True)

    def _encoded(self, encode: Any, texts: Sequence[str], *, urgent: bool) -> Vectors:
        def vectors(part: list[str]) -> list[Vectors]:
            found = encode(part, batch_size=self._batch_size, normalize_embeddings=True, show_progress_bar=False)
            return list(np.asarray(found, dtype=np.float32))

        rows = in_turns(vectors, texts, self._batch_size, self._turns, urgent=urgent)
        return np.stack(rows) if rows else np.zeros((0, self.dimension), dtype=np.float32)


class OpenAIEmbedder:
    """A model behind an OpenAI-compatible ``/v1/embeddings``.

    Args:
        url: the part before ``/embeddings``, such as ``http://127.0.0.1:8001/v1``.
        model: its name there.
        max_tokens: what it takes; a longer text would be cut or refused there.
        api_key: sent as a bearer token.
        query_prefix: put before questions.
        document_prefix: put before documents.
        batch_size: texts in one request.
        timeout_s: of one request.

    Raises:
        EmbedderUnavailable: it does not answer; asked once at the start, for the dimension.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        max_tokens: int = 512,
        api_key: str = "",
        query_prefix: str = "",
        document_prefix: str = "",
        batch_size: int = 64,
        timeout_s: float = 30.0,
    ) -> None:
        headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        transport = httpx.HTTPTransport(retries=2)
        self._client = httpx.Client(timeout=timeout_s, headers=headers, transport=transport)
        self._url = f"{url.rstrip('/')}/embeddings"
        self._model = model
        self._query_prefix, self._document_prefix = query_prefix, document_prefix
        self._batch_size = batch_size
        self.max_tokens = max_tokens
        self.dimension = 0
        self.dimension = self._embed(["dimension"]).shape[1]
        self.fingerprint = f"{self._url}:{model}:{json.dumps([query_prefix, document_prefix])}"

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """See Embedder."""
        return self._embed([self._document_prefix + text for text in texts])

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """See Embedder."""
        return self._embed([self._query_prefix + text for text in texts])

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """See Embedder. An estimate: the tokenizer is not here."""
        return [math.ceil(len(text) / _CHARACTERS_PER_TOKEN) for text in texts]

    def close(self) -> None:
        """End the connections. Safe to call twice."""
        self._client.close()

    def _embed(self, texts: Sequence[str]) -> Vectors:
        parts = [
            self._request(texts[start : start + self._batch_size]) for start in range(0, len(texts), self._batch_size)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, self.dimension), dtype=np.float32)

    def _request(self, texts: Sequence[str]) -> Vectors:
        body = {"model": self._model, "input": list(texts), "encoding_format": "float"}
        try:
            response = self._client.post(self._url, json=body)
            refuse_rejected(response, self._url)
            answer = response.raise_for_status().json()
            rows = sorted(answer["data"], key=lambda row: row["index"])
            vectors = np.array([row["embedding"] for row in rows], dtype=np.float32)
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise EmbedderUnavailable(f"{self._url} did not embed: {error}") from error
        if vectors.ndim != 2 or len(vectors) != len(texts) or (self.dimension and vectors.shape[1] != self.dimension):
            raise EmbedderUnavailable(f"{self._url} answered with vectors of shape {vectors.shape}")
        return normalised(vectors)


def normalised(vectors: Vectors) -> Vectors:
    """Rows of length 1; a row of zeros stays one."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.where(lengths == 0, 1, lengths), dtype=np.float32)


def _of_tokens(found: Any, special: set[int]) -> Vectors:
    if "token_embeddings" not in found or "input_ids" not in found:
        raise RerankerUnavailable("the embedding model gives no vectors of tokens: set `knowledge.reranker.kind: off`")
    kept = [place for place, token in enumerate(found["input_ids"].tolist()) if token not in special]
    return normalised(found["token_embeddings"][kept].float().cpu().numpy())


def _leave_a_core() -> None:
    """Torch's threads spin while they wait for work; on all cores they would keep the index from its own."""
    import torch

    torch.set_num_threads(min(torch.get_num_threads(), max(1, len(os.sched_getaffinity(0)) - 1)))


def _weights_digest(model: Any) -> str:
    """A name by content: the same id on the hub may mean other weights tomorrow."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}:{tuple(tensor.shape)}:{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1)[:4096].float().numpy().tobytes())
    return digest.hexdigest()[:16]

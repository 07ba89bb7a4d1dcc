"""``Reranker``: a second, closer look at the passages that a search brought."""

from collections.abc import Sequence
from typing import Protocol

import httpx
import numpy as np

from retrieval.embedding import TokenEmbedder
from retrieval.errors import RerankerUnavailable
from retrieval.types import Vectors

_AT_ONCE = 32
"""Texts whose token vectors are in memory together: a vector for each token is a thousand times the text."""


class Reranker(Protocol):
    """Scores texts against a question. Thread-safe. Scoring raises RerankerUnavailable."""

    name: str

    def score(self, query: str, texts: Sequence[str]) -> list[float]:
        """A score for each text, higher for a better one; the scale is the reranker's own."""
        ...


class CrossEncoderReranker:
    """A sentence-transformers cross-encoder: reads the question and a passage together.

    Args:
        model: a folder, or an id on the hub.

    Raises:
        RerankerUnavailable: the model cannot be loaded.
    """

    def __init__(self, model: str, *, batch_size: int = 32, device: str | None = None) -> None:
        from sentence_transformers import CrossEncoder

        try:
            self._model = CrossEncoder(model, device=device)
        except (OSError, ValueError, ImportError, RuntimeError) as error:
            raise RerankerUnavailable(f"the reranking model {model} cannot be loaded: {error}") from error
        self._batch_size = batch_size
        self.name = f"cross-encoder {model}"

    def score(self, query: str, texts: Sequence[str]) -> list[float]:
        """See Reranker."""
        if not texts:
            return []
        pairs = [(query, text) for text in texts]
        scores = self._model.predict(pairs, batch_size=self._batch_size, show_progress_bar=False)
        return [float(score) for score in np.asarray(scores).reshape(len(texts), -1)[:, 0]]


class UrlReranker:
    """A ``/rerank`` endpoint in the form of Cohere, Jina and vLLM.

    Args:
        url: the whole address of the endpoint.
        model: its name there.
        api_key: sent as a bearer token.
        timeout_s: of one request.
    """

    def __init__(self, url: str, model: str, *, api_key: str = "", timeout_s: float = 10.0) -> None:
        headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        self._client = httpx.Client(timeout=timeout_s, headers=headers, transport=httpx.HTTPTransport(retries=2))
        self._url = url
        self._model = model
        self.name = f"{model} at {url}"

    def score(self, query: str, texts: Sequence[str]) -> list[float]:
        """See Reranker."""
        if not texts:
            return []
        body = {"model": self._model, "query": query, "documents": list(texts), "top_n": len(texts)}
        try:
            results = self._client.post(self._url, json=body).raise_for_status().json()["results"]
            scores = {int(one["index"]): float(one["relevance_score"]) for one in results}
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise RerankerUnavailable(f"{self._url} did not rerank: {error}") from error
        if scores.keys() != set(range(len(texts))):
            raise RerankerUnavailable(f"{self._url} scored {len(scores)} of {len(texts)} passages")
        return [scores[place] for place in range(len(texts))]

    def close(self) -> None:
        """End the connections. Safe to call twice."""
        self._client.close()


class LateInteractionReranker:
    """Late interaction over the embedder's own token vectors: no further weights.

    For each token of the question its nearest token of the passage, averaged (MaxSim, Khattab and Zaharia: ColBERT,
    SIGIR 2020), mixed with nothing: the embedder was not trained for it, so whether it helps is to be measured.
    """

    name = "late interaction"

    def __init__(self, embedder: TokenEmbedder) -> None:
        self._embedder = embedder

    def score(self, query: str, texts: Sequence[str]) -> list[float]:
        """See Reranker."""
        if not texts:
            return []
        question = self._embedder.token_vectors([query], query=True)[0]
        scores: list[float] = []
        for start in range(0, len(texts), _AT_ONCE):
            passages = self._embedder.token_vectors(texts[start : start + _AT_ONCE], query=False)
            scores += max_sims(question, passages)
        return scores


def max_sims(question: Vectors, passages: Sequence[Vectors]) -> list[float]:
    """For each passage the mean over the question's tokens of the cosine with its nearest; -1 where there are none.

    All passages are compared at once: one large product takes a fraction of the time of many small ones.
    """
    scores = [-1.0] * len(passages)
    places = [place for place, passage in enumerate(passages) if len(passage)]
    if not len(question) or not places:
        return scores
    cosines = question @ np.concatenate([passages[place] for place in places]).T
    starts = np.cumsum([0, *(len(passages[place]) for place in places[:-1])])
    nearest = np.maximum.reduceat(cosines, starts, axis=1).mean(axis=0)
    for place, score in zip(places, nearest, strict=True):
        scores[place] = float(score)
    return scores

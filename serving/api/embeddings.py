"""``/v1/embeddings`` and ``/v1/rerank``: the models of retrieval, for whoever wants them by themselves."""

import base64
import uuid
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import Field

from retrieval.embedding import Embedder
from retrieval.rerank import Reranker
from serving.api.bodies import Body
from serving.api.files import caller_of
from serving.config import KnowledgeSettings
from serving.errors import InvalidRequest, ModelNotFound
from serving.knowledge.models import Models

LATE_INTERACTION = "late-interaction"
_MOST_TEXTS = 2048
_MOST_DOCUMENTS = 256


class EmbeddingBody(Body):
    """Texts to embed."""

    model: str
    input: str | list[str] | list[int] | list[list[int]]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(default=None, ge=1)
    user: str | None = None
    input_type: Literal["query", "document"] = "document"
    """Some models want questions marked as such."""


class RerankDocument(Body):
    """A text, as Cohere and Jina allow it."""

    text: str


class RerankBody(Body):
    """Texts to order by a question."""

    query: str = Field(min_length=1)
    documents: Annotated[list[str | RerankDocument], Field(min_length=1, max_length=_MOST_DOCUMENTS)]
    model: str | None = None
    top_n: int | None = Field(default=None, ge=1)
    return_documents: bool = True


class EmbeddingsApi:
    """The routes, over the models of the configuration."""

    def __init__(self, settings: KnowledgeSettings, models: Models) -> None:
        self._embedder_name = public_name(settings.embedder.model)
        kind, model = settings.reranker.kind, settings.reranker.model
        self._reranker_name = LATE_INTERACTION if kind == "off" or model is None else public_name(model)
        self._models = models

    def router(self) -> APIRouter:
        """Both routes."""
        router = APIRouter(prefix="/v1")
        router.add_api_route("/embeddings", self.embed, methods=["POST"])
        router.add_api_route("/rerank", self.rerank, methods=["POST"])
        return router

    def embed(self, request: Request, body: EmbeddingBody) -> dict[str, Any]:
        """A vector of length 1 for each text."""
        if body.model != self._embedder_name:
            raise ModelNotFound(body.model)
        caller_of(request).require(body.model)
        texts = _texts(body.input)
        embedder = self._models.uncached_embedder()
        counts = embedder.count_tokens(texts)
        _check_fit(embedder, counts, body.dimensions)
        vectors = (embedder.embed_queries if body.input_type == "query" else embedder.embed_documents)(texts)
        data = [
            {
                "object": "embedding",
                "index": place,
                "embedding": base64.b64encode(vector.astype("<f4").tobytes()).decode()
                if body.encoding_format == "base64"
                else vector.tolist(),
            }
            for place, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": sum(counts), "total_tokens": sum(counts)}
        return {"object": "list", "data": data, "model": body.model, "usage": usage}

    def rerank(self, request: Request, body: RerankBody) -> dict[str, Any]:
        """The texts that answer the question best, in the form of Cohere, Jina and vLLM."""
        name = body.model or self._reranker_name
        reranker = self._reranker(name)
        caller_of(request).require(name)
        texts = [one if isinstance(one, str) else one.text for one in body.documents]
        scores = reranker.score(body.query, texts)
        order = sorted(range(len(texts)), key=lambda place: (-scores[place], place))[: body.top_n]
        results = [
            {"index": place, "relevance_score": scores[place]}
            | ({"document": {"text": texts[place]}} if body.return_documents else {})
            for place in order
        ]
        tokens = sum(self._models.embedder().count_tokens([body.query, *texts])) if name == LATE_INTERACTION else 0
        return {
            "id": f"rerank-{uuid.uuid4().hex}",
            "model": name,
            "usage": {"total_tokens": tokens},
            "results": results,
        }

    def _reranker(self, name: str) -> Reranker:
        if name == LATE_INTERACTION:
            return self._models.late_interaction()
        configured = self._models.reranker() if name == self._reranker_name else None
        if configured is None:
            raise ModelNotFound(name)
        return configured


def public_name(model: str) -> str:
    """What clients call a model: the last part of its folder or hub id."""
    return model.rstrip("/").rpartition("/")[2]


def _texts(given: str | list[str] | list[int] | list[list[int]]) -> list[str]:
    texts = [given] if isinstance(given, str) else given
    if not texts or len(texts) > _MOST_TEXTS:
        raise InvalidRequest(f"`input` holds 1 to {_MOST_TEXTS} texts.", param="input")
    if not all(isinstance(text, str) for text in texts):
        raise InvalidRequest("`input` must be text: token ids are not taken, since tokenizers differ.", param="input")
    if not all(texts):
        raise InvalidRequest("`input` cannot hold an empty string.", param="input")
    return [str(text) for text in texts]


def _check_fit(embedder: Embedder, counts: list[int], dimensions: int | None) -> None:
    longest = max(counts)
    if longest > embedder.max_tokens:
        raise InvalidRequest(
            f"A text has {longest} tokens; this model reads {embedder.max_tokens}. Send shorter texts.", param="input"
        )
    if dimensions is not None and dimensions != embedder.dimension:
        raise InvalidRequest(f"This model gives {embedder.dimension} dimensions, no others.", param="dimensions")

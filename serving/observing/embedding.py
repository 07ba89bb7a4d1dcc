"""Prompts to vectors, where that may be slow: in the observing process."""

import hashlib
import time
from collections.abc import Callable, Sequence

import numpy as np

from retrieval.embedding import Embedder
from retrieval.errors import KnowledgeClientError, KnowledgeError
from retrieval.types import Vectors
from serving.config import GatewayConfig, KnowledgeSettings
from serving.settings.knowledge import EmbedderSettings

_CHARACTERS_PER_TOKEN = 3
"""What is longer than the model takes is cut here: a model behind a URL may refuse it."""
_FIRST_PAUSE_S = 5.0
_LONGEST_PAUSE_S = 300.0


class PromptEmbedder:
    """The embedder of drift, loaded when it is first needed; after a failure it rests for a while.

    Args:
        make: loads or reaches it; may raise anything.
        clock: seconds, from any moment on.
    """

    def __init__(self, make: Callable[[], Embedder], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._make = make
        self._clock = clock
        self._embedder: Embedder | None = None
        self._failures = 0
        self._not_before = 0.0
        self.problem = ""
        """Why there are no vectors now; empty where there are. It holds nothing of a prompt."""

    @property
    def name(self) -> str:
        """What the vectors of one model have in common; empty before the first ones."""
        return "" if self._embedder is None else hashlib.sha256(self._embedder.fingerprint.encode()).hexdigest()[:12]

    def vectors(self, texts: Sequence[str]) -> Vectors | None:
        """Shape ``(len(texts), dimension)``, rows of length 1, and zeros for a text that the model refuses.

        Of a long text the beginning counts. None where there are no vectors now.
        """
        if self._clock() < self._not_before:
            return None
        try:
            embedder = self._embedder = self._embedder or self._make()
            most = embedder.max_tokens * _CHARACTERS_PER_TOKEN
            found = _rows(embedder, [text[:most] for text in texts])
        except ModuleNotFoundError as error:
            self._fail(f"{error.name} is not installed: install `loraplex[knowledge]`, or set `monitoring.drift: null`")
            return None
        except KnowledgeError as error:
            self._fail(str(error))
            return None
        except Exception as error:  # its text may quote a prompt
            self._fail(f"embedding prompts failed with {type(error).__name__}")
            return None
        self.problem, self._failures = "", 0
        return found

    def _fail(self, problem: str) -> None:
        self.problem = problem
        self._not_before = self._clock() + min(_FIRST_PAUSE_S * 2 ** min(self._failures, 10), _LONGEST_PAUSE_S)
        self._failures += 1


def _rows(embedder: Embedder, texts: Sequence[str]) -> Vectors:
    """Vectors of texts among which there may be some that the model refuses: one must not cost the others theirs."""
    try:
        return embedder.embed_queries(texts)
    except KnowledgeClientError:
        if len(texts) < 2:
            return np.zeros((len(texts), embedder.dimension), dtype=np.float32)
        half = len(texts) // 2
        return np.concatenate([_rows(embedder, texts[:half]), _rows(embedder, texts[half:])])


def embedder_settings(config: GatewayConfig) -> EmbedderSettings:
    """The model that prompts are embedded with."""
    drift = None if config.monitoring is None else config.monitoring.drift
    if drift is not None and drift.embedder is not None:
        return drift.embedder
    return (config.knowledge or KnowledgeSettings()).embedder


def load_embedder(config: GatewayConfig, settings: EmbedderSettings) -> Embedder:
    """Load or reach it. Blocking for seconds. Raises EmbedderUnavailable and ModuleNotFoundError."""
    from serving.knowledge.models import Models

    return Models(config.knowledge or KnowledgeSettings()).uncached_embedder(settings)

"""The store of indexes that the configuration names, opened when it is first needed and whenever it can be reached."""

import threading
import time
from collections.abc import Callable

from retrieval.errors import IndexUnavailable
from retrieval.indexes.protocol import IndexStore
from serving.knowledge.models import secret
from serving.settings.knowledge import IndexSettings

_RETRY_S = 1.0


class Indexes:
    """Gives the store of indexes. Blocking, thread-safe."""

    def __init__(self, open_store: Callable[[], IndexStore]) -> None:
        self._open = open_store
        self._opening = threading.Lock()
        self._store: IndexStore | None = None
        self._failed: IndexUnavailable | None = None
        self._again_at = 0.0

    def __call__(self) -> IndexStore:
        """Raises IndexUnavailable; a failure is told to all who ask within a second, and then tried again."""
        if self._store is not None:
            return self._store
        with self._opening:
            if self._store is None:
                if self._failed is not None and time.monotonic() < self._again_at:
                    raise IndexUnavailable(str(self._failed))
                try:
                    self._store = self._open()
                except IndexUnavailable as error:
                    self._failed, self._again_at = error, time.monotonic() + _RETRY_S
                    raise
            return self._store

    def close(self) -> None:
        """Release the store, if it was opened."""
        with self._opening:
            if self._store is not None:
                self._store.close()
            self._store = None


def open_milvus(settings: IndexSettings) -> IndexStore:
    """Milvus, embedded or a server. Raises IndexUnavailable."""
    from retrieval.indexes import milvus

    return milvus.open_milvus(settings.uri, token=secret(settings.token_env, IndexUnavailable))

"""``PassageCache``: the texts behind the keys that searches find, so that an index need not read them every time."""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from retrieval.types import Passage

MAX_BYTES = 128 * 1024 * 1024
_OVERHEAD = 400
"""Bytes that an entry takes besides its text, about."""


class PassageCache:
    """Passages by collection and key; the least recently used leave. Thread-safe.

    A key names the same passage until the writer, which puts it here as well, replaces it: nothing here grows stale.
    What a search no longer finds is never asked for.

    Args:
        max_bytes: of all passages together.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: OrderedDict[tuple[str, int], Passage] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, collection: str, keys: Iterable[int]) -> dict[int, Passage]:
        """Those of the keys that are here."""
        found: dict[int, Passage] = {}
        with self._lock:
            for key in keys:
                passage = self._entries.get((collection, key))
                if passage is not None:
                    self._entries.move_to_end((collection, key))
                    found[key] = passage
        return found

    def put(self, collection: str, passages: Sequence[Passage]) -> None:
        """Keep passages, for a while."""
        with self._lock:
            for passage in passages:
                old = self._entries.pop((collection, passage.key), None)
                self._bytes += _size(passage) - (_size(old) if old else 0)
                self._entries[collection, passage.key] = passage
            while self._bytes > self._max_bytes:
                _, oldest = self._entries.popitem(last=False)
                self._bytes -= _size(oldest)


def _size(passage: Passage) -> int:
    return len(passage.text) + len(passage.context) + _OVERHEAD

"""Who hears what a slot pool does."""

from typing import Literal, Protocol

UnloadReason = Literal["evicted", "retired"]
"""``evicted``: its place was needed. ``retired``: nobody wants it any more."""


class PoolObserver(Protocol):
    """Hears what the pool does. Must not raise and must not block."""

    def loaded(self, version: str, seconds: float) -> None:
        """A version became ready, ``seconds`` after its load began."""
        ...

    def load_failed(self, version: str, error: BaseException) -> None:
        """A load failed and left nothing behind."""
        ...

    def unloaded(self, version: str, reason: UnloadReason) -> None:
        """A version left the engine."""
        ...

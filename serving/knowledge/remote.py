"""``RemoteKnowledge``: retrieval in another process, reached by calls that somebody else makes."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from starlette.types import ASGIApp

from retrieval.errors import IndexUnavailable, KnowledgeError
from serving.knowledge.protocol import SearchRequest, SearchResult
from serving.relay import Call, Relay

Value = TypeVar("Value")

_RELAY_TIMEOUT_S = 300.0
"""An upload of the largest file, or the embedding of two thousand texts."""


class RemoteKnowledge:
    """See Knowledge. What the other process raises of this library is raised here; anything else means that it is away.

    Args:
        search: asks the other process; may raise anything.
        handle: hands an HTTP request over.
        metrics: asks for its metrics.
    """

    def __init__(
        self,
        search: Callable[[SearchRequest], Awaitable[SearchResult]],
        handle: Call,
        metrics: Callable[[], Awaitable[bytes]],
    ) -> None:
        self._search = search
        self._metrics = metrics
        self.app: ASGIApp = Relay(handle, timeout_s=_RELAY_TIMEOUT_S, to="knowledge")

    async def search(self, request: SearchRequest) -> SearchResult:
        """See KnowledgeClient."""
        return await _asked(self._search(request))

    async def metrics_text(self) -> bytes:
        """See Knowledge."""
        return await _asked(self._metrics())


async def _asked(asking: Awaitable[Value]) -> Value:
    try:
        return await asking
    except KnowledgeError:
        raise
    except Exception as error:
        raise IndexUnavailable(f"the process that owns the indexes does not answer: {error}") from error

"""Noticing that a client went away while its answer is being made."""

import asyncio
from types import TracebackType
from typing import Self

from starlette.types import Receive


class UntilDisconnect:
    """``async with``: the block is cancelled, and the cancellation ends here, once the client is gone.

    ``gone`` tells afterwards whether that happened. The request's body must have been read before.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._watcher: asyncio.Task[None] | None = None
        self.gone = False

    async def __aenter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  (an ASGI app runs in a task)
        self._task = task
        self._watcher = asyncio.create_task(self._watch())
        return self

    def stop_watching(self) -> None:
        """Call before the last bytes go out: servers report a finished response as a disconnect too."""
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self.stop_watching()
        return self.gone and self._task.uncancel() == 0 and isinstance(error, asyncio.CancelledError)

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        self._task.cancel()

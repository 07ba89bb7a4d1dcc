"""An async generator, read in batches of what it has ready.

An engine often has several pieces of a stream at once: they came in one network read or one scheduling step. Sent
one by one, each costs a system call here and a wake-up at the client. So a batch is everything that the generator
gives without waiting; nothing is ever held back for the sake of a larger batch.
"""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class _Step(Generic[T]):
    """One ``__anext__`` that can be tried before it is awaited."""

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine
        self._waits_for: Any = None
        self.value: T

    def try_now(self) -> bool:
        """Run to the first point where it has to wait. True where it ended before, with its ``value``."""
        try:
            self._waits_for = self._coroutine.send(None)
        except StopIteration as stop:
            self.value = stop.value
            return True
        return False

    def __await__(self) -> Generator[Any, Any, T]:
        """Go on from where ``try_now`` had to wait: what it waits for is handed to the event loop only now."""
        while True:
            try:
                try:
                    sent = yield self._waits_for
                except BaseException as error:
                    self._waits_for = self._coroutine.throw(error)
                else:
                    self._waits_for = self._coroutine.send(sent)
            except StopIteration as stop:
                self.value = stop.value
                return self.value

    async def cancel(self) -> None:
        """End the wait, and let the generator clean up after itself."""
        try:
            self._waits_for = self._coroutine.throw(asyncio.CancelledError())
            await self
        except (asyncio.CancelledError, StopIteration, StopAsyncIteration):
            return


class ReadyBatches(Generic[T]):
    """Reads ``source`` to its end. Call :meth:`close` in any case."""

    def __init__(self, source: AsyncGenerator[T, None], *, most: int = 64) -> None:
        self._source = source
        self._most = most
        self._step: _Step[T] | None = None
        self._error: Exception | None = None
        self.ended = False
        """Whether the source has given everything, so that the next batch would be empty."""

    async def next(self) -> list[T]:
        """At least one item, as soon as there is one; an empty list at the end. Raises what the source raises,
        after everything that came before it was returned."""
        if self._error is not None:
            raise self._error
        batch: list[T] = []
        try:
            while len(batch) < self._most:
                step, self._step = self._step, None
                if step is None:
                    step = _Step(self._source.__anext__())
                    if not step.try_now():
                        if batch:
                            self._step = step
                            break
                        await step
                else:
                    await step
                batch.append(step.value)
        except StopAsyncIteration:
            self.ended = True
        except Exception as error:
            if not batch:
                raise
            self._error = error
        return batch

    async def close(self) -> None:
        """Close the source, which ends what it was doing."""
        step, self._step = self._step, None
        if step is not None:
            await step.cancel()
        await self._source.aclose()

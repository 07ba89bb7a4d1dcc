"""One streamed answer, from the engine's first event to its last or to the error that ended it."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from time import perf_counter
from types import TracebackType
from typing import Self

from serving.accounting import Generation, timed_out
from serving.answers import EventReader, TokenCounts, answer_id, count_tokens
from serving.engine.protocol import EngineFailed, JsonObject
from serving.errors import error_body
from serving.ready import ReadyBatches

OpenEngine = Callable[[Generation], Awaitable[AsyncGenerator[JsonObject, None]]]


class AnswerStream:
    """Use as ``async with``, then iterate: batches of events for the client, each as soon as it is there.

    Entering waits for the engine's first event, so that whatever goes wrong before it raises and can still be
    answered with a proper status. An error after it is given to the client as the last event, and ``failed`` is set.
    Leaving early aborts the generation in the engine.
    """

    def __init__(self, generation: Generation, reader: EventReader, open_engine: OpenEngine, limit_s: float) -> None:
        self.generation = generation
        self.failed = False
        """Whether the last event was an error."""
        self._reader = reader
        self._open_engine = open_engine
        self._limit_s = limit_s
        self._timeout: asyncio.Timeout | None = None
        self._batches: ReadyBatches[JsonObject] | None = None
        self._first: list[JsonObject] = []
        self._last_delta = 0.0
        self._error: BaseException | None = None

    async def __aenter__(self) -> Self:
        self._timeout = await asyncio.timeout(self._limit_s).__aenter__()
        try:
            self._batches = ReadyBatches(await self._open_engine(self.generation))
            self._first = await self._pull(self._batches)
            self.generation.response_id = answer_id(self._first[0]) if self._first else ""
        except BaseException as error:
            await self._close(error)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close(error)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[JsonObject]:
        if self._first:
            events, self._first = self._first, []
            return events
        if self.failed or self._batches is None:
            raise StopAsyncIteration
        try:
            events = await self._pull(self._batches)
        except asyncio.CancelledError as cancelled:
            failure = await self._leave_timeout(cancelled)
            if failure is cancelled or failure is None:
                raise
            return self._fail(failure)
        except Exception as error:
            return self._fail(error)
        if not events:
            raise StopAsyncIteration
        return events

    @property
    def ended(self) -> bool:
        """Whether the batch just given is known to be the last one."""
        return not self._first and (self.failed or (self._batches is not None and self._batches.ended))

    def sent(self, seconds: float) -> None:
        """Note how long the client took to take a batch."""
        self.generation.record.client_s += seconds

    async def _pull(self, batches: ReadyBatches[JsonObject]) -> list[JsonObject]:
        """The next events for the client; none at the end."""
        reader, record = self._reader, self.generation.record
        out: list[JsonObject] = []
        while not out:
            began = perf_counter()
            events = await batches.next()
            now = perf_counter()
            record.engine_s += now - began
            if not events:
                break
            before = reader.deltas
            for event in events:
                accepted = reader.accept(event)
                if accepted is not None:
                    out.append(accepted)
            if reader.deltas > before:
                self._note_delta(now)
            if reader.finished:
                await self.generation.judge(reader.finished)
                reader.finished.clear()
        return out

    def _note_delta(self, now: float) -> None:
        record = self.generation.record
        if record.first_token_s is None:
            record.first_token_s = now - self.generation.call.arrived
        else:
            record.gaps_s.append(now - self._last_delta)
        self._last_delta = now

    def _fail(self, error: BaseException) -> list[JsonObject]:
        self.failed = True
        self._error = error
        self.generation.record.stream_error = True
        return [self._reader.error_event(error_body(error))]

    async def _leave_timeout(self, error: BaseException | None) -> BaseException | None:
        """``error``, or GenerationTimedOut in place of the cancellation that the timeout caused."""
        timeout, self._timeout = self._timeout, None
        if timeout is None:
            return error
        try:
            await timeout.__aexit__(None if error is None else type(error), error, None)
        except TimeoutError:
            return timed_out(self._limit_s)
        return error

    async def _close(self, error: BaseException | None) -> None:
        """Give everything back. Raises GenerationTimedOut in place of the cancellation that the timeout caused."""
        outcome: BaseException | None = error
        try:
            if self._batches is not None:
                await self._batches.close()
        finally:
            outcome = await self._leave_timeout(error)
            reader = self._reader
            self.generation.count(count_tokens(reader.usage) if reader.usage else TokenCounts(0, reader.deltas))
            self.generation.finish_reasons = tuple(reader.finish_reasons)
            if self.generation.notes is not None:
                self.generation.notes.streamed(reader.calls, reader.finish_reason)
            broken = EngineFailed("the engine ended the response as failed") if reader.broken else None
            self.generation.end(self._error or outcome or broken)
        if outcome is not None and outcome is not error:
            raise outcome

"""Reading an async generator in batches of what it has ready."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from serving.ready import ReadyBatches


class Source:
    """A generator that gives what it is fed; ``closed`` tells how it ended."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[int | Exception | None] = asyncio.Queue()
        self.closed = ""

    def feed(self, *items: int | Exception | None) -> None:
        for item in items:
            self.queue.put_nowait(item)

    async def items(self) -> AsyncGenerator[int, None]:
        try:
            while (item := await self.queue.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                yield item
            self.closed = "end"
        except BaseException as error:
            self.closed = type(error).__name__
            # What an engine's own clean-up may do.
            await asyncio.sleep(0)
            raise


async def test_what_is_ready_comes_in_one_batch() -> None:
    source = Source()
    source.feed(1, 2, 3)
    batches = ReadyBatches(source.items())
    assert await batches.next() == [1, 2, 3]
    source.feed(4, None)
    assert await batches.next() == [4]
    assert batches.ended
    assert await batches.next() == []
    await batches.close()
    assert source.closed == "end"


async def test_nothing_is_held_back_for_a_larger_batch() -> None:
    source = Source()
    batches = ReadyBatches(source.items())
    waiting = asyncio.create_task(batches.next())
    await asyncio.sleep(0)
    source.feed(1)
    assert await waiting == [1]
    waiting = asyncio.create_task(batches.next())
    await asyncio.sleep(0)
    assert not waiting.done()
    source.feed(2, 3)
    assert await waiting == [2, 3]
    await batches.close()


async def test_a_batch_is_bounded() -> None:
    source = Source()
    source.feed(*range(5), None)
    batches = ReadyBatches(source.items(), most=2)
    assert [await batches.next() for _ in range(4)] == [[0, 1], [2, 3], [4], []]


async def test_an_error_comes_after_what_came_before_it() -> None:
    source = Source()
    source.feed(1, ValueError("broken"))
    batches = ReadyBatches(source.items())
    assert await batches.next() == [1]
    with pytest.raises(ValueError, match="broken"):
        await batches.next()
    await batches.close()


async def test_an_error_at_once_is_raised_at_once() -> None:
    source = Source()
    source.feed(ValueError("broken"))
    with pytest.raises(ValueError, match="broken"):
        await ReadyBatches(source.items()).next()


async def test_cancelling_the_wait_cancels_the_generator() -> None:
    source = Source()
    batches = ReadyBatches(source.items())
    waiting = asyncio.create_task(batches.next())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await batches.close()
    assert source.closed == "CancelledError"


async def test_closing_between_batches_ends_a_generator_that_is_already_waiting() -> None:
    source = Source()
    source.feed(1)
    batches = ReadyBatches(source.items())
    assert await batches.next() == [1]
    await batches.close()
    assert source.closed == "CancelledError"


async def test_closing_an_unread_generator_is_quiet() -> None:
    await ReadyBatches(Source().items()).close()


async def test_what_became_ready_between_two_batches_is_not_lost() -> None:
    source = Source()
    source.feed(1)
    batches = ReadyBatches(source.items())
    assert await batches.next() == [1]
    source.feed(2)
    await asyncio.sleep(0)
    source.feed(3)
    assert await batches.next() == [2, 3]
    await batches.close()

"""The slot pool, one behaviour at a time. What holds whatever happens is in test_pool_properties.py."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from adapters.errors import AdapterRejected, LoadFailed, PoolSaturated
from adapters.pool import AdapterPool, UnloadReason
from adapters.types import HoldingStatus, PoolHolding


class Engine:
    """Loads and unloads at once, or when the test says so, and keeps a diary."""

    def __init__(self) -> None:
        self.loads: list[str] = []
        self.unloads: list[str] = []
        self.failures: dict[str, Exception] = {}
        self.unload_failures: dict[str, Exception] = {}
        self.gates: dict[str, asyncio.Event] = {}

    async def load(self, version: str) -> None:
        self.loads.append(version)
        if version in self.gates:
            await self.gates[version].wait()
        if version in self.failures:
            raise self.failures[version]

    async def unload(self, version: str) -> None:
        self.unloads.append(version)
        if version in self.unload_failures:
            raise self.unload_failures[version]

    def hold_back(self, version: str) -> asyncio.Event:
        self.gates[version] = asyncio.Event()
        return self.gates[version]


class Diary:
    """A PoolObserver that remembers."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, str]] = []
        self.changed = asyncio.Event()

    def loaded(self, version: str, seconds: float) -> None:
        assert seconds >= 0
        self._note("loaded", version, "")

    def load_failed(self, version: str, error: BaseException) -> None:
        self._note("failed", version, str(error))

    def unloaded(self, version: str, reason: UnloadReason) -> None:
        self._note("unloaded", version, reason)

    def _note(self, *event: str) -> None:
        self.events.append((event[0], event[1], event[2]))
        self.changed.set()

    async def until(self, *event: str) -> None:
        async with asyncio.timeout(5):
            while event not in self.events:
                self.changed.clear()
                await self.changed.wait()


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def diary() -> Diary:
    return Diary()


@pytest.fixture
async def pool(engine: Engine, diary: Diary) -> AsyncIterator[AdapterPool]:
    pool = AdapterPool(engine.load, engine.unload, 2, observer=diary, patience_s=0)
    yield pool
    await pool.close()


async def _turn() -> None:
    """Let everything that is ready run."""
    for _ in range(20):
        await asyncio.sleep(0)


def _runs_without_waiting(work: object) -> bool:
    """Whether a coroutine ends without giving control to the event loop."""
    try:
        work.send(None)  # type: ignore[attr-defined]
    except StopIteration:
        return True
    return False


async def test_a_ready_version_is_granted_without_yielding_to_the_event_loop(pool: AdapterPool) -> None:
    await pool.preload("a")
    assert _runs_without_waiting(pool.acquire("a", 1))
    assert pool.in_flight("a") == 1
    pool.release("a")


async def test_one_load_serves_everybody_who_waits(pool: AdapterPool, engine: Engine) -> None:
    gate = engine.hold_back("a")
    waiting = [asyncio.create_task(pool.acquire("a", 5)) for _ in range(50)]
    await _turn()
    gate.set()
    await asyncio.gather(*waiting)
    assert engine.loads == ["a"]
    assert pool.in_flight("a") == 50


async def test_a_failed_load_fails_its_waiters_and_leaves_nothing_behind(
    pool: AdapterPool, engine: Engine, diary: Diary
) -> None:
    engine.failures["a"] = RuntimeError("bad rank")
    results = await asyncio.gather(*(pool.acquire("a", 5) for _ in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [LoadFailed] * 3
    assert "bad rank" in str(results[0])
    assert pool.holdings() == ()
    assert diary.events == [("failed", "a", "bad rank")]
    del engine.failures["a"]
    await pool.acquire("a", 5)


async def test_the_librarys_own_errors_reach_waiters_as_they_are(pool: AdapterPool, engine: Engine) -> None:
    engine.failures["a"] = AdapterRejected("no_effect", "it changes nothing.")
    with pytest.raises(AdapterRejected, match="changes nothing"):
        await pool.acquire("a", 5)


async def test_the_least_recently_used_idle_version_leaves(pool: AdapterPool, engine: Engine, diary: Diary) -> None:
    await pool.preload("a")
    await pool.preload("b")
    async with pool.lease("a", 5):
        pass
    await pool.acquire("c", 5)
    assert engine.unloads == ["b"]
    assert ("unloaded", "b", "evicted") in diary.events
    assert {holding.version for holding in pool.holdings()} == {"a", "c"}


async def test_pinned_versions_stay_however_long_they_idle(pool: AdapterPool, engine: Engine) -> None:
    pool.pin("a")
    await pool.preload("a")
    for version in "bcd":
        await pool.preload(version)
    assert engine.unloads == ["b", "c"]
    pool.unpin("a")
    await pool.preload("e")
    assert engine.unloads == ["b", "c", "d"], "unpinned versions start as most recently used"


async def test_a_full_pool_says_so_after_the_timeout(pool: AdapterPool) -> None:
    pool.pin("a")
    pool.pin("b")
    await pool.preload("a")
    await pool.preload("b")
    with pytest.raises(PoolSaturated, match="all 2 are taken"):
        await pool.acquire("c", 0.02)
    assert {holding.version for holding in pool.holdings()} == {"a", "b"}


async def test_a_slow_load_says_so_after_the_timeout_and_goes_on(pool: AdapterPool, engine: Engine) -> None:
    gate = engine.hold_back("a")
    with pytest.raises(PoolSaturated, match="still being loaded"):
        await pool.acquire("a", 0.01)
    gate.set()
    await pool.acquire("a", 5)
    assert engine.loads == ["a"]


async def test_cancelling_one_waiter_leaves_the_load_to_the_others(pool: AdapterPool, engine: Engine) -> None:
    gate = engine.hold_back("a")
    first, second = (asyncio.create_task(pool.acquire("a", 5)) for _ in range(2))
    await _turn()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    gate.set()
    await second
    assert engine.loads == ["a"]
    assert pool.in_flight("a") == 1


async def test_a_waiter_cancelled_in_the_moment_of_its_grant_gives_the_lease_back(
    pool: AdapterPool, engine: Engine, diary: Diary
) -> None:
    gate = engine.hold_back("a")
    waiter = asyncio.create_task(pool.acquire("a", 5))
    await _turn()
    gate.set()
    await diary.until("loaded", "a", "")
    assert pool.in_flight("a") == 1
    assert not waiter.done()
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)
    assert waiter.cancelled()
    assert pool.in_flight("a") == 0


async def test_a_version_that_nobody_waits_for_any_more_is_not_loaded(pool: AdapterPool, engine: Engine) -> None:
    await pool.acquire("a", 5)
    await pool.acquire("b", 5)
    waiter = asyncio.create_task(pool.acquire("c", 5))
    await _turn()
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)
    pool.release("a")
    await _turn()
    assert engine.loads == ["a", "b"]
    assert engine.unloads == []


async def test_a_retired_version_drains_before_it_unloads(pool: AdapterPool, engine: Engine, diary: Diary) -> None:
    await pool.acquire("a", 5)
    pool.retire("a")
    await _turn()
    assert engine.unloads == []
    assert pool.holdings() == (PoolHolding("a", HoldingStatus.DRAINING, 1, pinned=False),)
    async with pool.lease("a", 5):
        pass
    pool.release("a")
    await diary.until("unloaded", "a", "retired")
    assert pool.holdings() == ()


async def test_an_idle_version_retires_at_once_and_loads_again_when_asked(
    pool: AdapterPool, engine: Engine, diary: Diary
) -> None:
    await pool.preload("a")
    pool.retire("a")
    await diary.until("unloaded", "a", "retired")
    await pool.acquire("a", 5)
    pool.release("a")
    await _turn()
    assert engine.loads == ["a", "a"]
    assert engine.unloads == ["a"], "the new load is not retired"


async def test_a_version_retired_while_it_loads_serves_its_waiters_first(
    pool: AdapterPool, engine: Engine, diary: Diary
) -> None:
    gate = engine.hold_back("a")
    waiter = asyncio.create_task(pool.acquire("a", 5))
    await _turn()
    pool.retire("a")
    gate.set()
    await waiter
    assert engine.unloads == []
    pool.release("a")
    await diary.until("unloaded", "a", "retired")


async def test_retiring_a_pinned_version_waits_for_the_unpin(pool: AdapterPool, engine: Engine, diary: Diary) -> None:
    pool.pin("a")
    await pool.preload("a")
    pool.retire("a")
    await _turn()
    assert engine.unloads == []
    pool.unpin("a")
    await diary.until("unloaded", "a", "retired")


async def test_preloading_takes_a_retirement_back(pool: AdapterPool, engine: Engine) -> None:
    await pool.acquire("a", 5)
    pool.retire("a")
    await pool.preload("a")
    pool.release("a")
    await _turn()
    assert engine.unloads == []


async def test_versions_that_are_never_idle_still_make_way(pool: AdapterPool, engine: Engine) -> None:
    """Two versions busy without a gap on two places: a third one gets its turn all the same."""
    stop = asyncio.Event()

    async def keep_busy(version: str) -> None:
        while not stop.is_set():
            async with pool.lease(version, 5):
                await asyncio.sleep(0)

    busy = [asyncio.create_task(keep_busy(version)) for version in "aabb"]
    await _turn()
    await pool.acquire("c", 5)
    pool.release("c")
    stop.set()
    await asyncio.gather(*busy)


async def test_a_version_stops_making_way_when_a_place_comes_free_elsewhere(pool: AdapterPool, engine: Engine) -> None:
    await pool.acquire("a", 5)
    await pool.acquire("b", 5)
    await pool.acquire("b", 5)
    waiter = asyncio.create_task(pool.acquire("c", 5))
    await _turn()
    assert not pool.is_ready("a")
    late = asyncio.create_task(pool.acquire("a", 5))
    await _turn()
    assert not late.done()
    pool.release("b")
    pool.release("b")
    await asyncio.gather(waiter, late)
    assert engine.unloads == ["b"]
    assert pool.in_flight("a") == 2


async def test_a_failed_unload_keeps_the_place_and_tells_who_waits(
    pool: AdapterPool, engine: Engine, diary: Diary
) -> None:
    engine.unload_failures["a"] = RuntimeError("stuck")
    await pool.preload("a")
    await pool.acquire("b", 5)
    with pytest.raises(LoadFailed, match="a could not be unloaded"):
        await pool.acquire("c", 5)
    assert {holding.version for holding in pool.holdings()} == {"a", "b"}
    await pool.acquire("a", 5)  # it still serves
    pool.release("a")
    del engine.unload_failures["a"]
    await pool.acquire("c", 5)
    assert ("unloaded", "a", "evicted") in diary.events


async def test_a_release_too_many_is_a_bug(pool: AdapterPool) -> None:
    with pytest.raises(RuntimeError, match="released more often"):
        pool.release("a")


async def test_closing_ends_every_wait(engine: Engine) -> None:
    pool = AdapterPool(engine.load, engine.unload, 1)
    engine.hold_back("a")
    waiting = [asyncio.create_task(pool.acquire(version, 60)) for version in "aab"]
    await _turn()
    await pool.close()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [PoolSaturated] * 3
    with pytest.raises(PoolSaturated, match="stopping"):
        await pool.acquire("a", 1)
    await pool.close()


def test_a_pool_without_places_is_refused(engine: Engine) -> None:
    with pytest.raises(ValueError, match="at least one place"):
        AdapterPool(engine.load, engine.unload, 0)

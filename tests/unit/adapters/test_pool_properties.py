"""What holds for the slot pool whatever happens in whatever order."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from adapters.errors import LoadFailed, PoolSaturated
from adapters.pool import AdapterPool

CAPACITY = 3
T = TypeVar("T")
VERSIONS = st.sampled_from("abcdef")


@dataclass
class _Operation:
    """A load or an unload that the engine has begun and not ended."""

    version: str
    done: asyncio.Future[None]


class PoolMachine(RuleBasedStateMachine):
    """Drives a pool by hand: every load and unload ends, well or badly, only when a rule says so.

    Whoever waits loses patience at once, so that versions make way for each other all the time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.loading: dict[str, _Operation] = {}
        self.unloading: dict[str, _Operation] = {}
        self.in_engine: set[str] = set()
        self.pinned: set[str] = set()
        self.leases: dict[str, int] = dict.fromkeys("abcdef", 0)
        self.waiters: list[tuple[str, asyncio.Task[None]]] = []
        self.ending = False
        self.violations: list[str] = []
        self.pool = AdapterPool(self._load, self._unload, CAPACITY, patience_s=0)

    async def _load(self, version: str) -> None:
        self._expect(version not in self.loading, f"{version} loads twice at a time")
        self._expect(version not in self.in_engine, f"{version} is loaded already")
        self._expect(version not in self.unloading, f"{version} is still leaving")
        operation = self.loading[version] = _Operation(version, self.loop.create_future())
        if self.ending:
            operation.done.set_result(None)
        self._expect(len(self.in_engine | self.loading.keys()) <= CAPACITY, "over capacity")
        try:
            await operation.done
            self.in_engine.add(version)
        finally:
            del self.loading[version]

    async def _unload(self, version: str) -> None:
        self._expect(version in self.in_engine, f"{version} is not loaded")
        self._expect(self.leases[version] == 0, f"somebody uses {version}")
        self._expect(version not in self.pinned, f"{version} is pinned")
        operation = self.unloading[version] = _Operation(version, self.loop.create_future())
        if self.ending:
            operation.done.set_result(None)
        try:
            await operation.done
            self.in_engine.discard(version)
        finally:
            del self.unloading[version]

    def _call(self, method: Callable[[str], T], version: str) -> T:
        """Call the pool as its callers do: on its event loop."""

        async def call() -> T:
            return method(version)

        result = self.loop.run_until_complete(call())
        self._run()
        return result

    def _expect(self, holds: bool, otherwise: str) -> None:  # noqa: FBT001
        """Note what is wrong: the pool would take an exception for the engine's."""
        if not holds:
            self.violations.append(otherwise)

    def _run(self) -> None:
        """Let everything that can happen now happen, then count the leases that were granted."""

        async def turns() -> None:
            for _ in range(12):
                await asyncio.sleep(0)

        self.loop.run_until_complete(turns())
        for version, task in [waiter for waiter in self.waiters if waiter[1].done()]:
            self.waiters.remove((version, task))
            if task.cancelled():
                continue
            error = task.exception()
            if error is None:
                self.leases[version] += 1
            else:
                assert isinstance(error, LoadFailed | PoolSaturated), repr(error)

    @rule(version=VERSIONS)
    def acquire(self, version: str) -> None:
        self.waiters.append((version, self.loop.create_task(self.pool.acquire(version, 1000))))
        self._run()

    @rule(version=VERSIONS)
    def acquire_if_ready(self, version: str) -> None:
        ready = self.pool.is_ready(version)
        if ready:
            assert version in self.in_engine
            self.leases[version] += 1
        assert self._call(self.pool.try_acquire, version) == ready

    @precondition(lambda self: any(self.leases.values()))
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        version = data.draw(st.sampled_from(sorted(name for name, count in self.leases.items() if count)))
        self.leases[version] -= 1
        self._call(self.pool.release, version)

    @precondition(lambda self: self.loading)
    @rule(data=st.data(), works=st.booleans())
    def end_a_load(self, data: st.DataObject, works: bool) -> None:  # noqa: FBT001
        self._end(self.loading[data.draw(st.sampled_from(sorted(self.loading)))], works=works)

    @precondition(lambda self: self.unloading)
    @rule(data=st.data(), works=st.booleans())
    def end_an_unload(self, data: st.DataObject, works: bool) -> None:  # noqa: FBT001
        self._end(self.unloading[data.draw(st.sampled_from(sorted(self.unloading)))], works=works)

    def _end(self, operation: _Operation, *, works: bool) -> None:
        if works:
            operation.done.set_result(None)
        else:
            operation.done.set_exception(RuntimeError("the engine refused"))
        self._run()

    @precondition(lambda self: self.waiters)
    @rule(data=st.data())
    def cancel_a_waiter(self, data: st.DataObject) -> None:
        self.waiters[data.draw(st.integers(0, len(self.waiters) - 1))][1].cancel()
        self._run()

    @precondition(lambda self: self.loading and self.waiters)
    @rule(data=st.data(), turns=st.integers(0, 5))
    def cancel_a_waiter_while_its_load_ends(self, data: st.DataObject, turns: int) -> None:
        operation = self.loading[data.draw(st.sampled_from(sorted(self.loading)))]
        waiting = [task for version, task in self.waiters if version == operation.version]

        async def race() -> None:
            operation.done.set_result(None)
            for _ in range(turns):
                await asyncio.sleep(0)
            for task in waiting[:1]:
                task.cancel()

        self.loop.run_until_complete(race())
        self._run()

    @rule(version=VERSIONS)
    def pin(self, version: str) -> None:
        if version not in self.unloading:
            self.pinned.add(version)
            self._call(self.pool.pin, version)

    @rule(version=VERSIONS)
    def unpin(self, version: str) -> None:
        self.pinned.discard(version)
        self._call(self.pool.unpin, version)

    @rule(version=VERSIONS)
    def retire(self, version: str) -> None:
        self._call(self.pool.retire, version)

    @rule(version=VERSIONS)
    def preload(self, version: str) -> None:
        task = self.loop.create_task(self.pool.preload(version, 1000))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._run()

    @invariant()
    def nothing_was_loaded_or_unloaded_that_must_not_be(self) -> None:
        assert not self.violations

    @invariant()
    def never_over_capacity(self) -> None:
        assert len(self.pool.holdings()) <= CAPACITY

    @invariant()
    def leases_are_counted_right_and_what_they_hold_is_loaded(self) -> None:
        for version, count in self.leases.items():
            assert self.pool.in_flight(version) == count
            assert count == 0 or version in self.in_engine

    @invariant()
    def the_pool_holds_what_the_engine_holds(self) -> None:
        assert {holding.version for holding in self.pool.holdings()} == self.in_engine | self.loading.keys()

    @invariant()
    def nobody_waits_beside_a_free_place(self) -> None:
        held = {holding.version for holding in self.pool.holdings()}
        if any(version not in held for version, task in self.waiters if not task.done()):
            assert len(held) == CAPACITY

    def teardown(self) -> None:
        """Once nothing is pinned and every lease comes back, every waiter ends."""
        self.ending = True
        for version in list(self.pinned):
            self.unpin(version)
        for _ in range(200):
            for operation in (*self.loading.values(), *self.unloading.values()):
                if not operation.done.done():
                    operation.done.set_result(None)
            for version, count in self.leases.items():
                for _ in range(count):
                    self.leases[version] -= 1
                    self._call(self.pool.release, version)
            self._run()
            if not self.waiters:
                break
        assert not self.waiters, "somebody waits for ever"
        self.loop.run_until_complete(self.pool.close())
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()


PoolMachine.TestCase.settings = settings(
    max_examples=120, stateful_step_count=40, suppress_health_check=[HealthCheck.too_slow]
)
TestPoolHoldsWhateverHappens = PoolMachine.TestCase

"""The slot pool: which adapter versions the engine holds, and who may use them. Pure asyncio, no framework.

One pool belongs to one event loop, and everything here runs on it. A version that is held is granted at once; one
that is not is loaded exactly once however many ask for it. Places are granted first come, first served: the least
recently used version that is idle and not pinned leaves. Where every place stays busy longer than ``patience_s``, one
busy version takes no new requests until the one that waits has had its turn, so nobody starves.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from adapters.errors import AdapterError, LoadFailed, PoolSaturated
from adapters.pool_observer import PoolObserver, UnloadReason
from adapters.types import HoldingStatus, PoolHolding

__all__ = ["AdapterPool", "PoolHolding", "PoolObserver", "UnloadReason"]

logger = logging.getLogger(__name__)

LoadVersion = Callable[[str], Awaitable[None]]


@dataclass(slots=True)
class _Held:
    """A version that takes up a place."""

    ready: bool = False
    in_flight: int = 0
    retiring: bool = False
    yielding: bool = False
    """Takes no new requests, because somebody has waited too long for a place."""
    unloading: bool = False

    @property
    def open(self) -> bool:
        return self.ready and not self.yielding and not self.unloading


@dataclass(slots=True)
class _Wanted:
    """A version that somebody waits for."""

    waiters: dict[asyncio.Future[None], None] = field(default_factory=dict)
    patience: asyncio.TimerHandle | None = None


class AdapterPool:
    """Grants leases on adapter versions, and loads and unloads them to fit ``capacity``.

    Args:
        load: brings a version into the engine; called at most once at a time for one version.
        unload: takes it out again; called only while nobody uses it and it is not pinned.
        capacity: versions that the engine can hold, loading and unloading ones included.
        observer: hears of every load and unload.
        patience_s: how long a version waits while every place is busy, before a busy one has to yield, in seconds.
    """

    def __init__(
        self,
        load: LoadVersion,
        unload: LoadVersion,
        capacity: int,
        *,
        observer: PoolObserver | None = None,
        patience_s: float = 1.0,
    ) -> None:
        if capacity < 1:
            raise ValueError(f"a pool needs at least one place, not {capacity}")
        self._load = load
        self._unload = unload
        self._capacity = capacity
        self._observer = observer
        self._patience_s = patience_s
        self._held: dict[str, _Held] = {}
        self._idle: OrderedDict[str, None] = OrderedDict()
        """Ready, unused, unpinned versions; the least recently used comes first."""
        self._wanted: OrderedDict[str, _Wanted] = OrderedDict()
        """What somebody waits for, in order of arrival."""
        self._pins: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def capacity(self) -> int:
        """Versions that can be held at once."""
        return self._capacity

    def in_flight(self, version: str) -> int:
        """Leases on ``version`` that are out now."""
        held = self._held.get(version)
        return held.in_flight if held else 0

    def is_ready(self, version: str) -> bool:
        """Whether ``version`` is loaded and open to new requests."""
        held = self._held.get(version)
        return held is not None and held.open

    def holdings(self) -> tuple[PoolHolding, ...]:
        """Every version that takes up a place now."""
        return tuple(
            PoolHolding(version, _status(held), held.in_flight, version in self._pins)
            for version, held in self._held.items()
        )

    def try_acquire(self, version: str) -> bool:
        """Take a lease if the version is ready; never waits. Every True needs one ``release``."""
        held = self._held.get(version)
        if held is None or not held.open or self._closed:
            return False
        if held.in_flight == 0:
            self._idle.pop(version, None)
        held.in_flight += 1
        return True

    async def acquire(self, version: str, timeout_s: float) -> None:
        """Take a lease on ``version``; loads it if need be. Every return needs one ``release``.

        A ready version is granted without yielding to the event loop.

        Raises:
            LoadFailed: the engine could not load it. Another :class:`adapters.errors.AdapterError` that the loader
                raised arrives as it is.
            PoolSaturated: it was not ready within ``timeout_s`` seconds, or the pool is closed.
        """
        if self.try_acquire(version):
            return
        if self._closed:
            raise PoolSaturated(f"adapter {version} cannot be used: the gateway is stopping")
        waiter = self._enqueue(version)
        try:
            async with asyncio.timeout(timeout_s):
                await waiter
        except TimeoutError:
            self._abandon(version, waiter)
            raise PoolSaturated(self._why_not(version, timeout_s)) from None
        except asyncio.CancelledError:
            self._abandon(version, waiter)
            raise

    def release(self, version: str) -> None:
        """Give a lease back. Raises RuntimeError if none is out: that is a bug in the caller."""
        held = self._held.get(version)
        if held is None or held.in_flight == 0:
            raise RuntimeError(f"adapter {version} was released more often than acquired")
        held.in_flight -= 1
        if held.in_flight == 0:
            self._settle(version, held)

    @asynccontextmanager
    async def lease(self, version: str, timeout_s: float) -> AsyncIterator[None]:
        """Hold ``version`` for the length of a ``with`` block. Raises as ``acquire``."""
        await self.acquire(version, timeout_s)
        try:
            yield
        finally:
            self.release(version)

    async def preload(self, version: str, timeout_s: float = 120.0) -> None:
        """Load ``version`` without using it, and take back a ``retire`` that has not come to pass.

        Pin it too if it must stay. Raises as ``acquire``.
        """
        self._unretire(version)
        await self.acquire(version, timeout_s)
        self.release(version)

    def pin(self, version: str) -> None:
        """Keep ``version`` once it is loaded; it loads at its first use or ``preload``. Takes back a ``retire``."""
        self._unretire(version)
        self._pins.add(version)
        self._idle.pop(version, None)

    def unpin(self, version: str) -> None:
        """Let ``version`` leave when its place is needed."""
        self._pins.discard(version)
        held = self._held.get(version)
        if held is not None and held.ready and held.in_flight == 0:
            self._settle(version, held)

    def retire(self, version: str) -> None:
        """Unload ``version`` as soon as nobody uses it and no pin holds it. Does not wait.

        Requests that still ask for it while it drains are served; asked for after that, it loads again.
        """
        held = self._held.get(version)
        if held is None or held.unloading:
            return
        held.retiring = True
        if held.ready and held.in_flight == 0:
            self._settle(version, held)

    async def close(self) -> None:
        """Fail everybody who waits and end running loads. Leases that are out may still be released."""
        self._closed = True
        for version in list(self._wanted):
            self._fail(version, PoolSaturated(f"adapter {version} cannot be used: the gateway is stopping"))
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _enqueue(self, version: str) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        wanted = self._wanted.get(version)
        if wanted is None:
            wanted = self._wanted[version] = _Wanted()
            wanted.patience = loop.call_later(self._patience_s, self._lose_patience, version)
        waiter: asyncio.Future[None] = loop.create_future()
        wanted.waiters[waiter] = None
        self._advance()
        return waiter

    def _abandon(self, version: str, waiter: asyncio.Future[None]) -> None:
        """A waiter stopped waiting; a lease that was granted in the same moment goes back."""
        if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
            self.release(version)
            return
        wanted = self._wanted.get(version)
        if wanted is not None:
            wanted.waiters.pop(waiter, None)
            if not wanted.waiters:
                self._forget(version)
                self._advance()

    def _unretire(self, version: str) -> None:
        held = self._held.get(version)
        if held is not None:
            held.retiring = False

    def _forget(self, version: str) -> _Wanted:
        wanted = self._wanted.pop(version)
        if wanted.patience is not None:
            wanted.patience.cancel()
        return wanted

    def _why_not(self, version: str, timeout_s: float) -> str:
        held = self._held.get(version)
        if held is not None and not held.ready:
            return f"adapter {version} was still being loaded after {timeout_s:g} s; try again"
        return (
            f"adapter {version} found no place within {timeout_s:g} s: all {self._capacity} are taken by adapters "
            "in use or pinned; try again, or raise adapters.cpu_slots"
        )

    def _advance(self) -> None:
        """Give every free place to the next in line, and make room for those who then still wait."""
        if self._closed:
            return
        short = 0
        for version in list(self._wanted):
            held = self._held.get(version)
            if held is None and len(self._held) < self._capacity:
                self._held[version] = _Held()
                self._spawn(self._run_load(version))
            elif held is None or held.unloading:
                short += 1
            elif held.open:
                self._grant(version, held)
        short -= sum(held.unloading for held in self._held.values())
        while short > 0 and self._idle:
            oldest = next(iter(self._idle))
            self._start_unload(oldest, self._held[oldest], "evicted")
            short -= 1
        if short <= 0:
            self._stop_yielding()

    def _stop_yielding(self) -> None:
        """Everybody who waited has a place in sight: the versions that made way for them may go on."""
        for version, held in self._held.items():
            if held.yielding and not held.unloading:
                held.yielding = False
                if version in self._wanted:
                    self._grant(version, held)

    def _grant(self, version: str, held: _Held) -> None:
        """Give a lease to everybody who waits for a version that is ready."""
        for waiter in self._forget(version).waiters:
            if not waiter.done():
                held.in_flight += 1
                waiter.set_result(None)
        if held.in_flight:
            self._idle.pop(version, None)

    def _fail(self, version: str, error: BaseException) -> None:
        if version in self._wanted:
            for waiter in self._forget(version).waiters:
                if not waiter.done():
                    waiter.set_exception(error)

    def _settle(self, version: str, held: _Held) -> None:
        """Decide what becomes of a ready version that nobody uses."""
        if held.unloading or self._closed:
            return
        if version in self._pins:
            held.yielding = False
        elif held.retiring or held.yielding:
            self._start_unload(version, held, "retired" if held.retiring else "evicted")
        else:
            self._idle[version] = None
            self._idle.move_to_end(version)
        if self._wanted:
            self._advance()

    def _lose_patience(self, version: str) -> None:
        """``version`` has waited long for a place: the least busy unpinned one takes no new requests from now on."""
        wanted = self._wanted.get(version)
        if wanted is None or self._closed:
            return
        wanted.patience = asyncio.get_running_loop().call_later(self._patience_s, self._lose_patience, version)
        short = sum(name not in self._held for name in self._wanted)
        leaving = sum(held.unloading or held.yielding for held in self._held.values())
        busy = [(held.in_flight, name) for name, held in self._held.items() if held.open and name not in self._pins]
        if version not in self._held and short > leaving and busy:
            self._held[min(busy)[1]].yielding = True

    def _start_unload(self, version: str, held: _Held, reason: UnloadReason) -> None:
        self._idle.pop(version, None)
        held.unloading = True
        self._spawn(self._run_unload(version, held, reason))

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run_load(self, version: str) -> None:
        started = time.perf_counter()
        try:
            await self._load(version)
        except BaseException as error:
            del self._held[version]
            self._fail(version, _as_load_failure(version, error))
            if self._observer is not None:
                self._observer.load_failed(version, error)
            self._advance()
            if not isinstance(error, Exception):
                raise
            return
        held = self._held[version]
        held.ready = True
        if self._observer is not None:
            self._observer.loaded(version, time.perf_counter() - started)
        if version in self._wanted:
            self._grant(version, held)
        if held.in_flight == 0:
            self._settle(version, held)

    async def _run_unload(self, version: str, held: _Held, reason: UnloadReason) -> None:
        try:
            await self._unload(version)
        except Exception as error:
            logger.exception("adapter %s could not be unloaded; it keeps its place", version)
            held.unloading = held.retiring = held.yielding = False
            if reason == "evicted":
                self._refuse_longest_waiting(version, error)
        else:
            del self._held[version]
            if self._observer is not None:
                self._observer.unloaded(version, reason)
        if version in self._held and version not in self._pins:
            self._idle[version] = None
        self._advance()

    def _refuse_longest_waiting(self, version: str, error: Exception) -> None:
        """No place came free: fail whoever waits first, so that a broken unload is not tried for ever."""
        for waiting in list(self._wanted):
            if waiting not in self._held:
                failure = LoadFailed(f"adapter {waiting} found no place: {version} could not be unloaded ({error})")
                failure.__cause__ = error
                self._fail(waiting, failure)
                return


def _status(held: _Held) -> HoldingStatus:
    if not held.ready:
        return HoldingStatus.LOADING
    if held.retiring or held.unloading:
        return HoldingStatus.DRAINING
    return HoldingStatus.READY


def _as_load_failure(version: str, error: BaseException) -> AdapterError:
    if isinstance(error, AdapterError):
        return error
    reason = "the load was cancelled" if isinstance(error, asyncio.CancelledError) else str(error) or repr(error)
    failure = LoadFailed(f"adapter {version} could not be loaded: {reason}")
    failure.__cause__ = error
    return failure

"""Bringing one adapter version into one engine: disk cache → engine → effect probe."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from adapters.errors import AdapterError, AdapterRejected, LoadFailed, VersionNotFound
from adapters.store import DiskCache
from adapters.types import AdapterVersion, Tier
from serving.engine.protocol import Engine, EngineAdapterError, EngineError
from serving.probe import EffectProbe

logger = logging.getLogger(__name__)

_FIRST_RETRY_S = 1.0
_LAST_RETRY_S = 60.0

_TURNS = 4
"""Versions that are fetched and loaded at the same time."""


@dataclass(frozen=True, slots=True)
class Load:
    """One load that succeeded. Times are those of ``time.perf_counter()``."""

    began: float
    ended: float
    origin: Tier


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a version is not loaded, and when it is worth another try."""

    error: Exception
    attempts: int
    retry_at: float
    """On the monotonic clock, in seconds."""

    @property
    def due(self) -> bool:
        """Whether another try makes sense now."""
        return time.monotonic() >= self.retry_at


class Failures:
    """What is known of versions that could not be loaded.

    A refusal is for good, because a version's content never changes. Everything else is tried again, later each time.
    """

    def __init__(self) -> None:
        self._known: dict[str, Failure] = {}

    def record(self, version: str, error: Exception) -> None:
        """Remember that loading ``version`` failed now."""
        before = self._known.get(version)
        attempts = 1 if before is None else before.attempts + 1
        wait = min(_FIRST_RETRY_S * 2 ** (attempts - 1), _LAST_RETRY_S)
        for_good = isinstance(error, AdapterRejected)
        self._known[version] = Failure(error, attempts, float("inf") if for_good else time.monotonic() + wait)

    def get(self, version: str) -> Failure | None:
        """The last failure of ``version``, if it has not been loaded or forgotten since."""
        return self._known.get(version)

    def forget(self, version: str) -> None:
        """Let the next attempt start afresh."""
        self._known.pop(version, None)

    def check(self, version: str) -> None:
        """Raise the last failure again while another try makes no sense."""
        failure = self._known.get(version)
        if failure is not None and not failure.due:
            raise failure.error.with_traceback(None)


class AdapterLoader:
    """Loads and unloads the versions of one engine; the pool decides which and when."""

    def __init__(
        self, engine: Engine, cache: DiskCache, find: Callable[[str], AdapterVersion | None], timeout_s: float
    ) -> None:
        self._engine = engine
        self._cache = cache
        self._find = find
        self._timeout_s = timeout_s
        self._probe = EffectProbe(engine)
        self._proved: set[str] = set()
        self._files = ThreadPoolExecutor(_TURNS, thread_name_prefix="adapter-files")
        self._turns = asyncio.Semaphore(_TURNS)
        self._origin: dict[str, Tier] = {}
        self._in_use: frozenset[str] = frozenset()
        self.failures = Failures()
        self.unproved: dict[str, str] = {}
        """Loaded versions that could not be probed, and why."""
        self.loads: dict[str, Load] = {}
        """How each version that is here came to be here."""
        # The engine reads an adapter's files again when it copies it into a slot: they stay while it is loaded.
        cache.keep = lambda: self._in_use

    def origin(self, version: str) -> Tier:
        """Where the last load of ``version`` came from."""
        return self._origin.get(version, Tier.STORE)

    async def load(self, name: str) -> None:
        """Make ``name`` ready in the engine, proved to have an effect.

        Raises:
            VersionNotFound: the catalog does not know it, or no longer.
            AdapterRejected: it must not serve.
            LoadFailed, ArtifactCorrupt, EngineUnavailable: it could not be loaded now.
        """
        version = self._find(name)
        if version is None:
            raise VersionNotFound(f"There is no adapter version `{name}`.")
        self.failures.check(name)
        self._in_use |= {name}
        began = time.perf_counter()
        try:
            async with self._turns, asyncio.timeout(self._timeout_s):
                await self._load(version)
        except asyncio.CancelledError:
            self._in_use -= {name}
            raise
        except Exception as error:
            self._in_use -= {name}
            translated = _translate(name, error, self._timeout_s)
            self.failures.record(name, translated)
            if translated is error:
                raise
            raise translated from error
        self.failures.forget(name)
        self.loads[name] = Load(began, time.perf_counter(), self.origin(name))

    async def unload(self, name: str) -> None:
        """Take ``name`` out of the engine. Raises EngineAdapterError, EngineUnavailable."""
        await self._engine.unload_adapter(name)
        self._in_use -= {name}
        self.loads.pop(name, None)

    def close(self) -> None:
        """Release the threads, without waiting for a download in progress."""
        self._files.shutdown(wait=False, cancel_futures=True)

    async def _load(self, version: AdapterVersion) -> None:
        self._origin[version.name] = Tier.DISK if self._cache.holds(version.name) else Tier.STORE
        loop = asyncio.get_running_loop()
        path = await loop.run_in_executor(self._files, self._cache.ensure, version)
        try:
            await self._load_and_probe(version.name, path)
        except BaseException:
            # Whatever ended the load, a version that nobody may use does not stay in the engine.
            with contextlib.suppress(EngineError):
                await asyncio.shield(self._engine.unload_adapter(version.name))
            raise

    async def _load_and_probe(self, name: str, path: Path) -> None:
        await self._engine.load_adapter(name, path)
        if name in self._proved:
            return
        result = await self._probe.check(name)
        if result.skipped is not None:
            self.unproved[name] = f"effect probe skipped: {result.skipped}"
            return
        self._proved.add(name)
        self.unproved.pop(name, None)
        logger.info("%s passed the effect probe: %.3g nats in %.0f ms", name, result.effect, result.seconds * 1000)


def _translate(name: str, error: Exception, timeout_s: float) -> Exception:
    if isinstance(error, AdapterError):
        return error
    if isinstance(error, TimeoutError):
        return LoadFailed(f"`{name}` was not loaded within {timeout_s:g} s")
    if isinstance(error, (EngineAdapterError, OSError)):
        return LoadFailed(f"`{name}` could not be loaded: {error}")
    return error

"""Use cases of the adapter lifecycle: add, promote, canary, shadow, roll back, pin, remove, verify.

Everything here talks to the replicas through the catalog alone: it writes what should be, and reads what they report.
It therefore works the same whether they live in this process or in others.
"""

import asyncio
import logging
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from adapters.base_model import BaseModelSpec
from adapters.catalog import Catalog
from adapters.errors import (
    AdapterError,
    AliasNotFound,
    CatalogUnavailable,
    RolloutConflict,
    SourceUnavailable,
)
from adapters.sources import fetch_source, public_source
from adapters.store import ArtifactStore
from adapters.types import AdapterEvent, AdapterVersion, Alias, CatalogSnapshot, ReplicaReport
from adapters.validate import AdapterLimits, validate
from serving.config import GatewayConfig
from serving.errors import InvalidRequest, NotReady
from serving.names import check_adapter_name, find_version
from serving.overview import Overview
from serving.replicas import LIVE_S, Readiness, ReplicaWatch

logger = logging.getLogger(__name__)

T = TypeVar("T")

CONFIG_ACTOR = "config"
"""Who is named in the history for what the configuration file made happen at start."""

CONFIRM_S = 10.0
"""How long a finished change waits for the live replicas to confirm that they serve by it, in seconds."""


@dataclass(frozen=True, slots=True)
class RolloutResult:
    """What a change of an alias or of a pin came to."""

    action: str
    version: str | None
    alias: Alias | None
    revision: int
    """The catalog revision that the change made."""
    replicas: tuple[str, ...]
    """The live replicas that serve by it."""
    seconds: float
    notes: tuple[str, ...] = ()
    """What an operator should know although the change succeeded."""


@dataclass(frozen=True, slots=True)
class AddResult:
    """What adding an adapter came to."""

    version: AdapterVersion
    new: bool
    """False where the same content had been added before."""
    rollout: RolloutResult | None = None


@dataclass(frozen=True, slots=True)
class Verification:
    """The state of a stored version."""

    version: AdapterVersion
    problem: str | None
    """What is wrong with the stored files; None when they are as they were added."""
    overview: Overview


class Rollouts:
    """Changes the desired state, safely.

    A version that is to serve is staged first: every live replica loads it, probes it and reports. Only then does the
    alias flip, so a version that cannot serve changes nothing. Changes of one adapter take turns.
    """

    def __init__(self, config: GatewayConfig, catalog: Catalog, store: ArtifactStore, base_spec: BaseModelSpec) -> None:
        self._config = config
        self._catalog = catalog
        self._store = store
        self._base_spec = base_spec
        self._limits = AdapterLimits(max_rank=config.adapters.max_rank, max_bytes=config.adapters.max_bytes)
        self._closed = False
        self._locks: dict[str, asyncio.Lock] = {}
        self._threads = ThreadPoolExecutor(8, thread_name_prefix="rollouts")
        self._watch = ReplicaWatch(self._live, timeout_s=config.adapters.load_timeout_s + CONFIRM_S)

    async def start(self) -> None:
        """Clean up after a predecessor that was killed in the middle of a rollout. Raises CatalogUnavailable."""
        for version in (await self._snapshot()).staged:
            logger.warning("%s was staged by a rollout that never ended; dropped", version)
            await self._run(partial(self._catalog.unstage, version))

    async def close(self) -> None:
        """Give up rollouts that wait for replicas, undoing their first half, and release the threads."""
        self._watch.give_up()
        for lock in list(self._locks.values()):
            async with lock:
                pass
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)

    # Reading

    async def overview(self) -> Overview:
        """Everything that there is. Raises CatalogUnavailable."""
        return Overview(await self._snapshot(), await self._live())

    async def history(self, alias: str | None, limit: int) -> list[AdapterEvent]:
        """The last changes, newest first. Raises CatalogUnavailable."""
        return await self._run(lambda: self._catalog.history(alias, limit))

    async def verify(self, version: str) -> Verification:
        """Read a stored version again: its digest, and everything that was checked when it was added.

        Raises:
            VersionNotFound: no such version.
        """
        found = find_version(await self._snapshot(), version)
        problem = await self._run(lambda: self._stored_problem(found))
        return Verification(found, problem, await self.overview())

    # Adding and removing

    async def add(self, name: str, source: str, *, actor: str, promote: bool = False) -> AddResult:
        """Fetch, validate, store and register an adapter. The same content twice is one version.

        Raises:
            InvalidRequest: the name cannot be an adapter's.
            SourceUnavailable: the source cannot be read.
            AdapterRejected: it must not be served.
            RolloutConflict: the version's name is taken by other content.
            Anything that :meth:`promote` raises, with ``promote``; the version then stays registered.
        """
        check_adapter_name(name, self._config)
        async with self._turn(name):
            version, new = await self._run(lambda: self._take_in(name, source, actor, mend=actor != CONFIG_ACTOR))
            if new:
                await self._watch.until_revision(await self._run(self._catalog.revision), CONFIRM_S)
        rollout = await self.promote(name, version.name, actor=actor) if promote else None
        return AddResult(version, new, rollout)

    async def remove(self, version: str, *, actor: str) -> RolloutResult:
        """Forget a version that nothing uses: out of the catalog, the engines and the store.

        Raises:
            VersionNotFound: no such version.
            RolloutConflict: an alias, a pin or a rollout uses it.
        """
        started = time.monotonic()
        found = find_version(await self._snapshot(), version)
        async with self._turn(found.adapter):
            await self._run(lambda: self._catalog.remove(found.name, actor))
            holders = await self._watch.until_gone(found.name, CONFIRM_S)
            await self._run(lambda: self._store.delete(found.name))
            notes = tuple(f"replica {replica} still finishes requests with it" for replica in holders)
            return await self._finish("remove", found.name, None, started, notes)

    async def preload(self) -> list[str]:
        """Add the adapters that the configuration lists, and say what came of each.

        The first version of a new alias becomes its stable one. An alias that the catalog knows keeps what its
        rollouts made of it, so a source that cannot be read any more does no harm to it.

        Raises:
            AdapterError: an adapter that nothing serves yet could not be added.
        """
        return [await self._preload(source.name, source.source) for source in self._config.adapters.preload]

    async def _preload(self, name: str, source: str) -> str:
        known = (await self._snapshot()).aliases.get(name)
        stable = known.stable if known is not None else None
        try:
            added = await self.add(name, source, actor=CONFIG_ACTOR, promote=stable is None)
        except (AdapterError, InvalidRequest) as error:
            if stable is None or isinstance(error, CatalogUnavailable):
                raise
            logger.warning("preloading %s from %s failed, %s goes on serving: %s", name, source, stable, error)
            return f"{name}: {stable} goes on serving; {source} was not added ({error})"
        if stable is None or stable == added.version.name:
            return f"{name}: {added.version.name}"
        promote = f"loraplex adapters promote {added.version.name}"
        if added.new:
            logger.warning("%s has new content, %s; %s goes on serving until `%s`", source, added, stable, promote)
        return f"{name}: {stable} goes on serving; {source} is {added.version.name}, take it up with `{promote}`"

    # Changing what serves

    async def promote(
        self, alias: str, version: str, *, actor: str, reason: str = "", expected: Alias | None = None
    ) -> RolloutResult:
        """Make ``version`` the alias's stable one, once every live replica is ready to serve it.

        Args:
            reason: why, for the history.
            expected: what the alias must still be when it flips.

        Raises:
            VersionNotFound: no such version.
            RolloutConflict: the version belongs to another adapter, or the alias is not as expected.
            AdapterRejected, LoadFailed, ArtifactCorrupt, PoolSaturated: a replica could not make it ready; nothing
                was changed.
        """
        return await self._roll(
            "promote",
            alias,
            version,
            lambda name: self._catalog.promote(alias, name, actor, reason=reason, expected=expected),
        )

    async def canary(
        self, alias: str, version: str, share: float, *, actor: str, reason: str = "", expected: Alias | None = None
    ) -> RolloutResult:
        """Let ``version`` answer ``share`` of the callers, in (0, 1]. Raises as :meth:`promote`, and AliasNotFound."""
        return await self._roll(
            "canary",
            alias,
            version,
            lambda name: self._catalog.set_canary(alias, name, share, actor, reason=reason, expected=expected),
        )

    async def end_canary(self, alias: str, *, actor: str) -> RolloutResult:
        """Give all callers back to the stable version. Raises AliasNotFound, RolloutConflict."""
        return await self._flip("end-canary", alias, lambda: self._catalog.end_canary(alias, actor))

    async def shadow(
        self, alias: str, version: str | None, *, actor: str, reason: str = "", expected: Alias | None = None
    ) -> RolloutResult:
        """Send a copy of the traffic to ``version``; None ends it. Raises as :meth:`canary`."""

        def flip(name: str | None) -> None:
            self._catalog.set_shadow(alias, name, actor, reason=reason, expected=expected)

        if version is None:
            return await self._flip("end-shadow", alias, lambda: flip(None))
        return await self._roll("shadow", alias, version, flip)

    async def rollback(
        self, alias: str, *, actor: str, reason: str = "", expected: Alias | None = None
    ) -> RolloutResult:
        """Drop the canary, or else return to the previous stable version. Raises as :meth:`canary`."""
        before = await self._alias(alias)

        def flip() -> None:
            self._catalog.rollback(alias, actor, reason=reason, expected=expected)

        if before.previous is None or before.canary is not None:
            return await self._flip("rollback", alias, flip)
        return await self._roll("rollback", alias, before.previous, lambda _: flip())

    async def pin(self, version: str, *, actor: str) -> RolloutResult:
        """Keep ``version`` loaded on every replica. Raises as :meth:`promote`."""
        snapshot = await self._snapshot()
        found = find_version(snapshot, version)
        room = self._config.adapters.cpu_slots
        if found.name not in snapshot.pins and len(snapshot.pins) >= room:
            raise RolloutConflict(
                f"{len(snapshot.pins)} versions are pinned and the engine holds {room}: unpin one first, "
                "or raise `adapters.cpu_slots`."
            )
        return await self._roll("pin", found.adapter, found.name, lambda name: self._catalog.pin(name, actor))

    async def unpin(self, version: str, *, actor: str) -> RolloutResult:
        """Let ``version`` leave the engine when its place is needed. Raises VersionNotFound."""
        found = find_version(await self._snapshot(), version)
        return await self._flip("unpin", found.adapter, lambda: self._catalog.unpin(found.name, actor), found.name)

    # How

    async def _roll(self, action: str, alias: str, version: str, flip: Callable[[str], object]) -> RolloutResult:
        """Have ``version`` made ready everywhere, then flip."""
        started = time.monotonic()
        found = find_version(await self._snapshot(), version, alias)
        async with self._turn(alias):
            async with self._staged(found.name) as readiness:
                await self._run(lambda: flip(found.name))
            return await self._finish(action, found.name, alias, started, readiness.notes)

    async def _flip(
        self, action: str, alias: str, flip: Callable[[], object], version: str | None = None
    ) -> RolloutResult:
        """A change for which every replica has already what it needs."""
        started = time.monotonic()
        async with self._turn(alias):
            await self._run(flip)
            return await self._finish(action, version, alias, started)

    @asynccontextmanager
    async def _staged(self, version: str) -> AsyncIterator[Readiness]:
        """Hold ``version`` loaded and probed on every live replica for the length of a block."""
        if not await self._live():
            yield Readiness((), ("no replica is live: nothing was loaded or probed yet",))
            return
        if version in (await self._snapshot()).staged:
            # Left by a rollout that was killed. Staging afresh makes the replicas try again.
            await self._run(lambda: self._catalog.unstage(version))
        await self._run(lambda: self._catalog.stage(version))
        try:
            yield await self._watch.until_ready(version, await self._run(self._catalog.revision))
        finally:
            await asyncio.shield(self._unstage(version))

    async def _unstage(self, version: str) -> None:
        try:
            await self._run(lambda: self._catalog.unstage(version))
        except CatalogUnavailable as error:
            logger.warning("%s stays staged until the next start: %s", version, error)

    async def _finish(
        self, action: str, version: str | None, alias: str | None, started: float, notes: tuple[str, ...] = ()
    ) -> RolloutResult:
        """Wait until the live replicas serve by what was changed, and sum up."""
        revision = await self._run(self._catalog.revision)
        late = await self._watch.until_revision(revision, CONFIRM_S)
        live = await self._live()
        return RolloutResult(
            action=action,
            version=version,
            alias=(await self._snapshot()).aliases.get(alias) if alias is not None else None,
            revision=revision,
            replicas=tuple(report.replica for report in live if report.replica not in late),
            seconds=time.monotonic() - started,
            notes=(*notes, *(f"replica {replica} has not confirmed the change yet" for replica in late)),
        )

    def _take_in(self, name: str, source: str, actor: str, *, mend: bool) -> tuple[AdapterVersion, bool]:
        """Blocking: fetch, validate, store, register. With ``mend``, a stored copy that is damaged is replaced."""
        with tempfile.TemporaryDirectory(prefix="loraplex-add-", ignore_cleanup_errors=True) as scratch:
            folder = fetch_source(source, Path(scratch), max_bytes=self._config.adapters.max_bytes)
            try:
                manifest = validate(folder, self._base_spec, self._limits)
            except OSError as error:
                raise SourceUnavailable(f"{public_source(source)} cannot be read: {error}") from error
            version = manifest.version(name, public_source(source))
            stored = self._store.exists(version.name)
            if stored and mend and self._stored_problem(version) is not None:
                self._store.delete(version.name)
                stored = False
            if not stored:
                self._store.put(folder, version.name)
            return version, self._catalog.register(version, actor)

    def _stored_problem(self, version: AdapterVersion) -> str | None:
        """Blocking: what is wrong with a stored version."""
        with tempfile.TemporaryDirectory(prefix="loraplex-verify-", ignore_cleanup_errors=True) as scratch:
            folder = Path(scratch) / "adapter"
            try:
                self._store.fetch(version.name, version.digest, folder)
                manifest = validate(folder, self._base_spec, self._limits)
            except (AdapterError, OSError) as error:
                return str(error)
        return None if manifest.digest == version.digest else f"the files have digest {manifest.digest}"

    async def _alias(self, name: str) -> Alias:
        alias = (await self._snapshot()).aliases.get(name)
        if alias is None:
            raise AliasNotFound(f"There is no adapter alias `{name}`.")
        return alias

    async def _snapshot(self) -> CatalogSnapshot:
        return await self._run(self._catalog.snapshot)

    async def _live(self) -> tuple[ReplicaReport, ...]:
        return tuple(await self._run(lambda: self._catalog.replicas(LIVE_S)))

    @asynccontextmanager
    async def _turn(self, adapter: str) -> AsyncIterator[None]:
        async with self._locks.setdefault(adapter, asyncio.Lock()):
            yield

    async def _run(self, call: Callable[[], T]) -> T:
        if self._closed:
            raise NotReady("the control plane is stopping")
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

"""``LifeController``: the life of all adapters' versions, in the control plane."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from pydantic import ValidationError

from adapters.catalog import Catalog
from adapters.errors import AliasNotFound, CatalogUnavailable, RolloutConflict
from adapters.rollout_records import RolloutRecords
from adapters.rollout_types import Phase, Report, Rollout
from adapters.types import Alias, CatalogSnapshot
from serving.config import GatewayConfig, RolloutSettings
from serving.errors import InvalidRequest, NotReady
from serving.life.driver import ACTOR, Driver
from serving.life.evidence import Comparisons
from serving.life.protocol import Examiner, Scoring
from serving.life.reports import ROLLOUT, report_of
from serving.life.scorer import SampleScorer, ScoringProcess
from serving.names import find_version
from serving.rollout import Rollouts
from serving.waiting import happens_within

logger = logging.getLogger(__name__)

T = TypeVar("T")

_RETRIES = 5
_LOOKED_BACK = 100
"""Rollouts of an adapter among which one that was begun already is looked for."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """How somebody wants an automatic rollout to differ from the adapter's policy."""

    shadow: bool = False
    """Whether a shadow comes before the canary."""
    steps: Sequence[float] | None = None
    examine: bool = False
    """Whether the suite and the gate come before everything."""


class LifeController:
    """Drives every automatic rollout that the database says is in progress, one task each.

    Args:
        scoring: makes what scores samples.
        clock: Unix seconds.
    """

    def __init__(
        self,
        config: GatewayConfig,
        catalog: Catalog,
        rollouts: Rollouts,
        examiner: Examiner,
        *,
        tests: Comparisons | None = None,
        scoring: Callable[[], Scoring] = ScoringProcess,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        self._catalog = catalog
        self.records = RolloutRecords(catalog)
        self._rollouts = rollouts
        self._examiner = examiner
        self._tests = tests or sequential_tests()
        self._scorer = SampleScorer(config, catalog, make=scoring)
        self._clock = clock
        self._drives: dict[int, asyncio.Task[None]] = {}
        self._stopping = asyncio.Event()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="life")

    async def start(self) -> None:
        """Go on with what a predecessor left, and with whatever is begun from now on."""
        self._task = asyncio.create_task(self._follow(), name="life")
        await self._scorer.start()

    async def stop(self) -> None:
        """Leave every rollout as it is written down. Safe without ``start``."""
        self._stopping.set()
        self._wake.set()
        tasks = [task for task in (self._task, *self._drives.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._scorer.stop()
        self._threads.shutdown(wait=False, cancel_futures=True)

    # For those who make versions

    async def candidate(self, version: str, *, actor: str) -> None:
        """As :class:`serving.life.protocol.Life` says."""
        snapshot: CatalogSnapshot = await self._run(self._catalog.snapshot)
        found = find_version(snapshot, version)
        policy = self._config.adapters.rollouts.get(found.adapter)
        if policy is None or (policy.suite is None and policy.on_pass == "candidate"):  # noqa: S105
            return
        stable = snapshot.aliases.get(found.adapter, Alias(found.adapter)).stable
        begun: list[Rollout] = await self._run(lambda: self.records.last(found.adapter, _LOOKED_BACK))
        if stable == found.name or any((one.candidate, one.actor) == (found.name, actor) for one in begun):
            return
        try:
            await self._begin(found.adapter, found.name, stable, policy, actor)
        except RolloutConflict as error:
            logger.warning("%s stays a candidate: %s", found.name, error)
            report = Report(found.name, ROLLOUT, Phase.KEPT.value, f"not begun: {error}", {}, ACTOR)
            await self._run(lambda: self.records.add_report(report))

    # For the admin API

    async def begin(self, alias: str, version: str, wishes: Wishes, *, actor: str) -> Rollout:
        """Begin an automatic rollout by hand.

        Raises:
            VersionNotFound: no such version.
            RolloutConflict: the version belongs to another adapter or is stable already, there is another canary, or
                another automatic rollout of the alias is in progress.
            InvalidRequest: the wishes cannot be followed.
        """
        snapshot: CatalogSnapshot = await self._run(self._catalog.snapshot)
        found = find_version(snapshot, version, alias)
        known = snapshot.aliases.get(alias, Alias(alias))
        if known.stable == found.name:
            raise RolloutConflict(f"{found.name} is already the stable version of {alias}.")
        if known.canary not in (None, found.name):
            raise RolloutConflict(f"{known.canary} is the canary of {alias}; end it first.")
        return await self._begin(alias, found.name, known.stable, self._policy(alias, wishes), actor)

    async def end(self, alias: str, *, actor: str) -> Rollout:
        """End an automatic rollout; the alias stays as it is. Raises RolloutConflict where none is in progress."""
        for _ in range(_RETRIES):
            last: list[Rollout] = await self._run(lambda: self.records.last(alias))
            if not last or last[0].phase.ended:
                raise RolloutConflict(f"no automatic rollout of {alias} is in progress.")
            ended = replace(last[0], phase=Phase.STOPPED, reason=f"stopped by {actor}")
            body = {"stable": ended.stable, "history": ended.state.get("history", []), "policy": dict(ended.policy)}
            report = Report(ended.candidate, ROLLOUT, Phase.STOPPED.value, ended.reason, body, actor)
            save = partial(self.records.save, ended, reports=[report], event="end-rollout", actor=actor)
            try:
                return await self._run(save)
            except RolloutConflict:
                continue
        raise NotReady(f"the automatic rollout of {alias} changes too fast to be ended; try again")

    async def rollouts(self, alias: str, limit: int = 1) -> list[Rollout]:
        """The last automatic rollouts of an alias, newest first. Raises AliasNotFound where there was none."""
        found: list[Rollout] = await self._run(lambda: self.records.last(alias, limit))
        if not found:
            raise AliasNotFound(f"There was no automatic rollout of `{alias}` yet.")
        return found

    async def reports(self, version: str) -> list[Report]:
        """What was found out about a version, newest first. Raises VersionNotFound."""
        found = find_version(await self._run(self._catalog.snapshot), version)
        reports: list[Report] = await self._run(lambda: self.records.reports(found.name))
        return reports

    async def report(self, version: str, data: Mapping[str, Any], *, actor: str) -> Report:
        """Attach a suite's run, a gate's verdict or another report to a version.

        Raises:
            VersionNotFound: no such version.
            InvalidRequest: the data is none of them.
        """
        found = find_version(await self._run(self._catalog.snapshot), version)
        report = replace(report_of(found.name, data), actor=actor)
        added: Report = await self._run(lambda: self.records.add_report(report))
        return added

    # How

    def _policy(self, alias: str, wishes: Wishes) -> RolloutSettings:
        policy = self._config.adapters.rollouts.get(alias, RolloutSettings())
        if wishes.examine and policy.suite is None:
            raise InvalidRequest(f"`adapters.rollouts.{alias}.suite` names no suite to examine with.", param="examine")
        changes = policy.model_dump(mode="json") | {"on_pass": "shadow" if wishes.shadow else "canary"}
        if not wishes.examine:
            changes["suite"] = None
        if wishes.steps is not None:
            changes["steps"] = list(wishes.steps)
        try:
            return RolloutSettings.model_validate(changes)
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
            raise InvalidRequest(f"`steps`: {problem}.", param="steps") from None

    async def _begin(
        self, alias: str, version: str, stable: str | None, policy: RolloutSettings, actor: str
    ) -> Rollout:
        settings = policy.model_dump(mode="json")
        begun: Rollout = await self._run(
            lambda: self.records.begin(alias, version, stable, Phase.EXAMINING, settings, actor=actor)
        )
        self._wake.set()
        return begun

    async def _follow(self) -> None:
        """Have a task for every rollout in progress, whoever began it."""
        while not self._stopping.is_set():
            try:
                active: list[Rollout] = await self._run(self.records.active)
                for rollout in active:
                    if rollout.id not in self._drives:
                        self._drives[rollout.id] = asyncio.create_task(
                            self._drive(rollout.id), name=f"life {rollout.id}"
                        )
            except CatalogUnavailable as error:
                logger.warning("automatic rollouts wait: %s", error)
            except Exception:
                logger.exception("looking for automatic rollouts failed; trying again")
            await happens_within(self._wake, self._config.life.check_interval_s)
            self._wake.clear()

    async def _drive(self, number: int) -> None:
        driver = Driver(
            number,
            catalog=self._catalog,
            rollouts=self._rollouts,
            examiner=self._examiner,
            tests=self._tests,
            run=self._run,
            clock=self._clock,
        )
        try:
            ended = False
            while not ended:
                try:
                    ended = await driver.tick()
                except Exception:
                    logger.exception("a step of rollout %d failed; trying again", number)
                if not ended and await happens_within(self._stopping, self._config.life.check_interval_s):
                    return
        finally:
            await driver.close()
            self._drives.pop(number, None)

    async def _run(self, call: Callable[[], T]) -> T:
        if self._stopping.is_set():
            raise NotReady("the control plane is stopping")
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)


def sequential_tests() -> Comparisons:
    """The always-valid tests that rollouts use."""
    from training.gating.sequential import MeanTest, RateTest

    return Comparisons(RateTest, RateTest.from_json, MeanTest, MeanTest.from_json)

"""Carries one automatic rollout on, tick by tick: reads what is seen, lets the plan decide, makes the alias follow.

Everything that matters is in the database, so that another process can go on after any tick.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Protocol

from adapters.catalog import Catalog
from adapters.errors import AdapterError, AdapterRejected, CatalogUnavailable, RolloutConflict, VersionNotFound
from adapters.rollout_records import RolloutRecords
from adapters.rollout_types import Phase, Report, RoleCounts, Rollout, SampleScore
from adapters.sample_records import SampleRecords
from adapters.signal_records import SignalRecords
from adapters.types import Alias, CatalogSnapshot, Role
from serving.config import RolloutSettings
from serving.errors import ExaminationFailed, NotReady
from serving.life.evidence import ERRORS, Comparisons, Evidence
from serving.life.plan import Seen, State, begin, decide, end, share_of
from serving.life.protocol import Examination, Examiner, Finding
from serving.life.reports import ROLLOUT
from serving.replicas import LIVE_S
from serving.rollout import Rollouts

logger = logging.getLogger(__name__)

ACTOR = "rollout"
"""Who is named in the history for what an automatic rollout did."""

_FLIPPED = (Phase.PROMOTED, Phase.ROLLED_BACK)
_MOMENT_S = 1.0
"""How long a change of the alias is waited for before the signals are looked at again, in seconds."""
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 60.0
"""Between two attempts to have a version loaded that a replica cannot load now, in seconds."""


class RunBlocking(Protocol):
    """Runs something blocking in a thread."""

    def __call__(self, call: Callable[[], Any], /) -> Awaitable[Any]: ...


class Driver:
    """One rollout's. Call :meth:`tick` until it says that the rollout has ended; :meth:`close` after the last."""

    def __init__(
        self,
        number: int,
        *,
        catalog: Catalog,
        rollouts: Rollouts,
        examiner: Examiner,
        tests: Comparisons,
        run: RunBlocking,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._number = number
        self._catalog = catalog
        self._records = RolloutRecords(catalog)
        self._signals = SignalRecords(catalog, "control")
        self._samples = SampleRecords(catalog, "control")
        self._rollouts = rollouts
        self._examiner = examiner
        self._tests = tests
        self._run = run
        self._clock = clock
        self._examining: asyncio.Task[Finding] | None = None
        self._change: asyncio.Task[None] | None = None
        """On its way to where the plan wants the alias; signals are looked at meanwhile."""
        self._change_for: tuple[Phase, int] | None = None
        """The phase and step that it belongs to."""
        self._said = ""
        self._failures = 0
        self._not_before = 0.0

    async def tick(self) -> bool:
        """Look, decide, do. Whether the rollout has ended.

        What goes wrong for a while (no database, no replica, an engine that cannot load the version now) is tried
        again with the next tick.
        """
        try:
            return (await self._tick()).ended
        except (CatalogUnavailable, NotReady) as error:
            self._say(f"waits: {error}")
        except RolloutConflict as error:
            self._say(f"looks again: {error}")
        return False

    async def close(self) -> None:
        """End an examination or a change in progress; it goes on where it was with the next driver."""
        await self._give_up_change()
        task, self._examining = self._examining, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _tick(self) -> Phase:
        rollout: Rollout = await self._run(lambda: self._records.rollout(self._number))
        if rollout.phase.ended:
            await self.close()
            return rollout.phase
        policy = RolloutSettings.model_validate(dict(rollout.policy))
        state = state_of(rollout)
        snapshot: CatalogSnapshot = await self._run(self._catalog.snapshot)
        alias = snapshot.aliases.get(rollout.alias, Alias(rollout.alias))
        if rollout.candidate not in snapshot.versions:
            return await self._end(rollout, state, Phase.FAILED, f"{rollout.candidate} was removed")
        if rollout.phase is Phase.EXAMINING:
            return await self._examine(rollout, state, policy, alias)
        return await self._step(rollout, state, policy, alias)

    # Examining

    async def _examine(self, rollout: Rollout, state: State, policy: RolloutSettings, alias: Alias) -> Phase:
        seen = Seen(self._clock(), alias)
        if alias.stable != rollout.stable:
            why = f"the stable version was changed by hand, from {rollout.stable} to {alias.stable}"
            return await self._end(rollout, state, Phase.STOPPED, why)
        if policy.suite is None:
            return await self._go_on(rollout, begin(state, seen, policy, "not examined: its policy names no suite"))
        if self._examining is None:
            if not await self._live(ready=True):
                self._say("waits for a replica that is ready, to be examined")
                return rollout.phase
            examination = Examination(rollout.id, rollout.candidate, rollout.stable, policy.suite, policy.gate)
            self._examining = asyncio.create_task(self._examiner.examine(examination), name="examination")
        if not self._examining.done():
            return rollout.phase
        task, self._examining = self._examining, None
        try:
            finding = task.result()
        except ExaminationFailed as error:
            return await self._end(rollout, state, Phase.FAILED, f"could not be examined: {error}")
        if not finding.passed:
            return await self._end(rollout, state, Phase.REFUSED, finding.reason, finding.reports)
        return await self._go_on(rollout, begin(state, seen, policy, finding.reason), reports=finding.reports)

    # Shadow, canary, promotion, rollback

    async def _step(self, rollout: Rollout, state: State, policy: RolloutSettings, alias: Alias) -> Phase:
        totals: dict[str, RoleCounts] = await self._run(lambda: self._signals.totals(rollout.id))
        evidence = Evidence(policy, self._tests, rollout.state.get("evidence"))
        changed = evidence.enter(alias, rollout.candidate)
        evidence.fold(totals, await self._scores(rollout, policy, evidence, forget=changed))
        seen = Seen(self._clock(), alias, evidence.readings(), _requests(totals, state.phase), await self._live())
        after = decide(state, seen, policy)
        if self._change is not None:
            if (after.applied or after.phase in _FLIPPED) and not self._change.done():
                return rollout.phase  # replicas have yet to confirm it
            if (after.phase, after.step) != self._change_for:
                # What it may have done until it was given up is looked at before anything else is decided.
                await self._give_up_change()
                return rollout.phase
        if after != state or evidence.to_json() != rollout.state.get("evidence"):
            rollout = await self._save(rollout, after, policy, evidence)
        if after.phase.ended or after.applied:
            return after.phase
        if not seen.replicas and after.phase is not Phase.ROLLING_BACK:
            self._say("waits: no replica is live")
            return after.phase
        if seen.now < self._not_before and after.phase is not Phase.ROLLING_BACK:
            return after.phase
        return await self._bring_nearer(rollout, after, policy, alias)

    async def _scores(
        self, rollout: Rollout, policy: RolloutSettings, evidence: Evidence, *, forget: bool
    ) -> list[SampleScore]:
        """New scores of answers. ``forget``: samples that still wait are of another phase or step, and go unscored."""
        if not policy.signals.scored:
            return []
        if forget:
            await self._run(lambda: self._samples.drop(rollout.id))
        scores: list[SampleScore] = await self._run(lambda: self._samples.scores(rollout.id, evidence.places))
        return scores

    async def _bring_nearer(self, rollout: Rollout, state: State, policy: RolloutSettings, alias: Alias) -> Phase:
        """Go on with the change that brings the alias to where the state wants it; wait for it only a moment."""
        if self._change is None:
            self._change = asyncio.create_task(self._apply(rollout, state, policy, alias), name="change")
            self._change_for = (state.phase, state.step)
        done, _ = await asyncio.wait({self._change}, timeout=_MOMENT_S)
        if not done:
            return state.phase
        change, self._change = self._change, None
        try:
            change.result()
        except (AdapterRejected, VersionNotFound) as error:
            return await self._cannot(rollout, state, alias, str(error))
        except (CatalogUnavailable, RolloutConflict):
            raise
        except AdapterError as error:
            self._failures += 1
            self._not_before = self._clock() + min(_FIRST_PAUSE_S * 2**self._failures, _LONGEST_PAUSE_S)
            self._say(f"tries again: {error}")
        else:
            self._failures = 0
        return state.phase

    async def _give_up_change(self) -> None:
        change, self._change = self._change, None
        if change is not None:
            change.cancel()
            await asyncio.gather(change, return_exceptions=True)

    async def _apply(self, rollout: Rollout, state: State, policy: RolloutSettings, alias: Alias) -> None:
        """Bring the alias one change nearer to where the state wants it. Raises what the rollouts raise."""
        name, version = rollout.alias, rollout.candidate
        why: dict[str, Any] = {"actor": ACTOR, "reason": state.reason, "expected": alias}
        if alias.stable is None:
            why["expected"] = None
        share = share_of(state, policy)
        match state.phase:
            case Phase.PROMOTING:
                await self._rollouts.promote(name, version, **why)
            case Phase.CANARY if (alias.canary, alias.canary_share) != (version, share):
                await self._rollouts.canary(name, version, share, **why)
            case Phase.SHADOW:
                await self._rollouts.shadow(name, version, **why)
            case Phase.ROLLING_BACK if alias.canary == version:
                await self._rollouts.rollback(name, **why)
            case _ if alias.shadow == version:
                await self._rollouts.shadow(name, None, **why)

    async def _cannot(self, rollout: Rollout, state: State, alias: Alias, problem: str) -> Phase:
        reason = f"{rollout.candidate} cannot be served: {problem}"
        if rollout.candidate in (alias.canary, alias.shadow) and state.phase is not Phase.ROLLING_BACK:
            return await self._go_on(rollout, end(state, Seen(self._clock(), alias), Phase.ROLLING_BACK, reason))
        return await self._end(rollout, state, Phase.FAILED, reason)

    # Writing down

    async def _go_on(self, rollout: Rollout, state: State, reports: tuple[Report, ...] = ()) -> Phase:
        policy = RolloutSettings.model_validate(dict(rollout.policy))
        evidence = Evidence(policy, self._tests, rollout.state.get("evidence"))
        await self._save(rollout, state, policy, evidence, reports)
        return state.phase

    async def _end(
        self, rollout: Rollout, state: State, phase: Phase, reason: str, reports: tuple[Report, ...] = ()
    ) -> Phase:
        return await self._go_on(rollout, end(state, Seen(self._clock(), Alias(rollout.alias)), phase, reason), reports)

    async def _save(
        self,
        rollout: Rollout,
        state: State,
        policy: RolloutSettings,
        evidence: Evidence,
        reports: tuple[Report, ...] = (),
    ) -> Rollout:
        if state.phase is not rollout.phase or share_of(state, policy) != rollout.share:
            logger.info("rollout of %s: %s, %s", rollout.candidate, state.phase.value, state.reason)
        changed = replace(
            rollout,
            phase=state.phase,
            share=share_of(state, policy),
            state=state.to_json() | {"evidence": evidence.to_json()},
            reason=state.reason,
        )
        event = None
        if state.phase.ended:
            reports = (*reports, _final_report(rollout, state, evidence))
            # The alias's own change stands in the history already.
            event = None if state.phase in (Phase.PROMOTED, Phase.ROLLED_BACK) else "end-rollout"
        saved: Rollout = await self._run(lambda: self._records.save(changed, reports=reports, event=event, actor=ACTOR))
        if state.phase.ended:
            await self._run(self._signals.prune_counts)
            await self._run(self._samples.prune)
        return saved

    async def _live(self, *, ready: bool = False) -> int:
        reports = await self._run(lambda: self._catalog.replicas(LIVE_S))
        return sum(report.ready or not ready for report in reports)

    def _say(self, line: str) -> None:
        """Once for each new line: ticks are frequent."""
        if line != self._said:
            logger.warning("rollout %d %s", self._number, line)
        self._said = line


def state_of(rollout: Rollout) -> State:
    """The plan's state of a stored rollout."""
    stored = rollout.state
    return State(
        phase=rollout.phase,
        candidate=rollout.candidate,
        stable=rollout.stable,
        started=rollout.started_at.timestamp(),
        step=stored.get("step", 0),
        applied=stored.get("applied", False),
        since=stored.get("since", rollout.started_at.timestamp()),
        requests_before=stored.get("requests_before", 0),
        reason=rollout.reason,
        history=tuple(stored.get("history", ())),
    )


def _requests(totals: dict[str, RoleCounts], phase: Phase) -> int:
    role = Role.SHADOW if phase is Phase.SHADOW else Role.CANARY
    counts = totals.get(role, RoleCounts())
    return counts.signals.get(ERRORS, [0, 0])[0]


def _final_report(rollout: Rollout, state: State, evidence: Evidence) -> Report:
    body = {
        "stable": rollout.stable,
        "history": [dict(entry) for entry in state.history],
        "signals": [reading.to_json() for reading in evidence.readings()],
        "policy": dict(rollout.policy),
        "started_by": rollout.actor,
        "started_at": rollout.started_at.isoformat(),
    }
    return Report(rollout.candidate, ROLLOUT, state.phase.value, state.reason, body, ACTOR)

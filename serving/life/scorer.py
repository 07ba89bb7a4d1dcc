"""Has samples scored, in the control plane: which ones, by what, and how many of them."""

import asyncio
import contextlib
import json
import logging
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from adapters.catalog import Catalog
from adapters.errors import CatalogUnavailable, RolloutConflict
from adapters.rollout_records import RolloutRecords
from adapters.rollout_types import Rollout, Sample
from adapters.sample_records import SampleRecords
from serving.config import GatewayConfig, RolloutSettings
from serving.life.protocol import Order, Scored, Scoring
from serving.settings.life import JUDGE, SAMPLED, JudgeScoreSettings, SignalSettings
from serving.waiting import happens_within

logger = logging.getLogger(__name__)

JUDGED_AT_ONCE = 4
CHECKED_AT_ONCE = 16
"""Samples of either version in one order: for a judge, and for rules."""

_PRUNE_AFTER_S = 5.0
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
"""Between two orders where the first one met a problem, in seconds."""
_LIMIT_S = 120.0
"""For an order, besides the time that its settings give a verdict: a process may have to start, a pattern to end."""

T = TypeVar("T")


class ScoringProcess:
    """One process that scores, started with the first order.

    Args:
        command: what reads orders and answers them.
    """

    def __init__(self, command: Sequence[str] = (sys.executable, "-m", "serving.life.scoring")) -> None:
        self._command = tuple(command)
        self._process: asyncio.subprocess.Process | None = None

    async def score(self, order: Order) -> Scored:
        """As the protocol says."""
        limit_s = _LIMIT_S + float(order.settings.get("timeout_s", 0.0))
        try:
            async with asyncio.timeout(limit_s):
                line = await self._exchange(order.line)
            answer = json.loads(line)
            return Scored(tuple(answer["values"]), answer["problem"])
        except TimeoutError:
            await self.close()
            return Scored((), f"scoring took longer than {limit_s:g} s")
        except (OSError, ValueError):
            status = await self._end()
            return Scored((), f"the process that scores ended with status {status}")
        except BaseException:
            # Its answer to this order would be taken for the next one's.
            await self.close()
            raise

    async def close(self) -> None:
        """End the process, which keeps nothing."""
        await self._end()

    async def _end(self) -> int | None:
        """Its exit status; None where there was none."""
        process, self._process = self._process, None
        if process is None:
            return None
        if process.stdin is not None:
            process.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        return await process.wait()

    async def _exchange(self, line: str) -> bytes:
        if self._process is None or self._process.returncode is not None:
            # What it says on its standard error could quote a sample.
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
        requests, answers = self._process.stdin, self._process.stdout
        if requests is None or answers is None:
            raise OSError("the process has no pipes")
        requests.write(line.encode() + b"\n")
        await requests.drain()
        return await answers.readline()


@dataclass(slots=True)
class _Rest:
    """A pause of one signal of one rollout after problems."""

    problem: str = ""
    failures: int = 0
    until: float = 0.0


class SampleScorer:
    """Looks for samples that wait, one task for each signal; a signal that cannot score is silent, and stops nobody.

    Args:
        make: where a task's scoring comes from.
        clock: seconds, from any moment on.
    """

    def __init__(
        self,
        config: GatewayConfig,
        catalog: Catalog,
        *,
        make: Callable[[], Scoring] = ScoringProcess,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        policies = config.adapters.rollouts.values()
        self._is_wanted = any(policy.signals.samples is not None for policy in policies)
        self._interval_s = config.life.check_interval_s
        self.records = SampleRecords(catalog, f"control:{uuid.uuid4().hex[:12]}")
        self._rollouts = RolloutRecords(catalog)
        self._make = make
        self._clock = clock
        self._rests: dict[tuple[int, str], _Rest] = {}
        self._pruned = -_PRUNE_AFTER_S
        self._failing = False
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        # One thread: scores are numbered in the order in which they are written.
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="samples")

    async def start(self) -> None:
        """Begin. Where the configuration asks for no samples, those that were kept under another one are deleted."""
        if self._is_wanted:
            self._tasks = [asyncio.create_task(self._keep_scoring(name), name=f"samples {name}") for name in SAMPLED]
            return
        try:
            await self._run(self.records.drop_all)
        except CatalogUnavailable as error:
            logger.warning("samples that nobody asks for any more are not deleted yet: %s", error)

    async def stop(self) -> None:
        """End; samples that wait are another's. Safe without ``start``."""
        self._stopping.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def score_waiting(self, signal: str, scoring: Scoring) -> None:
        """One order for each rollout with samples that wait for a signal. Raises CatalogUnavailable."""
        waiting = await self._run(self.records.waiting)
        if waiting and self._clock() - self._pruned >= _PRUNE_AFTER_S:
            self._pruned = self._clock()
            await self._run(self.records.prune)
        for number, wanted in waiting:
            if wanted == signal:
                await self._look_at(number, signal, scoring)

    async def _look_at(self, number: int, signal: str, scoring: Scoring) -> None:
        try:
            rollout: Rollout = await self._run(lambda: self._rollouts.rollout(number))
        except RolloutConflict:  # there is none
            await self._run(lambda: self.records.drop(number, signal))
            return
        settings = _settings(rollout, signal)
        if settings is None or rollout.phase.ended:
            await self._run(lambda: self.records.drop(number, signal))
            return
        rest = self._rests.setdefault((number, signal), _Rest())
        if not rollout.phase.watched or self._clock() < rest.until:
            return
        # After a problem one of either is enough to see whether it is over.
        most = 1 if rest.failures else JUDGED_AT_ONCE if signal == JUDGE else CHECKED_AT_ONCE
        chosen = await self._chosen(rollout, signal, settings, most)
        if not chosen:
            return
        scored = await scoring.score(Order(signal, settings.model_dump(mode="json"), chosen))
        if scored.values:
            await self._run(lambda: self.records.settle(zip(chosen, scored.values, strict=True)))
        self._note(rollout, signal, rest, scored.problem)

    async def _chosen(self, rollout: Rollout, signal: str, settings: SignalSettings, most: int) -> tuple[Sample, ...]:
        """The newest ones. A judge gets as many of either version: more of one would tell little for their price."""
        candidate, stable = await self._run(lambda: self.records.newest(rollout.id, signal, most))
        if isinstance(settings, JudgeScoreSettings):
            spent = await self._run(lambda: self.records.spent(rollout.alias, signal))
            pairs = max(min(len(candidate), len(stable), (settings.requests_per_hour - spent) // 2), 0)
            candidate, stable = candidate[:pairs], stable[:pairs]
        return (*candidate, *stable)

    def _note(self, rollout: Rollout, signal: str, rest: _Rest, problem: str) -> None:
        if not problem:
            rest.problem, rest.failures = "", 0
            return
        if problem != rest.problem:
            logger.warning("the signal %s of rollout %d is silent: %s", signal, rollout.id, problem)
        rest.problem = problem
        rest.until = self._clock() + min(_FIRST_PAUSE_S * 2 ** min(rest.failures, 10), _LONGEST_PAUSE_S)
        rest.failures += 1

    async def _keep_scoring(self, signal: str) -> None:
        scoring = self._make()
        try:
            while not await happens_within(self._stopping, self._interval_s):
                try:
                    await self.score_waiting(signal, scoring)
                    self._failing = False
                except CatalogUnavailable as error:
                    if not self._failing:
                        logger.warning("samples wait: %s", error)
                    self._failing = True
                except Exception:
                    logger.exception("scoring samples failed; trying again")
        finally:
            await scoring.close()

    def _run(self, call: Callable[[], T]) -> Awaitable[T]:
        return asyncio.get_running_loop().run_in_executor(self._threads, call)


def _settings(rollout: Rollout, signal: str) -> SignalSettings | None:
    """A signal's settings, as they were when the rollout began."""
    samples = RolloutSettings.model_validate(dict(rollout.policy)).signals.samples
    return None if samples is None else samples.signals.get(signal)

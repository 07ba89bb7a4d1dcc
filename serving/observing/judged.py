"""Sampled answers on their way to a judge, which is the one that automatic rollouts know, and to its budget."""

import asyncio
import queue
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from adapters.errors import CatalogUnavailable
from serving.settings.life import JUDGE
from serving.settings.monitoring import SampledJudgeSettings

MOST_WAITING = 64
"""Answers that wait for a verdict; beyond them none is judged."""

_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
_TOLD_S = 600.0
"""How long a failure is told that no further attempt has confirmed, in seconds: samples may be rare."""

Judge = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
"""Carries out an order; see ``serving.life.scoring``."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """One answer that was drawn for the judge."""

    task: str
    adapter: str
    role: str
    at: float
    content: str
    """Prompt, passages and answer, as samples of rollouts keep them. In memory alone."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the judge thinks of it."""

    sampled: Sampled
    value: float
    """In [0, 1], more is better."""


class Judging:
    """A thread that asks for one verdict after the other.

    Args:
        judge: carries out orders.
        spend: how many of so many verdicts on a task may be asked for, given the limit for an hour; they are spent.
        clock: seconds, from any moment on.
    """

    def __init__(
        self, judge: Judge, spend: Callable[[str, int, int], int], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._judge = judge
        self._spend = spend
        self._clock = clock
        self._waiting: queue.Queue[tuple[Sampled, SampledJudgeSettings]] = queue.Queue(MOST_WAITING)
        self._verdicts: deque[Verdict] = deque(maxlen=MOST_WAITING)
        self._failures = 0
        self._not_before = 0.0
        self._problem = ""
        self._failed_at = 0.0

    @property
    def problem(self) -> str:
        """Why there is no verdict; empty where there is one, or nobody asked lately. It holds nothing of an answer."""
        return self._problem if self._clock() - self._failed_at < _TOLD_S else ""

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._keep_judging, name="judging", daemon=True).start()

    def offer(self, sampled: Sampled, settings: SampledJudgeSettings) -> None:
        """Have an answer judged, where there is room."""
        try:
            self._waiting.put_nowait((sampled, settings))
        except queue.Full:
            return

    def take(self) -> list[Verdict]:
        """The verdicts since the last call."""
        return [self._verdicts.popleft() for _ in range(len(self._verdicts))]

    def judge_one(self, sampled: Sampled, settings: SampledJudgeSettings) -> None:
        """Ask about one answer, where the judge is not at rest and the budget allows it."""
        if self._clock() < self._not_before:
            return
        try:
            if not self._spend(sampled.task, 1, settings.requests_per_hour):
                return
        except CatalogUnavailable:
            return  # without the database nobody knows what is spent
        order = {"signal": JUDGE, "settings": settings.model_dump(mode="json"), "samples": [sampled.content]}
        answer = asyncio.run(_carried_out(self._judge, order, settings.timeout_s * 2))
        value = answer["values"][0] if answer["values"] else None
        if value is not None:
            self._verdicts.append(Verdict(sampled, float(value)))
        self._note(answer["problem"])

    def _note(self, problem: str) -> None:
        self._problem = problem
        if not problem:
            self._failures = 0
            return
        self._failed_at = self._clock()
        self._not_before = self._failed_at + min(_FIRST_PAUSE_S * 2 ** min(self._failures, 10), _LONGEST_PAUSE_S)
        self._failures += 1

    def _keep_judging(self) -> None:
        while True:
            sampled, settings = self._waiting.get()
            try:
                self.judge_one(sampled, settings)
            except Exception as error:  # its text may quote an answer
                self._note(f"judging failed with {type(error).__name__}")


async def _carried_out(judge: Judge, order: dict[str, Any], limit_s: float) -> dict[str, Any]:
    try:
        async with asyncio.timeout(limit_s):
            return await judge(order)
    except TimeoutError:
        return {"values": [], "problem": f"the judge gave no verdict within {limit_s:g} s"}

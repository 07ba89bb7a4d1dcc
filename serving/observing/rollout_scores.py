"""The signal ``quality`` of automatic rollouts: what checked answers of versions under watch are worth."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping

from adapters.rollout_types import NewScore
from adapters.sample_records import SampleRecords
from monitoring.quality.options import ScoreOptions
from monitoring.quality.types import Check
from serving.config import RolloutSettings
from serving.observing.notes import Record
from serving.settings.life import QUALITY

MOST_WAITING = 1000
"""Scores that wait for the database; beyond them the oldest are let go."""

_MINUTE_S = 60.0


class RolloutScores:
    """One replica's. :meth:`add` and :meth:`write` may be called from two threads.

    Args:
        rollouts: the policies of adapters, by name.
        clock: seconds, from any moment on.
    """

    def __init__(
        self,
        records: SampleRecords,
        rollouts: Mapping[str, RolloutSettings],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._records = records
        self._most = {
            name: policy.signals.quality.per_minute
            for name, policy in rollouts.items()
            if policy.signals.quality is not None
        }
        self._clock = clock
        self._minute = 0
        self._taken: dict[tuple[int, str], int] = {}
        self._waiting: deque[NewScore] = deque(maxlen=MOST_WAITING)

    def add(self, record: Record, checks: Iterable[Check], options: ScoreOptions) -> None:
        """Note what an answer is worth, where its rollout wants to know and has not had enough this minute."""
        rollout, most = record["rollout"], self._most.get(record["adapter"].partition("@")[0])
        if rollout is None or most is None:
            return
        minute, key = int(self._clock() // _MINUTE_S), (rollout, record["adapter"])
        if minute != self._minute:
            self._minute = minute
            self._taken.clear()
        if self._taken.get(key, 0) < most:
            self._taken[key] = self._taken.get(key, 0) + 1
            self._waiting.append(NewScore(rollout, record["role"], QUALITY, worth(checks, options)))

    def write(self) -> None:
        """Write what waits. Raises CatalogUnavailable: what it was about to write is let go, for it may be there."""
        found = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if found:
            self._records.add_scores(found)


def worth(checks: Iterable[Check], options: ScoreOptions) -> float:
    """What share of its worth an answer keeps, in [0, 1]: the product over its checks, as in the score of many."""
    return math.prod(1.0 - options.weight(one.name) * one.badness for one in checks)

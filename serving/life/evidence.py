"""What the online signals of a rollout prove so far: one always-valid test for each, fed with what is new. Pure.

Most signals are counts of bad outcomes; those of samples and of observed answers are scores, whose badness is one
minus the score.

The tests share one false alarm rate by Bonferroni's inequality: a signal of weight ``w`` among weights that add up to
``W`` is tested at ``alpha * w / W``, so that all of them together alarm falsely with probability ``alpha`` at most,
however they depend on each other and however often somebody looks.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from adapters.rollout_types import RoleCounts, SampleScore
from adapters.types import Alias, Role
from serving.life.latency import FIRST_TOKEN, WHOLE, above, quantile_bucket, upper_edge
from serving.settings.life import SCORED, RolloutSettings

ERRORS = "errors"
"""The signal that every request counts for which the server is answerable."""
SLOW = "slow"
SLOW_QUANTILE = 0.95
"""What is slower than this share of the stable version's requests was, is slow."""
_NOT_OF_COPIES = (SLOW, "feedback")
"""Signals that a shadow cannot have: its latencies compare with nothing, and nobody sees its answers."""


class SequentialTest(Protocol):
    """An always-valid comparison of two rates or means of badness; see ``training.gating.sequential``."""

    @property
    def worse(self) -> bool:
        """Whether the candidate's rate is proved to be higher."""
        ...

    @property
    def not_worse(self) -> bool:
        """Whether the candidate's rate is proved to be higher by less than the margin, if at all."""
        ...

    @property
    def p_value(self) -> float:
        """Always-valid p-value of "the candidate is no worse"."""
        ...

    def discard(self) -> None:
        """Forget what waits for the other version's outcomes."""
        ...

    def interval(self) -> tuple[float, float]:
        """Confidence sequence of the candidate's rate minus the current one's."""
        ...

    def to_json(self) -> dict[str, Any]:
        """The test as plain data."""
        ...


class RateTest(SequentialTest, Protocol):
    """Of outcomes that are bad or not."""

    def update(self, candidate_bad: int, candidate_n: int, current_bad: int, current_n: int) -> None:
        """Add what happened since the last call."""
        ...


class MeanTest(SequentialTest, Protocol):
    """Of badness in [0, 1]."""

    def update(self, candidate: Iterable[float], current: Iterable[float]) -> None:
        """Add what was seen since the last call."""
        ...


@dataclass(frozen=True, slots=True)
class Comparisons:
    """Where the tests come from."""

    make: Callable[[float, float], RateTest]
    """From alpha and margin."""
    read: Callable[[dict[str, Any]], RateTest]
    """From what ``to_json`` gave."""
    make_mean: Callable[[float, float], MeanTest]
    """From alpha and margin."""
    read_mean: Callable[[dict[str, Any]], MeanTest]
    """From what ``to_json`` gave."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one signal says now."""

    signal: str
    candidate_bad: float
    """How many outcomes were bad; for scores the sum of their badness."""
    candidate_n: int
    current_bad: float
    current_n: int
    worse: bool
    not_worse: bool
    p_value: float
    interval: tuple[float, float]
    alpha: float
    margin: float
    note: str = ""
    awaited: bool = True
    """Whether a step that is to end early waits for its proof."""

    @property
    def silent(self) -> bool:
        """Whether nothing was looked at, so that the signal has nothing to say."""
        return self.candidate_n == 0 and self.current_n == 0

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"{self.signal} {_number(self.candidate_bad)}/{self.candidate_n} against "
            f"{_number(self.current_bad)}/{self.current_n}, "
            f"difference {low:+.3f} to {high:+.3f}, p = {self.p_value:.2g} at alpha {self.alpha:.2g}{self.note}"
        )

    def to_json(self) -> dict[str, Any]:
        """For reports and the admin API."""
        names = ("signal", "candidate_bad", "candidate_n", "current_bad", "current_n", "worse", "not_worse", "p_value")
        return {name: getattr(self, name) for name in names} | {
            "interval": list(self.interval),
            "alpha": self.alpha,
            "margin": self.margin,
        }


@dataclass(slots=True)
class _Seen:
    """Counts of one signal."""

    candidate_bad: int = 0
    candidate_n: int = 0
    current_bad: int = 0
    current_n: int = 0

    def add(self, new: "_Seen") -> None:
        """Count ``new`` in."""
        self.candidate_bad += new.candidate_bad
        self.candidate_n += new.candidate_n
        self.current_bad += new.current_bad
        self.current_n += new.current_n


@dataclass(slots=True)
class _Scored:
    """Badness of one signal that its test has had: sums and numbers."""

    candidate_bad: float = 0.0
    candidate_n: int = 0
    current_bad: float = 0.0
    current_n: int = 0

    def add(self, candidate: Sequence[float], current: Sequence[float]) -> None:
        """Count it in."""
        self.candidate_bad += math.fsum(candidate)
        self.candidate_n += len(candidate)
        self.current_bad += math.fsum(current)
        self.current_n += len(current)


@dataclass(frozen=True, slots=True)
class _Threshold:
    """When a request is slow; taken from requests that the test never gets."""

    bucket: int
    before: _Seen
    """The counts when it was taken."""


class Evidence:
    """The tests of one rollout. Counts only grow: what a test has had is never given to it again.

    Args:
        data: what :meth:`to_json` gave, to go on from there.
    """

    def __init__(self, policy: RolloutSettings, tests: Comparisons, data: Mapping[str, Any] | None = None) -> None:
        watched = policy.signals.watched
        whole = sum(settings.weight for settings in watched.values())
        self._alphas = {name: policy.alpha * settings.weight / whole for name, settings in watched.items()}
        self._margins = {name: settings.margin for name, settings in watched.items()}
        self._tests: dict[str, RateTest] = {}
        self._seen: dict[str, _Seen] = {}
        """What each test has had."""
        self._passed: dict[str, _Seen] = {}
        """What each test was not given."""
        self._stage: str | None = None
        """How the alias stood when it was last looked at."""
        self._unheard: frozenset[str] = frozenset()
        """Signals whose new counts and scores are passed over."""
        self._latency_requests = policy.latency_requests
        self._thresholds: dict[str, _Threshold] = {}
        """By kind of latency."""
        self._means: dict[str, MeanTest] = {}
        self._scored: dict[str, _Scored] = {}
        self.places: dict[str, int] = {}
        """By source of scores: the place of the last one that was looked at."""
        if data is None:
            rates = [name for name in watched if name not in SCORED]
            means = [name for name in watched if name in SCORED]
            self._tests = {name: tests.make(self._alphas[name], self._margins[name]) for name in rates}
            self._seen = {name: _Seen() for name in rates}
            self._passed = {name: _Seen() for name in rates}
            self._means = {name: tests.make_mean(self._alphas[name], self._margins[name]) for name in means}
            self._scored = {name: _Scored() for name in means}
            return
        self._tests = {name: tests.read(test) for name, test in data["tests"].items()}
        self._seen = {name: _Seen(*counts) for name, counts in data["seen"].items()}
        self._passed = {name: _Seen(*counts) for name, counts in data["passed"].items()}
        self._stage = data["stage"]
        self._thresholds = {
            kind: _Threshold(values["bucket"], _Seen(**values["before"])) for kind, values in data["thresholds"].items()
        }
        self._means = {name: tests.read_mean(test) for name, test in data.get("means", {}).items()}
        self._scored = {name: _Scored(*sums) for name, sums in data.get("scored", {}).items()}
        self.places = dict(data.get("places", {}))

    def enter(self, alias: Alias, candidate: str) -> bool:
        """Say how the alias stands, before each :meth:`fold`. Whether that has changed.

        A test settles a block once both versions have outcomes in it, so all of the block must come from one time and
        one share. What waits when the alias has changed, and what was counted or scored until then, is passed over; so
        is what comes while the candidate can have no such outcomes. That depends on no outcome: the tests stay valid.
        """
        stage = _stage(alias, candidate)
        changed = stage != self._stage
        if changed:
            for test in (*self._tests.values(), *self._means.values()):
                test.discard()
        if changed or not stage:
            self._unheard = frozenset((*self._tests, *self._means))
        else:
            self._unheard = frozenset() if alias.canary == candidate else frozenset(_NOT_OF_COPIES)
        self._stage = stage
        return changed

    def fold(self, totals: Mapping[str, RoleCounts], scores: Sequence[SampleScore] = ()) -> None:
        """Feed the tests with what the totals by role have more than those of the last call, and with new scores.

        A shadow's copies count for the candidate. They are never streamed and run at low priority: their latencies
        compare with nothing, and are left out.
        """
        stable = totals.get(Role.STABLE, RoleCounts())
        canary = totals.get(Role.CANARY, RoleCounts())
        candidate = RoleCounts()
        candidate.add(canary)
        candidate.add(totals.get(Role.SHADOW, RoleCounts()))
        for name in self._tests:
            if name != SLOW:
                (n, bad), (stable_n, stable_bad) = _tally(candidate, name), _tally(stable, name)
                self._feed(name, _Seen(bad, n, stable_bad, stable_n))
        if SLOW in self._tests:
            self._feed_latency(canary, stable)
        self._feed_scores(scores)

    def readings(self) -> tuple[Reading, ...]:
        """What each signal says."""
        rates = [self._reading(name, test, self._seen[name]) for name, test in self._tests.items()]
        means = [self._reading(name, test, self._scored[name]) for name, test in self._means.items()]
        return (*rates, *means)

    def to_json(self) -> dict[str, Any]:
        """Everything that another process needs to go on."""
        return {
            "tests": {name: test.to_json() for name, test in self._tests.items()},
            "seen": {name: list(asdict(seen).values()) for name, seen in self._seen.items()},
            "passed": {name: list(asdict(passed).values()) for name, passed in self._passed.items()},
            "stage": self._stage,
            "thresholds": {kind: asdict(threshold) for kind, threshold in self._thresholds.items()},
            "means": {name: test.to_json() for name, test in self._means.items()},
            "scored": {name: list(asdict(sums).values()) for name, sums in self._scored.items()},
            "places": dict(self.places),
        }

    def _reading(self, name: str, test: SequentialTest, seen: _Seen | _Scored) -> Reading:
        return Reading(
            name,
            seen.candidate_bad,
            seen.candidate_n,
            seen.current_bad,
            seen.current_n,
            worse=test.worse,
            not_worse=test.not_worse,
            p_value=test.p_value,
            interval=test.interval(),
            alpha=self._alphas[name],
            margin=self._margins[name],
            note=self._slow_note() if name == SLOW else "",
            awaited=name not in SCORED,
        )

    def _feed(self, name: str, now: _Seen) -> None:
        seen, passed = self._seen[name], self._passed[name]
        new = _Seen(
            max(now.candidate_bad - seen.candidate_bad - passed.candidate_bad, 0),
            max(now.candidate_n - seen.candidate_n - passed.candidate_n, 0),
            max(now.current_bad - seen.current_bad - passed.current_bad, 0),
            max(now.current_n - seen.current_n - passed.current_n, 0),
        )
        if new == _Seen():
            return
        if name in self._unheard:
            passed.add(new)
            return
        self._tests[name].update(new.candidate_bad, new.candidate_n, new.current_bad, new.current_n)
        seen.add(new)

    def _feed_scores(self, scores: Sequence[SampleScore]) -> None:
        new = [score for score in scores if score.place > self.places.get(score.source, 0)]
        for name, test in self._means.items():
            mine = [score for score in new if score.signal == name]
            candidate = [1 - score.value for score in mine if score.role != Role.STABLE]
            current = [1 - score.value for score in mine if score.role == Role.STABLE]
            if mine and name not in self._unheard:
                test.update(candidate, current)
                self._scored[name].add(candidate, current)
        for score in new:
            self.places[score.source] = max(score.place, self.places.get(score.source, 0))

    def _feed_latency(self, canary: RoleCounts, stable: RoleCounts) -> None:
        now = _Seen()
        for kind in (FIRST_TOKEN, WHOLE):
            candidate_counts, stable_counts = canary.seconds.get(kind, {}), stable.seconds.get(kind, {})
            if kind not in self._thresholds and sum(stable_counts.values()) >= self._latency_requests:
                bucket = quantile_bucket(stable_counts, SLOW_QUANTILE)
                self._thresholds[kind] = _Threshold(bucket, _slower(candidate_counts, stable_counts, bucket))
            if (threshold := self._thresholds.get(kind)) is not None:
                found, before = _slower(candidate_counts, stable_counts, threshold.bucket), threshold.before
                now.candidate_bad += found.candidate_bad - before.candidate_bad
                now.candidate_n += found.candidate_n - before.candidate_n
                now.current_bad += found.current_bad - before.current_bad
                now.current_n += found.current_n - before.current_n
        self._feed(SLOW, now)

    def _slow_note(self) -> str:
        edges = [f"{kind} above {upper_edge(each.bucket):.3g} s" for kind, each in sorted(self._thresholds.items())]
        return f" ({', '.join(edges)})" if edges else ""


def _stage(alias: Alias, candidate: str) -> str:
    """What of the traffic the candidate gets, in words; empty for nothing."""
    canary = f"canary {alias.canary_share:g} " if alias.canary == candidate else ""
    shadow = "shadow" if alias.shadow == candidate else ""
    return (canary + shadow).strip()


def _number(bad: float) -> str:
    return f"{bad:.1f}" if isinstance(bad, float) else str(bad)


def _tally(counts: RoleCounts, signal: str) -> tuple[int, int]:
    n, bad = counts.signals.get(signal, (0, 0))
    return n, bad


def _slower(candidate: Mapping[int, int], stable: Mapping[int, int], bucket: int) -> _Seen:
    return _Seen(above(candidate, bucket), sum(candidate.values()), above(stable, bucket), sum(stable.values()))

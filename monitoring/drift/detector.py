"""``DriftDetector``: one task's reference window, its live windows, and what the looks at them found.

Live windows do not overlap, and each may raise a false alarm with a probability that is divided among its looks and
signals: however often a report is asked for, the rate is what the options say. Time and requests decide when a look is
made, never what an earlier one has seen.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any, Self

import numpy as np

from monitoring.drift.errors import ReferenceTooSmall, StateUnreadable
from monitoring.drift.options import DriftOptions
from monitoring.drift.permutation import Beat, nothing
from monitoring.drift.picture import Picture, draw
from monitoring.drift.sample import Sample
from monitoring.drift.signals import Look, judge
from monitoring.drift.types import DriftReport, DriftSignal, Observation

_STATE = 1
"""Version of the state's form."""
_SAMPLING, _LOOKING = 0, 1
"""What random numbers are for: each use has a stream of its own."""


class DriftDetector:
    """Watches one task. Not thread-safe: one thread at a time.

    It begins by gathering a reference. ``observe`` takes microseconds; a report that makes a look takes some tenths of
    a second, and some seconds where it finds something.

    Args:
        seed: of the sampling and the permutations, 0 or more: the same requests and times give the same reports.
    """

    def __init__(self, options: DriftOptions, seed: int) -> None:
        self._options = options
        self._seed = seed
        self._observed = 0
        self._rng = np.random.default_rng((seed, _SAMPLING, 0))
        self._reference = Sample(options.reference_size, share=options.share)
        self._live: Sample | None = None
        self._window = 0
        self._looks = 0
        """How many of its looks the live window has had."""
        self._found: set[str] = set()
        """What was found in the live window."""
        self._since: dict[str, float] = {}
        """By signal that is detected: when it was found first."""
        self._signals: tuple[DriftSignal, ...] = ()
        self._picture = Picture()

    @property
    def frozen(self) -> bool:
        """Whether there is a reference to compare with."""
        return self._live is not None

    def observe(self, observation: Observation) -> None:
        """Take in a finished request. Raises DimensionChanged; the request is not counted then."""
        sample = self._reference if self._live is None else self._live
        sample.add(observation, self._observed + 1, self._rng)
        self._observed += 1
        if self._live is None and self._is_gathered(observation.at):
            self.freeze_reference()

    def use_reference(self, observations: Iterable[Observation]) -> None:
        """Compare with these from now on, such as the rows that a version was trained on.

        Raises:
            ReferenceTooSmall, DimensionChanged: they cannot be used, and nothing has changed.
        """
        given = Sample(self._options.reference_size)
        for place, observation in enumerate(observations, start=1):
            given.add(observation, place, self._rng)
        self._freeze(given)

    def freeze_reference(self) -> None:
        """What was gathered is the reference from now on; where there is one, the live window takes its place.

        Raises:
            ReferenceTooSmall: too few requests so far; nothing has changed.
        """
        self._freeze(self._reference if self._live is None else self._live)

    def restart_reference(self) -> None:
        """Forget everything, and gather a new reference: after a promotion, or with another embedding model."""
        self._reference = Sample(self._options.reference_size, share=self._options.share)
        self._live = None
        self._forget_findings()

    def report(self, now: float, beat: Beat = nothing) -> DriftReport:
        """How the task stands. Makes the look that is due, if one is, and closes the live window if it is over.

        Args:
            now: Unix seconds, by the clock of the observations.
            beat: called now and then while a look is made; what it raises ends the look, which is then due again.
        """
        if self._live is None:
            return self._told(now)
        due, closing = self._due(self._live, now)
        found: tuple[str, ...] = ()
        if due > self._looks:
            found = self._look(self._live, due, now, beat)
        if closing:
            self._since = {name: at for name, at in self._since.items() if name in self._found}
        told = replace(self._told(now), found=found, closed=closing)
        if closing:
            self._open()
        return told

    def to_json(self) -> dict[str, Any]:
        """Everything that another process needs to go on; about 2.7 bytes for each dimension of each row.

        It holds the prompts that observations brought with them, cut to ``text_length``.
        """
        return {
            "version": _STATE,
            "observed": self._observed,
            "reference": self._reference.to_json(),
            "live": None if self._live is None else self._live.to_json(),
            "window": self._window,
            "looks": self._looks,
            "found": sorted(self._found),
            "since": dict(self._since),
            "signals": [asdict(signal) for signal in self._signals],
            "picture": self._picture.to_json(),
        }

    @classmethod
    def from_json(cls, state: Mapping[str, Any], options: DriftOptions, seed: int) -> Self:
        """A detector that goes on where :meth:`to_json` was called; options may differ from those it had.

        Raises:
            StateUnreadable: it is no such state.
        """
        detector = cls(options, seed)
        try:
            detector._restore(state)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise StateUnreadable(f"the state of a drift detector cannot be read: {error!r}") from error
        return detector

    def _restore(self, state: Mapping[str, Any]) -> None:
        if state["version"] != _STATE:
            raise ValueError(f"version {state['version']}")
        options = self._options
        self._observed = int(state["observed"])
        self._rng = np.random.default_rng((self._seed, _SAMPLING, self._observed))
        self._reference = Sample.from_json(state["reference"], options.reference_size, self._rng)
        if state["live"] is not None:
            self._live = Sample.from_json(state["live"], options.live_size, self._rng, text_length=options.text_length)
        self._window = int(state["window"])
        self._looks = min(int(state["looks"]), len(options.looks) - 1)
        self._found = set(state["found"])
        self._since = {str(name): float(at) for name, at in state["since"].items()}
        self._signals = tuple(DriftSignal(**signal) for signal in state["signals"])
        self._picture = Picture.from_json(state["picture"])

    def _is_gathered(self, now: float) -> bool:
        enough, first = self._options.reference_requests, self._reference.first_at
        if enough is None or first is None:
            return False
        return self._reference.seen >= enough and now - first >= self._options.reference_s

    def _freeze(self, sample: Sample) -> None:
        if len(sample.rows) < self._options.least_reference:
            raise ReferenceTooSmall(
                f"a reference takes {self._options.least_reference} requests at least, there are {len(sample.rows)}"
            )
        sample.without_texts()
        self._reference = sample
        self._forget_findings()
        self._open()

    def _forget_findings(self) -> None:
        self._found, self._since, self._looks = set(), {}, 0
        self._signals, self._picture = (), Picture()

    def _open(self) -> None:
        """Begin the next live window."""
        options, dimension = self._options, self._reference.dimension
        self._live = Sample(
            options.live_size, text_length=options.text_length, dimension=dimension, share=options.share
        )
        self._window += 1
        self._looks, self._found = 0, set()

    def _due(self, live: Sample, now: float) -> tuple[int, bool]:
        """How many looks the live window should have had by now, and whether it closes."""
        looks = self._options.looks
        reached = sum(look <= live.seen for look in looks)
        over = live.first_at is not None and now - live.first_at >= self._options.window_s
        if reached == len(looks) and over:
            return len(looks), True
        # The last look is at all of the window, so it waits for its end.
        return min(reached, len(looks) - 1), False

    def _look(self, live: Sample, due: int, now: float, beat: Beat) -> tuple[str, ...]:
        """Compare the windows; a look that came too late has the share of those that it stands for."""
        alpha = self._options.window_alpha * (due - self._looks) / len(self._options.looks)
        rng = np.random.default_rng((self._seed, _LOOKING, self._window, due))
        judgement = judge(Look(self._reference, live, self._options, rng, beat), alpha)
        found = tuple(signal.name for signal in judgement.signals if signal.detected)
        self._found.update(found)
        for name in found:
            self._since.setdefault(name, now)
        self._signals = judgement.signals
        self._picture = draw(self._reference, live, self._options, judgement.grown)
        self._looks = due
        return found

    def _told(self, now: float) -> DriftReport:
        return DriftReport(
            at=now,
            frozen=self.frozen,
            reference=self._reference.summary(),
            live=None if self._live is None else self._live.summary(),
            window=self._window,
            window_alpha=self._options.window_alpha,
            signals=tuple(
                replace(signal, detected=signal.name in self._since, since=self._since.get(signal.name))
                for signal in self._signals
            ),
            unusual=self._picture.unusual,
            grown=self._picture.grown,
            map=self._picture.map,
        )

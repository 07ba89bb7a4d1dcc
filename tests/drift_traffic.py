"""Made-up traffic for drift detectors: prompts of some topics, each a cluster of unit vectors; and detectors of it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from monitoring.drift.detector import DriftDetector
from monitoring.drift.options import DriftOptions
from monitoring.drift.types import DriftReport, DriftSignal, Observation, Vectors

NEW = -1
"""A topic that usual traffic does not have."""


class Traffic:
    """Requests, one a second."""

    def __init__(self, seed: int, *, topics: int = 12, dimension: int = 24, spread: float = 0.4) -> None:
        self.rng = np.random.default_rng(seed)
        self._spread = spread
        centres = self.rng.standard_normal((topics + 1, dimension))
        self._centres = centres / np.linalg.norm(centres, axis=1, keepdims=True)

    def vectors(self, topics: list[int]) -> Vectors:
        """A prompt of each of these topics; of one topic they are about 0.14 apart, of two about 1."""
        centres = self._centres[topics]
        noise = self.rng.standard_normal(centres.shape) * self._spread / np.sqrt(centres.shape[1])
        found = centres + noise
        return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), dtype=np.float32)

    def usual(self, n: int) -> list[int]:
        """Topics of so many requests."""
        found: list[int] = self.rng.integers(len(self._centres) - 1, size=n).tolist()
        return found

    def requests(
        self, n: int, *, share: float = 0.0, topic: int = NEW, at: float = 0.0, **changes: Any
    ) -> list[Observation]:
        """So many, of which a share is of one topic; ``changes`` are of all of them."""
        more = round(n * share)
        topics = [*self.usual(n - more), *([topic] * more)]
        order = self.rng.permutation(n).tolist()
        vectors = self.vectors(topics)
        return [
            replace(self._request(at + second, vectors[place], topics[place]), **changes)
            for second, place in enumerate(order)
        ]

    def _request(self, at: float, vector: Vectors, topic: int) -> Observation:
        rng = self.rng
        return Observation(
            at=at,
            embedding=vector,
            prompt_tokens=int(rng.poisson(40)),
            answer_tokens=int(rng.poisson(80)),
            language="de" if rng.random() < 0.1 else "en",
            adapter="triage@2" if rng.random() < 0.2 else "triage@1",
            retrieval_score=float(rng.beta(8, 2)),
            outcome="contract_violated" if rng.random() < 0.03 else "ok",
            text=f"about topic {topic}",
        )


OPTIONS = DriftOptions(
    reference_size=300,
    live_size=100,
    reference_requests=None,
    least_reference=100,
    looks=(50, 100),
    window_s=0.0,
    false_alarms_per_day=None,
    false_alarms_per_window=0.05,
)
"""Of small windows."""


def watching(traffic: Traffic, options: DriftOptions = OPTIONS, **changes: Any) -> DriftDetector:
    """A detector with a full reference; ``changes`` are of all of its requests."""
    detector = DriftDetector(options, seed=1)
    detector.use_reference(traffic.requests(options.reference_size, **changes))
    return detector


def watch(
    detector: DriftDetector, requests: Sequence[Observation], options: DriftOptions = OPTIONS
) -> list[DriftReport]:
    """The report of each look."""
    reports = []
    for count, request in enumerate(requests, start=1):
        detector.observe(request)
        if count in options.looks:
            reports.append(detector.report(request.at))
    return reports


def signal_of(report: DriftReport, name: str) -> DriftSignal:
    """What one signal says."""
    (signal,) = (signal for signal in report.signals if signal.name == name)
    return signal

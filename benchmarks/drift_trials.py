"""What is run many times: windows without a change, windows with one, days with a slow one, and what they cost."""

import time
import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from benchmarks.drift_data import CLINC, REFERENCE, SCENARIOS, Prompts, Scenario, drawn, load
from monitoring.drift.detector import DriftDetector
from monitoring.drift.options import DAY_S, EMBEDDING, TOPICS, DriftOptions
from monitoring.drift.types import DriftReport, Observation

ALPHA = 0.05
"""False alarm rate of a window, over all eight signals and both looks."""
WHOLE = DriftOptions(reference_requests=None, window_s=0.0, false_alarms_per_day=None, false_alarms_per_window=ALPHA)
OPTIONS = replace(WHOLE, unusual=0, map_points=0)
"""Without pictures, which cost time and decide nothing."""
DAYS = DriftOptions(
    reference_requests=None, window_s=DAY_S - 1_000.0, false_alarms_per_day=0.01, unusual=0, map_points=0
)
_OF_PROMPTS = {TOPICS, EMBEDDING}
_A_DAY = 1_000
_sets: dict[str, Prompts] = {}
"""Of this process; filled when it starts."""


@dataclass(frozen=True, slots=True)
class Trend:
    """A change that grows from day to day."""

    name: str
    new_topic: float = 0.0
    """Share of the requests that an unknown intent gains every day."""
    mix: float = 0.0
    """Standard deviation, over intents, of what the logarithm of an intent's odds gains every day."""


TRENDS = (
    Trend("a new topic grows by 0.1 % a day", new_topic=0.001),
    Trend("a new topic grows by 0.5 % a day", new_topic=0.005),
    Trend("popularity moves by 2 % a day", mix=0.02),
    Trend("popularity moves by 5 % a day", mix=0.05),
)


def start(folder: Path) -> None:
    """Prepare a process."""
    _sets.update(load(folder))


def null_windows(job: tuple[str, int, int]) -> list[list[str]]:
    """What is found in windows in which nothing has changed; one list for each.

    Args:
        job: set, seed, and number of windows, which share a reference.
    """
    name, seed, windows = job
    rng, prompts = np.random.default_rng((seed, 1)), _sets[name]
    shuffled = rng.permutation(len(prompts.intents))
    detector = _detector(prompts.requests(shuffled[:REFERENCE], rng), seed)
    found = []
    for _ in range(windows):
        live = rng.choice(shuffled[REFERENCE:], OPTIONS.looks[-1], replace=False)
        reports = _watch(detector, prompts.requests(live, rng))
        found.append(sorted({signal for report in reports for signal in report.found}))
    return found


def trial(job: tuple[Scenario, int]) -> dict[str, Any]:
    """Whether one change is found: by the looks until its number of requests, and by each signal's p-value alone."""
    scenario, seed = job
    reference, live = drawn(scenario, _sets, np.random.default_rng((seed, 2, SCENARIOS.index(scenario))))
    reports = _watch(_detector(reference, seed), live)
    found = {signal for report in reports for signal in report.found}
    return {
        "found": bool(found & _OF_PROMPTS),
        "by": sorted(found & _OF_PROMPTS),
        "p_values": {signal.name: signal.p_value for signal in reports[-1].signals},
    }


def by_chance(days: float) -> float:
    """Probability, at most, that prompts which do not change are found to have changed within so many days."""
    weights = DAYS.weights
    share = sum(weights[name] for name in _OF_PROMPTS) / sum(weights.values())
    return float(1 - (1 - DAYS.window_alpha * share) ** days)


def days_until_found(job: tuple[Trend, int, int]) -> int:
    """The first day, from 1, whose window shows the trend; the day after the last where none does.

    Args:
        job: what changes, seed, and the last day.
    """
    trend, seed, last_day = job
    rng, prompts = np.random.default_rng((seed, 3, TRENDS.index(trend))), _sets[CLINC]
    own = prompts.of(prompts.some_intent(rng))
    known = np.setdiff1d(np.arange(len(prompts.intents)), own) if trend.new_topic else np.arange(len(prompts.intents))
    shuffled = rng.permutation(known)
    detector = _detector(prompts.requests(shuffled[:REFERENCE], rng), seed, DAYS)
    rest = shuffled[REFERENCE:]
    _, intents = np.unique(prompts.intents[rest], return_inverse=True)
    slope = rng.normal(0.0, trend.mix, int(intents.max()) + 1)[intents]
    for day in range(1, last_day + 1):
        new = rng.binomial(_A_DAY, min(trend.new_topic * day, 1.0))
        odds = np.exp(slope * day)
        usual = rng.choice(rest, _A_DAY - new, replace=False, p=odds / odds.sum())
        # No prompt twice where there are enough: copies lie nearer to each other than prompts of one topic.
        live = np.concatenate([usual, rng.choice(own, new, replace=new > len(own))])
        found = _watch(detector, prompts.requests(live, rng, at=day * DAY_S), DAYS, until=(day + 1) * DAY_S - 1)
        if {signal for report in found for signal in report.found} & _OF_PROMPTS:
            return day
    return last_day + 1


def cost(scenario: Scenario | None) -> dict[str, Any]:
    """CPU seconds and bytes of one window of 1,000 requests, with a change or without."""
    rng = np.random.default_rng(4)
    if scenario is None:
        prompts = _sets[CLINC]
        shuffled = rng.permutation(len(prompts.intents))
        reference = prompts.requests(shuffled[:REFERENCE], rng)
        live = prompts.requests(shuffled[REFERENCE : REFERENCE + _A_DAY], rng)
    else:
        reference, live = drawn(scenario, _sets, rng)
    detector = _detector(reference, 4, WHOLE)
    observed, first_look = 0.0, 0.0
    for start_at, end in ((0, WHOLE.looks[0]), (WHOLE.looks[0], len(live))):
        before = time.process_time()
        for observation in live[start_at:end]:
            detector.observe(observation)
        observed += time.process_time() - before
        if end < len(live):
            first_look = _seconds_of_look(detector)
    state = detector.to_json()
    held, peak = _memory(orjson.dumps(state))
    last_look = _seconds_of_look(detector)
    embedding = live[0].embedding
    assert embedding is not None
    return {
        "observe_cpu_us": round(observed / len(live) * 1e6, 1),
        "look_at_200_cpu_s": round(first_look, 3),
        "look_at_1000_cpu_s": round(last_look, 3),
        "cpu_s_per_1000": round((observed + first_look + last_look) * 1_000 / len(live), 3),
        "held_mib": round(held / 2**20, 2),
        "look_adds_mib": round(peak / 2**20, 1),
        "state_json_mib": round(len(orjson.dumps(state)) / 2**20, 2),
        "stated_memory_mib": round(WHOLE.memory_bytes(len(embedding)) / 2**20, 2),
    }


def _seconds_of_look(detector: DriftDetector) -> float:
    before = time.process_time()
    detector.report(float(_A_DAY))
    return time.process_time() - before


def _memory(state: bytes) -> tuple[int, int]:
    """Bytes that a detector of this state holds, and those that a look takes at its most beside them."""
    tracemalloc.start()
    detector = DriftDetector.from_json(orjson.loads(state), WHOLE, 4)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    detector.report(float(_A_DAY))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return held, peak - held


def _detector(reference: Sequence[Observation], seed: int, options: DriftOptions = OPTIONS) -> DriftDetector:
    detector = DriftDetector(options, seed)
    detector.use_reference(reference)
    return detector


def _watch(
    detector: DriftDetector,
    live: Sequence[Observation],
    options: DriftOptions = OPTIONS,
    until: float | None = None,
) -> list[DriftReport]:
    """A report after as many requests as each look asks for; the last at ``until``, if the window must last so long."""
    reports = []
    for count, observation in enumerate(live, start=1):
        detector.observe(observation)
        if count in options.looks:
            reports.append(detector.report(observation.at))
    if until is not None:
        reports.append(detector.report(until))
    return reports

"""The sequential test on simulated traffic, looked at after every request: false alarms, and when breaks are found."""

import argparse
import math
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from benchmarks.report import Target
from training.gating.sequential import RateTest

ALPHA = 0.05
MARGIN = 0.03
_BROKEN = 0.1
_NOISE = 3.0
_DETECTION_HORIZON = 40_000
_STEPS = (0.05, 0.1, 0.25, 0.5)


@dataclass(frozen=True, slots=True)
class Traffic:
    """Rates of bad outcomes, and the candidate's share of the requests; None for one that grows by steps."""

    candidate: float
    current: float
    share: float | None
    drift: bool = False
    """Whether both rates swing by half, slowly."""

    def requests(self, rng: np.random.Generator, horizon: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which of them go to the candidate, and which end badly."""
        place = np.arange(horizon)
        steps = np.array(_STEPS)[np.minimum(4 * place // horizon, 3)]
        to_candidate = rng.random(horizon) < (steps if self.share is None else self.share)
        swing = 1 + 0.5 * np.sin(place / 800) if self.drift else 1.0
        bad = rng.random(horizon) < swing * np.where(to_candidate, self.candidate, self.current)
        return to_candidate, bad

    def named(self) -> dict[str, Any]:
        """For the report."""
        share = "grows" if self.share is None else self.share
        return {"candidate": round(self.candidate, 4), "current": self.current, "share": share, "drift": self.drift}


def measure(options: argparse.Namespace, pool: Executor) -> tuple[dict[str, Any], list[Target], list[str]]:
    """False alarms first, then detection."""
    streams, horizon = (100, 2_000) if options.quick else (options.streams, options.horizon)
    alarms = _in_parts(pool, _alarms, _nulls(), streams, horizon)
    missed = _in_parts(pool, _not_worse, _boundaries(), streams, horizon)
    found = list(pool.map(partial(_detect, streams=max(100, streams // 5)), _breaks()))
    slack = _NOISE * math.sqrt(ALPHA * (1 - ALPHA) / streams)
    targets = [
        Target("false alarms, the worst truth", max(row["alarms"] for row in alarms), ALPHA + slack, at_least=False),
        Target(
            "false alarms, mean of the truths", float(np.mean([row["alarms"] for row in alarms])), ALPHA, at_least=False
        ),
        Target(
            "false calls of not worse, the worst truth",
            max(row["alarms"] for row in missed),
            ALPHA + slack,
            at_least=False,
        ),
        Target("breaks found", min(row["found"] for row in found), 0.99, at_least=True),
    ]
    results = {
        "streams": streams,
        "horizon": horizon,
        "false_alarms": alarms,
        "false_not_worse": missed,
        "breaks_a_tenth": found,
    }
    return results, targets, []


def _nulls() -> list[Traffic]:
    plain = [Traffic(rate, rate, share) for rate in (0.01, 0.05, 0.3) for share in (0.05, 0.5)]
    return [*plain, Traffic(0.1, 0.1, None), Traffic(0.1, 0.1, None, drift=True)]


def _boundaries() -> list[Traffic]:
    return [Traffic(rate + MARGIN, rate, share) for rate in (0.01, 0.1) for share in (0.1, 0.5)]


def _breaks() -> list[Traffic]:
    shares = (0.05, 0.1, 0.2, 0.5)
    return [Traffic(rate + _BROKEN * (1 - rate), rate, share) for rate in (0.0, 0.01, 0.05, 0.2) for share in shares]


def _in_parts(pool: Executor, call: Any, truths: list[Traffic], streams: int, horizon: int) -> list[dict[str, Any]]:
    """Split the streams of each truth, so that every process has work."""
    parts = 4
    jobs = [(traffic, seed) for traffic in truths for seed in range(parts)]
    counts = list(pool.map(partial(call, streams=streams // parts, horizon=horizon), jobs))
    return [
        {**traffic.named(), "alarms": sum(counts[index * parts : (index + 1) * parts]) / (streams // parts * parts)}
        for index, traffic in enumerate(truths)
    ]


def _alarms(job: tuple[Traffic, int], *, streams: int, horizon: int) -> int:
    traffic, seed = job
    rng = np.random.default_rng([seed, 1])
    return sum(any(test.worse for test in _fed(*traffic.requests(rng, horizon))) for _ in range(streams))


def _not_worse(job: tuple[Traffic, int], *, streams: int, horizon: int) -> int:
    traffic, seed = job
    rng = np.random.default_rng([seed, 2])
    return sum(any(test.not_worse for test in _fed(*traffic.requests(rng, horizon))) for _ in range(streams))


def _fed(to_candidate: NDArray[np.bool_], bad: NDArray[np.bool_]) -> Iterator[RateTest]:
    """A test after every request."""
    test = RateTest(ALPHA, MARGIN)
    for candidate, outcome in zip(to_candidate.tolist(), bad.tolist(), strict=True):
        if candidate:
            test.update(outcome, 1, 0, 0)
        else:
            test.update(0, 0, outcome, 1)
        yield test


def _detect(traffic: Traffic, *, streams: int) -> dict[str, Any]:
    """Requests until the break is found: here, by the test that knows both rates, and by two that know as little."""
    rng = np.random.default_rng(3)
    times: dict[str, list[int]] = {"requests": [], "both_rates_known": [], "universal_inference": []}
    for _ in range(streams):
        to_candidate, bad = traffic.requests(rng, _DETECTION_HORIZON)
        looks = enumerate(_fed(to_candidate, bad), start=1)
        times["requests"].append(next((place for place, test in looks if test.worse), _DETECTION_HORIZON + 1))
        times["both_rates_known"].append(_first(_wald(traffic, to_candidate, bad)))
        times["universal_inference"].append(_first(_universal(to_candidate, bad)))
    row = {
        name: {"median": float(np.median(found)), "p90": float(np.quantile(found, 0.9))}
        for name, found in times.items()
    }
    found = float(np.mean(np.array(times["requests"]) <= _DETECTION_HORIZON))
    ratio = row["requests"]["median"] / row["both_rates_known"]["median"]
    return {**traffic.named(), **row, "found": found, "median_against_both_rates_known": round(ratio, 2)}


def _first(log_evidence: NDArray[np.float64]) -> int:
    enough = log_evidence >= -math.log(ALPHA)
    return int(np.argmax(enough)) + 1 if enough.any() else _DETECTION_HORIZON + 1


def _wald(traffic: Traffic, to_candidate: NDArray[np.bool_], bad: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Wald's likelihood ratio: nothing needs fewer requests at the same alpha, and nobody knows both rates."""
    new, old = traffic.candidate, max(traffic.current, 1e-12)
    step = np.where(bad, math.log(new / old), math.log((1 - new) / (1 - old)))
    return np.cumsum(np.where(to_candidate, step, 0.0))


def _universal(to_candidate: NDArray[np.bool_], bad: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Universal inference (Wasserman, Ramdas, Balakrishnan 2020): uniform mixtures over the null's best likelihood."""
    mixed, sums = np.zeros(len(bad)), list[tuple[NDArray[np.int64], NDArray[np.int64]]]()
    for arm in (to_candidate, ~to_candidate):
        n, k = np.cumsum(arm, dtype=np.int64), np.cumsum(arm & bad, dtype=np.int64)
        mixed += special.betaln(k + 1, n - k + 1)
        sums.append((k, n))
    (k, n), (k_current, n_current) = sums
    pooled = _likelihood(k + k_current, n + n_current)
    apart = _likelihood(k, n) + _likelihood(k_current, n_current)
    above = k * n_current > k_current * n
    found: NDArray[np.float64] = mixed - np.where(above, pooled, apart)
    return found


def _likelihood(k: NDArray[np.int64], n: NDArray[np.int64]) -> NDArray[np.float64]:
    rate = k / np.maximum(n, 1)
    found: NDArray[np.float64] = special.xlogy(k, rate) + special.xlog1py(n - k, -rate)
    return found

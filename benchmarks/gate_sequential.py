"""The sequential test on simulated traffic, looked at after every request: false alarms, and when breaks are found."""

import argparse
import math
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from benchmarks.gate_streams import BoolArray, cut, first_claims
from benchmarks.report import Target

ALPHA = 0.05
MARGIN = 0.03
_BROKEN = 0.1
_NOISE = 3.0
_DETECTION_HORIZON = 30_000
_STEPS = (0.05, 0.1, 0.25, 0.5)


@dataclass(frozen=True, slots=True)
class Traffic:
    """Rates of bad outcomes, and the candidate's share of the requests; None for one that grows by steps."""

    candidate: float
    current: float
    share: float | None
    drift: bool = False
    """Whether both rates swing by half, slowly."""

    def requests(self, rng: np.random.Generator, streams: int, horizon: int) -> tuple[BoolArray, BoolArray]:
        """Which of them go to the candidate, and which end badly; streams by requests."""
        place = np.arange(horizon)
        steps = np.array(_STEPS)[np.minimum(4 * place // horizon, 3)]
        to_candidate = rng.random((streams, horizon)) < (steps if self.share is None else self.share)
        swing = 1 + 0.5 * np.sin(place / 800) if self.drift else 1.0
        bad = rng.random((streams, horizon)) < swing * np.where(to_candidate, self.candidate, self.current)
        return to_candidate, bad

    def named(self) -> dict[str, Any]:
        """For the report."""
        share = "grows" if self.share is None else self.share
        return {"candidate": round(self.candidate, 4), "current": self.current, "share": share, "drift": self.drift}


def measure(options: argparse.Namespace, pool: Executor) -> tuple[dict[str, Any], list[Target], list[str]]:
    """False alarms first, then detection."""
    streams, horizon = (100, 2_000) if options.quick else (options.streams, options.horizon)
    alarms = list(pool.map(partial(_alarms, streams=streams, horizon=horizon), _nulls()))
    missed = list(pool.map(partial(_not_worse, streams=streams, horizon=horizon), _boundaries()))
    found = list(pool.map(partial(_detect, streams=max(100, streams // 2)), _breaks()))
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


def _alarms(traffic: Traffic, *, streams: int, horizon: int) -> dict[str, Any]:
    """How many equal versions are ever called worse."""
    blocks = cut(*traffic.requests(np.random.default_rng(1), streams, horizon))
    found = first_claims(blocks, 0.0, ALPHA, candidate_first=True)
    return {**traffic.named(), "alarms": float(np.mean(found > 0))}


def _not_worse(traffic: Traffic, *, streams: int, horizon: int) -> dict[str, Any]:
    """How many versions at the margin are ever called not worse."""
    blocks = cut(*traffic.requests(np.random.default_rng(2), streams, horizon))
    found = first_claims(blocks, -MARGIN, ALPHA, candidate_first=False)
    return {**traffic.named(), "alarms": float(np.mean(found > 0))}


def _detect(traffic: Traffic, *, streams: int) -> dict[str, Any]:
    """Requests until the break is found: here, by the test that knows both rates, and by one that knows as little."""
    to_candidate, bad = traffic.requests(np.random.default_rng(3), streams, _DETECTION_HORIZON)
    found = first_claims(cut(to_candidate, bad), 0.0, ALPHA, candidate_first=True)
    pairs = list(zip(to_candidate, bad, strict=True))
    times = {
        "requests": [int(one) if one > 0 else _DETECTION_HORIZON + 1 for one in found],
        "both_rates_known": [_first(_wald(traffic, *pair)) for pair in pairs],
        "universal_inference": [_first(_universal(*pair)) for pair in pairs],
    }
    row = {name: {"median": float(np.median(one)), "p90": float(np.quantile(one, 0.9))} for name, one in times.items()}
    ratio = row["requests"]["median"] / row["both_rates_known"]["median"]
    found_share = float(np.mean(found > 0))
    return {**traffic.named(), **row, "found": found_share, "median_against_both_rates_known": round(ratio, 2)}


def _first(log_evidence: NDArray[np.float64]) -> int:
    enough = log_evidence >= -math.log(ALPHA)
    return int(np.argmax(enough)) + 1 if enough.any() else _DETECTION_HORIZON + 1


def _wald(traffic: Traffic, to_candidate: BoolArray, bad: BoolArray) -> NDArray[np.float64]:
    """Wald's likelihood ratio: nothing needs fewer requests at the same alpha, and nobody knows both rates."""
    new, old = traffic.candidate, max(traffic.current, 1e-12)
    step = np.where(bad, math.log(new / old), math.log((1 - new) / (1 - old)))
    return np.cumsum(np.where(to_candidate, step, 0.0))


def _universal(to_candidate: BoolArray, bad: BoolArray) -> NDArray[np.float64]:
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

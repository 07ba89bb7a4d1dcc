"""BANKING77 from JSONL to a served version that has passed a gate, on real vLLM.

    python -m benchmarks.banking77                 # all 77 intents; below an hour on two cores
    python -m benchmarks.banking77 --train-apart   # the training in a process of its own, before any engine is up

A gateway is started; OpenAI's SDK uploads the rows, creates a fine-tuning job and follows its events; the development
rows are asked of the base and of the version that came of it; a gate compares the two, and what passes is promoted and
asked through its alias. Beside them stand TF-IDF with a linear SVM on the same rows, and the base with all intents in
its prompt.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import uvloop

from benchmarks import gateway
from benchmarks.admin import Admin
from benchmarks.banking77_task import DEFAULT_CSV, INTENTS, prepare
from benchmarks.fleet import Fleet, ServerFailed, say
from benchmarks.report import Target, add_common_options, finish
from benchmarks.suite_runs import ask, baseline_run, describe, describe_verdict, plain, told, without_baseline
from benchmarks.tuning_gateway import NAME, add_training_options, trained_and_served
from benchmarks.wire import Address
from training.evaluation.run_file import run_json
from training.evaluation.suite import Suite
from training.evaluation.types import SuiteRun
from training.gating.gate import Verdict, decide
from training.gating.policy import GatePolicy, MetricRule

MOST_MINUTES = 60.0
LEAST_ACCURACY = 0.85
PUBLISHED = "an 8B model with QLoRA: 91.9 % (published, on the test set)"
AGAINST_BASE = GatePolicy(metrics={"accuracy": MetricRule(kind="improvement", margin=0.05)})
AGAINST_SVM = GatePolicy(metrics={"accuracy": MetricRule(kind="non_inferiority", margin=0.05)})
ALIAS_CASES = 20
_QUICK_INTENTS, _QUICK_ROWS = 8, 60


async def measure(options: argparse.Namespace) -> tuple[dict[str, Any], list[Target], list[str]]:
    """Train, serve, ask, judge, promote."""
    model = (options.model or gateway.demo_checkpoint()).resolve()
    changes = {} if options.epochs is None else {"epochs": options.epochs}
    with Fleet(logs=options.logs) as fleet:
        per_intent = _QUICK_ROWS if options.quick else None
        task = prepare(
            options.data, fleet.folder / "banking77", intents=options.intents, per_intent=per_intent, **changes
        )
        say(f"{task.data['rows']} rows to train on, {task.data['development_rows']} for development")
        tuned = await trained_and_served(fleet, task.recipe, model, options)
        results, served = await examine(tuned.server.address, task.suite, task.recipe.name, tuned.version)
    problems = [f"left behind: {process}" for process in fleet.left_behind]
    accuracy = results["version"]["metrics"]["accuracy"]["mean"]
    recipe = task.recipe.model_dump(mode="json", exclude={"train", "heldout"})
    report = {"data": task.data, "recipe": recipe, "training": tuned.report(), **results, "published": PUBLISHED}
    minutes = tuned.trained.seconds / 60 + results["minutes_of_the_gate"]
    return report, targets(minutes, accuracy, served=served), problems


def targets(minutes: float, accuracy: float, *, served: bool) -> list[Target]:
    """What was promised."""
    return [
        Target("minutes from the upload until the gate's verdict", minutes, MOST_MINUTES, at_least=False),
        Target("development accuracy", accuracy, LEAST_ACCURACY, at_least=True),
        Target("gate passed, promoted and served under its alias", float(served), 1, at_least=True),
    ]


async def examine(
    address: Address, suite: Suite, alias: str, version: str, *, base: str = NAME
) -> tuple[dict[str, Any], bool]:
    """What base and version answer, the gate's verdicts, and whether the version is served under its alias now."""
    bare, began = without_baseline(suite), time.perf_counter()
    before = await ask(bare, address, base)
    candidate = await ask(suite, address, version)
    verdict = decide(candidate, before, AGAINST_BASE)
    minutes = (time.perf_counter() - began) / 60
    say(verdict.reason)
    reports = await _attach(Admin(address), version, candidate, verdict)
    served = verdict.passed and await promote(address, bare, alias, version)
    svm = baseline_run(suite, candidate)
    informed = told(bare, choose_from([case.expected or "" for case in suite.cases]))
    results = {
        "base": describe(bare, before),
        "base, told the intents": describe(informed, await ask(informed, address, base)),
        "version": describe(suite, candidate),
        "classical baseline": describe(suite, svm),
        "gate against the base": describe_verdict(verdict),
        "minutes_of_the_gate": round(minutes, 2),
        "gate against the classical baseline": describe_verdict(decide(candidate, svm, AGAINST_SVM)),
        "reports_of_the_version": reports,
    }
    return results, served


def choose_from(labels: Sequence[str]) -> str:
    """A prompt that names every label."""
    return "Name the intent. Answer with one of these and nothing else: " + ", ".join(sorted(set(labels))) + "."


async def _attach(admin: Admin, version: str, run: SuiteRun, verdict: Verdict) -> list[str]:
    """Keep the run and the verdict with the version; returns the kinds of its reports."""
    path = f"/versions/{quote(version)}/reports"
    for report in (run_json(run), verdict.to_json()):
        await admin.call("POST", path, plain(report))
    return [str(one["kind"]) for one in (await admin.call("GET", path))["data"]]


async def promote(address: Address, suite: Suite, alias: str, version: str) -> bool:
    """Whether everything that is asked of the alias is answered by the version, once that is its stable one."""
    await Admin(address).promote(alias, version)
    run = await ask(suite.with_cases(suite.cases[:ALIAS_CASES]), address, alias)
    return run.version == version and not any(result.answer.error for result in run.results)


def main() -> int:
    """Run and print the verdict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_common_options(parser)
    parser.add_argument("--data", type=Path, default=DEFAULT_CSV, help="the data set's train.csv")
    parser.add_argument("--intents", type=int, default=INTENTS, help="how many of the 77, the first by name")
    add_training_options(parser)
    options = parser.parse_args()
    if options.quick:
        options.intents = min(options.intents, _QUICK_INTENTS)
    try:
        report, promised, problems = uvloop.run(measure(options))
    except (ServerFailed, OSError) as error:
        say(str(error))
        return 2
    return finish("banking77", options, report, promised, problems)


if __name__ == "__main__":
    sys.exit(main())

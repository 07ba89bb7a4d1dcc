"""JSON mode: how often answers parse and are valid by a schema, of the base, of an adapter, and decoded by the schema.

    python -m benchmarks.json_mode                 # about half an hour on two cores
    python -m benchmarks.json_mode --train-apart   # the training in a process of its own, before any engine is up

Rows of a public set, mended to one schema (examples/json_mode), are trained on through the fine-tuning API of a real
gateway. The held-out questions are then asked of the base and of the version, each left to itself and with structured
outputs (`response_format`), all with the same prompt, which shows the form. Only the form is judged.
"""

import argparse
import random
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import gateway
from benchmarks.fleet import REPOSITORY, Fleet, ServerFailed, say
from benchmarks.report import Target, add_common_options, finish
from benchmarks.suite_runs import ask, describe, describe_verdict
from benchmarks.tuning_gateway import NAME, add_training_options, trained_and_served
from benchmarks.wire import Address
from examples.json_mode.rows import Row, read_rows, split, write_rows
from training.data.check import check_file
from training.evaluation.suite import Suite, load_suite
from training.gating.gate import decide
from training.gating.policy import GatePolicy, MetricRule
from training.tuning.recipe import SftRecipe

EXAMPLE = REPOSITORY / "examples" / "json_mode"
DEFAULT_JSONL = Path("../shared/data/json_mode/train.jsonl")
POLICY = GatePolicy(metrics={"schema_valid": MetricRule(kind="improvement", margin=0.05)})
_QUICK_ROWS, _QUICK_HELDOUT = 48, 32


@dataclass(frozen=True, slots=True)
class Task:
    """What is trained on and what is asked."""

    recipe: SftRecipe
    free: Suite
    structured: Suite
    data: Mapping[str, Any]
    """Rows of both sides, and what the checks say of them."""


def prepare(jsonl: Path, folder: Path, *, most: tuple[int, int] | None = None, **changes: Any) -> Task:
    """Write rows, recipe, schema and suites into ``folder``.

    Args:
        most: rows to train on and rows held out, at most.
        changes: fields of the recipe that are to differ.

    Raises:
        OSError: the set is not there.
    """
    train, heldout = split(read_rows(jsonl))
    if most is not None:
        train, heldout = _some(train, most[0]), _some(heldout, most[1])
    (folder / "data").mkdir(parents=True)
    write_rows(folder / "data" / "train.jsonl", train)
    write_rows(folder / "data" / "heldout.jsonl", heldout)
    for name in ("recipe.yaml", "suite.yaml", "structured.yaml", "answer.schema.json"):
        shutil.copyfile(EXAMPLE / name, folder / name)
    recipe = SftRecipe.load(folder / "recipe.yaml").model_copy(update=changes)
    report = check_file(recipe.train, kind="chat", heldout=recipe.heldout)
    return Task(
        recipe=recipe,
        free=load_suite(folder / "suite.yaml"),
        structured=load_suite(folder / "structured.yaml"),
        data={
            "rows": len(train),
            "heldout_rows": len(heldout),
            "lines_with_findings": {code: len(lines) for code, lines in report.lines.items()},
        },
    )


def _some(rows: Sequence[Row], count: int) -> list[Row]:
    return random.Random(0).sample(list(rows), min(count, len(rows)))


async def measure(options: argparse.Namespace) -> tuple[dict[str, Any], list[Target], list[str]]:
    """Train, serve, ask in every way."""
    model = (options.model or gateway.demo_checkpoint()).resolve()
    changes = {} if options.epochs is None else {"epochs": options.epochs}
    most = (_QUICK_ROWS, _QUICK_HELDOUT) if options.quick else None
    with Fleet(logs=options.logs) as fleet:
        task = prepare(options.data, fleet.folder / "json-mode", most=most, **changes)
        say(f"{task.data['rows']} rows to train on, {task.data['heldout_rows']} held out")
        tuned = await trained_and_served(fleet, task.recipe, model, options)
        arms, verdict = await _ask_all(tuned.server.address, task, tuned.version)
    problems = [f"left behind: {process}" for process in fleet.left_behind]
    recipe = task.recipe.model_dump(mode="json", exclude={"train", "heldout"})
    results = {"data": task.data, "recipe": recipe, "training": tuned.report()}
    results |= {**arms, "gate against the base": verdict}
    return results, targets(arms), problems


async def _ask_all(address: Address, task: Task, version: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What came of every arm, and the gate's verdict on the version against the base, both left to themselves."""
    arms, runs = {}, {}
    for name, model in (("base", NAME), ("adapter", version)):
        runs[name] = await ask(task.free, address, model)
        arms[name] = describe(task.free, runs[name])
        arms[f"{name}, structured"] = describe(task.structured, await ask(task.structured, address, model))
    verdict = decide(runs["adapter"], runs["base"], POLICY)
    say(verdict.reason)
    return arms, describe_verdict(verdict)


def targets(arms: Mapping[str, Any]) -> list[Target]:
    """What was promised: structured outputs keep their word, and the adapter is better than the base without them."""
    valid = {name: arm["metrics"]["schema_valid"]["mean"] for name, arm in arms.items()}
    gain = valid["adapter"] - valid["base"]
    return [
        Target("schema-valid with structured outputs, adapter", valid["adapter, structured"], 1.0, at_least=True),
        Target("schema-valid of the adapter over the base", gain, 0.05, at_least=True),
    ]


def main() -> int:
    """Run and print the verdict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_common_options(parser)
    parser.add_argument("--data", type=Path, default=DEFAULT_JSONL, help="the set's train.jsonl")
    add_training_options(parser)
    options = parser.parse_args()
    try:
        results, promised, problems = uvloop.run(measure(options))
    except (ServerFailed, OSError) as error:
        say(str(error))
        return 2
    return finish("json_mode", options, results, promised, problems)


if __name__ == "__main__":
    sys.exit(main())

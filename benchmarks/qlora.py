"""QLoRA beside LoRA: the same recipe and rows on a base in 4 bits and on the full one.

    python -m benchmarks.qlora                 # 20 intents of BANKING77; about half an hour on two cores

Each trains in a process of its own, one after the other, with nothing beside it: memory, speed, held-out loss. Then a
gateway with real vLLM serves both on the full base, as it always does; the development rows are asked of both, and a
gate says whether QLoRA's adapter is worse by less than the margin.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import gateway
from benchmarks.admin import Admin
from benchmarks.banking77_task import DEFAULT_CSV, Task, prepare
from benchmarks.fleet import REPOSITORY, Fleet, ServerFailed, say
from benchmarks.report import Target, add_common_options, finish
from benchmarks.suite_runs import ask, baseline_run, describe, describe_verdict, without_baseline
from benchmarks.tuning_gateway import NAME, start
from benchmarks.wire import Address
from training.evaluation.types import SuiteRun
from training.gating.gate import decide
from training.gating.policy import GatePolicy, MetricRule
from training.tuning.recipe import SftRecipe

CONTENDERS: Mapping[str, str] = {"lora": "none", "qlora": "nf4"}
"""Name of the adapter → how the base is quantised while it is trained."""
_QUICK_INTENTS, _QUICK_ROWS, _QUICK_EPOCHS = 5, 40, 1
_MIB = 2**20


async def measure(options: argparse.Namespace) -> tuple[dict[str, Any], list[Target], list[str]]:
    """Train both, serve both, ask both, judge."""
    model = (options.model or gateway.demo_checkpoint()).resolve()
    with Fleet(logs=options.logs) as fleet:
        task = prepare(
            options.data,
            fleet.folder / "task",
            intents=options.intents,
            per_intent=options.per_intent,
            epochs=options.epochs,
            rank=options.rank,
            alpha=float(options.rank),
        )
        folders = {name: fleet.folder / name for name in CONTENDERS}
        turns = {name: train(task.recipe, name, model, folder) for name, folder in folders.items()}
        server = await start(fleet, model, options.rank)
        admin = Admin(server.address)
        versions = {name: await admin.add(name, str(folder)) for name, folder in folders.items()}
        judged, passed = await _judge(server.address, task, versions, options.margin)
    problems = [f"left behind: {process}" for process in fleet.left_behind]
    results = {"data": task.data, "epochs": options.epochs, "margin": options.margin, **describe_turns(turns), **judged}
    saved = results["qlora"]["weights_against_lora"]
    return results, targets(saved, passed=passed), problems


def targets(weights: float, *, passed: bool) -> list[Target]:
    """What was promised."""
    return [
        Target("weights of the base in 4 bits against bfloat16", weights, 0.5, at_least=False),
        Target("QLoRA's accuracy within the gate's margin of LoRA's", float(passed), 1, at_least=True),
    ]


def train(recipe: SftRecipe, name: str, model: Path, out: Path) -> dict[str, Any]:
    """One training in a process of its own; what it measured. Raises ServerFailed where it fails."""
    say(f"training {name}")
    own = recipe.model_copy(update={"name": name, "quantization": CONTENDERS[name]})
    path = out.with_name(f"{name}.yaml")
    path.write_text(own.record(path.parent), encoding="utf-8")
    command = [sys.executable, "-m", "benchmarks.qlora_turn", str(path), str(model), str(out)]
    done = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise ServerFailed(f"the training of {name} ended with {done.returncode}")
    turn: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return turn


def describe_turns(turns: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Memory, speed and losses of every training, and their ratios to LoRA's.

    A process holds some 600 MiB before it has read any weights; ``own_memory_mib`` is what came on top of that.
    """
    of_lora = turns["lora"]
    return {
        name: {
            "peak_memory_mib": round(turn["peak_memory_bytes"] / _MIB),
            "own_memory_mib": round(_own(turn) / _MIB),
            "weights_mib": round(turn["weights_bytes"] / _MIB),
            "peak_against_lora": _ratio(turn["peak_memory_bytes"], of_lora["peak_memory_bytes"]),
            "own_memory_against_lora": _ratio(_own(turn), _own(of_lora)),
            "weights_against_lora": _ratio(turn["weights_bytes"], of_lora["weights_bytes"]),
            "tokens_per_s": turn["tokens_per_second"],
            "speed_against_lora": _ratio(turn["tokens_per_second"], of_lora["tokens_per_second"]),
            "train_loss": turn["train_loss"],
            "heldout_loss_base": turn["heldout_loss_base"],
            "heldout_loss": turn["heldout_loss"],
            "steps": turn["steps"],
        }
        for name, turn in turns.items()
    }


async def _judge(
    address: Address, task: Task, versions: Mapping[str, str], margin: float
) -> tuple[dict[str, Any], bool]:
    """What both and the base answer, and the gate's verdict on QLoRA against LoRA."""
    suite, runs = without_baseline(task.suite), dict[str, SuiteRun]()
    runs["base"] = await ask(suite, address, NAME)
    runs["lora"] = await ask(task.suite, address, versions["lora"])
    runs["qlora"] = await ask(suite, address, versions["qlora"])
    runs["classical baseline"] = baseline_run(suite, runs["lora"])
    policy = GatePolicy(metrics={"accuracy": MetricRule(kind="non_inferiority", margin=margin)})
    verdict = decide(runs["qlora"], runs["lora"], policy)
    say(verdict.reason)
    answers = {f"answers of {name}": describe(suite, run) for name, run in runs.items()}
    return {**answers, "gate, qlora against lora": describe_verdict(verdict)}, verdict.passed


def _own(turn: Mapping[str, Any]) -> float:
    return float(turn["peak_memory_bytes"] - turn["imports_bytes"])


def _ratio(value: float, reference: float) -> float:
    return round(value / reference, 3)


def main() -> int:
    """Run and print the verdict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_common_options(parser)
    parser.add_argument("--data", type=Path, default=DEFAULT_CSV, help="BANKING77's train.csv")
    parser.add_argument("--model", type=Path, help="the base checkpoint's folder (default: the demo's)")
    parser.add_argument("--intents", type=int, default=20, help="how many of the 77, the first by name (default 20)")
    parser.add_argument("--per-intent", type=int, help="training rows of each, at most (default: all)")
    parser.add_argument("--epochs", type=int, default=2, help="passes over the rows (default 2)")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--margin", type=float, default=0.05, help="of non-inferiority in accuracy (default 0.05)")
    options = parser.parse_args()
    if options.quick:
        options.intents, options.per_intent, options.epochs = _QUICK_INTENTS, _QUICK_ROWS, _QUICK_EPOCHS
    try:
        results, promised, problems = uvloop.run(measure(options))
    except (ServerFailed, OSError) as error:
        say(str(error))
        return 2
    return finish("qlora", options, results, promised, problems)


if __name__ == "__main__":
    sys.exit(main())

"""How fast our SFT recipe trains, against a plain TRL script with the same settings in the same run.

    python -m benchmarks.training                      # ours, TRL, ours again
    python -m benchmarks.training --quantization nf4   # our LoRA against our QLoRA: speed and memory

Every training runs in a process of its own; the contenders take turns, in an order of its own in every round. Same
rows, base, batch, rank, precision and processor. Tokens are those of the rows, padding not counted, and the same for
all; what is timed are the optimiser steps, without loading and measuring.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.fleet import say
from benchmarks.report import Target, add_common_options, finish
from benchmarks.stats import ratios
from examples.base_model import DEFAULT_FOLDER

Turns = dict[str, list[dict[str, float]]]
ROWS = Path("examples/ticket-triage/train-v2.jsonl")


def run_turns(contenders: Sequence[str], settings: Mapping[str, Any], rounds: int, folder: Path) -> Turns:
    """Every contender once in every round. Raises CalledProcessError where a training fails."""
    path = folder / "settings.json"
    path.write_text(json.dumps(settings), encoding="utf-8")
    turns: Turns = {name: [] for name in contenders}
    order = random.Random(len(contenders))
    names = list(contenders)
    for number in range(rounds):
        order.shuffle(names)
        for name in names:
            turns[name].append(_turn(name.removesuffix("-again"), path))
            turn = turns[name][-1]
            say(
                f"round {number + 1}/{rounds} {name}: {settings['tokens'] / turn['seconds']:,.1f} tokens/s, "
                f"{turn['peak_memory_bytes'] / 2**20:,.0f} MiB, loss {turn['train_loss']:.4f}"
            )
    return turns


def _turn(contender: str, settings: Path) -> dict[str, float]:
    # Nothing here asks a hub for anything, and TRL would.
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.training_turn", contender, str(settings)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    turn: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return turn


def describe(turns: Turns, tokens: int, reference: str) -> dict[str, Any]:
    """Speed and memory of every contender, and their ratios to ``reference`` round by round."""
    speeds = {name: [tokens / turn["seconds"] for turn in own] for name, own in turns.items()}
    memory = {name: [turn["peak_memory_bytes"] for turn in own] for name, own in turns.items()}
    return {
        name: {
            "tokens_per_s": round(statistics.median(speeds[name]), 1),
            "peak_memory_mib": round(statistics.median(memory[name]) / 2**20),
            "train_loss": round(statistics.median(turn["train_loss"] for turn in own), 4),
            "steps": own[0]["steps"],
            "speed_ratio": ratios(speeds[name], speeds[reference]).report(),
            "memory_ratio": ratios(memory[name], memory[reference]).report(),
        }
        for name, own in turns.items()
    }


def count_tokens(rows: Path, model: Path, max_length: int) -> int:
    """Tokens of one epoch."""
    from training.data.chat import read_chat
    from training.data.encoding import encode_dataset
    from training.tuning.base import load_tokenizer

    return sum(len(row.input_ids) for row in encode_dataset(read_chat(rows), load_tokenizer(model), max_length))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description="The speed of training.")
    add_common_options(parser)
    parser.add_argument("--model", type=Path, default=DEFAULT_FOLDER, help="folder of the base checkpoint")
    parser.add_argument("--data", type=Path, default=ROWS, help="chat rows to train on")
    parser.add_argument("--rows", type=int, default=256, help="how many of them (default 256)")
    parser.add_argument("--rounds", type=int, default=6, help="turns of every contender (default 6)")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--max-length", type=int, default=512)
    parser.add_argument("--quantization", choices=("none", "nf4"), default="none", help="nf4: LoRA against QLoRA")
    options = parser.parse_args()
    if options.quick:
        options.rows, options.rounds = min(options.rows, 32), 1
    return options


def main() -> int:
    """The command line. Returns the exit status."""
    options = _options()
    import torch

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        rows = folder / "rows.jsonl"
        lines = options.data.read_text(encoding="utf-8").splitlines(keepends=True)
        random.Random(0).shuffle(lines)
        rows.write_text("".join(lines[: options.rows]), encoding="utf-8")
        settings = {
            "rows": str(rows),
            "model": str(options.model.resolve()),
            "tokens": count_tokens(rows, options.model, options.max_length),
            "batch_size": options.batch_size,
            "rank": options.rank,
            "learning_rate": 1e-3,
            "max_length": options.max_length,
            "use_cpu": not torch.cuda.is_available(),
        }
        against_trl = options.quantization == "none"
        contenders = ("ours", "trl", "ours-again") if against_trl else ("ours", "ours-nf4", "ours-again")
        turns = run_turns(contenders, settings, options.rounds, folder)
    results = describe(turns, int(settings["tokens"]), "trl" if against_trl else "ours")
    results["tokens_per_turn"] = settings["tokens"]
    targets = (
        [Target("tokens/s against TRL", results["ours"]["speed_ratio"]["median"], 1.0, at_least=True)]
        if against_trl
        else []
    )
    return finish("training", options, results, targets, [])


if __name__ == "__main__":
    sys.exit(main())

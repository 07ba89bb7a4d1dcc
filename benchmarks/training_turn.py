"""One training in a process of its own, for :mod:`benchmarks.training`. Prints one JSON object as its last line.

    python -m benchmarks.training_turn ours|ours-nf4|trl SETTINGS.json

``trl`` is the script that TRL's documentation shows, with the settings given: its SFTTrainer on rows of prompt and
completion, loss on the completion alone, bfloat16, no gradient checkpointing (which is for memory, and slows down).
"""

import json
import resource
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Turn = dict[str, float]


def ours(settings: Mapping[str, Any], quantization: str) -> Turn:
    """Our recipe."""
    from training.data.findings import JUDGMENTS
    from training.tuning.memory import keep_freed_memory
    from training.tuning.recipe import SftRecipe
    from training.tuning.sft import train

    keep_freed_memory()
    recipe = SftRecipe(
        name="benchmark",
        base_model="base",
        train=Path(settings["rows"]),
        rank=settings["rank"],
        alpha=2 * settings["rank"],
        learning_rate=settings["learning_rate"],
        epochs=1,
        batch_size=settings["batch_size"],
        max_length=settings["max_length"],
        quantization="nf4" if quantization == "nf4" else "none",
    )
    with tempfile.TemporaryDirectory() as folder:
        report = train(recipe, Path(settings["model"]), Path(folder) / "out", _tell, allow=tuple(JUDGMENTS))
    return {"seconds": report.seconds, "train_loss": report.train_loss, "steps": report.steps}


def trl(settings: Mapping[str, Any]) -> Turn:
    """A plain script on TRL."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer

    class Clock(TrainerCallback):  # type: ignore[misc]
        """The time of the optimiser steps, as ours counts it."""

        seconds = 0.0

        def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
            self.began = time.perf_counter()

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            self.seconds += time.perf_counter() - self.began

    rows = [json.loads(line)["messages"] for line in Path(settings["rows"]).read_text(encoding="utf-8").splitlines()]
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = SFTTrainer(
            model=str(settings["model"]),
            args=SFTConfig(
                output_dir=folder,
                per_device_train_batch_size=settings["batch_size"],
                num_train_epochs=1,
                learning_rate=settings["learning_rate"],
                max_length=settings["max_length"],
                bf16=True,
                use_cpu=settings["use_cpu"],
                gradient_checkpointing=False,
                model_init_kwargs={"dtype": "bfloat16"},
                logging_steps=1,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
            ),
            train_dataset=Dataset.from_list([{"prompt": row[:-1], "completion": row[-1:]} for row in rows]),
            peft_config=LoraConfig(
                r=settings["rank"], lora_alpha=2 * settings["rank"], target_modules="all-linear", task_type="CAUSAL_LM"
            ),
            callbacks=[clock],
        )
        outcome = trainer.train()
    return {"seconds": clock.seconds, "train_loss": outcome.training_loss, "steps": outcome.global_step}


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _peak_bytes() -> int:
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> int:
    """The command line. Returns the exit status."""
    contender, path = sys.argv[1:]
    settings = json.loads(Path(path).read_text(encoding="utf-8"))
    turn = trl(settings) if contender == "trl" else ours(settings, contender.removeprefix("ours").removeprefix("-"))
    print(json.dumps({**turn, "peak_memory_bytes": _peak_bytes()}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

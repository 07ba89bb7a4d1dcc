"""What SFT and DPO share: the settings of the trainer, going on from a checkpoint, and writing the adapter."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftModel
from transformers import PrinterCallback

from training.errors import RecipeInvalid, TrainingStopped
from training.tuning import history
from training.tuning.adapter_folder import (
    CONFIG,
    CURVES,
    METRICS,
    RECIPE,
    read_weights,
    write_adapter,
    write_json,
)
from training.tuning.base import device
from training.tuning.checkpoints import WorkFolder
from training.tuning.curves import draw_curves
from training.tuning.events import Event, phase
from training.tuning.memory import peak_memory_bytes
from training.tuning.progress import ProgressCallback, TensorBoardLog
from training.tuning.recipe import Recipe
from training.tuning.session import Session
from training.tuning.steering import Plan, Steering


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a training came to."""

    kept_step: int
    """The step whose weights are the adapter: the best measured, or the last where the recipe says so or nothing
    was measured."""
    steps: int
    """Optimiser steps made."""
    planned_steps: int
    log: history.Log
    seconds: float
    tokens_per_second: float
    resumed_from_step: int | None
    peak_memory_bytes: int

    def measured(self) -> dict[str, Any]:
        """What every report says."""
        return {
            "steps": self.steps,
            "planned_steps": self.planned_steps,
            "kept_step": self.kept_step,
            "resumed_from_step": self.resumed_from_step,
            "seconds": round(self.seconds, 1),
            "tokens_per_second": round(self.tokens_per_second, 1),
            "peak_memory_bytes": self.peak_memory_bytes,
            "device": device().type,
        }

    def rounded(self, name: str, step: int) -> float | None:
        """What was logged under ``name`` at ``step``, to five digits; None where nothing was."""
        value = history.at(self.log, name, step)
        return None if value is None else round(value, 5)


def trainer_settings(recipe: Recipe, plan: Plan, session: Session) -> dict[str, Any]:
    """Arguments for ``TrainingArguments`` and TRL's descendants of it. What is not here is decided by ``Steering``.

    Raises RecipeInvalid where the devices cannot share a batch equally.
    """
    on_gpu = torch.cuda.is_available()
    share, rest = divmod(recipe.batch_size, session.processes)
    at_once = recipe.micro_batch_size or share
    if rest or share % at_once:
        raise RecipeInvalid(
            f"`batch_size` ({recipe.batch_size}) cannot be shared equally by {session.processes} processes"
            + (f" in parts of {at_once} (`micro_batch_size`)" if recipe.micro_batch_size else ""),
            param="batch_size",
        )
    return {
        "output_dir": str(session.work.partial),
        "learning_rate": recipe.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": round(recipe.warmup_share * plan.steps),
        "num_train_epochs": recipe.epochs,
        "per_device_train_batch_size": at_once,
        "per_device_eval_batch_size": at_once,
        "gradient_accumulation_steps": share // at_once,
        "gradient_checkpointing": False,
        "bf16": True,
        "use_cpu": not on_gpu,
        "seed": recipe.seed,
        "full_determinism": on_gpu,  # the CPU kernels are deterministic anyway, and this would clear all their memory
        "remove_unused_columns": False,
        "dataloader_pin_memory": on_gpu,
        # Every step is logged, so that the log is the same whether or not the training was cut off in between.
        "logging_steps": 1,
        # It would show a loss that is no number as that of the steps before.
        "logging_nan_inf_filter": False,
        "eval_strategy": "no",
        "eval_on_start": recipe.heldout is not None and session.work.newest() is None,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "ddp_find_unused_parameters": False,
    }


def fit(recipe: Recipe, session: Session, trainer: Any, model: PeftModel, tokens_per_step: float) -> Outcome:
    """Train ``model`` with ``trainer``, from the newest checkpoint if there is one, and leave the kept weights in it.

    Raises TrainingStopped once a checkpoint is written, if that was asked for, and TrainingDiverged.
    """
    work = session.work
    plan = Plan.of(recipe, len(trainer.train_dataset))
    resumed = work.newest()
    steering = Steering(recipe, plan, work, session.stop, session.tell)
    clock = ProgressCallback(session.tell, tokens_per_step)
    board = TensorBoardLog(work.tensorboard, session.tell)
    trainer.recipe = recipe
    # It would print every log as a dictionary; ours tells the same in a line.
    trainer.remove_callback(PrinterCallback)
    for callback in (steering, clock, board):
        trainer.add_callback(callback)
    session.require_not_stopped()
    session.tell(phase("training"))
    if resumed is not None:
        session.tell(Event("message", f"going on from the checkpoint after step {resumed}"))
    try:
        if resumed is None or not _is_over(recipe, plan, work, resumed):
            trainer.train(resume_from_checkpoint=None if resumed is None else str(work.step(resumed)))
    finally:
        board.close()
    trainer.accelerator.wait_for_everyone()
    if steering.was_stopped:
        raise TrainingStopped("asked to stop; a checkpoint is written")
    last = work.newest() or 0
    log = work.log(last)
    found = history.best(log) if recipe.keep == "best" else None
    kept = found[0] if found else last
    read_weights(work.step(kept), model)
    return Outcome(
        kept_step=kept,
        steps=last,
        planned_steps=plan.steps,
        log=log,
        seconds=clock.seconds,
        tokens_per_second=clock.tokens_per_second,
        resumed_from_step=resumed,
        peak_memory_bytes=peak_memory_bytes(),
    )


def _is_over(recipe: Recipe, plan: Plan, work: WorkFolder, step: int) -> bool:
    """Whether only the adapter was left to write when the training was cut off."""
    return step >= plan.steps or history.is_exhausted(work.log(step), recipe.patience)


def write_out(recipe: Recipe, session: Session, model: PeftModel, outcome: Outcome, metrics: Mapping[str, Any]) -> None:
    """Write the adapter with its record into the output folder."""
    if not session.is_first:
        return
    session.tell(phase("writing"))
    out = session.out
    partial = session.work.path / ".adapter"
    shutil.rmtree(partial, ignore_errors=True)
    write_adapter(partial, model, recipe.base_model)
    (partial / RECIPE).write_text(recipe.record(out), encoding="utf-8")
    write_json(partial / METRICS, {"training": metrics})
    try:
        draw_curves(partial / CURVES, outcome.log, recipe.name, outcome.kept_step)
    except ImportError as missing:
        # Hours of training are not lost for a picture.
        session.tell(Event("message", f"{CURVES} is not drawn: {missing}", level="warn"))
    out.mkdir(parents=True, exist_ok=True)
    # The configuration comes last: a folder without one is no adapter.
    for path in sorted(partial.iterdir(), key=lambda path: path.name == CONFIG):
        shutil.move(path, out / path.name)
    partial.rmdir()
    if not session.keeps_checkpoints:
        session.work.clear()

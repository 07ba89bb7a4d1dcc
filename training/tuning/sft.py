"""LoRA supervised fine-tuning of a chat model.

    python -m training.tuning.sft RECIPE --base DIR --out DIR

reads a recipe (:class:`training.tuning.recipe.SftRecipe`) and OpenAI chat JSONL, and writes an adapter folder that vLLM
serves, with the recipe, the measured losses and their curves beside it. It runs on the CPU and on a GPU alike, in
bfloat16 or on a base in 4 bits. Cut off and started again, it goes on from its newest checkpoint.
"""

import sys
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from transformers import TrainingArguments, set_seed

from training.data.chat import ChatDataset, read_chat
from training.data.encoding import EncodedRow, encode_dataset
from training.tuning import history
from training.tuning.adapter_folder import require_free
from training.tuning.base import attach_lora, load_base, load_tokenizer, pad_token_id, require_servable, require_served
from training.tuning.batches import Collator, supervised_tokens
from training.tuning.checks import require_trainable
from training.tuning.events import Event, Progress, phase
from training.tuning.fitting import Outcome, fit, trainer_settings, write_out
from training.tuning.isolation import require_isolation
from training.tuning.recipe import SftRecipe
from training.tuning.session import Session, local_session, run_program
from training.tuning.steering import Plan, steps_per_epoch
from training.tuning.trainers import SftTrainer, require_one_device


@dataclass(frozen=True, slots=True)
class DataReport:
    """What a data set came to for this tokenizer."""

    sha256: str
    rows: int
    tokens: int
    supervised_tokens: int
    truncated_rows: int


@dataclass(frozen=True, slots=True)
class SftReport:
    """What a training measured. Losses are means over the supervised tokens, in nats.

    Where the base was quantised, all of them were measured on the quantised base; served is the full one.
    """

    method: str
    train: DataReport
    heldout: DataReport | None
    heldout_loss_base: float | None
    heldout_loss: float | None
    heldout_accuracy: float | None
    """Share of the supervised tokens that were the likeliest, each after the right ones."""
    train_loss: float
    """Mean over the steps up to the one that was kept."""
    trainable_parameters: int
    quantization: str
    steps: int
    planned_steps: int
    kept_step: int
    resumed_from_step: int | None
    seconds: float
    """Of the optimiser steps that this process made."""
    tokens_per_second: float
    peak_memory_bytes: int
    """CUDA's where there is a GPU, else the resident set of the process."""
    device: str


def train(recipe: SftRecipe, base: Path, out: Path, progress: Progress, *, allow: Collection[str] = ()) -> SftReport:
    """Train the adapter that ``recipe`` describes and write it into ``out``, with recipe.yaml and metrics.json.

    Checkpoints and TensorBoard logs lie in ``OUT.work``, from which a training that was cut off goes on.

    Raises:
        DataInvalid: the data cannot be trained on; raised before the model is read.
        RecipeInvalid: serving would refuse the adapter.
        BaseModelInvalid: ``base`` cannot be used with this recipe.
        OutputRefused: ``out`` already holds an adapter, or ``OUT.work`` checkpoints of another training.
        TrainingDiverged: the loss or its gradient is no longer a number.
    """
    return run(recipe, local_session(base, out, progress, allow))


def run(recipe: SftRecipe, session: Session) -> SftReport:
    """Train in ``session``. Raises what :func:`train` raises, and TrainingStopped."""
    tell = session.tell
    tell(phase("validating"))
    require_free(session.out)
    tokenizer = load_tokenizer(session.base)
    require_servable(recipe, session.base, session.max_rank)
    require_trainable(recipe, "chat", tokenizer, session.allow, tell)
    data = read_chat(recipe.train)
    rows = encode_dataset(data, tokenizer, recipe.max_length)
    heldout = read_chat(recipe.heldout) if recipe.heldout else None
    heldout_rows = encode_dataset(heldout, tokenizer, recipe.max_length) if heldout else []
    session.open(recipe, data.sha256, heldout.sha256 if heldout else None)
    session.require_not_stopped()
    # One seed for the initial LoRA weights, dropout and the order of the rows; the trainer seeds itself the same.
    set_seed(recipe.seed)
    model = attach_lora(load_base(session.base, recipe.quantization), recipe)
    require_served(model, recipe, session.base)
    if recipe.packing:
        require_isolation(model, len(tokenizer), recipe.max_length)
    collator = Collator(pad_token_id(tokenizer), recipe.max_length, packs=recipe.packing)
    args = TrainingArguments(**trainer_settings(recipe, Plan.of(recipe, len(rows)), session))
    require_one_device(args.n_gpu)
    trainer = SftTrainer(model=model, args=args, train_dataset=rows, data_collator=collator)
    trainer.measure_on(heldout_rows, collator, args.per_device_eval_batch_size)
    parameters = int(model.get_nb_trainable_parameters()[0])
    tell(Event("message", f"{recipe.name}: {len(rows)} rows, {parameters:,} trainable parameters"))
    tokens = sum(len(row.input_ids) for row in rows)
    outcome = fit(recipe, session, trainer, model, tokens / steps_per_epoch(recipe, len(rows)))
    report = SftReport(
        method="sft",
        train=_describe(data, rows),
        heldout=_describe(heldout, heldout_rows) if heldout else None,
        trainable_parameters=parameters,
        quantization=recipe.quantization,
        **_losses(outcome),
        **outcome.measured(),
    )
    write_out(recipe, session, model, outcome, asdict(report))
    return report


def _losses(outcome: Outcome) -> dict[str, Any]:
    kept = outcome.kept_step
    return {
        "heldout_loss_base": outcome.rounded(history.HELDOUT_LOSS, 0),
        "heldout_loss": outcome.rounded(history.HELDOUT_LOSS, kept),
        "heldout_accuracy": outcome.rounded("eval_mean_token_accuracy", kept),
        "train_loss": round(history.mean_until(outcome.log, "loss", kept), 5),
    }


def _describe(data: ChatDataset, rows: Sequence[EncodedRow]) -> DataReport:
    return DataReport(
        sha256=data.sha256,
        rows=len(rows),
        tokens=sum(len(row.input_ids) for row in rows),
        supervised_tokens=supervised_tokens(rows),
        truncated_rows=sum(row.truncated for row in rows),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    return run_program("training.tuning.sft", "LoRA supervised fine-tuning of a chat model.", SftRecipe, run, arguments)


if __name__ == "__main__":
    sys.exit(main())

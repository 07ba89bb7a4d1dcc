"""LoRA supervised fine-tuning of a chat model.

    python -m training.tuning.sft RECIPE --base DIR --out DIR

reads a recipe (:class:`training.tuning.recipe.SftRecipe`) and OpenAI chat JSONL, and writes an adapter folder that vLLM
serves, with the recipe and the measured losses beside it. It runs on the CPU and on a GPU alike, in bfloat16.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PrinterCallback, Trainer, TrainingArguments, set_seed

from training.data.chat import ChatDataset, read_chat
from training.data.encoding import EncodedRow, encode_dataset
from training.errors import TrainingError
from training.tuning.adapter_folder import METRICS, RECIPE, require_free, write_adapter, write_json
from training.tuning.base import attach_lora, load_base, load_tokenizer, pad_token_id
from training.tuning.batches import Batch, Collator, answer_loss, mean_loss, supervised_tokens
from training.tuning.memory import keep_freed_memory
from training.tuning.progress import Progress, ProgressCallback
from training.tuning.recipe import SftRecipe

LOGS_PER_TRAINING = 25


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
    """What a training measured. Losses are means over the supervised tokens, in nats."""

    train: DataReport
    heldout: DataReport
    heldout_loss_base: float
    heldout_loss: float
    train_loss: float
    trainable_parameters: int
    steps: int
    seconds: float
    tokens_per_second: float
    device: str


def train(recipe: SftRecipe, base: Path, out: Path, progress: Progress) -> SftReport:
    """Train the adapter that ``recipe`` describes and write it into ``out``, with recipe.yaml and metrics.json.

    Raises:
        DataInvalid: the data cannot be trained on; raised before the model is read.
        BaseModelInvalid: ``base`` cannot be used with this recipe.
        OutputRefused: ``out`` already holds an adapter.
    """
    require_free(out)
    train_data, heldout_data = read_chat(recipe.train), read_chat(recipe.heldout)
    tokenizer = load_tokenizer(base)
    train_rows = encode_dataset(train_data, tokenizer, recipe.max_length)
    heldout_rows = encode_dataset(heldout_data, tokenizer, recipe.max_length)
    # One seed for the initial LoRA weights, dropout and the order of the rows; the trainer seeds itself the same.
    set_seed(recipe.seed)
    model = attach_lora(load_base(base), recipe)
    collator = Collator(pad_token_id(tokenizer))
    clock = ProgressCallback(progress, sum(len(row.input_ids) for row in train_rows), recipe.epochs)
    parameters = int(model.get_nb_trainable_parameters()[0])
    progress(f"{recipe.name}: {len(train_rows)} rows, {parameters:,} trainable parameters")
    # LoRA's B starts at zero, so the untrained adapter measures the base model.
    loss_base = mean_loss(model, heldout_rows, collator, recipe.batch_size)
    progress(f"held-out loss of the base model: {loss_base:.4f}")
    steps, train_loss = _run(recipe, model, train_rows, collator, clock)
    loss = mean_loss(model, heldout_rows, collator, recipe.batch_size)
    progress(f"held-out loss of the adapter: {loss:.4f}")
    report = SftReport(
        train=_describe(train_data, train_rows),
        heldout=_describe(heldout_data, heldout_rows),
        heldout_loss_base=round(loss_base, 5),
        heldout_loss=round(loss, 5),
        train_loss=round(train_loss, 5),
        trainable_parameters=parameters,
        steps=steps,
        seconds=round(clock.seconds, 1),
        tokens_per_second=round(clock.tokens_per_second, 1),
        device=model.device.type,
    )
    write_adapter(out, model, recipe.base_model)
    (out / RECIPE).write_text(recipe.record(out), encoding="utf-8")
    write_json(out / METRICS, {"training": asdict(report)})
    return report


class AnswerTrainer(Trainer):  # type: ignore[misc]
    """A trainer whose loss is the mean over the assistant's tokens."""

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Batch,
        return_outputs: bool = False,  # noqa: FBT001, FBT002  (the base class's signature)
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """The loss of one batch, in nats per supervised token of the whole optimiser step."""
        if return_outputs or num_items_in_batch is None:
            raise NotImplementedError("this trainer only trains; `mean_loss` evaluates")
        return answer_loss(model, inputs) / num_items_in_batch


def _run(
    recipe: SftRecipe, model: nn.Module, rows: Sequence[EncodedRow], collator: Collator, clock: ProgressCallback
) -> tuple[int, float]:
    """Train in place. Returns the steps made and the mean loss."""
    with tempfile.TemporaryDirectory(prefix="loraplex-sft-") as scratch:
        trainer = AnswerTrainer(
            model=model,
            args=_arguments(recipe, len(rows), Path(scratch)),
            train_dataset=list(rows),
            data_collator=collator,
            callbacks=[clock],
        )
        # It would print every log as a dictionary; ours tells the same in a line.
        trainer.remove_callback(PrinterCallback)
        outcome = trainer.train()
    return int(outcome.global_step), float(outcome.training_loss)


def _arguments(recipe: SftRecipe, rows: int, scratch: Path) -> TrainingArguments:
    steps = max(1, round(recipe.epochs * -(-rows // recipe.batch_size)))
    on_gpu = torch.cuda.is_available()
    return TrainingArguments(
        output_dir=str(scratch),
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=round(recipe.warmup_share * steps),
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.batch_size,
        bf16=True,
        use_cpu=not on_gpu,
        seed=recipe.seed,
        full_determinism=on_gpu,  # the CPU kernels are deterministic anyway, and this would clear all their memory
        remove_unused_columns=False,
        dataloader_pin_memory=on_gpu,
        logging_steps=max(1, steps // LOGS_PER_TRAINING),
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


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
    parser = argparse.ArgumentParser(
        prog="python -m training.tuning.sft", description="LoRA fine-tuning of a chat model."
    )
    parser.add_argument("recipe", type=Path, help="recipe, in YAML")
    parser.add_argument("--base", type=Path, required=True, help="folder of the base checkpoint")
    parser.add_argument("--out", type=Path, required=True, help="folder to write the adapter into")
    options = parser.parse_args(arguments)
    keep_freed_memory()
    try:
        report = train(SftRecipe.load(options.recipe), options.base, options.out, lambda line: print(line, flush=True))
    except TrainingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"wrote {options.out} after {report.seconds:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())

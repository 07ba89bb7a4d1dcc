"""Direct preference optimisation of a chat model with LoRA (Rafailov and others, arXiv 2305.18290), on TRL.

    python -m training.tuning.dpo RECIPE --base DIR --out DIR

reads a recipe (:class:`training.tuning.recipe.DpoRecipe`) and OpenAI preference JSONL, and writes an adapter folder as
:mod:`training.tuning.sft` does. What the base model thinks of every answer is computed once, with the adapter switched
off: no second model is held in memory.
"""

import shutil
import sys
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import datasets
import torch
from transformers import PreTrainedTokenizerBase, set_seed
from trl import DPOConfig, DPOTrainer

from training.data.encoding import EncodedPreference, encode_preferences
from training.data.preferences import PreferenceDataset, read_preferences
from training.tuning import history
from training.tuning.adapter_folder import require_free
from training.tuning.base import load_base, load_tokenizer, lora_config, pad_token_id, require_servable, require_served
from training.tuning.checks import require_trainable
from training.tuning.events import Event, Progress, phase
from training.tuning.fitting import Outcome, fit, trainer_settings, write_out
from training.tuning.recipe import DpoRecipe
from training.tuning.session import Session, local_session, run_program
from training.tuning.steering import Plan, steps_per_epoch
from training.tuning.trainers import Resumable, require_one_device


@dataclass(frozen=True, slots=True)
class PreferenceReport:
    """What a data set of preferences came to for this tokenizer."""

    sha256: str
    rows: int
    tokens: int
    """Of both sides, the prompt counted with each."""
    truncated_rows: int


@dataclass(frozen=True, slots=True)
class DpoReport:
    """What a training measured. Losses are means over the preferences; log 2 is that of the base model.

    Where the base was quantised, all of them were measured on the quantised base; served is the full one.
    """

    method: str
    train: PreferenceReport
    heldout: PreferenceReport | None
    heldout_loss_base: float | None
    heldout_loss: float | None
    heldout_accuracy: float | None
    """Share of the held-out preferences whose better answer gained more than the worse one."""
    heldout_margin: float | None
    """Mean lead of the better answer's reward, beta times the gain in log-probability."""
    train_loss: float
    trainable_parameters: int
    quantization: str
    steps: int
    planned_steps: int
    kept_step: int
    resumed_from_step: int | None
    seconds: float
    tokens_per_second: float
    peak_memory_bytes: int
    device: str


class PreferenceTrainer(Resumable, DPOTrainer):  # type: ignore[misc]
    """TRL's DPO on rows that are tokens already; nothing is sent anywhere and no model card is written."""

    def _prepare_dataset(self, dataset: datasets.Dataset, *args: Any, **kwargs: Any) -> datasets.Dataset:
        """TRL would tokenise prompt and answer in one piece and learn what a template adds after the answer's end."""
        return dataset

    def _send_telemetry(self) -> None:
        """Nothing is told to anybody."""

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """No card: the recipe and the metrics are the record."""


def train(recipe: DpoRecipe, base: Path, out: Path, progress: Progress, *, allow: Collection[str] = ()) -> DpoReport:
    """Train the adapter that ``recipe`` describes and write it into ``out``. Raises what SFT's ``train`` raises."""
    return run(recipe, local_session(base, out, progress, allow))


def run(recipe: DpoRecipe, session: Session) -> DpoReport:
    """Train in ``session``. Raises what :func:`train` raises, and TrainingStopped."""
    tell = session.tell
    tell(phase("validating"))
    require_free(session.out)
    tokenizer = load_tokenizer(session.base)
    require_servable(recipe, session.base, session.max_rank)
    require_trainable(recipe, "preference", tokenizer, session.allow, tell)
    data = read_preferences(recipe.train)
    rows = encode_preferences(data, tokenizer, recipe.max_length)
    heldout = read_preferences(recipe.heldout) if recipe.heldout else None
    heldout_rows = encode_preferences(heldout, tokenizer, recipe.max_length) if heldout else []
    session.open(recipe, data.sha256, heldout.sha256 if heldout else None)
    session.require_not_stopped()
    tell(Event("message", f"{recipe.name}: {len(rows)} preferences; asking the base model about each"))
    trainer = _trainer(recipe, session, tokenizer, rows, heldout_rows)
    model = trainer.model
    require_served(model, recipe, session.base)
    tokens = sum(map(_tokens, rows))
    outcome = fit(recipe, session, trainer, model, tokens / steps_per_epoch(recipe, len(rows)))
    report = DpoReport(
        method="dpo",
        train=_describe(data, rows),
        heldout=_describe(heldout, heldout_rows) if heldout else None,
        trainable_parameters=int(model.get_nb_trainable_parameters()[0]),
        quantization=recipe.quantization,
        **_losses(outcome),
        **outcome.measured(),
    )
    write_out(recipe, session, model, outcome, asdict(report))
    return report


def _trainer(
    recipe: DpoRecipe,
    session: Session,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[EncodedPreference],
    heldout: Sequence[EncodedPreference],
) -> PreferenceTrainer:
    settings = trainer_settings(recipe, Plan.of(recipe, len(rows)), session)
    args = DPOConfig(
        **settings,
        beta=recipe.beta,
        max_length=None,  # rows were cut to length, and refused where nothing of an answer was left
        precompute_ref_log_probs=True,
        disable_dropout=False,  # the recipe says how much there is
    )
    require_one_device(args.n_gpu)
    tokenizer.pad_token_id = pad_token_id(tokenizer)
    datasets.disable_progress_bars()
    set_seed(recipe.seed)
    base = load_base(session.base, recipe.quantization)
    trainer = PreferenceTrainer(
        # A model that already has an adapter would be given a second one, as the reference.
        model=base,
        peft_config=lora_config(base, recipe),
        args=args,
        train_dataset=_dataset(rows, session, args, "train"),
        eval_dataset=_dataset(heldout, session, args, "heldout") if heldout else None,
        processing_class=tokenizer,
    )
    for parameter in trainer.model.parameters():
        if parameter.requires_grad:
            # On a quantised base TRL rounds the adapter to bfloat16, which swallows small steps.
            parameter.data = parameter.data.to(torch.float32)
    return trainer


def _dataset(rows: Sequence[EncodedPreference], session: Session, args: DPOConfig, name: str) -> datasets.Dataset:
    """The rows in a file, one for all processes: TRL writes beside it what the base model thinks of them."""
    folder = session.work.preferences / name
    if session.is_first:
        shutil.rmtree(folder, ignore_errors=True)
        columns = ("prompt_ids", "chosen_ids", "rejected_ids")
        found = datasets.Dataset.from_dict({column: [list(getattr(row, column)) for row in rows] for column in columns})
        found.save_to_disk(folder)
    args.distributed_state.wait_for_everyone()
    return datasets.load_from_disk(folder)


def _tokens(row: EncodedPreference) -> int:
    return 2 * len(row.prompt_ids) + len(row.chosen_ids) + len(row.rejected_ids)


def _losses(outcome: Outcome) -> dict[str, Any]:
    kept = outcome.kept_step
    return {
        "heldout_loss_base": outcome.rounded(history.HELDOUT_LOSS, 0),
        "heldout_loss": outcome.rounded(history.HELDOUT_LOSS, kept),
        "heldout_accuracy": outcome.rounded("eval_rewards/accuracies", kept),
        "heldout_margin": outcome.rounded("eval_rewards/margins", kept),
        "train_loss": round(history.mean_until(outcome.log, "loss", kept), 5),
    }


def _describe(data: PreferenceDataset, rows: Sequence[EncodedPreference]) -> PreferenceReport:
    return PreferenceReport(
        sha256=data.sha256,
        rows=len(rows),
        tokens=sum(map(_tokens, rows)),
        truncated_rows=sum(row.truncated for row in rows),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    return run_program("training.tuning.dpo", "Direct preference optimisation with LoRA.", DpoRecipe, run, arguments)


if __name__ == "__main__":
    sys.exit(main())

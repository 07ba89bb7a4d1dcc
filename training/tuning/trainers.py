"""What transformers' trainers do differently here: the order of rows, checkpoints, and the loss of SFT."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Sampler
from transformers import Trainer

from training.data.encoding import EncodedRow
from training.errors import RecipeInvalid
from training.tuning.adapter_folder import read_weights, write_adapter
from training.tuning.batches import Batch, Collator, answer_loss, total_loss
from training.tuning.recipe import Recipe
from training.tuning.steering import steps_per_epoch


class Resumable:
    """Mixin before a trainer: the row order follows from seed and epoch, and a checkpoint restores every bit.

    ``recipe`` is set before the training starts.
    """

    recipe: Recipe
    model: Any
    state: Any
    control: Any
    train_dataset: Any

    def _get_train_sampler(self, train_dataset: Any = None) -> "EpochOrder":
        return EpochOrder(self, len(self.train_dataset))

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        if output_dir is None or not self.args.should_save:  # type: ignore[attr-defined]
            return
        # In float32, as they are trained: what is resumed from must not be rounded.
        write_adapter(Path(output_dir), self.model, self.recipe.base_model, torch.float32)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        read_weights(Path(resume_from_checkpoint), model or self.model)

    @property
    def epoch(self) -> int:
        """The pass over the rows that the next step belongs to."""
        return int(self.state.global_step) // steps_per_epoch(self.recipe, len(self.train_dataset))


class EpochOrder(Sampler[int]):  # type: ignore[misc]
    """An order of its own for every epoch, the same after a restart in the middle of one."""

    def __init__(self, trainer: Resumable, rows: int) -> None:
        self._trainer = trainer
        self._rows = rows

    def __len__(self) -> int:
        return self._rows

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng([self._trainer.recipe.seed, self._trainer.epoch]).permutation(self._rows)
        return iter(order.tolist())


class SftTrainer(Resumable, Trainer):  # type: ignore[misc]
    """A trainer whose loss is the mean over the assistant's tokens.

    It stands on transformers' Trainer rather than on TRL's SFTTrainer: on the CPU that one runs the head at every
    position, and its packing joins rows of different batches, needs FlashAttention to keep them apart, and excludes a
    collator of one's own. Of its other services (templates, tokenising, truncation) the data part has stricter ones.
    """

    # The loss is divided by the tokens of the whole optimiser step.
    loss_is_scaled_for_ga = True

    def measure_on(self, rows: Sequence[EncodedRow], collator: Collator, batch_size: int) -> None:
        """Have ``evaluate`` measure ``rows``."""
        self._heldout = (rows, collator, batch_size)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Batch,
        return_outputs: bool = False,  # noqa: FBT001, FBT002  (the base class's signature)
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """The loss of one batch, in nats per supervised token of the whole optimiser step."""
        if return_outputs or num_items_in_batch is None:
            raise NotImplementedError("this trainer only trains; `evaluate` measures")
        loss = answer_loss(model, inputs, head_of=self.model)
        self._correct = loss.correct, loss.tokens
        # Gradients are averaged over processes, and the tokens are those of all of them.
        return loss.total * self.accelerator.num_processes / num_items_in_batch

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the accuracy on this process's last batch to the training loss."""
        if "loss" in logs:
            correct, tokens = self._correct
            logs["mean_token_accuracy"] = correct.item() / max(tokens, 1)
        super().log(logs, start_time)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Mean loss and accuracy per supervised token of the held-out rows, which the processes share."""
        rows, collator, batch_size = self._heldout
        share = rows[self.args.process_index :: self.args.world_size]
        sums = total_loss(self.model, share, collator, batch_size) if share else torch.zeros(3, dtype=torch.float64)
        total, correct, tokens = self.accelerator.reduce(sums.to(self.args.device), "sum").tolist()
        metrics = {"eval_loss": total / tokens, "eval_mean_token_accuracy": correct / tokens}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


def require_one_device(n_gpu: int) -> None:
    """Raises RecipeInvalid where one process sees several GPUs: the trainer would split batches behind our back."""
    if n_gpu > 1:
        raise RecipeInvalid(
            f"this process sees {n_gpu} GPUs; start one process for each with `accelerate launch -m "
            "training.tuning.worker FOLDER`, or show it a single one (CUDA_VISIBLE_DEVICES=0)",
            code="several_devices",
        )

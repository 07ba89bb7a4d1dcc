"""Progress of a training: losses, tokens per second and time left, as events and as TensorBoard logs."""

import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from training.tuning import history
from training.tuning.events import Event, Listener

_EVENTS_PER_TRAINING = 50


class ProgressCallback(TrainerCallback):  # type: ignore[misc]
    """Tells where the training stands: about fifty times, and at every held-out loss.

    ``tokens_per_step``: tokens of the training rows, padding not counted, in an average optimiser step.
    """

    def __init__(self, listen: Listener, tokens_per_step: float) -> None:
        self._listen = listen
        self._tokens_per_step = tokens_per_step
        self._step_began = 0.0
        self._told = 0
        self._steps = 0
        self.seconds = 0.0
        """How long the optimiser steps of this process took; measuring and checkpoints are not counted."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Note where this process starts."""
        self._told = state.global_step
        self._step_began = time.perf_counter()

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clock."""
        self._step_began = time.perf_counter()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Stop the clock."""
        self.seconds += time.perf_counter() - self._step_began
        self._steps += 1

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """An event at every fiftieth of the training."""
        step = state.global_step
        every = max(1, state.max_steps // _EVENTS_PER_TRAINING)
        if not logs or "loss" not in logs or not (step - self._told >= every or step == state.max_steps):
            return
        since = [loss for logged, loss in history.points(state.log_history, "loss") if logged > self._told]
        self._told = step
        self._tell(state, {"train_loss": sum(since) / len(since), **_accuracy(logs, "mean_token_accuracy", "train_")})

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """An event for every held-out loss."""
        step, log = state.global_step, state.log_history
        losses = {
            "train_loss": history.at(log, "loss", step),
            "valid_loss": history.at(log, history.HELDOUT_LOSS, step),
        }
        self._tell(
            state,
            {name: value for name, value in losses.items() if value is not None}
            | _accuracy(metrics or {}, "eval_mean_token_accuracy", "valid_"),
        )

    def _tell(self, state: TrainerState, losses: dict[str, float]) -> None:
        step, total = state.global_step, state.max_steps
        left = self.seconds / self._steps * (total - step) if self._steps else None
        data: dict[str, Any] = {"step": step, "total_steps": total, **losses}
        parts = [f"step {step}/{total}"]
        if "train_loss" in losses:
            parts.append(f"loss {losses['train_loss']:.4f}")
        if "valid_loss" in losses:
            parts.append(f"held-out loss {losses['valid_loss']:.4f}")
        if left is not None:
            data |= {"tokens_per_second": round(self.tokens_per_second, 1), "seconds_left": round(left, 1)}
            parts.append(f"{self.tokens_per_second:,.0f} tokens/s")
            parts.append(f"{left:,.0f} s left")
        self._listen(Event("metrics", "  ".join(parts), data))

    @property
    def tokens_per_second(self) -> float:
        """Of the steps that this process made, padding not counted."""
        return self._tokens_per_step * self._steps / self.seconds if self.seconds else 0.0


def _accuracy(found: dict[str, float], name: str, prefix: str) -> dict[str, float]:
    return {f"{prefix}mean_token_accuracy": round(found[name], 5)} if name in found else {}


class TensorBoardLog(TrainerCallback):  # type: ignore[misc]
    """Writes every logged number for TensorBoard; after a restart, over what the cut-off training had written."""

    def __init__(self, folder: Path, listen: Listener) -> None:
        self._folder = folder
        self._listen = listen
        self._writer: Any = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Open the log."""
        if not state.is_world_process_zero:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as missing:
            self._listen(Event("message", f"no logs for TensorBoard: {missing}", level="warn"))
        else:
            self._writer = SummaryWriter(str(self._folder), purge_step=state.global_step + 1)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Write the numbers."""
        if self._writer is None:
            return
        for name, value in (logs or {}).items():
            group = "heldout" if name.startswith("eval_") else "train"
            self._writer.add_scalar(f"{group}/{name.removeprefix('eval_')}", value, state.global_step)

    def close(self) -> None:
        """Close the log, however the training ended."""
        if self._writer is not None:
            self._writer.close()

"""Progress of a training: loss, tokens per second and time left."""

import time
from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

Progress = Callable[[str], None]


class ProgressCallback(TrainerCallback):  # type: ignore[misc]
    """Tells ``progress`` where the training stands, at every log of the trainer."""

    def __init__(self, progress: Progress, tokens_per_epoch: int, epochs: float) -> None:
        self._progress = progress
        self._tokens = tokens_per_epoch * epochs
        self._started = time.perf_counter()
        self.seconds = 0.0
        """How long the training took."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clock."""
        self._started = time.perf_counter()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """One line for each log of the training loss."""
        if not logs or "loss" not in logs:
            return
        elapsed = time.perf_counter() - self._started
        share = state.global_step / max(state.max_steps, 1)
        left = elapsed / share - elapsed if share else 0.0
        rate = self._tokens * share / elapsed if elapsed else 0.0
        self._progress(
            f"step {state.global_step}/{state.max_steps}  loss {logs['loss']:.4f}  "
            f"{rate:,.0f} tokens/s  {left:,.0f} s left"
        )

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Stop the clock."""
        self.seconds = time.perf_counter() - self._started

    @property
    def tokens_per_second(self) -> float:
        """Of the whole training, padding not counted."""
        return self._tokens / self.seconds if self.seconds else 0.0

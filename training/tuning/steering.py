"""When a training measures, writes a checkpoint and ends."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from training.errors import TrainingDiverged
from training.tuning import history
from training.tuning.checkpoints import WorkFolder
from training.tuning.events import Event, Listener
from training.tuning.recipe import Recipe
from training.tuning.stop import Stop

_CHECKPOINTS = 10
_MEASUREMENTS = 4
_LOGGED = {"loss": "loss", "grad_norm": "norm of the gradient"}


@dataclass(frozen=True, slots=True)
class Plan:
    """How often what is done, in optimiser steps."""

    steps: int
    """Of the whole training."""
    checkpoint_every: int
    evaluate_every: int | None
    """None without held-out rows."""

    @classmethod
    def of(cls, recipe: Recipe, rows: int) -> "Plan":
        """The plan for ``rows`` training rows; the numbers of steps are those that transformers' trainer arrives at."""
        steps = max(1, -int(-recipe.epochs * steps_per_epoch(recipe, rows) // 1))
        return cls(
            steps=steps,
            checkpoint_every=recipe.checkpoint_every or max(1, -(-steps // _CHECKPOINTS)),
            evaluate_every=(recipe.evaluate_every or max(1, -(-steps // _MEASUREMENTS))) if recipe.heldout else None,
        )


def steps_per_epoch(recipe: Recipe, rows: int) -> int:
    """Optimiser steps of one pass; the last one may see fewer rows."""
    return -(-rows // recipe.batch_size)


class Steering(TrainerCallback):  # type: ignore[misc]
    """Steers the trainer by the recipe; every decision follows from the step and the log, so it is the same again."""

    def __init__(self, recipe: Recipe, plan: Plan, work: WorkFolder, stop: Stop, listen: Listener) -> None:
        self._recipe = recipe
        self._plan = plan
        self._work = work
        self._stop = stop
        self._listen = listen
        self.was_stopped = False
        """Whether the training was asked to stop before its end."""

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Decide what follows this step."""
        step, plan = state.global_step, self._plan
        is_last = step >= state.max_steps
        control.should_evaluate = plan.evaluate_every is not None and (is_last or step % plan.evaluate_every == 0)
        self.was_stopped = not is_last and _agreed(self._stop.is_asked, args.device)
        control.should_training_stop = is_last or self.was_stopped
        control.should_save = (
            control.should_evaluate or control.should_training_stop or step % plan.checkpoint_every == 0
        )

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Raises TrainingDiverged, before a checkpoint holds weights that are no numbers."""
        for name in ("loss", "grad_norm"):
            value = (logs or {}).get(name, 0.0)
            if not math.isfinite(value):
                raise TrainingDiverged(
                    f"the training diverged: at step {state.global_step} the {_LOGGED[name]} is {value}; "
                    f"lower `learning_rate` ({self._recipe.learning_rate:g})",
                    param="learning_rate",
                )

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """End a training that no longer gets better."""
        if state.global_step < state.max_steps and history.is_exhausted(state.log_history, self._recipe.patience):
            control.should_training_stop = True
            self.was_stopped = False
            self._listen(
                Event(
                    "message",
                    f"no better held-out loss in {self._recipe.patience} measurements: "
                    f"stopped early after step {state.global_step}",
                )
            )

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Put the checkpoint where it counts, and remove old ones."""
        if torch.distributed.is_initialized():
            # Each process writes its own random state into the folder that is now given its name.
            torch.distributed.barrier()
        if not state.is_world_process_zero:
            return
        step = state.global_step
        path = self._work.keep(step)
        found = history.best(state.log_history)
        self._work.prune(self._recipe.keep_checkpoints, found[0] if found else None)
        metrics = {
            "train_loss": history.at(state.log_history, "loss", step),
            "valid_loss": history.at(state.log_history, history.HELDOUT_LOSS, step),
        }
        self._listen(
            Event(
                "checkpoint",
                f"checkpoint after step {step}",
                {
                    "step": step,
                    "path": path.relative_to(self._work.path).as_posix(),
                    "metrics": {name: value for name, value in metrics.items() if value is not None},
                },
            )
        )


def _agreed(asked: bool, device: torch.device) -> bool:  # noqa: FBT001  (one predicate)
    """Whether any process was asked: all of them must leave the loop at the same step."""
    if not torch.distributed.is_initialized():
        return asked
    flag = torch.tensor(int(asked), device=device)
    torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX)
    return bool(flag.item())

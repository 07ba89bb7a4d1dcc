"""The folder that a training works in: whole checkpoints, and whose they are.

WORK/identity.json            what is trained: other checkpoints are never gone on from
WORK/checkpoints/step-N/      a whole checkpoint: adapter in float32, optimiser, schedule, random states, log
WORK/checkpoints/.partial/    one that is being written
WORK/tensorboard/             logs for TensorBoard
WORK/preferences/             the rows of DPO as tokens, and what the base model thinks of them
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.errors import OutputRefused

_PREFIX = "step-"
_STATE = "trainer_state.json"


@dataclass(frozen=True, slots=True)
class WorkFolder:
    """One training's working folder."""

    path: Path

    @property
    def checkpoints(self) -> Path:
        """Where whole checkpoints lie."""
        return self.path / "checkpoints"

    @property
    def partial(self) -> Path:
        """Where the trainer writes a checkpoint until it is whole."""
        return self.checkpoints / ".partial"

    @property
    def tensorboard(self) -> Path:
        """Logs for TensorBoard."""
        return self.path / "tensorboard"

    @property
    def preferences(self) -> Path:
        """The rows of DPO."""
        return self.path / "preferences"

    def open(self, identity: Mapping[str, Any]) -> None:
        """Make the folder, or take it up again after a training of the same ``identity`` was cut off.

        Raises OutputRefused if it belongs to another training.
        """
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        mark = self.path / "identity.json"
        if self.newest() is not None and (not mark.exists() or json.loads(mark.read_text())["sha256"] != digest):
            raise OutputRefused(
                f"{self.path} holds checkpoints of another recipe, other data or another base; remove it to start anew"
            )
        shutil.rmtree(self.partial, ignore_errors=True)
        self.partial.mkdir(parents=True)
        mark.write_text(json.dumps({"sha256": digest}) + "\n", encoding="utf-8")

    def step(self, step: int) -> Path:
        """The checkpoint after ``step`` optimiser steps."""
        return self.checkpoints / f"{_PREFIX}{step}"

    def steps(self) -> list[int]:
        """The steps of all whole checkpoints, in order."""
        found = (path.name.removeprefix(_PREFIX) for path in self.checkpoints.glob(f"{_PREFIX}*"))
        return sorted(int(name) for name in found if name.isdecimal())

    def newest(self) -> int | None:
        """The step of the newest whole checkpoint."""
        return max(self.steps(), default=None)

    def log(self, step: int) -> list[dict[str, Any]]:
        """The trainer's log up to the checkpoint after ``step``."""
        log: list[dict[str, Any]] = json.loads((self.step(step) / _STATE).read_text(encoding="utf-8"))["log_history"]
        return log

    def keep(self, step: int) -> Path:
        """Make the checkpoint that was written into ``partial`` a whole one: it appears at once or not at all."""
        whole = self.step(step)
        shutil.rmtree(whole, ignore_errors=True)
        (self.partial / f"checkpoint-{step}").rename(whole)
        return whole

    def prune(self, keep: int, best: int | None) -> None:
        """Remove all but the newest ``keep`` checkpoints and the ``best`` one."""
        for step in self.steps()[:-keep]:
            if step != best:
                shutil.rmtree(self.step(step))

    def clear(self) -> None:
        """Remove all that a training goes on from: the adapter is written."""
        shutil.rmtree(self.checkpoints)
        shutil.rmtree(self.preferences, ignore_errors=True)

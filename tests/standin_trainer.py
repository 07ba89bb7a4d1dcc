"""Stands for the program that trains, and keeps its contract: phases, checkpoints, resuming, refusals, signals.

    python -m tests.standin_trainer FOLDER --lifeline

What it does is in the training file: each row is a conversation, and the first user message is a plan in JSON.
``steps``: how many there are, a checkpoint after each; ``hold_at``: the step before which it waits for the file
``release`` beside the job's folder; ``crash_at``: the step at which it kills itself, once; ``crash_always``: it dies
of an error at once, each time; ``refuse``: what it writes into error.json; ``checkpoints``: false for none.
"""

import json
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

STOPPED = 75
REFUSED = 2


class Trainer:
    """One run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._orders: dict[str, Any] = json.loads((folder / "job.json").read_text())
        self._stop = threading.Event()

    def run(self) -> int:
        """Train. Returns the exit status."""
        signal.signal(signal.SIGTERM, lambda *_: self._stop.set())
        threading.Thread(target=self._follow_parent, daemon=True).start()
        print("the stand-in begins", flush=True)
        self._tell("phase", "validating", {"phase": "validating"})
        plan = self._plan()
        if plan.get("crash_always"):
            raise RuntimeError("the stand-in was told to crash")
        if "refuse" in plan:
            (self._folder / "error.json").write_text(json.dumps(plan["refuse"]))
            return REFUSED
        done = self._resume()
        self._tell("phase", "training", {"phase": "training"})
        for step in range(done + 1, plan["steps"] + 1):
            if step == plan.get("hold_at"):
                self._wait_for_release()
            if self._stop.is_set():
                return STOPPED
            self._step(step, plan)
        self._tell("phase", "writing", {"phase": "writing"})
        self._write_adapter(self._folder / "adapter")
        (self._folder / "result.json").write_text(json.dumps({"trained_tokens": 100 * plan["steps"]}))
        return 0

    def _follow_parent(self) -> None:
        # Not through ``sys.stdin``: the interpreter cannot end while a thread holds its lock.
        os.read(0, 1)
        self._stop.set()

    def _plan(self) -> dict[str, Any]:
        first = (self._folder / self._orders["recipe"]["train"]).read_text().splitlines()[0]
        plan: dict[str, Any] = json.loads(json.loads(first)["messages"][0]["content"])
        return plan

    def _resume(self) -> int:
        steps = [int(path.name.rpartition("-")[2]) for path in self._folder.glob("checkpoints/step-*")]
        if steps:
            self._tell("message", f"Resuming from step {max(steps)}", {})
        return max(steps, default=0)

    def _wait_for_release(self) -> None:
        while not (self._folder.parent / "release").exists() and not self._stop.is_set():
            time.sleep(0.01)

    def _step(self, step: int, plan: dict[str, Any]) -> None:
        loss = 1 / step
        if step == plan.get("crash_at") and not (self._folder / "crashed").exists():
            (self._folder / "crashed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        data = {"step": step, "total_steps": plan["steps"], "train_loss": loss, "seconds_left": 60.0}
        self._tell("metrics", f"Step {step}/{plan['steps']}: training loss={loss:.2f}", data)
        if plan.get("checkpoints", True):
            partial = self._folder / "checkpoints" / f"partial-{step}"
            self._write_adapter(partial / "adapter", step)
            partial.rename(partial.with_name(f"step-{step}"))
            data = {"step": step, "path": f"checkpoints/step-{step}", "metrics": {"train_loss": loss}}
            self._tell("checkpoint", f"Checkpoint at step {step}", data)

    def _write_adapter(self, folder: Path, step: int = 0) -> None:
        """Copy the adapter that lies beside the jobs' folders; another alpha makes it another version."""
        shutil.copytree(self._folder.parent.parent / "made", folder)
        path = folder / "adapter_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"lora_alpha": 16 + step}))

    def _tell(self, kind: str, message: str, data: dict[str, Any]) -> None:
        entry = {"at": time.time(), "level": "info", "type": kind, "message": message, "data": data}
        with (self._folder / "events.jsonl").open("a") as file:
            file.write(json.dumps(entry) + "\n")


if __name__ == "__main__":
    sys.exit(Trainer(Path(sys.argv[1])).run())

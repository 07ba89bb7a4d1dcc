"""One fine-tuning job in a process of its own.

    python -m training.tuning.worker FOLDER [--lifeline]
    accelerate launch -m training.tuning.worker FOLDER        # one process for each GPU

runs the job in FOLDER/job.json:

    {"method": "sft" | "dpo", "recipe": {...}, "base": "checkpoint folder", "allow": ["finding code"], "max_rank": 64}

Paths in the recipe start at FOLDER; ``allow`` and ``max_rank`` may be missing. What the job tells goes to
FOLDER/events.jsonl, one object a line. Whole checkpoints lie in FOLDER/checkpoints/step-N; a worker that is started
on a folder that has some goes on from the newest. After a crash, events since that checkpoint are told once more.

Exit status: 0, with FOLDER/adapter and FOLDER/result.json; 2 for a mistake of the caller, with FOLDER/error.json; 75
after SIGTERM, or after the end of standard input with ``--lifeline``: a checkpoint is written, start it again. Anything
else is a crash: start it again.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.errors import RecipeInvalid, TrainingClientError, TrainingStopped
from training.tuning.stop import Stop

if TYPE_CHECKING:
    from training.tuning.events import Event
    from training.tuning.recipe import DpoRecipe, SftRecipe

STOPPED = 75
JOB, EVENTS, RESULT, ERROR, ADAPTER = "job.json", "events.jsonl", "result.json", "error.json", "adapter"
_KEYS = {"method", "recipe", "base", "allow", "max_rank"}


class EventFile:
    """Appends events to a file, a whole line at a time, and prints what they say."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # A crash may have left half a line; what follows must not be glued to it.
        if path.exists() and not path.read_bytes().endswith(b"\n"):
            with path.open("ab") as file:
                file.write(b"\n")

    def __call__(self, event: "Event") -> None:
        """Append one event."""
        entry = {
            "at": time.time(),
            "level": event.level,
            "type": event.type,
            "message": event.message,
            "data": dict(event.data),
        }
        line = json.dumps(entry, ensure_ascii=False) + "\n"
        with self._path.open("ab") as file:
            file.write(line.encode())
        print(event.message, flush=True)


def read_job(folder: Path) -> "tuple[SftRecipe | DpoRecipe, Path, tuple[str, ...], int | None]":
    """The recipe, the base's folder, the codes allowed and the largest rank. Raises RecipeInvalid."""
    from training.tuning.recipe import RECIPES

    try:
        job = json.loads((folder / JOB).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecipeInvalid(f"cannot read {folder / JOB}: {error}", code="job_invalid") from error
    if not isinstance(job, dict) or not {"method", "recipe", "base"} <= job.keys() <= _KEYS:
        raise RecipeInvalid(
            f"{JOB} must have `method`, `recipe` and `base`, may have `allow` and `max_rank`", code="job_invalid"
        )
    if job["method"] not in RECIPES:
        raise RecipeInvalid(f"there is no method {job['method']!r}; there are sft and dpo", param="method")
    if not isinstance(job["recipe"], Mapping):
        raise RecipeInvalid("`recipe` must be an object", param="recipe")
    recipe = RECIPES[job["method"]].parse({**job["recipe"], "method": job["method"]}, folder)
    return recipe, Path(job["base"]), tuple(job.get("allow", ())), job.get("max_rank")


def run_job(folder: Path, stop: Stop) -> dict[str, Any]:
    """Run the job in ``folder`` and return its result. Raises TrainingClientError and TrainingStopped."""
    recipe, base, allow, max_rank = read_job(folder)
    # Heavy: it must not delay the handlers of signals, nor the refusal of a job that is plainly wrong.
    from training.tuning.checkpoints import WorkFolder
    from training.tuning.run import run_recipe
    from training.tuning.session import Session

    session = Session(
        base=base,
        out=folder / ADAPTER,
        work=WorkFolder(folder),
        listen=EventFile(folder / EVENTS),
        stop=stop,
        allow=allow,
        max_rank=max_rank,
        keeps_checkpoints=True,
    )
    session.require_not_stopped()
    if session.is_first:
        # Without a result it was cut off while it was being written.
        shutil.rmtree(session.out, ignore_errors=True)
    report = run_recipe(recipe, session)
    return {
        "method": recipe.method,
        "adapter": ADAPTER,
        "data_sha256": report.train.sha256,
        "heldout_sha256": report.heldout.sha256 if report.heldout else None,
        "trained_tokens": round(report.train.tokens * recipe.epochs * report.steps / report.planned_steps),
        **{name: getattr(report, name) for name in ("steps", "train_loss", "heldout_loss", "heldout_accuracy")},
    }


def work(folder: Path, stop: Stop) -> int:
    """Run the job and leave its result or its error in ``folder``. Returns the exit status."""
    is_first = os.environ.get("RANK", "0") == "0"
    if (folder / RESULT).exists():
        return 0
    (folder / ERROR).unlink(missing_ok=True)
    try:
        result = run_job(folder, stop)
    except TrainingStopped as stopped:
        print(f"stopped: {stopped}", file=sys.stderr)
        return STOPPED
    except TrainingClientError as error:
        problem = {"code": error.code, "message": str(error), "param": error.param, "line": error.line}
        if is_first:
            _write(folder / ERROR, problem)
        print(f"error: {error}", file=sys.stderr)
        return 2
    if is_first:
        _write(folder / RESULT, result)
    return 0


def _write(path: Path, value: Mapping[str, Any]) -> None:
    partial = path.with_name(f".{path.name}")
    partial.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)


def _stop_with_stdin(stop: Stop) -> None:
    """Ask to stop when whoever started this process is gone."""

    def wait() -> None:
        while os.read(0, 4096):
            pass
        stop.ask()

    threading.Thread(target=wait, name="lifeline", daemon=True).start()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m training.tuning.worker", description="Run one fine-tuning job.")
    parser.add_argument("folder", type=Path, help="folder of the job, with job.json")
    parser.add_argument("--lifeline", action="store_true", help="stop when standard input closes")
    options = parser.parse_args(arguments)
    stop = Stop()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.ask())
    if options.lifeline:
        _stop_with_stdin(stop)
    from training.tuning.memory import keep_freed_memory

    keep_freed_memory()
    return work(options.folder.resolve(), stop)


if __name__ == "__main__":
    sys.exit(main())

"""Where one run of a recipe takes place, and the command line of the recipes."""

import argparse
import hashlib
import os
import signal
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from training.errors import TrainingError, TrainingStopped
from training.tuning.checkpoints import WorkFolder
from training.tuning.events import Listener, Progress, as_lines, silence
from training.tuning.memory import keep_freed_memory
from training.tuning.recipe import Recipe
from training.tuning.stop import Stop

RecipeT = TypeVar("RecipeT", bound=Recipe)

_CHECKPOINT = (
    *("config.json", "*.safetensors", "*.bin", "*.index.json"),
    *("tokenizer*", "*token*.json", "chat_template*", "vocab*", "merges.txt"),
)
STOPPED = 75
"""Exit status of a training that was asked to stop and wrote a checkpoint (EX_TEMPFAIL: try again)."""


@dataclass(frozen=True, slots=True)
class Session:
    """One run of one recipe, in one of the processes that share it."""

    base: Path
    """Folder of the base checkpoint."""
    out: Path
    """Folder that becomes the adapter."""
    work: WorkFolder
    listen: Listener
    stop: Stop
    allow: tuple[str, ...] = ()
    """Codes of findings in the data that may be trained on."""
    max_rank: int | None = None
    """The largest rank that the gateway has room for, where it is known."""
    keeps_checkpoints: bool = False
    """Whether checkpoints stay once the adapter is written."""

    @property
    def processes(self) -> int:
        """How many processes train together; accelerate starts one for each device."""
        return int(os.environ.get("WORLD_SIZE", "1"))

    @property
    def is_first(self) -> bool:
        """Whether this process writes and tells."""
        return os.environ.get("RANK", "0") == "0"

    @property
    def tell(self) -> Listener:
        """The listener, in the first process; silence in the others."""
        return self.listen if self.is_first else silence

    def open(self, recipe: Recipe, train_sha256: str, heldout_sha256: str | None) -> None:
        """Open the working folder for this recipe, data and base. Raises OutputRefused."""
        if not self.is_first:
            return
        settings = recipe.model_dump(mode="json", exclude={"train", "heldout"})
        base = checkpoint_digests(self.base)
        self.work.open({"recipe": settings, "train": train_sha256, "heldout": heldout_sha256, "base": base})

    def require_not_stopped(self) -> None:
        """Raises TrainingStopped."""
        if self.stop.is_asked:
            raise TrainingStopped("asked to stop before the first step")


def checkpoint_digests(base: Path) -> dict[str, str]:
    """SHA-256 of the files of a checkpoint that decide what is trained: weights, their configuration, the tokenizer."""
    paths = sorted({path for pattern in _CHECKPOINT for path in base.glob(pattern) if path.is_file()})
    found = {}
    for path in paths:
        with path.open("rb") as file:
            found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def local_session(base: Path, out: Path, progress: Progress, allow: Collection[str] = ()) -> Session:
    """A session that works in ``OUT.work``, beside the output folder."""
    work = WorkFolder(out.with_name(f"{out.name}.work"))
    return Session(base, out, work, as_lines(progress), Stop(), tuple(allow))


def run_program(
    module: str,
    description: str,
    recipe_type: type[RecipeT],
    run: Callable[[RecipeT, Session], Any],
    arguments: Sequence[str] | None,
) -> int:
    """The command line of a recipe. Returns the exit status: 2 for a mistake of the caller, 75 after a stop."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("recipe", type=Path, help="recipe, in YAML")
    parser.add_argument("--base", type=Path, required=True, help="folder of the base checkpoint")
    parser.add_argument("--out", type=Path, required=True, help="folder to write the adapter into")
    parser.add_argument(
        "--allow", action="append", default=[], metavar="CODE", help="train in spite of findings of this code"
    )
    options = parser.parse_args(arguments)
    session = local_session(options.base, options.out, lambda line: print(line, flush=True), options.allow)
    return guarded(lambda: run(recipe_type.load(options.recipe), session), session)


def guarded(work: Callable[[], Any], session: Session) -> int:
    """Run ``work`` with signals that ask it to stop, and turn what it raises into an exit status and a line."""
    keep_freed_memory()
    before = {
        number: signal.signal(number, lambda *_: session.stop.ask()) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        report = work()
    except TrainingStopped as stopped:
        print(f"stopped: {stopped}; started again it goes on", file=sys.stderr)
        return STOPPED
    except TrainingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if session.is_first:
        print(f"wrote {session.out} after {report.seconds:.0f} s")
    return 0

"""``JobFolder``: what a job and its trainer tell each other in files."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.jobs import events_file
from serving.jobs.events_file import text_of

TRAIN = "train.jsonl"
HELDOUT = "heldout.jsonl"
LOG = "worker.log"

_ORDERS = "job.json"
_ERROR = "error.json"
_RESULT = "result.json"
_INSTALLATION = "installation"
_ADAPTER = "adapter"
_PARAMS = {"train": "training_file", "heldout": "validation_file", "method": "method", "base": "model"}
"""Names of a caller for what the trainer calls otherwise."""
_TAIL_BYTES = 16 * 1024
_TAIL_LINES = 12
_LONGEST_TAIL = 2_000


@dataclass(frozen=True, slots=True)
class Mistake:
    """What a trainer refuses to train on, and why."""

    code: str
    message: str
    param: str | None
    line: int | None


@dataclass(frozen=True, slots=True)
class JobFolder:
    """One job's. Blocking. Raises OSError where the disk fails."""

    path: Path

    @property
    def events(self) -> Path:
        """What the trainer appends to."""
        return self.path / events_file.NAME

    @property
    def adapter(self) -> Path:
        """The result."""
        return self.path / _ADAPTER

    def write(self, orders: Mapping[str, Any], train: bytes, heldout: bytes | None, *, installation: str) -> None:
        """Make the folder, whole or not at all.

        Args:
            installation: whose it is; several may share the folder that it is in.
        """
        partial = self.path.with_name(f"{self.path.name}.partial")
        partial.mkdir(parents=True)
        (partial / _INSTALLATION).write_text(installation, encoding="utf-8")
        (partial / TRAIN).write_bytes(train)
        if heldout is not None:
            (partial / HELDOUT).write_bytes(heldout)
        (partial / _ORDERS).write_text(json.dumps(orders, indent=2), encoding="utf-8")
        partial.rename(self.path)

    def belongs_to(self, installation: str) -> bool:
        """Whether that installation made the folder."""
        try:
            return (self.path / _INSTALLATION).read_text(encoding="utf-8") == installation
        except (FileNotFoundError, UnicodeDecodeError):
            return False

    def result(self) -> dict[str, Any] | None:
        """What a finished trainer says of its work; None where it has not finished."""
        found = _read(self.path / _RESULT)
        return found if found is not None and self.adapter.is_dir() else None

    def mistake(self) -> Mistake | None:
        """Why the trainer refused; None where it did not."""
        found = _read(self.path / _ERROR)
        if found is None:
            return None
        param, line = found.get("param"), found.get("line")
        message = self._without_place(text_of(found.get("message"))) or "The training was refused."
        return Mistake(
            code=text_of(found.get("code")) or "invalid_training_file",
            message=message,
            param=_param_of(param) if isinstance(param, str) else _file_in(message),
            line=line if isinstance(line, int) else None,
        )

    def forget_mistake(self) -> None:
        """Before a trainer is started again."""
        (self.path / _ERROR).unlink(missing_ok=True)

    def log_tail(self) -> str:
        """The last lines that the trainer printed."""
        try:
            with (self.path / LOG).open("rb") as file:
                size = file.seek(0, 2)
                file.seek(max(0, size - _TAIL_BYTES))
                lines = file.read().decode("utf-8", "replace").splitlines()
        except FileNotFoundError:
            return ""
        said = [line for line in lines if line.strip()][-_TAIL_LINES:]
        return self._without_place(text_of("\n".join(said)))[-_LONGEST_TAIL:]

    def inside(self, relative: str) -> Path | None:
        """A folder in this one by the path that the trainer gave; None where there is none."""
        found = (self.path / relative).resolve()
        return found if found.is_relative_to(self.path.resolve()) and found.is_dir() else None

    def remove(self) -> None:
        """Delete all of it."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _without_place(self, text: str) -> str:
        """``text`` without where on this machine the folder is."""
        return text.replace(f"{self.path}/", "")


def _param_of(param: str) -> str:
    """What a caller calls a field of the orders."""
    if param in _PARAMS:
        return _PARAMS[param]
    return param if param in _PARAMS.values() else f"loraplex.recipe.{param}"


def _file_in(message: str) -> str | None:
    """The parameter of the file that a message names first."""
    places = {param: message.find(name) for name, param in ((TRAIN, "training_file"), (HELDOUT, "validation_file"))}
    named = {place: param for param, place in places.items() if place >= 0}
    return named[min(named)] if named else None


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None

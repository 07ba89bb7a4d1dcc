"""Where an instance keeps what it needs while it runs."""

import contextlib
import secrets
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from serving.process import family
from serving.process.record import Record

_LONGEST_SCRATCH = 40
"""Longest path, in characters, that leaves room for Ray's socket names (107 characters in all)."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """The folders of one instance."""

    records: Path
    logs: Path
    scratch: Path
    name: str

    @property
    def log_file(self) -> Path:
        """What the child process writes to its standard streams."""
        return self.logs / "serve.log"


def create(root: Path, place: str) -> Workspace:
    """Make the folders for an instance under ``root``, and a scratch folder with a short path.

    Args:
        place: what no other instance here has, such as its port.
    """
    logs = root / "logs" / place
    logs.mkdir(parents=True, exist_ok=True)
    records = root / "run"
    records.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="loraplex-", dir=_temporary_folder()))
    (scratch / "ray").mkdir()
    workspace = Workspace(records=records, logs=logs, scratch=scratch, name=f"{place}-{secrets.token_hex(4)}")
    if workspace.log_file.exists():
        workspace.log_file.replace(logs / "serve.log.1")
    with contextlib.suppress(OSError):
        _point_at(logs / "ray", scratch / "ray" / "session_latest" / "logs")
    return workspace


def _temporary_folder() -> str:
    usual = tempfile.gettempdir()
    return usual if len(usual) + len("/loraplex-xxxxxxxx") <= _LONGEST_SCRATCH else "/tmp"  # noqa: S108


def _point_at(link: Path, target: Path) -> None:
    if link.is_symlink():
        link.unlink()
    elif link.exists():
        previous = link.with_name("ray.1")
        if previous.exists():
            shutil.rmtree(previous)
        link.rename(previous)
    link.symlink_to(target)


def new_record(workspace: Workspace, address: str) -> Record:
    """The record of an instance that this process owns."""
    return Record(
        name=workspace.name,
        owner=family.own_identity(),
        address=address,
        scratch=workspace.scratch,
        logs=workspace.logs,
    )

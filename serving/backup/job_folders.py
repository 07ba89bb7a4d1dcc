"""What of a fine-tuning job's folder is backed up."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from serving.backup.errors import BackupInvalid
from serving.backup.vault import Vault

JOB = re.compile(r"ftjob-[0-9a-f]{32}")
_FROM_THE_START = ("installation", "job.json", "train.jsonl", "heldout.jsonl")
"""What a trainer needs to begin, written before the job was taken on and never changed."""
_LEFT_OUT = frozenset({"lock", "tensorboard", "preferences"})
"""What only the trainer needs while it runs, or can be made again."""


def job_files(folder: Path, *, ended: bool) -> Iterator[str]:
    """Paths in a job's folder, with forward slashes: of one that has ended all that it left, else what begins it."""
    if not ended:
        yield from (name for name in _FROM_THE_START if (folder / name).is_file())
        return
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _LEFT_OUT and not name.startswith("."))
        for name in sorted(names):
            path = Path(root) / name
            if name not in _LEFT_OUT and path.is_file() and not path.is_symlink():
                yield path.relative_to(folder).as_posix()


def restore_job(vault: Vault, root: Path, job: str, pieces: Mapping[str, str]) -> None:
    """Make a job's folder, whole or not at all; one that is there stays.

    Raises:
        BackupInvalid: the backup names a path outside of it.
        OSError: the disk fails.
    """
    target = root / job
    if target.exists():
        return
    root.mkdir(parents=True, exist_ok=True)
    arriving = Path(tempfile.mkdtemp(prefix=f"{job}.", suffix=".restoring", dir=root))
    try:
        for name, piece in pieces.items():
            if not is_inside(name):
                raise BackupInvalid(f"the backup names {name!r} in the folder of a job; it was altered.")
            path = arriving / name
            path.parent.mkdir(parents=True, exist_ok=True)
            vault.fetch(piece, path)
        arriving.chmod(0o755)
        arriving.rename(target)
    finally:
        shutil.rmtree(arriving, ignore_errors=True)


def is_inside(name: str) -> bool:
    """Whether a path with forward slashes stays below where it starts."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\\" not in name

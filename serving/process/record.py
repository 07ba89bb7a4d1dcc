"""The record of a running instance: who owns it, what it started, what must be cleaned up after it.

Only the standard library: the guardian imports this file in a bare interpreter.
"""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from serving.process import family
from serving.process.family import Identity

_SUFFIX = ".instance.json"


@dataclass(frozen=True, slots=True)
class Record:
    """One instance. Written by its main process, read by its guardian and by the next start."""

    name: str
    owner: Identity
    address: str
    """``host:port`` that it serves."""
    scratch: Path
    """Folder of sockets and generated files; removed with the instance."""
    logs: Path
    """Where Ray's logs are kept once the instance has ended."""
    sessions: tuple[Identity, ...] = ()
    """Leaders of the sessions that it started."""
    guardian: Identity | None = None

    @property
    def marker(self) -> str:
        """Value of the environment variable that its processes carry."""
        return family.make_marker(self.name, self.owner)

    def members(self) -> set[Identity]:
        """Its running processes, its owner and its guardian aside."""
        spare = [self.owner.pid] if self.owner.is_alive else []
        if self.guardian is not None and self.guardian.is_alive:
            spare.append(self.guardian.pid)
        return family.members(self.marker, self.sessions, spare=spare)

    def with_session(self, leader: Identity) -> "Record":
        """The record with one more session."""
        return replace(self, sessions=(*self.sessions, leader))

    def with_guardian(self, guardian: Identity) -> "Record":
        """The record with its present guardian."""
        return replace(self, guardian=guardian)


def path_of(folder: Path, name: str) -> Path:
    """Where the record of the instance ``name`` lies."""
    return folder / f"{name}{_SUFFIX}"


def write(record: Record, folder: Path) -> Path:
    """Store ``record`` in ``folder``, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    path = path_of(folder, record.name)
    data = {
        "name": record.name,
        "owner": _pair(record.owner),
        "address": record.address,
        "scratch": str(record.scratch),
        "logs": str(record.logs),
        "sessions": [_pair(leader) for leader in record.sessions],
        "guardian": _pair(record.guardian) if record.guardian else None,
    }
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=".", suffix=".tmp")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(data, file)
    Path(temporary).replace(path)
    return path


def read(path: Path) -> Record | None:
    """The record in ``path``; None if it is gone or unreadable."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return Record(
            name=data["name"],
            owner=_identity(data["owner"]),
            address=data["address"],
            scratch=Path(data["scratch"]),
            logs=Path(data["logs"]),
            sessions=tuple(_identity(pair) for pair in data["sessions"]),
            guardian=_identity(data["guardian"]) if data["guardian"] else None,
        )
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None


def read_all(folder: Path) -> Iterator[tuple[Path, Record]]:
    """Every readable record in ``folder``."""
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        record = read(path)
        if record is not None:
            yield path, record


def clean_up(record: Record, path: Path, *, grace_s: float) -> set[Identity]:
    """End all processes of an instance, keep its logs, remove its files. Returns the processes that would not end."""
    remaining = family.end_all(record.members, grace_s=grace_s)
    if record.scratch.is_dir():
        _keep_logs(record)
        shutil.rmtree(record.scratch, ignore_errors=True)
    path.unlink(missing_ok=True)
    return remaining


def _keep_logs(record: Record) -> None:
    """Ray writes its logs into its session folder, which goes away: move them where logs are looked for."""
    destination = record.logs / "ray"
    with contextlib.suppress(OSError):
        if destination.is_symlink():
            destination.unlink()
        for source in sorted(record.scratch.glob("ray/session_2*/logs")):
            shutil.rmtree(destination, ignore_errors=True)
            shutil.move(source, destination)


def sweep_dead(folder: Path) -> int:
    """End what instances with a dead owner left behind, here and on the whole machine. Returns how many processes."""
    count = 0
    for path, record in read_all(folder):
        if not record.owner.is_alive:
            count += len(record.members())
            clean_up(record, path, grace_s=0.0)
    left = family.orphans()
    if left:
        count += len(left)
        family.end_all(family.orphans, grace_s=0.0)
    return count


def _pair(identity: Identity) -> list[int]:
    return [identity.pid, identity.start]


def _identity(pair: Any) -> Identity:
    return Identity(int(pair[0]), int(pair[1]))

"""Finding and ending every process of one gateway instance, from /proc alone.

Only the standard library: the guardian imports this file in a bare interpreter.

A process is a member of an instance if any of these holds:

- its environment carries the instance's marker;
- it belongs to a session that the instance started: vLLM and Ray rename their processes, which overwrites the memory
  behind /proc/PID/environ, but none of them leaves its session;
- it descends from a member.
"""

import os
import signal
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

MARKER = "LORAPLEX_INSTANCE"
"""Environment variable that every process of an instance inherits: ``ID:OWNER_PID:OWNER_START``."""

_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Identity:
    """One process, told apart from a later one with the same pid."""

    pid: int
    start: int
    """Clock ticks between boot and the start of the process."""

    @property
    def is_alive(self) -> bool:
        """Whether this very process still runs (a zombie does not)."""
        entry = _entry(self.pid)
        return entry is not None and entry.identity == self


@dataclass(frozen=True, slots=True)
class _Entry:
    identity: Identity
    parent: int
    session: int


def _entry(pid: int) -> _Entry | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name, field 2, may hold spaces and parentheses: what follows the last one is regular.
    fields = text[text.rindex(")") + 2 :].split()
    if fields[0] in "ZX":
        return None
    return _Entry(identity=Identity(pid, int(fields[19])), parent=int(fields[1]), session=int(fields[3]))


def pids() -> list[int]:
    """Every process that this one can see."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]


def identity_of(pid: int) -> Identity | None:
    """The process that has ``pid`` now; None if there is none, or only a zombie."""
    entry = _entry(pid)
    return entry.identity if entry else None


def parent_of(pid: int) -> int | None:
    """The pid of the parent of ``pid``; None if there is no such process."""
    entry = _entry(pid)
    return entry.parent if entry else None


def own_identity() -> Identity:
    """The calling process."""
    found = identity_of(os.getpid())
    assert found is not None, "a running process has an entry in /proc"  # noqa: S101
    return found


def make_marker(name: str, owner: Identity) -> str:
    """The marker's value for the instance ``name``, which lives as long as ``owner``."""
    return f"{name}:{owner.pid}:{owner.start}"


def marker_owner(marker: str) -> Identity | None:
    """The owner that a marker names; None if it is malformed."""
    parts = marker.rsplit(":", 2)
    if len(parts) != 3 or not (parts[1].isdecimal() and parts[2].isdecimal()):
        return None
    return Identity(int(parts[1]), int(parts[2]))


def _marker_of(pid: int) -> str | None:
    try:
        environ = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return None
    prefix = f"{MARKER}=".encode()
    for item in environ.split(b"\0"):
        if item.startswith(prefix):
            return item[len(prefix) :].decode("utf-8", errors="replace")
    return None


def _table() -> dict[int, _Entry]:
    entries = (_entry(pid) for pid in pids())
    return {entry.identity.pid: entry for entry in entries if entry is not None}


def members(marker: str, sessions: Collection[Identity] = (), *, spare: Collection[int] = ()) -> set[Identity]:
    """The running processes of the instance ``marker``. The caller and ``spare`` (pids) are never among them."""
    table = _table()
    roots = {pid for pid in table if _marker_of(pid) == marker}
    roots |= {pid for pid, entry in table.items() if _in_sessions(entry, sessions, table)}
    return _with_descendants(roots, table, spare)


def _in_sessions(entry: _Entry, sessions: Collection[Identity], table: dict[int, _Entry]) -> bool:
    for leader in sessions:
        if entry.session != leader.pid or entry.identity.start < leader.start:
            continue
        present = table.get(leader.pid)
        # A live process with the leader's pid but another start is a stranger that got a recycled pid.
        return present is None or present.identity == leader
    return False


def _with_descendants(roots: set[int], table: dict[int, _Entry], spare: Collection[int]) -> set[Identity]:
    kept = {os.getpid(), *spare}
    found = roots - kept
    grew = True
    while grew:
        children = {pid for pid, entry in table.items() if entry.parent in found} - found - kept
        found |= children
        grew = bool(children)
    return {table[pid].identity for pid in found}


def orphans() -> set[Identity]:
    """Processes of instances whose owner is dead, with everything in their sessions.

    Only this process's own PID namespace is looked at: elsewhere the owner's pid means nothing.
    """
    table = _table()
    here = _pid_namespace(os.getpid())
    marked: set[int] = set()
    for pid in table:
        marker = _marker_of(pid)
        owner = marker_owner(marker) if marker else None
        if owner is not None and not owner.is_alive and _pid_namespace(pid) == here:
            marked.add(pid)
    mine = {os.getpid(), *_ancestors(os.getpid(), table)}
    sessions = {table[pid].session for pid in marked} - {table[pid].session for pid in mine if pid in table}
    marked |= {pid for pid, entry in table.items() if entry.session in sessions}
    return _with_descendants(marked - mine, table, mine)


def _ancestors(pid: int, table: dict[int, _Entry]) -> set[int]:
    found: set[int] = set()
    entry = table.get(pid)
    while entry is not None and entry.parent not in found:
        found.add(entry.parent)
        entry = table.get(entry.parent)
    return found


def _pid_namespace(pid: int) -> str | None:
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:
        return None


def signal_all(processes: Iterable[Identity], number: signal.Signals) -> None:
    """Send one signal to each process that is still itself."""
    for process in processes:
        if process.is_alive:
            try:
                os.kill(process.pid, number)
            except (ProcessLookupError, PermissionError):
                continue


def end_all(find: Callable[[], set[Identity]], *, grace_s: float, limit_s: float = 10.0) -> set[Identity]:
    """End everything that ``find`` returns, and what it starts meanwhile: SIGTERM, after ``grace_s`` SIGKILL.

    Returns what is still there after ``limit_s``: normally nothing.
    """
    began = time.monotonic()
    signalled: set[Identity] = set()
    remaining = find()
    while remaining and time.monotonic() - began < limit_s:
        if time.monotonic() - began >= grace_s:
            signal_all(remaining, signal.SIGKILL)
        else:
            signal_all(remaining - signalled, signal.SIGTERM)
            signalled |= remaining
        time.sleep(_POLL_S)
        remaining = find()
    return remaining

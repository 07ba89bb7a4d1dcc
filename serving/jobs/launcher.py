"""Starting trainers: processes of their own, that step back for everything else and end with their parent."""

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from serving.jobs.folder import LOG
from serving.process import family
from serving.process.family import Identity
from serving.process.priority import step_back

WORKER = (sys.executable, "-m", "training.tuning.worker")
"""Called with the job's folder and ``--lifeline``: it ends, after a checkpoint, when its standard input closes."""

STOPPED = 75
"""Exit status of a trainer that was told to stop and can go on later."""
REFUSED = 2
"""Exit status of a trainer that found a mistake of the caller, which it wrote down."""

_LOCK = "lock"
_ORPHAN_GRACE_S = 60.0


class FolderBusy(Exception):
    """A trainer that an earlier control plane started has not ended yet; it is worth trying again in a moment."""


class Trainer(Protocol):
    """A trainer at work. Blocking, thread-safe; every method returns within seconds."""

    def poll(self) -> int | None:
        """The exit status, negative for the signal that ended it; None while it runs or waits for a place."""
        ...

    def stop(self) -> None:
        """Have it write a checkpoint and end."""
        ...

    def kill(self) -> None:
        """End it at once."""
        ...


class Launcher(Protocol):
    """Starts trainers. Thread-safe."""

    def launch(self, folder: Path) -> Trainer:
        """Start the trainer of the job in ``folder``, an absolute path. Blocking.

        Raises:
            FolderBusy: another one still works in the folder.
            OSError: it cannot be started.
        """
        ...


class ProcessLauncher:
    """Starts trainers on this machine. Never two in one folder: each holds a lock on it as long as it lives, which a
    control plane that takes over finds, also after ``kill -9`` of the one before.

    Args:
        command: the program, called with the folder and ``--lifeline``.
        niceness: how far it steps back on the processor, 0 to 19.
        environment: variables besides our own.
    """

    def __init__(
        self, command: Sequence[str] = WORKER, *, niceness: int = 19, environment: Mapping[str, str] | None = None
    ) -> None:
        self._command = tuple(command)
        self._niceness = niceness
        self._environment = dict(environment or {})
        self._pressed: dict[Path, float] = {}

    def launch(self, folder: Path) -> "ProcessTrainer":
        """See Launcher."""
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._press(folder, lock)
                raise FolderBusy(f"the trainer in {folder} has not ended yet") from None
            self._pressed.pop(folder, None)
            process = self._start(folder, lock)
            _sign(lock, process.pid)
        finally:
            os.close(lock)
        return ProcessTrainer(process)

    def _start(self, folder: Path, lock: int) -> "subprocess.Popen[bytes]":
        command = ["nice", "-n", str(self._niceness), *self._command, str(folder), "--lifeline"]
        with (folder / LOG).open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=(lock,),
                env={**os.environ, **self._environment},
            )
        with contextlib.suppress(ProcessLookupError):
            step_back(self._niceness, process.pid)
        return process

    def _press(self, folder: Path, lock: int) -> None:
        """See to it that the trainer of a control plane that is gone ends: it should by itself."""
        holder = _holder(lock)
        if holder is None:
            return
        since = self._pressed.get(folder)
        if since is None:
            self._pressed[folder] = time.monotonic()
            family.signal_all([holder], signal.SIGTERM)
        elif time.monotonic() - since > _ORPHAN_GRACE_S:
            family.signal_all([holder], signal.SIGKILL)


class ProcessTrainer:
    """See Trainer."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    def poll(self) -> int | None:
        """See Trainer."""
        status = self._process.poll()
        if status is not None and self._process.stdin is not None:
            self._process.stdin.close()
        return status

    def stop(self) -> None:
        """See Trainer."""
        self._process.terminate()

    def kill(self) -> None:
        """See Trainer. What it started goes with it."""
        if self._process.poll() is None:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except ProcessLookupError:
                return


def is_at_work(folder: Path) -> bool:
    """Whether a trainer, of whatever control plane, holds the lock of ``folder``. Blocking. Raises OSError."""
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(lock)


def _sign(lock: int, pid: int) -> None:
    """Write into the lock who holds it."""
    identity = family.identity_of(pid)
    os.ftruncate(lock, 0)
    if identity is not None:
        os.write(lock, f"{identity.pid} {identity.start} {socket.gethostname()}".encode())


def _holder(lock: int) -> Identity | None:
    """Who holds the lock; None where nobody knows, or it is on another machine."""
    parts = os.pread(lock, 1024, 0).decode("utf-8", "replace").split()
    if len(parts) != 3 or parts[2] != socket.gethostname():
        return None
    pid, start, _ = parts
    return Identity(int(pid), int(start)) if pid.isdecimal() and start.isdecimal() else None

"""Ties the life of every vLLM process to the gateway's.

vLLM's processes outlive a parent that is killed: they keep gigabytes, the accelerator and sockets. vLLM calls
:func:`install` in each process that it starts (a ``vllm.general_plugins`` entry point); where the gateway's name is in
the environment, the process then dies with the gateway, or with its own parent if that is one of vLLM's, however it
ended. Two means, since each has a gap: the kernel's parent-death signal, which acts at once but is tied to the
parent *thread* (so the engine is started from a thread that lives as long as it), and a watch on the process itself.
"""

import ctypes
import os
import select
import signal
import socket
import threading
from dataclasses import dataclass
from pathlib import Path

from serving.engine import startup_relay

VARIABLE = "LORAPLEX_LIFELINE"
"""Environment variable that names the gateway's process to vLLM's processes."""

_PARENT = "LORAPLEX_LIFELINE_PARENT"
"""Environment variable that tells a process which of vLLM's processes started it."""
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class ProcessName:
    """A process, told apart from a later one with the same id and from one on another machine."""

    pid: int
    started: str
    """Start time in clock ticks since boot, as the kernel writes it."""
    place: str
    """Machine and process-id namespace that ``pid`` is valid in."""

    def __str__(self) -> str:
        return f"{self.pid}:{self.started}:{self.place}"

    @classmethod
    def parse(cls, text: str) -> "ProcessName":
        """The reverse of ``str``. Raises ValueError."""
        pid, started, place = text.split(":", 2)
        return cls(int(pid), started, place)

    @classmethod
    def of(cls, pid: int) -> "ProcessName":
        """Name a running process. Raises OSError if it is gone."""
        # The command's name is in brackets and may hold spaces; field 22 of the line is the start time.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return cls(pid, fields[19], _place())


def _place() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{socket.gethostname()}/{boot}/{Path('/proc/self/ns/pid').readlink()}"


def install() -> None:
    """Called by vLLM in each of its processes; does nothing outside a gateway's engine."""
    text = os.environ.get(VARIABLE)
    if text is None:
        return
    gateway = ProcessName.parse(text)
    if gateway.pid == os.getpid() or gateway.place != _place():
        return
    startup_relay.attach()
    _leave_process_group()
    parent = os.getppid()
    watched = {gateway.pid, *_engine_parent(parent)}
    if parent in watched:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    descriptors = [_open(pid) for pid in watched]
    os.environ[_PARENT] = str(os.getpid())
    if not _is_running(gateway) or os.getppid() != parent:
        _end()
    threading.Thread(target=_watch, args=(descriptors,), name="loraplex-lifeline", daemon=True).start()


def _leave_process_group() -> None:
    """Ctrl-C in a terminal reaches the whole process group: the engine has to live on while the gateway drains."""
    try:
        os.setpgid(0, 0)
    except PermissionError:
        return  # It leads a session of its own, which a terminal does not reach.


def _engine_parent(parent: int) -> set[int]:
    """``parent``, if it is one of vLLM's processes under this gateway and no process manager that outlives them."""
    return {parent} if os.environ.get(_PARENT) == str(parent) else set()


def _is_running(name: ProcessName) -> bool:
    try:
        return ProcessName.of(name.pid) == name
    except (OSError, IndexError):
        return False


def _open(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        _end()
        raise


def _watch(descriptors: list[int]) -> None:
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    while not poll.poll():
        pass
    _end()


def _end() -> None:
    os.kill(os.getpid(), signal.SIGKILL)

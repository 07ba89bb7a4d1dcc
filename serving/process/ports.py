"""TCP ports: is one free, who holds it, which others can be had."""

import contextlib
import errno
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from serving.process import family

_LISTEN = "0A"


class PortInUse(Exception):
    """Somebody else listens on the address; the message says who, where that can be told."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that listens on a port."""

    pid: int
    name: str


def listen(host: str, port: int, *, backlog: int = 2048) -> socket.socket:
    """A listening socket on ``host:port``. Raises PortInUse; OSError if the address is not this machine's."""
    kind, address = _resolve(host, port)
    opened = socket.socket(kind, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        opened.listen(backlog)
    except OSError as error:
        opened.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(describe_conflict(host, port)) from error
        raise
    return opened


def _resolve(host: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int]]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    kind, _, _, _, address = found[0]
    return kind, (str(address[0]), int(address[1]))


def require_free(host: str, port: int) -> None:
    """Raises PortInUse if nobody could listen on ``host:port`` now."""
    listen(host, port, backlog=1).close()


def describe_conflict(host: str, port: int) -> str:
    """One sentence: the port is taken, by whom if that can be told, and what to do."""
    found = holder(port)
    by = f" by {found.name} (pid {found.pid})" if found else ""
    return f"Port {port} on {host} is in use{by}; stop that, or set `server.port` to another one."


def holder(port: int) -> Holder | None:
    """The process that listens on ``port``, if this user may see it."""
    inodes = _listening_inodes(port)
    if not inodes:
        return None
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for pid in family.pids():
        if _has_open(pid, wanted):
            return Holder(pid=pid, name=_program(pid))
    return None


def _listening_inodes(port: int) -> set[str]:
    found: set[str] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTEN and int(fields[1].rsplit(":", 1)[1], 16) == port:
                found.add(fields[9])
    return found


def _has_open(pid: int, wanted: set[str]) -> bool:
    try:
        descriptors = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            if str(descriptor.readlink()) in wanted:
                return True
    return False


def _program(pid: int) -> str:
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        words = [Path(part.decode("utf-8", errors="replace")).name for part in arguments[:2] if part]
    except OSError:
        words = []
    return " ".join(words) or "another process"


def choose(preferred: Iterable[int], *, host: str = "127.0.0.1") -> list[int]:
    """For each preferred port that port if it is free, else a free one that the system picks; all different."""
    held: list[socket.socket] = []
    chosen: list[int] = []
    try:
        for port in preferred:
            opened = _bind_or_any(host, port)
            held.append(opened)
            chosen.append(int(opened.getsockname()[1]))
    finally:
        for opened in held:
            opened.close()
    return chosen


def _bind_or_any(host: str, port: int) -> socket.socket:
    for candidate in (port, 0):
        opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            if _listening_inodes(candidate):
                opened.close()
                continue
            opened.bind((host, candidate))
        except OSError:
            opened.close()
            continue
        return opened
    raise OSError(errno.EADDRNOTAVAIL, "no free port on this machine")

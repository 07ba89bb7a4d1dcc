"""Starting the servers of a benchmark, and leaving nothing behind.

The benchmark's process makes itself the reaper of its descendants, so that whatever a server starts, however
detached, stays below it and can be found, counted and ended by its pid.
"""

import asyncio
import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from benchmarks.wire import Address, ExchangeFailed, fetch

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_LIBC = ctypes.CDLL(None, use_errno=True)
REPOSITORY = Path(__file__).resolve().parent.parent


def say(message: str) -> None:
    """Tell progress, on stderr: stdout belongs to the report."""
    print(f"[{time.strftime('%H:%M:%S')}] {message}", file=sys.stderr, flush=True)


def free_port() -> int:
    """A port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ServerFailed(Exception):
    """A server did not come up, or ended before its time."""


class Server:
    """One server and its processes."""

    def __init__(self, name: str, process: "subprocess.Popen[bytes]", address: Address, log: Path) -> None:
        self.name = name
        self.address = address
        self.log = log
        self._process = process
        self._known: dict[int, psutil.Process] = {}

    @property
    def pid(self) -> int:
        """Its first process."""
        return self._process.pid

    def processes(self) -> list[psutil.Process]:
        """Its processes that live, also those that left its tree since the last look."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self._remember(psutil.Process(self.pid))
        for process in list(self._known.values()):
            self._remember(process)
        return [process for process in self._known.values() if _lives(process)]

    def _remember(self, root: psutil.Process) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in [root, *root.children(recursive=True)]:
                self._known.setdefault(process.pid, process)

    def cpu_s(self) -> float:
        """Processor time that its processes have used, in seconds."""
        total = 0.0
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
        return total

    def resident_bytes(self) -> int:
        """Memory that its processes hold without counting shared pages twice, in bytes."""
        total = 0
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                total += process.memory_full_info().pss
        return total

    async def wait_ready(self, path: str, timeout_s: float) -> float:
        """Wait until ``path`` answers 200; returns the seconds that it took. Raises ServerFailed."""
        started = time.perf_counter()
        while time.perf_counter() - started < timeout_s:
            if self._process.poll() is not None:
                raise ServerFailed(f"{self.name} ended with {self._process.returncode}:\n{self.log_tail()}")
            with contextlib.suppress(ExchangeFailed):
                if (await fetch(self.address, path, timeout_s=10)).status == 200:
                    self.processes()
                    return time.perf_counter() - started
            await asyncio.sleep(0.1)
        raise ServerFailed(f"{self.name} was not ready after {timeout_s:g} s:\n{self.log_tail()}")

    def log_tail(self, lines: int = 30) -> str:
        """The end of what it printed."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def stop(self, timeout_s: float = 60.0) -> list[str]:
        """Ask it to end and wait. Returns what outlived its first process, after ending that too."""
        self.processes()
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                say(f"{self.name} ignored SIGTERM for {timeout_s:g} s")
        _, rest = psutil.wait_procs(self.processes(), timeout=3)
        left = [_describe(process) for process in rest]
        end_all(rest)
        self._process.wait(10)
        return left


class Fleet:
    """The servers of one run. A context manager: on leaving, every one of them is gone."""

    def __init__(self, *, logs: Path | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="loraplex-benchmark-"))
        self._logs = logs or self.folder
        self.servers: list[Server] = []
        self.left_behind: list[str] = []
        """Processes that outlived the server that had started them."""

    def __enter__(self) -> Self:
        _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        self._logs.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in reversed(self.servers):
            self.stop(server)
        # Descendants that no server's tree accounts for were handed to this process when their parent ended.
        rest = [process for process in psutil.Process().children(recursive=True) if _lives(process)]
        self.left_behind += [_describe(process) for process in rest]
        end_all(rest)
        _reap()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(
        self,
        name: str,
        command: Sequence[str],
        port: int,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path = REPOSITORY,
    ) -> Server:
        """Start a server that will listen on ``port`` of loopback."""
        log = self._logs / f"{name}.log"
        say(f"starting {name}")
        with log.open("wb") as output:
            process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                cwd=cwd,
                start_new_session=True,
                preexec_fn=_end_with_the_benchmark,
            )
        server = Server(name, process, Address("127.0.0.1", port), log)
        self.servers.append(server)
        return server

    def stop(self, server: Server) -> None:
        """End one server now, and note what it left behind."""
        if server in self.servers:
            self.servers.remove(server)
            say(f"stopping {server.name}")
            self.left_behind += [f"{server.name}: {process}" for process in server.stop()]
            _reap()


async def idle_cores(servers: Sequence[Server], seconds: float = 2.0) -> dict[str, float]:
    """How many processor cores each server keeps busy while nobody calls it."""
    before = [server.cpu_s() for server in servers]
    await asyncio.sleep(seconds)
    return {
        server.name: round((server.cpu_s() - used) / seconds, 3) for server, used in zip(servers, before, strict=True)
    }


async def settle(servers: Sequence[Server], *, cores: float, patience_s: float) -> None:
    """Wait until no server keeps more than ``cores`` busy while nobody calls it, or until ``patience_s`` is up."""
    deadline = time.perf_counter() + patience_s
    while max((busy := await idle_cores(servers)).values()) > cores and time.perf_counter() < deadline:
        say(f"waiting for idle servers to be quiet: {busy} cores")


def end_all(processes: Sequence[psutil.Process]) -> None:
    """Terminate the given processes, and kill those that ignore it."""
    for stop, patience_s in ((psutil.Process.terminate, 5), (psutil.Process.kill, 5)):
        alive = [process for process in processes if _lives(process)]
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                stop(process)
        psutil.wait_procs(alive, timeout=patience_s)


def _end_with_the_benchmark() -> None:
    """In a server's first process: ask for SIGTERM when the benchmark dies, were it by `kill -9`."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _describe(process: psutil.Process) -> str:
    try:
        return f"{process.pid} {' '.join(process.cmdline())[:120] or process.name()}"
    except psutil.Error:
        return str(process.pid)


def _reap() -> None:
    """Collect the exit codes of adopted processes, so that no zombie stays."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass

"""The main process: holds the terminal, starts the child that serves, and sees to it that nothing outlives it."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serving.process import family, guardian, record
from serving.process.orders import REPORTS, Orders
from serving.process.record import Record
from serving.process.reports import Kind, Report, ReportListener
from serving.process.standby import Standby
from serving.process.workspace import Workspace, new_record

_FIRST_BACKOFF_S = 0.5
_LONGEST_BACKOFF_S = 30.0
_STEADY_S = 60.0
_STOP_MARGIN_S = 10.0
_GRACE_S = 1.0
_TAIL_LINES = 15
_LOG_TO_STDERR = "LORAPLEX_LOG_TO_STDERR"
_STDERR = 2

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run and how."""

    module: str
    """Module whose ``main`` is the child."""
    orders: Orders
    address: str
    """``http://host:port``, as clients on this machine reach it."""
    environment: dict[str, str] = field(default_factory=dict)
    """Variables of the child, besides our own."""
    listener: socket.socket | None = None
    """The listening socket that the child serves on; None where the child makes its own."""
    shown: str = ""
    """What users are told to go to; default: the API under ``address``."""
    hint: str = ""
    """What they may type first; default: ask for the models."""
    stopping: str = ""
    """What is said at a stop; default: how long requests in flight have."""
    stop_s: float | None = None
    """How long the child may take to stop, in seconds; default: as long as requests in flight have."""


class Supervisor:
    """Runs one instance from its start to its end.

    What the child logs goes to a file; that of one that serves alone to standard error where the environment says so.
    """

    def __init__(self, plan: Plan, workspace: Workspace, say: Say) -> None:
        self._plan = plan
        self._workspace = workspace
        self._say = say
        self._record: Record = new_record(workspace, plan.address.removeprefix("http://"))
        self._began = time.monotonic()
        self._ready = asyncio.Event()
        self._was_ready = False
        self._failure: str | None = None
        self._stop = asyncio.Event()
        self._stop_now = asyncio.Event()
        self._standby = Standby(plan.listener) if plan.listener is not None else None
        self._pipe: int | None = None
        self._guardian: asyncio.Task[None] | None = None
        # Where Ray starts the replicas, each has a file of its own.
        alone = plan.listener is not None
        self._logs_here = alone and os.environ.get(_LOG_TO_STDERR, "").strip() not in ("", "0")

    async def run(self) -> int:
        """Serve until told to stop. Returns the exit status."""
        self._handle_signals()
        listener = ReportListener(self._workspace.scratch / REPORTS, self._receive)
        await listener.start()
        self._write_record()
        await self._start_guardian()
        try:
            return await self._serve()
        finally:
            await self._clean_up()
            listener.close()

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # Under nohup a terminal that closes is to be ignored.
            if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, self._on_signal)

    def _on_signal(self) -> None:
        if self._stop.is_set():
            self._stop_now.set()
        self._stop.set()

    def _receive(self, report: Report) -> None:
        match report.kind:
            case Kind.PROGRESS:
                source = f"{report.source}: " if report.source.startswith("replica") else ""
                self._progress(f"{source}{report.text}")
            case Kind.FAILED:
                self._failure = self._failure or report.text
                if self._was_ready:
                    self._progress(f"{report.source}: failed: {report.text}")
            case Kind.LISTENING:
                self._leave_to_child()
            case Kind.READY:
                self._announce(report.text)

    def _progress(self, text: str) -> None:
        self._say(f"{time.monotonic() - self._began:7.1f} s  {text}")

    def _announce(self, what: str) -> None:
        address = self._plan.address
        self._say(f"Ready: {self._plan.shown or f'{address}/v1'} ({what})")
        if not self._was_ready:
            self._say(f"Try:   {self._plan.hint or f'curl -s {address}/v1/models'}")
            self._say(f"Logs:  {self._logs}   Stop: Ctrl-C")
        self._was_ready = True
        self._ready.set()

    async def _serve(self) -> int:
        backoff_s = _FIRST_BACKOFF_S
        while True:
            if self._standby is not None:
                await self._standby.start()
            child = await self._start_child()
            started = time.monotonic()
            await _first(child.wait(), self._stop.wait())
            if self._stop.is_set():
                return await self._drain(child)
            await asyncio.to_thread(family.end_all, self._record.members, grace_s=_GRACE_S)
            if not self._was_ready:
                self._explain(child.returncode)
                return 1
            self._ready.clear()
            if time.monotonic() - started > _STEADY_S:
                backoff_s = _FIRST_BACKOFF_S
            self._progress(f"The serving process ended ({_how(child.returncode)}); starting again in {backoff_s:g} s")
            if self._standby is not None:
                await self._standby.start()
            await _first(asyncio.sleep(backoff_s), self._stop.wait())
            if self._stop.is_set():
                return 0
            backoff_s = min(backoff_s * 2, _LONGEST_BACKOFF_S)

    async def _start_child(self) -> asyncio.subprocess.Process:
        arguments = [str(self._workspace.scratch / "orders.json"), "--parent", str(os.getpid())]
        passed: Sequence[int] = ()
        if self._plan.listener is not None:
            passed = (self._plan.listener.fileno(),)
            arguments += ["--listener", str(passed[0])]
        with self._log() as log:
            child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                self._plan.module,
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=passed,
                env=self._child_environment(),
                # A Ctrl-C in the terminal reaches only this process; and vLLM and Ray, whatever they call
                # themselves, are known by the session.
                start_new_session=True,
            )
        leader = family.identity_of(child.pid)
        if leader is not None:
            self._record = self._record.with_session(leader)
            self._write_record()
        return child

    @contextlib.contextmanager
    def _log(self) -> Iterator[int]:
        """Where the child writes."""
        if self._logs_here:
            yield _STDERR
        else:
            with self._workspace.log_file.open("ab") as log:
                yield log.fileno()

    @property
    def _logs(self) -> str:
        """Where logs are, for people."""
        return "here" if self._logs_here else os.path.relpath(self._workspace.logs)

    def _child_environment(self) -> dict[str, str]:
        environment = {**os.environ, **self._plan.environment, family.MARKER: self._record.marker}
        root = str(Path(__file__).resolve().parents[2])
        path = [entry for entry in environment.get("PYTHONPATH", "").split(os.pathsep) if entry and entry != root]
        environment["PYTHONPATH"] = os.pathsep.join([root, *path])
        return environment

    def _leave_to_child(self) -> None:
        if self._standby is not None:
            self._standby.stop()

    async def _drain(self, child: asyncio.subprocess.Process) -> int:
        """Let requests in flight finish, unless nothing was being served yet or the operator insists."""
        self._leave_to_child()
        if self._plan.listener is not None:
            # From here on new connections are refused.
            self._plan.listener.close()
        if self._ready.is_set() and child.returncode is None:
            limit_s = self._plan.stop_s or self._plan.orders.config.server.drain_timeout_s
            told = self._plan.stopping or f"Stopping: requests in flight have {limit_s:g} s; Ctrl-C again ends them"
            self._progress(told)
            child.terminate()
            await _first(child.wait(), self._stop_now.wait(), asyncio.sleep(limit_s + _STOP_MARGIN_S))
        else:
            self._progress("Stopping")
        return 0

    def _explain(self, returncode: int | None) -> None:
        if self._failure:
            self._say(f"The gateway did not start: {self._failure}")
        else:
            last = [] if self._logs_here else _tail(self._workspace.log_file)
            self._say(
                f"The gateway ended before it was ready ({_how(returncode)}){'; its last words:' if last else ''}"
            )
            for line in last:
                self._say(f"  {line}")
        self._say(f"Logs: {self._logs}")

    def _write_record(self) -> None:
        record.write(self._record, self._workspace.records)

    async def _start_guardian(self) -> None:
        """Start a guardian, and another whenever it is killed."""
        reading, self._pipe = os.pipe()
        command = guardian.command(reading, record.path_of(self._workspace.records, self._record.name))
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            pass_fds=(reading,),
            start_new_session=True,
        )
        os.close(reading)
        identity = family.identity_of(process.pid)
        if identity is not None:
            self._record = self._record.with_guardian(identity)
            self._write_record()
        self._guardian = asyncio.get_running_loop().create_task(self._replace_guardian(process))

    async def _replace_guardian(self, process: asyncio.subprocess.Process) -> None:
        await process.wait()
        if self._pipe is not None:
            os.close(self._pipe)
            await self._start_guardian()

    async def _clean_up(self) -> None:
        path = record.path_of(self._workspace.records, self._record.name)
        grace_s = 0.0 if self._stop_now.is_set() else _GRACE_S
        remaining = await asyncio.to_thread(record.clean_up, self._record, path, grace_s=grace_s)
        if remaining:
            self._say(f"These processes would not end: {', '.join(str(process.pid) for process in remaining)}")
        if self._pipe is not None and not remaining:
            pipe, self._pipe = self._pipe, None
            if self._guardian is not None:
                guardian.dismiss(pipe)
                await self._guardian
            os.close(pipe)


async def _first(*awaitables: Coroutine[Any, Any, object]) -> None:
    """Wait until one of ``awaitables`` is done, and cancel the others."""
    tasks = [asyncio.ensure_future(awaitable) for awaitable in awaitables]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


def _how(returncode: int | None) -> str:
    if returncode is not None and returncode < 0:
        return signal.Signals(-returncode).name
    return f"exit status {returncode}"


def _tail(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
    except OSError:
        return []

"""A gateway started as an operator starts it, watched from outside."""

import asyncio
import contextlib
import json
import os
import random
import re
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import psutil
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKERS = 4
"""Connections of a load."""
_PROGRAM = "from serving.cli.main import main; main()"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def lasting_ports(count: int) -> list[int]:
    """Free ports that the system gives to nobody else meanwhile: below those that it picks from."""
    found: list[int] = []
    for port in random.sample(range(20_000, 30_000), 500):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("0.0.0.0", port))  # noqa: S104
            found.append(port)
        if len(found) == count:
            break
    return found


class Instance:
    """One ``loraplex serve``, or what ``command`` says. All that it started is remembered, to see that it ends."""

    def __init__(self, folder: Path, settings: Mapping[str, Any], *arguments: str, command: str = "serve") -> None:
        self.folder = folder
        self.port = int(settings["server"]["port"])
        self.url = f"http://127.0.0.1:{self.port}"
        self.lines: list[str] = []
        self._arguments = arguments
        self._command = command
        self._config = folder / "loraplex.yaml"
        self._config.write_text(yaml.safe_dump(dict(settings)))
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._seen: set[psutil.Process] = set()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None and self._process.returncode is None:
            self._note()
            self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), 40)
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        for process in await self.survivors(10):
            with contextlib.suppress(psutil.Error):
                process.kill()

    async def start(self, *, ready_within_s: float = 180) -> None:
        """Start, and wait until it says that it is ready."""
        await self.launch()
        await self.until_line("Ready: ", ready_within_s)
        self._note()

    async def launch(self) -> None:
        """Start without waiting."""
        self.lines.clear()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            _PROGRAM,
            self._command,
            "--config",
            str(self._config),
            *self._arguments,
            cwd=self.folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default"},
        )
        self._reading = asyncio.create_task(self._read(self._process))

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            self.lines.append(line.decode().rstrip())
            self._changed.set()
        self._changed.set()

    async def until_line(self, text: str, timeout_s: float) -> None:
        """Wait until a line that holds ``text`` was printed."""
        deadline = time.monotonic() + timeout_s
        while not any(text in line for line in self.lines):
            self._changed.clear()
            ended = self._reading is not None and self._reading.done()
            if ended or time.monotonic() > deadline:
                raise AssertionError(f"no line with {text!r} within {timeout_s:g} s:\n" + self.transcript())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), 1)

    def transcript(self) -> str:
        """What it printed and logged."""
        logs = sorted((self.folder / ".loraplex" / "logs").glob("*/serve.log"))
        logged = "".join(log.read_text(errors="replace")[-4000:] for log in logs)
        return "\n".join(self.lines) + "\n--- serve.log\n" + logged

    @property
    def main(self) -> psutil.Process:
        """The process that the operator started."""
        assert self._process is not None
        return psutil.Process(self._process.pid)

    def _note(self) -> None:
        with contextlib.suppress(psutil.Error):
            self._seen.update(self.main.children(recursive=True))

    def find(self, pattern: str) -> list[psutil.Process]:
        """Its processes whose command line matches."""
        self._note()
        found: list[psutil.Process] = []
        for process in sorted(self._seen, key=lambda one: one.pid):
            with contextlib.suppress(psutil.Error):
                if _is_running(process) and re.search(pattern, " ".join(process.cmdline())):
                    found.append(process)
        return found

    def kill(self, pattern: str) -> psutil.Process:
        """``kill -9`` of one process whose command line matches."""
        found = self.find(pattern)
        assert found, f"no process matches {pattern!r}"
        found[0].kill()
        return found[0]

    async def kill_main(self) -> None:
        """``kill -9`` of the process that the operator started."""
        assert self._process is not None
        self._note()
        self._process.kill()
        await self._process.wait()

    async def kill_all(self) -> None:
        """``kill -9`` of everything at once, guardian included, as when the machine dies."""
        assert self._process is not None
        if self._process.returncode is not None:
            return
        self._note()
        for process in [self.main, *self._seen]:
            with contextlib.suppress(psutil.Error):
                process.kill()
        await self._process.wait()

    async def stop(self, number: signal.Signals = signal.SIGTERM, *, within_s: float = 40) -> int:
        """Stop it as an operator does. Returns the exit status."""
        assert self._process is not None
        self._note()
        self._process.send_signal(number)
        return await self.ended(within_s)

    def interrupt(self, number: signal.Signals) -> None:
        """Send a signal and do not wait."""
        assert self._process is not None
        self._note()
        self._process.send_signal(number)

    async def ended(self, within_s: float = 40) -> int:
        """Wait for the end. Returns the exit status."""
        assert self._process is not None
        status = await asyncio.wait_for(self._process.wait(), within_s)
        if self._reading is not None:
            await self._reading
        return status

    async def survivors(self, within_s: float) -> list[psutil.Process]:
        """Which of its processes still run after ``within_s``; returns at once when none does."""
        deadline = time.monotonic() + within_s
        while True:
            left = [process for process in self._seen if _is_running(process)]
            if not left or time.monotonic() > deadline:
                return left
            await asyncio.sleep(0.05)

    async def assert_nothing_left(self, within_s: float = 10) -> None:
        """No process, no listening port, no file of the running instance remains."""
        left = await self.survivors(within_s)
        assert not left, [(process.pid, " ".join(process.cmdline())[:120]) for process in left]
        await eventually(self._port_is_free, f"port {self.port} is free", within_s)
        assert list((self.folder / ".loraplex" / "run").iterdir()) == []

    def _port_is_free(self) -> bool:
        # A connection that a client has not closed yet can hold the port a moment longer than any process does.
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self.port))
            except OSError:
                return False
        return True

    def record(self) -> dict[str, Any]:
        """What the instance wrote down of itself."""
        (path,) = (self.folder / ".loraplex" / "run").glob("*.json")
        found: dict[str, Any] = json.loads(path.read_text())
        return found


def _is_running(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running()) and process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.Error:
        return False


async def eventually(condition: Callable[[], Any], what: str, timeout_s: float = 30.0) -> Any:
    """Wait until ``condition`` gives something true, a bounded time; returns it."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {what}")
        await asyncio.sleep(0.05)
    return value


class Load:
    """Requests one after another on each of several connections, until told to stop. Every answer is counted."""

    def __init__(self, url: str, model: str, *, workers: int = WORKERS, max_tokens: int = 2, key: str = "none") -> None:
        self._url = f"{url}/v1/chat/completions"
        self._body = {
            "model": model,
            "messages": [{"role": "user", "content": "hello"}],
            "max_tokens": max_tokens,
        }
        self._headers = {"authorization": f"Bearer {key}"}
        self._workers = workers
        self.statuses: list[int] = []
        self.unavailable: list[str] = []
        self.without_retry_after: list[str] = []
        self.broken: list[str] = []

    async def _work(self, stop: asyncio.Event) -> None:
        async with httpx.AsyncClient(timeout=60, trust_env=False, headers=self._headers) as client:
            while not stop.is_set():
                try:
                    answer = await self._ask(client)
                except httpx.HTTPError as error:
                    self.broken.append(repr(error))
                    await asyncio.sleep(0.05)
                    continue
                self.statuses.append(answer.status_code)
                if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
                    self.unavailable.append(answer.text)
                    if "retry-after" not in answer.headers or "error" not in answer.json():
                        self.without_retry_after.append(answer.text)
                    await asyncio.sleep(0.05)

    async def _ask(self, client: httpx.AsyncClient) -> httpx.Response:
        """As the OpenAI SDKs do, try once more when a kept connection was closed before it brought any answer."""
        try:
            return await client.post(self._url, json=self._body)
        except httpx.RemoteProtocolError:
            return await client.post(self._url, json=self._body)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send requests while the block runs."""
        stop = asyncio.Event()
        tasks = [asyncio.create_task(self._work(stop)) for _ in range(self._workers)]
        try:
            yield
        finally:
            stop.set()
            await asyncio.gather(*tasks)

    async def until_served(self, count: int, timeout_s: float) -> None:
        """Wait until ``count`` more answers were 200, in a row at the end."""
        start = len(self.statuses)

        def enough() -> bool:
            latest = self.statuses[start:][-count:]
            return len(latest) == count and set(latest) == {200}

        await eventually(
            enough, f"{count} answers in a row; so far {self.statuses[-20:]} {self.broken[-5:]}", timeout_s
        )

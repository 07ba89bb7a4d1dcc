"""Whatever is killed, no engine process is left, and who waits is told at once. Real vLLM, real ``kill -9``."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

pytestmark = pytest.mark.engine

START_TIMEOUT_S = 240.0
END_TIMEOUT_S = 10.0


class Host:
    """A process that hosts an engine (``tests.integration.engine_host``)."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    def command(self, text: str) -> None:
        """Tell it what to do."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{text}\n".encode())

    async def event(self, name: str, timeout_s: float = END_TIMEOUT_S) -> dict[str, Any]:
        """The next event of that name."""
        assert self.process.stdout is not None
        async with asyncio.timeout(timeout_s):
            while line := await self.process.stdout.readline():
                if not line.startswith(b'{"event"'):
                    continue
                event: dict[str, Any] = json.loads(line)
                print(event)  # what pytest shows beside a failure
                if event["event"] == name:
                    return event
        raise AssertionError(f"the host ended before the event {name!r}")


@asynccontextmanager
async def hosted(checkpoint: Path, *options: str) -> AsyncIterator[Host]:
    """Run a host in a process group of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.integration.engine_host",
        str(checkpoint),
        *options,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 20,
        start_new_session=True,
    )
    host = Host(process)
    try:
        yield host
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def alive(pids: Iterable[int]) -> list[int]:
    """Those that still run; a zombie does not."""
    running = []
    for pid in pids:
        try:
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                running.append(pid)
        except psutil.NoSuchProcess:
            continue
    return running


async def gone(pids: Iterable[int], timeout_s: float = END_TIMEOUT_S) -> None:
    """Wait until none of ``pids`` runs."""
    await until(lambda: not alive(pids), f"{list(pids)} end", timeout_s)


async def until(condition: Callable[[], bool], what: str, timeout_s: float) -> None:
    """Wait, a bounded time, for what other processes do."""
    try:
        async with asyncio.timeout(timeout_s):
            while not condition():  # noqa: ASYNC110  (it happens in processes that are not ours)
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not within {timeout_s:g} s: {what}") from None


def engine_core(pids: Iterable[int]) -> int:
    """The process that vLLM's scheduler runs in: the parent of a worker."""
    parents = {psutil.Process(pid).ppid() for pid in pids}
    return next(pid for pid in pids if pid in parents)


async def test_a_killed_engine_core_is_noticed_at_once_and_the_engine_starts_again(base_checkpoint: Path) -> None:
    async with hosted(base_checkpoint) as host:
        first = (await host.event("ready", START_TIMEOUT_S))["pids"]
        host.command("stream")
        await host.event("streaming")
        os.kill(engine_core(first), signal.SIGKILL)
        assert (await host.event("ended", 3))["error"] == "EngineUnavailable"
        host.command("health")
        assert (await host.event("health"))["error"] == "EngineUnavailable"
        host.command("dead")
        await host.event("dead")

        host.command("restart")
        await host.event("stopped", 30)
        tracker = {pid for pid in first if "resource_tracker" in _command(pid)}
        await gone(set(first) - tracker)
        second = (await host.event("ready", START_TIMEOUT_S))["pids"]
        host.command("metrics")
        assert "vllm:" in (await host.event("metrics"))["text"]

        # Ctrl-C reaches the terminal's process group; the engine is to live on until the gateway has drained.
        host.command("stream")
        await host.event("streaming")
        os.killpg(host.process.pid, signal.SIGINT)
        await host.event("interrupted")
        host.command("health")
        assert (await host.event("health"))["error"] is None

        os.kill(host.process.pid, signal.SIGKILL)
        await gone(second)


async def test_a_stopped_engine_leaves_no_process(base_checkpoint: Path) -> None:
    async with hosted(base_checkpoint) as host:
        pids = (await host.event("ready", START_TIMEOUT_S))["pids"]
        host.command("stop")
        left = (await host.event("stopped", 40))["pids"]
        assert not [pid for pid in left if "resource_tracker" not in _command(pid)]
        await gone(set(pids) - set(left))


async def test_a_start_that_is_given_up_leaves_no_process(base_checkpoint: Path) -> None:
    async with hosted(base_checkpoint, "--cancel-start") as host:
        event = await host.event("cancelled", START_TIMEOUT_S)
        assert event["cancelled"], event
        await gone([pid for pid in event["pids"] if "resource_tracker" not in _command(pid)])


def _command(pid: int) -> str:
    try:
        return " ".join(psutil.Process(pid).cmdline())
    except psutil.NoSuchProcess:
        return ""

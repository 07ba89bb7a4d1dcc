"""A process that hosts a real engine and does what it is told on standard input, for tests that kill processes.

    python -m tests.integration.engine_host CHECKPOINT [--cancel-start]

Each line that it writes is a JSON object with an ``event``.
"""

import asyncio
import json
import os
import signal
import sys

import psutil

from serving.config import AdapterSettings, ModelSettings, VllmEngineSettings
from serving.engine.protocol import Endpoint, EngineError, EngineRequest
from serving.engine.vllm import VllmEngine

BODY = {"prompt": "Once upon a time", "max_tokens": 1900, "ignore_eos": True}


def tell(event: str, **details: object) -> None:
    """One line for the test."""
    print(json.dumps({"event": event, **details}), flush=True)


def descendants() -> list[int]:
    """Every process under this one."""
    return [process.pid for process in psutil.Process().children(recursive=True)]


async def stream(engine: VllmEngine) -> None:
    """Generate until the end, whatever it is."""
    started = False
    try:
        async for _ in engine.stream(EngineRequest(Endpoint.COMPLETIONS, BODY, "host")):
            if not started:
                started = True
                tell("streaming")
        tell("ended", error=None)
    except EngineError as error:
        tell("ended", error=type(error).__name__)


async def start(engine: VllmEngine) -> None:
    """Start, and name the processes."""
    info = await engine.start(lambda message: tell("progress", message=message))
    tell("ready", version=info.version, pids=descendants())


def _title(pid: int) -> str:
    try:
        return " ".join(psutil.Process(pid).cmdline())
    except psutil.NoSuchProcess:
        return ""


async def cancelled_start(engine: VllmEngine) -> None:
    """Begin a start, give it up once its processes are there, and name what is left."""
    begun = asyncio.Event()

    def progress(message: str) -> None:
        tell("progress", message=message)
        if "processes" in message:
            loop.call_soon_threadsafe(begun.set)

    loop = asyncio.get_running_loop()
    task = asyncio.create_task(engine.start(progress))
    await asyncio.wait({task, asyncio.create_task(begun.wait())}, return_when=asyncio.FIRST_COMPLETED)
    while not task.done() and not any("EngineCore" in _title(pid) for pid in descendants()):  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    pids = descendants()
    task.cancel()
    await asyncio.wait((task,))
    await engine.stop()
    error = None if task.cancelled() else task.exception()
    tell("cancelled", cancelled=task.cancelled(), error=repr(error), pids=pids)


async def obey(engine: VllmEngine) -> None:
    """Follow commands until standard input ends."""
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        match line.strip():
            case "stream":
                tasks.add(asyncio.create_task(stream(engine)))
            case "health":
                try:
                    await engine.check_health()
                    tell("health", error=None)
                except EngineError as error:
                    tell("health", error=type(error).__name__)
            case "dead":
                await asyncio.wait_for(engine.dead(), 10)
                tell("dead")
            case "restart":
                await engine.stop()
                tell("stopped", pids=descendants())
                await start(engine)
            case "metrics":
                tell("metrics", text=engine.metrics_text().decode())
            case "stop":
                await engine.stop()
                tell("stopped", pids=descendants())


async def main() -> None:
    """Host one engine."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, lambda: tell("interrupted"))
    engine = VllmEngine(
        ModelSettings(id=sys.argv[1], name="hosted"),
        VllmEngineSettings(args={"max_model_len": 2048, "enforce_eager": True, "max_num_seqs": 4}),
        AdapterSettings(slots=1, cpu_slots=1, max_rank=8),
    )
    tell("host", pid=os.getpid())
    if "--cancel-start" in sys.argv:
        await cancelled_start(engine)
        return
    await start(engine)
    await obey(engine)


if __name__ == "__main__":
    asyncio.run(main())

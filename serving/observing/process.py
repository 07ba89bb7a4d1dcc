"""``ObserverProcess``: the process that looks at a replica's answers, at the lowest priority."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Sequence
from typing import Any, Protocol

import orjson

from serving.config import GatewayConfig
from serving.observing.notes import Record

_ANSWER_LIMIT_S = 300.0
"""For one exchange: checks take milliseconds, but their process gets what the others leave of the processor, and to
start another one would take more of it."""
_START_LIMIT_S = 900.0
_STOP_LIMIT_S = 10.0
_LONGEST_LINE = 8 * 1024 * 1024


class ObserverLost(Exception):
    """The process that observes cannot be had now, or gave no answer. Its text holds nothing of a request."""


class ObservingWorker(Protocol):
    """Looks at finished requests, somewhere else."""

    async def observe(self, records: Sequence[Record]) -> dict[str, Any]:
        """What the records showed, and how things stand; see ``serving.observing.worker``. Raises ObserverLost."""
        ...

    async def stop(self) -> None:
        """Have it write down what it knows, and end it. Safe to call twice. Never raises."""
        ...


class ObserverProcess:
    """One process, started with the first records and again with the first ones after it was lost.

    Args:
        command: what reads records and answers them.
    """

    def __init__(
        self,
        config: GatewayConfig,
        replica: str,
        command: Sequence[str] = (sys.executable, "-m", "serving.observing.worker"),
    ) -> None:
        hello = {"config": config.model_dump(mode="json", by_alias=True), "replica": replica}
        self._hello = json.dumps(hello).encode() + b"\n"
        self._command = tuple(command)
        self._process: asyncio.subprocess.Process | None = None

    async def observe(self, records: Sequence[Record]) -> dict[str, Any]:
        """See ObservingWorker. Records that are no JSON are left out."""
        if self._process is None or self._process.returncode is not None:
            await self._start()
        return await self._exchange(_line("records", records), _ANSWER_LIMIT_S)

    async def stop(self) -> None:
        """See ObservingWorker."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ObserverLost):
                await self._exchange(b'{"stop": true}\n', _STOP_LIMIT_S)
        await self._end()

    async def _start(self) -> None:
        await self._end()
        # No GPU is its own, and of the processor one core at most: the engine is beside it.
        environment = dict(os.environ) | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
        try:
            # What it says on its standard error could quote a prompt.
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env=environment | {"TOKENIZERS_PARALLELISM": "false"},
                start_new_session=True,
                limit=_LONGEST_LINE,
            )
        except OSError as error:
            raise ObserverLost(f"the observing process cannot be started: {error.strerror or error}") from error
        answer = await self._exchange(self._hello, _START_LIMIT_S)
        if problem := answer.get("problem"):
            await self._end()
            raise ObserverLost(f"the observing process cannot begin: {problem}")

    async def _exchange(self, line: bytes, limit_s: float) -> dict[str, Any]:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise ObserverLost("the observing process has ended")
        try:
            async with asyncio.timeout(limit_s):
                process.stdin.write(line)
                await process.stdin.drain()
                answer: dict[str, Any] = orjson.loads(await process.stdout.readline())
        except TimeoutError:
            await self._end()
            raise ObserverLost(f"the observing process gave no answer within {limit_s:g} s") from None
        except (OSError, ValueError):
            status = await self._end()
            raise ObserverLost(f"the observing process ended with status {status}") from None
        except BaseException:
            # Its answer to this line would be taken for the next one's.
            await self._end()
            raise
        return answer

    async def _end(self) -> int | None:
        """End it, and wait for that. Its exit status; None where there was none."""
        process, self._process = self._process, None
        if process is None:
            return None
        if process.stdin is not None:
            process.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        return await process.wait()


def _line(name: str, records: Sequence[Record]) -> bytes:
    """The message, on one line."""
    try:
        return orjson.dumps({name: records}) + b"\n"
    except orjson.JSONEncodeError:
        return orjson.dumps({name: [record for record in records if _is_json(record)]}) + b"\n"


def _is_json(record: Record) -> bool:
    try:
        orjson.dumps(record)
    except orjson.JSONEncodeError:
        return False
    return True

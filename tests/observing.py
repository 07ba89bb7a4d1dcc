"""What observes answers in tests: nobody, or the real worker in this process."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from retrieval.embedding import Embedder
from serving.config import GatewayConfig
from serving.gateway import Gateway
from serving.observing.judged import Judge
from serving.observing.notes import Record
from serving.observing.process import ObserverLost
from serving.observing.worker import Worker
from tests.word_embedder import WordEmbedder


def nothing(**found: Any) -> dict[str, Any]:
    """A worker's answer where nothing was found, but for ``found``."""
    empty: dict[str, Any] = {"observed": 0, "checks": [], "confidence": [], "lags": []}
    return empty | {"standing": None, "problem": ""} | found


class Collecting:
    """Keeps records as they would arrive in another process, and finds nothing."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.batches: list[int] = []
        self.away = ""
        """Why it cannot be had; empty while it can."""
        self.reply: dict[str, Any] = {}
        """What it says besides."""
        self.slow: asyncio.Event | None = None
        """What it waits for before it answers; None: nothing."""
        self.stopped = False

    async def observe(self, records: Sequence[Record]) -> dict[str, Any]:
        """Raises ObserverLost while it is away."""
        if self.away:
            raise ObserverLost(self.away)
        if self.slow is not None:
            await self.slow.wait()
        self.batches.append(len(records))
        self.records += orjson.loads(orjson.dumps(list(records)))
        return nothing(observed=len(records)) | self.reply

    async def stop(self) -> None:
        """Note it."""
        self.stopped = True


class InProcess:
    """The real worker, whose keeper takes a turn with each message; embeds by words."""

    def __init__(
        self,
        config: GatewayConfig,
        *,
        judge: Judge | None = None,
        make_embedder: Callable[[], Embedder] = WordEmbedder,
    ) -> None:
        assert config.monitoring is not None
        self.worker = Worker(config, config.monitoring, "r0", judge=judge, make_embedder=make_embedder)

    async def observe(self, records: Sequence[Record]) -> dict[str, Any]:
        """As over pipes, and at once."""
        return await asyncio.to_thread(self._observe, orjson.dumps(list(records)))

    async def stop(self) -> None:
        """One last turn."""
        await asyncio.to_thread(lambda: self.worker.keeper.turn(last=True))

    def _observe(self, records: bytes) -> dict[str, Any]:
        answer = self.worker.observe(orjson.loads(records))
        self.worker.keeper.turn()
        found: dict[str, Any] = orjson.loads(orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY))
        return found


def in_process(made: list[InProcess]) -> Callable[[GatewayConfig], InProcess]:
    """Makes the real worker for a gateway's configuration, and puts it into ``made``."""

    def make(config: GatewayConfig) -> InProcess:
        made.append(InProcess(config))
        return made[-1]

    return make


async def flush(gateway: Gateway) -> None:
    """Have what was asked so far observed, and shown."""
    pipeline = gateway._pipeline
    assert pipeline is not None
    await pipeline.flush()
    pipeline._asked_at = -1000.0
    await pipeline.flush()

"""A knowledge client in memory, and a gateway whose tasks retrieve from it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from retrieval.errors import KnowledgeServerError, VectorStoreNotFound
from serving.knowledge.protocol import FoundPassage, SearchRequest, SearchResult
from serving.status import unavailable
from tests.api.harness import ANSWER_SCHEMA, RunningGateway, config_of, run_gateway


def passage(number: int, text: str, score: float, source: str = "docs/refunds.md") -> FoundPassage:
    """A passage of a file of its own."""
    return FoundPassage(
        store_id="vs_1",
        file_id=f"file-{number}",
        filename=f"refunds-{number}.md",
        title=f"Refunds {number}",
        source=source,
        version="1",
        number=number + 10,
        text=text,
        context="",
        score=score,
        similarity=score,
        attributes={"region": "eu"},
        changed_at=int(time.time()) - 7200,
    )


REFUNDS = (
    passage(1, "Refunds take 30 days. They are free.", 0.9),
    passage(2, "Shipping takes 3 days.", 0.6, "https://example.com/shipping"),
)


class MemoryKnowledge:
    """Answers every question with what the store holds, best first. It has no HTTP API."""

    def __init__(self) -> None:
        self.app = unavailable("This knowledge is for searching.")
        self.stores: dict[str, tuple[FoundPassage, ...]] = {"policies": REFUNDS, "empty": ()}
        self.requests: list[SearchRequest] = []
        self.error: Exception | None = None
        self.open = asyncio.Event()
        """Cleared: searches wait."""
        self.open.set()
        self.asked = asyncio.Event()
        """Set with the first search."""
        self.expired = 0

    async def metrics_text(self) -> bytes:
        """Nothing is measured."""
        return b""

    async def search(self, request: SearchRequest) -> SearchResult:
        """Raises ``error`` where it is set, and VectorStoreNotFound."""
        self.requests.append(request)
        self.asked.set()
        await self.open.wait()
        if self.error is not None:
            raise self.error
        missing = [store for store in request.stores if store not in self.stores]
        if missing:
            raise VectorStoreNotFound(f"No vector store `{missing[0]}`.")
        floor = request.min_score or 0.0
        found = [one for store in request.stores for one in self.stores[store] if one.similarity >= floor]
        return SearchResult(tuple(found[: request.k]), expired=self.expired, seconds={"dense": 0.001})

    def break_down(self) -> None:
        """From now on nothing is found, and it is nobody's fault outside."""
        self.error = KnowledgeServerError("the index is gone")


def _task(**retrieval: Any) -> dict[str, Any]:
    return {"adapter": "triage", "retrieval": {"knowledge": ["policies"]} | retrieval}


TASKS: dict[str, Any] = {
    "help": _task(),
    "silent": _task(citations=False),
    "plain": _task(when_empty="answer"),
    "strict": _task(when_empty="refuse", refusal="Not in my documents."),
    "firm": _task(when_down="fail"),
    "hasty": _task(timeout_s=0.01),
    "lost": _task(knowledge=["nowhere"]),
    "shaped": _task() | {"output": {"json_schema": ANSWER_SCHEMA}},
    "support": {"adapter": "triage"},
}


@asynccontextmanager
async def run_grounded(folder: Path, knowledge: MemoryKnowledge | None) -> AsyncIterator[RunningGateway]:
    """A gateway with the tasks above."""
    async with run_gateway(config_of(tasks=TASKS, knowledge={}), folder, knowledge) as running:
        yield running

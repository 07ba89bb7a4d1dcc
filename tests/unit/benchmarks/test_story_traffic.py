"""The callers of the story, against a gateway of a few lines."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from benchmarks.story_rows import Prompt
from benchmarks.story_traffic import Traffic
from benchmarks.wire import Address
from tests.live import served

GOOD = '{"category": "outage", "team": "operations"}'


@dataclass
class House:
    """Answers every chat with ``GOOD``; ``status`` is what feedback is answered with."""

    status: int = 200
    chats: list[dict[str, Any]] = field(default_factory=list)
    callers: set[str] = field(default_factory=set)
    judgments: list[dict[str, Any]] = field(default_factory=list)

    async def chat(self, request: Request) -> Response:
        """An answer without a stream, whatever is asked for."""
        body = await request.json()
        self.chats.append(body)
        self.callers.add(request.headers["x-loraplex-caller-key"])
        answer = {"choices": [{"message": {"content": GOOD}}], "usage": {"completion_tokens": 9}}
        return JSONResponse(answer, headers={"x-request-id": f"req-{len(self.chats)}"})

    async def feedback(self, request: Request) -> Response:
        """Remember a judgment."""
        self.judgments.append(await request.json())
        return JSONResponse({}, status_code=self.status)


@asynccontextmanager
async def asking(house: House, judged: float) -> AsyncIterator[Traffic]:
    """Callers, of whom ``judged`` judge; they ask until the end of the block."""
    routes = [
        Route("/v1/chat/completions", house.chat, methods=["POST"]),
        Route("/v1/feedback", house.feedback, methods=["POST"]),
    ]
    async with served(Starlette(routes=routes)) as url:
        parts = urlsplit(url)
        address = Address(parts.hostname or "", parts.port or 0)
        traffic = Traffic(address, "tickets", [Prompt("Ledger is down", "outage")], callers=50, judged=judged)
        running = asyncio.create_task(traffic.run(2))
        try:
            yield traffic
        finally:
            traffic.stop()
            await running


async def test_callers_judge_answers_by_the_id_of_their_request() -> None:
    house = House()
    async with asking(house, judged=1.0) as traffic:
        await traffic.answered(20)
    judged = {judgment["request_id"] for judgment in house.judgments}
    whole = [exchange for exchange in traffic.exchanges if exchange.rating]
    assert traffic.refused_feedback == []
    assert {judgment["rating"] for judgment in house.judgments} == {"up"}
    assert len(whole) == len(judged) == len(house.judgments) > 0
    assert len(house.callers) > 5


async def test_what_was_asked_for_as_a_stream_and_is_none_is_a_failure_that_nobody_judges() -> None:
    house = House()
    async with asking(house, judged=1.0) as traffic:
        await traffic.answered(20)
    assert any(body.get("stream") for body in house.chats)
    failed = [exchange for exchange in traffic.exchanges if exchange.sample.error is not None]
    assert failed
    assert all(exchange.rating is None for exchange in failed)


async def test_feedback_that_is_refused_is_told() -> None:
    async with asking(House(status=404), judged=1.0) as traffic:
        await traffic.answered(10)
    assert traffic.refused_feedback
    assert traffic.refused_feedback[0].startswith("status 404")


async def test_a_pace_holds_for_all_connections_together() -> None:
    async with asking(House(), judged=0.0) as traffic:
        await traffic.answered(1)
        traffic.pace(20.0)
        before, began = len(traffic.exchanges), time.perf_counter()
        await traffic.answered(8)
        took = time.perf_counter() - began
        asked = len(traffic.exchanges) - before
    # Two may have been under way, and one is due at once.
    assert took >= (asked - 3) / 20.0


async def test_a_gateway_that_is_gone_is_a_failed_request() -> None:
    traffic = Traffic(Address("127.0.0.1", 9), "tickets", [Prompt("hello", "bug")], callers=1, judged=1.0)
    running = asyncio.create_task(traffic.run(1))
    await traffic.answered(2)
    traffic.stop()
    await running
    assert all("cannot connect" in (exchange.sample.error or "") for exchange in traffic.exchanges)

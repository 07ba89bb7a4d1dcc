"""Suites made by tests, as files, and an endpoint that answers by a script."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.live import served
from training.evaluation.suite import Suite, load_suite
from training.evaluation.types import Answer, Case, CaseResult

Json = dict[str, Any]


def write_suite(folder: Path, cases: Sequence[Json], /, *scorers: Json, **settings: Any) -> Path:
    """Write a suite beside its cases."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(case, ensure_ascii=False) for case in cases]
    (folder / "cases.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    data = {"name": "suite", "cases": "cases.jsonl", "scorers": list(scorers) or [{"kind": "exact"}], **settings}
    path = folder / "suite.yaml"
    path.write_text(yaml.safe_dump(data, allow_unicode=True), encoding="utf-8")
    return path


def make_suite(folder: Path, cases: Sequence[Json], /, *scorers: Json, **settings: Any) -> Suite:
    """Write a suite and load it."""
    return load_suite(write_suite(folder, cases, *scorers, **settings))


def ask(prompt: str, expected: Any = None, **fields: Any) -> Json:
    """A row of our own."""
    return {"prompt": prompt, **({} if expected is None else {"expected": expected}), **fields}


def case_of(expected: str | None = None, **fields: Any) -> Case:
    """A case for a scorer."""
    return Case("case", ({"role": "user", "content": "?"},), expected=expected, **fields)


def result(case_id: str, repeat: int = 0, text: str = "", **scores: float) -> CaseResult:
    """A result whose scores are given."""
    return CaseResult(case_id, repeat, Answer(text), scores)


class ScriptedEndpoint:
    """An OpenAI-compatible endpoint whose answers a function gives.

    The function gets the request's body, and gives the content, a whole message, or a response of its own.
    """

    def __init__(self, reply: Callable[[Json], str | Json | Response]) -> None:
        self._reply = reply
        self.bodies: list[Json] = []
        """What was asked, oldest first."""
        self.keys: list[str | None] = []
        self.most_at_once = 0
        self._at_once = 0
        self.version: str | None = None
        """Named in the header ``x-loraplex-adapter``."""
        self.gate = asyncio.Event()
        """Cleared, requests wait."""
        self.gate.set()
        self.url = ""

    @property
    def prompts(self) -> list[str]:
        """The last message of each request."""
        return [body["messages"][-1]["content"] for body in self.bodies]

    @property
    def waiting(self) -> int:
        """Requests under way."""
        return self._at_once

    @property
    def app(self) -> Starlette:
        """The ASGI app."""
        return Starlette(
            routes=[
                Route("/v1/chat/completions", self._complete, methods=["POST"]),
                Route("/v1/models", self._models, methods=["GET"]),
            ]
        )

    async def _models(self, request: Request) -> Response:
        return JSONResponse({"object": "list", "data": []})

    async def _complete(self, request: Request) -> Response:
        body = await request.json()
        self.bodies.append(body)
        self.keys.append(request.headers.get("authorization"))
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            await self.gate.wait()
            await asyncio.sleep(0)
        finally:
            self._at_once -= 1
        reply = self._reply(body)
        if isinstance(reply, Response):
            return reply
        message = {"role": "assistant", "content": reply} if isinstance(reply, str) else reply
        headers = {"x-loraplex-adapter": self.version} if self.version else {}
        return JSONResponse(completion(message), headers=headers)


def completion(message: Json) -> Json:
    """A chat completion that holds a message."""
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}


def refusal(status: int, message: str, **headers: str) -> Response:
    """An error in OpenAI's envelope."""
    body = {"error": {"message": message, "type": "error", "param": None, "code": f"code_{status}"}}
    return JSONResponse(
        body, status_code=status, headers={name.replace("_", "-"): one for name, one in headers.items()}
    )


@asynccontextmanager
async def scripted(reply: Callable[[Json], str | Json | Response]) -> AsyncIterator[ScriptedEndpoint]:
    """Serve a script on loopback."""
    endpoint = ScriptedEndpoint(reply)
    async with served(endpoint.app) as url:
        endpoint.url = url
        yield endpoint

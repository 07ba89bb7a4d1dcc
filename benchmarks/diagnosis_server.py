"""The simulated model and vector store of a world, over a real HTTP endpoint on loopback.

How the adapter answers, unless its flaw says otherwise: it reads the evidence where it stands in the prompt; without it
believes an outdated passage; without that says that it does not know, or guesses. Tickets it labels rightly. Its flaws:

- context: it answers the same wrong thing whatever stands in the prompt;
- format: what it says is right, and wrapped in a form that was not asked for;
- judgment: a ticket gets another label; a policy is read and decided the wrong way round.

The base model is weaker in everything: see :data:`BASE`. With the probability of the noise, an answer is replaced by
one drawn at random: another value, an excuse, a broken form. The store ranks by shared words; for a case whose flaw is
retrieval it loses the passage with the evidence, for every other one it finds it.
"""

import contextlib
import hashlib
import json
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from benchmarks.diagnosis_world import Planted, Task, World
from training.diagnosis.attribution import Cause

BASE_MODEL, ADAPTER_MODEL, STORE = "simulated-base", "simulated-adapter", "handbook"
TOP = 4


@dataclass(frozen=True, slots=True)
class Weakness:
    """How often a model fails in which way, by case."""

    format: float
    reading: float
    triage: float
    decision: float
    shared: float
    """Of the adapter's wrong judgments, those that the base shares."""


BASE = Weakness(format=0.4, reading=0.1, triage=0.25, decision=0.1, shared=0.3)
_GUESSES = 0.3
"""Of the questions without evidence, those that are guessed at."""


class SimulatedModel:
    """Answers prompts of one world. The same prompt, model and seed get the same answer."""

    def __init__(self, world: World, noise: float) -> None:
        self._world = world
        self._noise = noise
        self._questions = {one.case.messages[0]["content"]: one for one in world.cases}

    def answer(self, model: str, prompt: str, seed: int) -> str:
        """What it says."""
        planted = self.planted(prompt)
        drawn = _random("noise", model, prompt, seed)
        if drawn.random() < self._noise:
            return self._noisy(planted, drawn)
        said = self._adapter(planted, prompt) if model == ADAPTER_MODEL else self._base(planted, prompt)
        return said or _random("unsure", model, planted.case.id).choice(self._world.family.unsure)

    def planted(self, prompt: str) -> Planted:
        """The case that a prompt ends with. Raises KeyError."""
        if prompt in self._questions:
            return self._questions[prompt]
        return next(one for question, one in self._questions.items() if prompt.endswith(question))

    def _adapter(self, planted: Planted, prompt: str) -> str:
        if planted.flaw is Cause.CONTEXT:
            return planted.wrong[0]
        if planted.flaw is Cause.JUDGMENT and (planted.task is Task.TRIAGE or planted.evidence in prompt):
            return planted.wrong[0]
        said = self._known(planted, prompt, ADAPTER_MODEL)
        return self._broken(planted, said, ADAPTER_MODEL) if said and planted.flaw is Cause.FORMAT else said

    def _base(self, planted: Planted, prompt: str) -> str:
        draw = _random("base", planted.case.id)
        broken, blind, wrong, shares = (draw.random() for _ in range(4))
        limit = BASE.triage if planted.task is Task.TRIAGE else BASE.decision
        if planted.flaw is Cause.JUDGMENT and shares < BASE.shared:
            said = planted.wrong[0]
        elif (planted.task in (Task.TRIAGE, Task.DECISION) and wrong < limit and planted.evidence in prompt) or (
            planted.evidence and blind < BASE.reading
        ):
            said = draw.choice(planted.wrong)
        else:
            said = self._known(planted, prompt, BASE_MODEL)
        return self._broken(planted, said, BASE_MODEL) if said and broken < BASE.format else said

    def _known(self, planted: Planted, prompt: str, model: str) -> str:
        """What can be known from the prompt; empty where nothing is."""
        if planted.evidence in prompt:
            return planted.truth
        if planted.stale and self._world.family.archive in prompt:
            return planted.stale
        draw = _random("guess", model, planted.case.id)
        return draw.choice([planted.truth, *planted.wrong][-3:]) if draw.random() < _GUESSES else ""

    def _broken(self, planted: Planted, said: str, model: str) -> str:
        draw = _random("broken", model, planted.case.id)
        if planted.task is Task.RECORD and draw.random() < 0.5:
            return draw.choice([said.replace('"', "'"), said.replace("}", ",}"), said + "\nI hope that this helps."])
        return draw.choice(self._world.family.wrapped).format(answer=said)

    def _noisy(self, planted: Planted, drawn: random.Random) -> str:
        wrong = drawn.choice(planted.wrong)
        return drawn.choice(
            [
                wrong,
                drawn.choice(self._world.family.unsure),
                drawn.choice(self._world.family.wrapped).format(answer=wrong),
            ]
        )


class SimulatedStore:
    """Ranks a world's passages by the words that they share with a question."""

    def __init__(self, world: World) -> None:
        self._passages = [(text, _words(text)) for text in world.passages]
        self._questions = {one.case.messages[0]["content"]: one for one in world.cases}

    def search(self, question: str, top: int) -> list[str]:
        """The best passages."""
        wanted = _words(question)
        planted = self._questions[question]
        ranked = sorted(self._passages, key=lambda one: (-len(wanted & one[1]) / len(one[1]) ** 0.5, one[0]))
        found = [text for text, _ in ranked]
        holding = [text for text in found if planted.evidence and planted.evidence in text]
        found = [text for text in found if text not in holding]
        if holding and planted.flaw is not Cause.RETRIEVAL:
            place = _random("place", question).randrange(top)
            found.insert(place, holding[0])
        return found[:top]


@contextlib.asynccontextmanager
async def serving(world: World, noise: float) -> AsyncIterator[str]:
    """Serve a world on a free port of loopback; gives the address with ``/v1``."""
    model, store = SimulatedModel(world, noise), SimulatedStore(world)

    async def chat(request: web.Request) -> web.Response:
        body = await request.json()
        prompt = body["messages"][-1]["content"]
        text = model.answer(body["model"], prompt, body.get("seed", 0))
        return web.json_response(_completion(body["model"], prompt, text))

    async def stores(_: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "vs_1", "name": STORE}], "has_more": False})

    async def search(request: web.Request) -> web.Response:
        body = await request.json()
        found = store.search(body["query"], body["max_num_results"])
        return web.json_response({"data": [{"content": [{"type": "text", "text": text}]} for text in found]})

    app = web.Application()
    app.router.add_post("/v1/chat/completions", chat)
    app.router.add_get("/v1/vector_stores", stores)
    app.router.add_post("/v1/vector_stores/vs_1/search", search)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}/v1"
    finally:
        await runner.cleanup()


def _completion(model: str, prompt: str, text: str) -> dict[str, Any]:
    usage = {"prompt_tokens": len(prompt.split()), "completion_tokens": len(text.split())}
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return {
        "id": "simulated",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [choice],
        "usage": usage | {"total_tokens": sum(usage.values())},
    }


def _random(*parts: object) -> random.Random:
    digest = hashlib.blake2b(json.dumps([str(part) for part in parts]).encode(), digest_size=8).digest()
    return random.Random(int.from_bytes(digest, "big"))


def _words(text: str) -> set[str]:
    return {one.strip(".,:?\"'{}").casefold() for one in text.split()}

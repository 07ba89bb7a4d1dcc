"""The fake engine's knobs; that it keeps the engine's contract is in tests/contract."""

import asyncio
import json
from contextlib import aclosing
from pathlib import Path

import pytest

from adapters.types import Tier
from serving.engine.fake import FakeEngine
from serving.engine.fake_text import Unsatisfiable, grammar_text, json_text, pick, regex_text
from serving.engine.protocol import (
    AdapterCapacity,
    Endpoint,
    EngineAdapterError,
    EngineFailed,
    EngineRequest,
    EngineUnavailable,
    JsonObject,
)


def ask(text: str = "hello", adapter: str | None = None, request_id: str = "r") -> EngineRequest:
    return EngineRequest(Endpoint.CHAT, {"messages": [{"role": "user", "content": text}]}, request_id, adapter)


def said(answer: JsonObject) -> str:
    return str(answer["choices"][0]["message"]["content"])


@pytest.fixture
async def engine() -> FakeEngine:
    fake = FakeEngine(capacity=AdapterCapacity(slots=1, cpu_slots=2, max_rank=8))
    await fake.start(lambda _: None)
    return fake


async def test_an_answer_names_its_adapter_and_the_prompt(engine: FakeEngine, tmp_path: Path) -> None:
    await engine.load_adapter("triage@1", tmp_path)
    assert said(await engine.complete(ask())) == "[fake-base] hello"
    assert said(await engine.complete(ask(adapter="triage@1"))) == "[triage@1] hello"


async def test_an_inert_adapter_answers_as_the_base(engine: FakeEngine, tmp_path: Path) -> None:
    await engine.load_adapter("idle@1", tmp_path)
    engine.inert.add("idle@1")
    assert said(await engine.complete(ask(adapter="idle@1"))) == "[fake-base] hello"


async def test_a_held_generation_waits_for_the_gate_and_two_may_share_a_request_id(engine: FakeEngine) -> None:
    engine.gate.clear()
    tasks = [asyncio.create_task(engine.complete(ask())) for _ in range(2)]
    await engine.until(lambda it: len(it.running) == 2)
    engine.gate.set()
    await asyncio.gather(*tasks)
    assert engine.finished == ["r", "r"]
    assert engine.running == ()


async def test_an_aborted_request_is_recorded(engine: FakeEngine) -> None:
    engine.gate.clear()
    task = asyncio.create_task(engine.complete(ask(request_id="left")))
    await engine.until(lambda it: bool(it.running))
    task.cancel()
    await asyncio.wait((task,))
    assert engine.aborted == ["left"]


async def test_a_death_fails_what_runs_and_all_that_follows_until_the_next_start(engine: FakeEngine) -> None:
    engine.gate.clear()
    task = asyncio.create_task(engine.complete(ask()))
    await engine.until(lambda it: bool(it.running))
    engine.die()
    with pytest.raises(EngineUnavailable):
        await task
    await engine.dead()
    with pytest.raises(EngineUnavailable):
        await engine.check_health()
    engine.gate.set()
    await engine.start(lambda _: None)
    await engine.complete(ask())


async def test_the_next_request_fails_where_it_is_told_to(engine: FakeEngine) -> None:
    engine.fail_next(EngineFailed("boom"), after=2)
    async with aclosing(engine.stream(ask())) as pieces:
        await anext(pieces)
        await anext(pieces)
        with pytest.raises(EngineFailed, match="boom"):
            await anext(pieces)
    await engine.complete(ask())


async def test_loads_can_be_held_and_refused_by_name_or_by_adapter(engine: FakeEngine, tmp_path: Path) -> None:
    engine.refuse_load["bad"] = "it is bad"
    with pytest.raises(EngineAdapterError, match="it is bad"):
        await engine.load_adapter("bad@1", tmp_path)
    engine.load_gate.clear()
    task = asyncio.create_task(engine.load_adapter("slow@1", tmp_path))
    await engine.until(lambda it: it.loads == ["bad@1", "slow@1"])
    assert await engine.resident() == []
    engine.load_gate.set()
    await task
    assert [adapter.name for adapter in await engine.resident()] == ["slow@1"]


async def test_the_most_recently_used_adapter_is_in_the_slot(engine: FakeEngine, tmp_path: Path) -> None:
    await engine.load_adapter("a@1", tmp_path)
    await engine.load_adapter("b@1", tmp_path)
    await engine.complete(ask(adapter="a@1"))
    assert {one.name: one.tier for one in await engine.resident()} == {"a@1": Tier.SLOT, "b@1": Tier.CPU}


@pytest.mark.parametrize(
    "schema",
    [
        {
            "type": "object",
            "properties": {"a": {"$ref": "#/$defs/n"}},
            "$defs": {"n": {"type": "integer", "minimum": 3}},
        },
        {"type": "array", "items": {"type": "boolean"}, "minItems": 2},
        {"anyOf": [{"const": 5}, {"type": "null"}]},
        {"allOf": [{"type": "object"}, {"properties": {"s": {"type": "string", "minLength": 9}}}]},
        {"type": "string", "pattern": "^[A-Z]{2}-\\d+$"},
        {"type": "string", "format": "date"},
        {"type": "number", "exclusiveMinimum": 1, "multipleOf": 2},
        {"enum": ["x", "y"]},
    ],
)
def test_json_text_satisfies_its_schema(schema: JsonObject) -> None:
    from jsonschema import Draft202012Validator

    Draft202012Validator(schema).validate(json.loads(json_text(schema, "key", "word")))


@pytest.mark.parametrize("pattern", ["abc", "[^a]b?", "(yes|no) \\w{3}", "\\s*x+", ".[0-9]", "[^\\d\\s]"])
def test_regex_text_matches_its_pattern(pattern: str) -> None:
    import re

    assert re.fullmatch(pattern, regex_text(pattern))


def test_what_cannot_be_written_is_said() -> None:
    with pytest.raises(Unsatisfiable):
        regex_text("(?=a)b")
    with pytest.raises(Unsatisfiable):
        grammar_text("root ::= other", "key")


def test_choices_depend_on_the_key_alone() -> None:
    assert pick("abc", "key") == pick("abc", "key")
    assert {pick("abc", str(number)) for number in range(50)} == {"a", "b", "c"}

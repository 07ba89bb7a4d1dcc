"""What is noted of answers, as their callers see nothing of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from serving.engine.protocol import EngineFailed
from serving.observing.notes import Record
from tests.api.harness import SHADOW, STABLE, RunningGateway, config_of, run_gateway, with_alias
from tests.api.knowledge import TASKS, MemoryKnowledge
from tests.lifecycle import until
from tests.observing import Collecting

HELLO: list[dict[str, Any]] = [{"role": "user", "content": "hello there"}]
BODY: dict[str, Any] = {"model": "triage", "messages": HELLO}
CHAT = "/v1/chat/completions"
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


@asynccontextmanager
async def observed(folder: Path, **monitoring: Any) -> AsyncIterator[tuple[RunningGateway, Collecting]]:
    collecting = Collecting()
    async with run_gateway(config_of(monitoring=monitoring), folder, observing=collecting) as gateway:
        yield gateway, collecting


async def records(gateway: RunningGateway, collecting: Collecting) -> list[Record]:
    """What was handed over so far."""
    await gateway.until_idle()
    assert gateway.pipeline is not None
    await gateway.pipeline.flush()
    return collecting.records


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, {"messages": HELLO}),
        ("/v1/completions", {"prompt": "hello there"}),
        ("/v1/responses", {"input": "hello there"}),
    ],
)
async def test_every_kind_of_answer_is_noted(tmp_path: Path, path: str, body: dict[str, Any], *, stream: bool) -> None:
    async with observed(tmp_path) as (gateway, collecting):
        answer = await gateway.http.post(path, json={"model": "triage", "stream": stream} | body)
        assert answer.status_code == 200
        (record,) = await records(gateway, collecting)
        assert (record["prompt"], record["answer"]) == ("hello there", f"[{STABLE}] hello there")
        assert (record["task"], record["adapter"], record["role"]) == ("triage", STABLE, "stable")
        assert (record["outcome"], record["finish_reason"]) == ("ok", "stop")
        assert record["completion_tokens"] == 3
        assert record["streamed"] is stream


@pytest.mark.parametrize("stream", [False, True])
async def test_tool_calls_are_noted_with_the_tools_that_were_offered(tmp_path: Path, *, stream: bool) -> None:
    asked = BODY | {"tools": [WEATHER], "tool_choice": "required", "stream": stream}
    async with observed(tmp_path) as (gateway, collecting):
        assert (await gateway.http.post(CHAT, json=asked)).status_code == 200
        (record,) = await records(gateway, collecting)
        assert [call[0] for call in record["calls"]] == ["weather"]
        assert record["calls"][0][1].startswith("{")
        assert record["finish_reason"] == "tool_calls"
        assert record["tools"] == [WEATHER]


async def test_what_failed_and_what_was_broken_off_is_noted(tmp_path: Path) -> None:
    async with observed(tmp_path) as (gateway, collecting):
        gateway.engine.fail_next(EngineFailed("stumbled"))
        assert (await gateway.http.post(CHAT, json=BODY)).status_code == 500
        gateway.engine.gate.clear()
        leaving = asyncio.create_task(gateway.http.post(CHAT, json=BODY))
        await gateway.engine.until(lambda engine: bool(engine.running))
        leaving.cancel()
        await gateway.engine.until(lambda engine: bool(engine.aborted))
        gateway.engine.gate.set()
        failed, left = await records(gateway, collecting)
        assert (failed["outcome"], left["outcome"]) == ("server_error", "cancelled")


async def test_a_contract_is_told_with_its_verdict(tmp_path: Path) -> None:
    async with observed(tmp_path) as (gateway, collecting):
        await gateway.http.post(CHAT, json={"model": "words", "messages": HELLO, "max_tokens": 1})
        (record,) = await records(gateway, collecting)
        assert record["is_task"]
        assert (record["outcome"], record["violation"]) == ("contract_violated", "truncated")


async def test_a_shadows_copy_is_noted_in_its_own_name(tmp_path: Path) -> None:
    async with observed(tmp_path) as (gateway, collecting):
        with_alias(gateway, shadow=SHADOW)
        assert (await gateway.http.post(CHAT, json=BODY)).status_code == 200
        await until(lambda: gateway.total("loraplex_requests_total", role="shadow"), "the copy")
        found = {record["role"]: record for record in await records(gateway, collecting)}
        assert found["shadow"]["adapter"] == SHADOW
        assert (found["stable"]["is_drawn"], found["shadow"]["is_drawn"]) == (True, False)


async def test_a_shadows_copy_is_held_against_the_same_passages(tmp_path: Path) -> None:
    collecting = Collecting()
    config = config_of(tasks=TASKS, knowledge={}, monitoring={})
    async with run_gateway(config, tmp_path, MemoryKnowledge(), observing=collecting) as gateway:
        with_alias(gateway, shadow=SHADOW)
        gateway.engine.saying = "It takes 30 days [1], or 45 [7]."
        asked = {"model": "help", "messages": [{"role": "user", "content": "How long do refunds take?"}]}
        assert (await gateway.http.post(CHAT, json=asked)).status_code == 200
        await until(lambda: gateway.total("loraplex_requests_total", role="shadow"), "the copy")
        found = {record["role"]: record for record in await records(gateway, collecting)}
        primary, shadow = found["stable"], found["shadow"]
        assert (primary["grounding"]["citations"], primary["grounding"]["dropped"]) == (1, 1)
        assert shadow["grounding"] == primary["grounding"]
        assert shadow["answer"] == primary["answer"] == "It takes 30 days [1], or 45."
        assert gateway.total("loraplex_citations_total") == 1


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, {"messages": HELLO}),
        ("/v1/completions", {"prompt": "hello there"}),
        ("/v1/responses", {"input": "hello there"}),
    ],
)
async def test_probabilities_are_noted_and_shown_to_nobody_who_did_not_ask(
    tmp_path: Path, path: str, body: dict[str, Any], *, stream: bool
) -> None:
    asked = {"model": "support", "stream": stream} | body
    async with observed(tmp_path, tasks={"support": {"quality": {"logprobs": 3}}}) as (gateway, collecting):
        answer = await gateway.http.post(path, json=asked)
        assert answer.status_code == 200, answer.text
        assert '"logprob"' not in answer.text
        assert "token_logprobs" not in answer.text
        other = await gateway.http.post(path, json=asked | {"model": "triage"})
        assert other.status_code == 200
        noted, plain = await records(gateway, collecting)
        assert len(noted["logprobs"]) == noted["completion_tokens"]
        assert len(noted["alternatives"][0]) == 3
        assert "logprobs" not in plain


async def test_probabilities_that_a_caller_asks_for_are_its_own(tmp_path: Path) -> None:
    wish = BODY | {"model": "support", "logprobs": True, "top_logprobs": 1}
    async with observed(tmp_path, tasks={"support": {"quality": {"logprobs": 3}}}) as (gateway, collecting):
        answer = (await gateway.http.post(CHAT, json=wish)).json()
        tokens = answer["choices"][0]["logprobs"]["content"]
        assert [len(token["top_logprobs"]) for token in tokens] == [1] * len(tokens)
        (record,) = await records(gateway, collecting)
        assert len(record["logprobs"]) == len(tokens)


async def test_a_sampled_request_is_answered_again_at_nobodys_cost(tmp_path: Path) -> None:
    again = {"self_consistency": {"share": 1.0, "answers": 3, "requests_per_hour": 1}}
    async with observed(tmp_path, quality=again) as (gateway, collecting):
        for _ in range(2):
            assert (await gateway.http.post(CHAT, json=BODY | {"seed": 7, "temperature": 0})).status_code == 200
        await gateway.engine.until(lambda engine: len(engine.requests) == 5 and not engine.running)
        found = await records(gateway, collecting)
        (repeated,) = [record for record in found if record["kind"] == "repeats"]
        assert repeated["answers"] == [f"[{STABLE}] hello there"] * 3
        bodies = [request.body for request in gateway.engine.requests if "-again-" in request.request_id]
        assert [("seed" in body, body["temperature"]) for body in bodies] == [(False, 0.7)] * 3
        assert gateway.total("loraplex_requests_total") == 2
        assert gateway.residency.held.total() == 0


async def test_without_the_section_no_request_pays(tmp_path: Path) -> None:
    async with run_gateway(config_of(), tmp_path) as gateway:
        assert gateway.pipeline is None
        await gateway.http.post(CHAT, json=BODY)
        assert "loraplex_observ" not in "".join(gateway.samples())


async def test_an_observer_that_is_away_touches_no_request(tmp_path: Path) -> None:
    async with observed(tmp_path, queue=10) as (gateway, collecting):
        collecting.away = "the observing process ended with status -9"
        assert gateway.pipeline is not None
        for _ in range(15):
            assert (await gateway.http.post(CHAT, json=BODY)).status_code == 200
        await records(gateway, collecting)
        assert gateway.total("loraplex_observer_up") == 0
        assert gateway.total("loraplex_observations_total", result="dropped") == 15

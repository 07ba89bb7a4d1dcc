"""Chat completions through the official SDK."""

import asyncio
import json
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletion

from adapters.types import Alias
from tests.api.harness import BASE, CANARY, STABLE, RunningGateway, snapshot, with_alias

HELLO: Any = [{"role": "user", "content": "hello there"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


async def test_an_alias_is_answered_by_its_stable_version(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="triage", messages=HELLO)
    assert answer.choices[0].message.content == f"[{STABLE}] hello there"
    assert answer.model == "triage"
    assert answer.system_fingerprint == STABLE
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


async def test_the_headers_say_what_answered(client: openai.AsyncOpenAI) -> None:
    task = await client.chat.completions.with_raw_response.create(model="support", messages=HELLO)
    assert task.headers["x-loraplex-adapter"] == STABLE
    assert task.headers["x-loraplex-task"] == "support"
    base = await client.chat.completions.with_raw_response.create(model=BASE, messages=HELLO)
    assert base.headers["x-loraplex-adapter"] == "base"
    assert "x-loraplex-task" not in base.headers
    assert base.parse().system_fingerprint == BASE


async def test_the_synchronous_sdk_works_too(gateway: RunningGateway) -> None:
    def converse() -> tuple[str | None, str]:
        with gateway.sync_sdk() as sdk:
            whole = sdk.chat.completions.create(model="triage", messages=HELLO)
            stream = sdk.chat.completions.create(model="triage", messages=HELLO, stream=True)
            return whole.choices[0].message.content, "".join(c.choices[0].delta.content or "" for c in stream)

    whole, streamed = await asyncio.to_thread(converse)
    assert whole == streamed == f"[{STABLE}] hello there"


async def test_a_stream_says_the_same_as_a_whole_answer(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(model=BASE, messages=HELLO, stream=True)
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == f"[{BASE}] hello there"
    assert {(chunk.model, chunk.system_fingerprint) for chunk in chunks} == {(BASE, BASE)}
    assert all("usage" not in chunk.model_fields_set for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"


async def test_a_stream_tells_usage_in_a_last_chunk_where_it_is_asked_for(client: openai.AsyncOpenAI) -> None:
    whole = await client.chat.completions.create(model=BASE, messages=HELLO)
    stream = await client.chat.completions.create(
        model=BASE, messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert all(chunk.usage is None and "usage" in chunk.model_fields_set for chunk in chunks[:-1])


async def test_every_token_is_sent_when_it_is_there(gateway: RunningGateway) -> None:
    gateway.engine.gate.clear()
    body = {"model": BASE, "messages": HELLO, "stream": True}
    async with asyncio.TaskGroup() as group:
        request = gateway.http.build_request("POST", "/v1/chat/completions", json=body)
        sending = group.create_task(gateway.http.send(request, stream=True))
        await gateway.engine.until(lambda engine: bool(engine.running))
        assert not sending.done()
        gateway.engine.gate.set()
    answer = await sending
    lines = [line async for line in answer.aiter_lines() if line]
    assert lines[-1] == "data: [DONE]"
    assert all(line.startswith("data: ") for line in lines)


async def test_several_choices_and_stop_reasons(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model=BASE, messages=HELLO, n=3, max_tokens=2)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert {choice.finish_reason for choice in answer.choices} == {"length"}
    stream = await client.chat.completions.create(model=BASE, messages=HELLO, n=3, max_tokens=2, stream=True)
    reasons = [choice.finish_reason async for chunk in stream for choice in chunk.choices if choice.finish_reason]
    assert reasons == ["length"] * 3


async def test_logprobs(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model=BASE, messages=HELLO, logprobs=True, top_logprobs=2)
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert all(len(token.top_logprobs) == 2 for token in logprobs.content)


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}])
async def test_a_forced_tool_is_called_with_an_object(client: openai.AsyncOpenAI, choice: Any) -> None:
    answer = await client.chat.completions.create(model=BASE, messages=HELLO, tools=[WEATHER], tool_choice=choice)
    calls = answer.choices[0].message.tool_calls
    assert calls is not None
    assert len(calls) == 1
    call = calls[0]
    assert call.type == "function"
    assert call.function.name == "get_weather"
    assert isinstance(json.loads(call.function.arguments)["city"], str)


async def test_a_tool_call_is_streamed(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model=BASE, messages=HELLO, tools=[WEATHER], tool_choice="required", stream=True
    )
    pieces = [call async for chunk in stream for call in chunk.choices[0].delta.tool_calls or ()]
    arguments = "".join(piece.function.arguments or "" for piece in pieces if piece.function)
    assert isinstance(json.loads(arguments)["city"], str)


async def test_a_field_that_we_do_not_know_reaches_the_engine(gateway: RunningGateway) -> None:
    async with gateway.sdk() as sdk:
        await sdk.chat.completions.create(
            model=BASE, messages=HELLO, seed=7, stop=["x"], extra_body={"brand_new": {"deep": [1]}}
        )
    (request,) = gateway.engine.requests
    assert request.body["brand_new"] == {"deep": [1]}
    assert (request.body["seed"], request.body["stop"]) == (7, ["x"])


async def test_a_task_adds_its_prompt_and_its_sampling(gateway: RunningGateway) -> None:
    async with gateway.sdk() as sdk:
        await sdk.chat.completions.create(model="support", messages=HELLO, temperature=0.7)
    (request,) = gateway.engine.requests
    assert request.body["messages"][0] == {"role": "system", "content": "You sort tickets."}
    assert (request.body["max_completion_tokens"], request.body["temperature"]) == (32, 0.7)
    assert request.adapter == STABLE


async def test_a_canary_answers_the_same_callers_every_time(gateway: RunningGateway) -> None:
    with_alias(gateway, canary=CANARY, canary_share=0.5)
    async with gateway.sdk() as sdk:
        for field in ("user", "safety_identifier", "prompt_cache_key"):
            answers = {
                (caller, (await _ask(sdk, extra_body={field: f"caller-{caller}"})))
                for caller in range(12)
                for _ in range(2)
            }
            assert len(answers) == 12
            assert {version for _, version in answers} == {STABLE, CANARY}
        by_header = {await _ask(sdk, extra_headers={"x-loraplex-caller-key": "caller-1"}) for _ in range(4)}
        assert by_header == {await _ask(sdk, user="caller-1")}


async def _ask(sdk: openai.AsyncOpenAI, **extra: Any) -> str | None:
    answer: ChatCompletion = await sdk.chat.completions.create(model="triage", messages=HELLO, **extra)
    return answer.system_fingerprint


async def test_a_swap_changes_the_next_answer_and_none_before(gateway: RunningGateway) -> None:
    async with gateway.sdk() as sdk:
        gateway.engine.gate.clear()
        early = asyncio.create_task(sdk.chat.completions.create(model="triage", messages=HELLO))
        await gateway.engine.until(lambda engine: bool(engine.running))
        gateway.residency.snapshot = snapshot(Alias("triage", stable=CANARY))
        late = asyncio.create_task(sdk.chat.completions.create(model="triage", messages=HELLO))
        await gateway.engine.until(lambda engine: len(engine.running) == 2)
        gateway.engine.gate.set()
        for task, version in ((early, STABLE), (late, CANARY)):
            answer = await task
            assert answer.system_fingerprint == version
            assert answer.choices[0].message.content == f"[{version}] hello there"


async def test_an_adapter_is_released_after_every_answer(gateway: RunningGateway) -> None:
    async with gateway.sdk() as sdk:
        await sdk.chat.completions.create(model="triage", messages=HELLO)
        async for _ in await sdk.chat.completions.create(model="triage", messages=HELLO, stream=True):
            assert gateway.residency.held[STABLE] <= 1
    await gateway.until_idle()
    assert gateway.residency.held[STABLE] == 0

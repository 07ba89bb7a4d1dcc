"""Text completions through the official SDK."""

import asyncio

import openai

from tests.api.harness import BASE, STABLE, RunningGateway


async def test_a_completion_names_what_answered(client: openai.AsyncOpenAI) -> None:
    answer = await client.completions.create(model="triage", prompt="once upon")
    assert answer.choices[0].text == f"[{STABLE}] once upon"
    assert (answer.model, answer.system_fingerprint) == ("triage", STABLE)
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


async def test_a_stream_says_the_same(client: openai.AsyncOpenAI) -> None:
    stream = await client.completions.create(
        model=BASE, prompt="once upon", stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == f"[{BASE}] once upon"
    assert chunks[-1].usage is not None
    assert {chunk.system_fingerprint for chunk in chunks} == {BASE}


async def test_several_prompts_and_token_ids(client: openai.AsyncOpenAI) -> None:
    answer = await client.completions.create(model=BASE, prompt=["one", "two"], n=2, logprobs=1)
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    assert all(choice.logprobs is not None for choice in answer.choices)
    assert (await client.completions.create(model=BASE, prompt=[1, 2, 3])).choices
    assert (await client.completions.create(model=BASE, prompt=[[1, 2], [3]])).choices


async def test_a_tasks_contract_and_sampling_hold_here_too(gateway: RunningGateway) -> None:
    async with gateway.sdk() as sdk:
        answer = await sdk.completions.create(model="yesno", prompt="is it?")
        await sdk.completions.create(model="support", prompt="is it?")
    assert answer.choices[0].text in ("yes", "no")
    assert gateway.engine.requests[1].body["max_tokens"] == 32


async def test_the_synchronous_sdk_works_too(gateway: RunningGateway) -> None:
    def complete() -> str:
        with gateway.sync_sdk() as sdk:
            return sdk.completions.create(model=BASE, prompt="once upon").choices[0].text

    assert await asyncio.to_thread(complete) == f"[{BASE}] once upon"

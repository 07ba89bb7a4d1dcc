"""Chat completions through the official SDK."""

import openai

from tests.api.harness import BASE, STABLE, RunningGateway

HELLO = [{"role": "user", "content": "hello there"}]


async def test_an_alias_is_answered_by_its_stable_version(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="triage", messages=[{"role": "user", "content": "hello there"}])
    assert answer.choices[0].message.content == f"[{STABLE}] hello there"
    assert answer.model == "triage"
    assert answer.system_fingerprint == STABLE
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


async def test_a_stream_says_the_same_as_a_whole_answer(gateway: RunningGateway, client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model=BASE, messages=[{"role": "user", "content": "hello there"}], stream=True
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == f"[{BASE}] hello there"
    assert {chunk.system_fingerprint for chunk in chunks} == {BASE}
    assert all(chunk.usage is None for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"

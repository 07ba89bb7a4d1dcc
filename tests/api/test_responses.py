"""The responses API through the official SDK."""

import asyncio
import json
from typing import Any

import openai
import pytest

from serving.engine.protocol import EngineFailed
from tests.api.harness import ANSWER_SCHEMA, BASE, STABLE, RunningGateway


async def test_a_response_names_what_answered(client: openai.AsyncOpenAI) -> None:
    answer = await client.responses.with_raw_response.create(model="triage", input="hello there", metadata={"a": "b"})
    response = answer.parse()
    assert answer.headers["x-loraplex-adapter"] == STABLE
    assert response.output_text == f"[{STABLE}] hello there"
    assert response.model == "triage"
    assert response.metadata == {"a": "b", "loraplex_adapter": STABLE}
    assert response.usage is not None
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens
    assert response.model_extra is not None
    assert response.model_extra["store"] is False


async def test_its_events_end_with_the_whole_response(client: openai.AsyncOpenAI) -> None:
    stream = await client.responses.create(model="triage", input="hello there", stream=True)
    events = [event async for event in stream]
    assert events[0].type == "response.created"
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == f"[{STABLE}] hello there"
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.output_text == text
    assert last.response.metadata == {"loraplex_adapter": STABLE}
    assert last.response.usage is not None


async def test_the_sdks_own_stream_helper_understands_us(client: openai.AsyncOpenAI) -> None:
    async with client.responses.stream(model=BASE, input="hello there") as stream:
        async for _ in stream:
            pass
        response = await stream.get_final_response()
    assert response.output_text == f"[{BASE}] hello there"


async def test_the_synchronous_sdk_works_too(gateway: RunningGateway) -> None:
    def respond() -> str:
        with gateway.sync_sdk() as sdk:
            return sdk.responses.create(model=BASE, input="hello there").output_text

    assert await asyncio.to_thread(respond) == f"[{BASE}] hello there"


async def test_a_structured_response(client: openai.AsyncOpenAI) -> None:
    response = await client.responses.create(
        model=BASE,
        input="printer",
        text={"format": {"type": "json_schema", "name": "answer", "schema": ANSWER_SCHEMA, "strict": True}},
    )
    assert set(json.loads(response.output_text)) == {"label", "urgent"}


async def test_a_task_gives_its_prompt_as_instructions(gateway: RunningGateway) -> None:
    async with gateway.sdk() as sdk:
        await sdk.responses.create(model="support", input="hello")
    (request,) = gateway.engine.requests
    assert request.body["instructions"] == "You sort tickets."
    assert request.body["max_output_tokens"] == 32


async def test_a_contract_tells_its_verdict_in_the_metadata(client: openai.AsyncOpenAI) -> None:
    response = await client.responses.create(model="labels", input="printer")
    assert response.metadata == {"loraplex_adapter": STABLE, "loraplex_contract": "satisfied"}
    stream = await client.responses.create(model="labels", input="printer", stream=True)
    last = [event async for event in stream][-1]
    assert last.type == "response.completed"
    assert last.response.metadata == {"loraplex_adapter": STABLE, "loraplex_contract": "satisfied"}


@pytest.mark.parametrize(
    "field",
    [
        {"previous_response_id": "resp_1"},
        {"background": True},
        {"store": True},
        {"conversation": "conv_1"},
        {"prompt": {"id": "pmpt_1"}},
    ],
    ids=lambda field: next(iter(field)),
)
async def test_what_would_need_stored_responses_is_refused(gateway: RunningGateway, field: dict[str, Any]) -> None:
    async with gateway.sdk() as sdk:
        with pytest.raises(openai.BadRequestError) as refusal:
            await sdk.responses.create(model=BASE, input="x", extra_body=field)
    assert refusal.value.param == next(iter(field))
    assert not gateway.engine.requests


async def test_no_response_can_be_fetched_deleted_or_cancelled(client: openai.AsyncOpenAI) -> None:
    for attempt in (client.responses.retrieve, client.responses.delete, client.responses.cancel):
        with pytest.raises(openai.NotFoundError) as refusal:
            await attempt("resp_123")
        assert refusal.value.code == "response_not_found"
    with pytest.raises(openai.NotFoundError):
        await client.responses.input_items.list("resp_123")


async def test_an_error_in_the_middle_is_an_error_event(gateway: RunningGateway) -> None:
    gateway.engine.fail_next(EngineFailed("the engine stumbled"), after=4)
    async with gateway.sdk() as sdk:
        stream = await sdk.responses.create(model=BASE, input="hello there", stream=True)
        with pytest.raises(openai.APIError, match="stumbled"):
            async for _ in stream:
                pass
    await gateway.until_idle()
    assert gateway.total("loraplex_stream_errors_total") == 1

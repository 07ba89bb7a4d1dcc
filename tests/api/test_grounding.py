"""Tasks that retrieve, through the official SDK and over HTTP."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from retrieval.types import Access
from serving.engine.fake import FakeEngine
from serving.engine.protocol import EngineFailed
from serving.gateway import build_gateway
from tests.api.harness import BASE, STABLE, RunningGateway, config_of, run_gateway
from tests.api.knowledge import TASKS, MemoryKnowledge, run_grounded
from tests.api.openai_schema import check

ASK: Any = [{"role": "user", "content": "How long do refunds take?"}]
SAID = "It takes 30 days [1], or 45 [7]. See [1, 2]."
CLEAN = "It takes 30 days [1], or 45. See [1, 2]."
SPANS = [("file-1", 17, 20), ("file-1", 33, 39), ("file-2", 33, 39)]


@pytest.fixture
def knowledge() -> MemoryKnowledge:
    return MemoryKnowledge()


@pytest.fixture
async def grounded(tmp_path: Path, knowledge: MemoryKnowledge) -> AsyncIterator[RunningGateway]:
    async with run_grounded(tmp_path, knowledge) as running:
        running.engine.saying = SAID
        yield running


async def _chat(gateway: RunningGateway, model: str, **extra: Any) -> httpx.Response:
    return await gateway.http.post("/v1/chat/completions", json={"model": model, "messages": ASK} | extra)


def _chunks(answer: httpx.Response) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def _content(chunks: list[Any]) -> str:
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])


def _prompt(gateway: RunningGateway) -> str:
    text: str = gateway.engine.requests[-1].body["messages"][-1]["content"]
    return text


def _spans(annotations: Any) -> list[tuple[str, int, int]]:
    inner = [one["url_citation"] for one in annotations]
    return [(one["file_id"], one["start_index"], one["end_index"]) for one in inner]


async def test_an_answer_cites_its_passages(grounded: RunningGateway) -> None:
    answer = await _chat(grounded, "help")
    assert answer.headers["x-loraplex-retrieval"] == "found"
    assert answer.headers["x-loraplex-passages"] == "2"
    body = answer.json()
    check("CreateChatCompletionResponse", body)
    (choice,) = body["choices"]
    assert choice["message"]["content"] == CLEAN
    assert _spans(choice["message"]["annotations"]) == SPANS
    first, _, last = (one["url_citation"] for one in choice["message"]["annotations"])
    assert first == {
        "url": "/v1/files/file-1/content",
        "title": "Refunds 1",
        "start_index": 17,
        "end_index": 20,
        "file_id": "file-1",
        "filename": "refunds-1.md",
        "passage": 11,
        "quote": "Refunds take 30 days.",
    }
    assert last["url"] == "https://example.com/shipping"
    report = choice["loraplex_grounding"]
    assert (report["cited"], report["dropped"], report["unsupported"]) == ([1, 2], 1, ["45"])
    assert report["passages"][0] == {
        "id": 1,
        "file_id": "file-1",
        "filename": "refunds-1.md",
        "passage": 11,
        "score": 0.9,
    }
    assert "Refunds take 30 days." in _prompt(grounded)


@pytest.mark.parametrize("usage", [True, False])
async def test_a_stream_tells_the_same(grounded: RunningGateway, *, usage: bool) -> None:
    answer = await _chat(grounded, "help", stream=True, stream_options={"include_usage": usage})
    assert answer.headers["x-loraplex-retrieval"] == "found"
    chunks = _chunks(answer)
    for chunk in chunks:
        check("CreateChatCompletionStreamResponse", chunk)
    assert _content(chunks) == CLEAN
    last = chunks[-2] if usage else chunks[-1]
    assert bool(chunks[-1].get("usage")) is usage
    (choice,) = last["choices"]
    assert choice["finish_reason"] == "stop"
    assert _spans(choice["delta"]["annotations"]) == SPANS
    assert choice["loraplex_grounding"] == (await _chat(grounded, "help")).json()["choices"][0]["loraplex_grounding"]
    assert all("annotations" not in one["delta"] for chunk in chunks if chunk is not last for one in chunk["choices"])


async def test_the_official_sdk_reads_it(grounded: RunningGateway) -> None:
    async with grounded.sdk() as sdk:
        answer = await sdk.chat.completions.create(model="help", messages=ASK)
        annotations = answer.choices[0].message.annotations
        assert annotations is not None
        assert [one.url_citation.title for one in annotations] == ["Refunds 1", "Refunds 1", "Refunds 2"]
        stream = await sdk.chat.completions.create(model="help", messages=ASK, stream=True)
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == CLEAN


async def test_each_of_several_choices_is_read_for_itself(grounded: RunningGateway) -> None:
    whole = (await _chat(grounded, "help", n=3)).json()
    assert [choice["message"]["content"] for choice in whole["choices"]] == [CLEAN, f"{CLEAN} #1", f"{CLEAN} #2"]
    assert all(_spans(choice["message"]["annotations"]) == SPANS for choice in whole["choices"])
    last = [
        choice
        for chunk in _chunks(await _chat(grounded, "help", n=3, stream=True))
        for choice in chunk["choices"]
        if choice["finish_reason"]
    ]
    assert [_spans(choice["delta"]["annotations"]) for choice in last] == [SPANS] * 3


async def test_a_tool_call_has_a_report_and_no_annotations(grounded: RunningGateway) -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
    answer = await _chat(grounded, "help", tools=[tool], tool_choice="required")
    (choice,) = answer.json()["choices"]
    assert choice["message"]["tool_calls"]
    assert "annotations" not in choice["message"]
    assert choice["loraplex_grounding"]["cited"] == []
    check("CreateChatCompletionResponse", answer.json())
    for chunk in _chunks(await _chat(grounded, "help", tools=[tool], tool_choice="required", stream=True)):
        check("CreateChatCompletionStreamResponse", chunk)


async def test_logprobs_go_with_their_text_even_where_that_is_held_back(grounded: RunningGateway) -> None:
    chunks = _chunks(await _chat(grounded, "help", logprobs=True, top_logprobs=1, stream=True))
    plain = _chunks(await _chat(grounded, "support", logprobs=True, top_logprobs=1, stream=True))
    assert _content(chunks) == CLEAN
    told = [choice["logprobs"] for chunk in chunks for choice in chunk["choices"] if choice.get("logprobs")]
    assert told == [choice["logprobs"] for chunk in plain for choice in chunk["choices"] if choice.get("logprobs")]


async def test_a_task_that_does_not_cite_leaves_the_text_alone(grounded: RunningGateway) -> None:
    (choice,) = (await _chat(grounded, "silent")).json()["choices"]
    assert choice["message"]["content"] == SAID
    assert "annotations" not in choice["message"]
    assert choice["loraplex_grounding"]["unsupported"] == ["45"]
    assert _content(_chunks(await _chat(grounded, "silent", stream=True))) == SAID


async def test_a_contract_is_kept_and_not_cited_from(grounded: RunningGateway) -> None:
    for stream in (False, True):
        answer = await _chat(grounded, "shaped", stream=stream)
        last = _chunks(answer)[-1]["choices"][0] if stream else answer.json()["choices"][0]
        assert last["loraplex_contract"] == "satisfied"
        assert last["loraplex_grounding"]["cited"] == []
    assert "[1]" not in _prompt(grounded)


async def test_a_completion_is_grounded_where_its_prompt_is_one_string(grounded: RunningGateway) -> None:
    body = {"model": "help", "prompt": "How long do refunds take?", "max_tokens": 50}
    answer = await grounded.http.post("/v1/completions", json=body)
    check("CreateCompletionResponse", answer.json())
    (choice,) = answer.json()["choices"]
    assert choice["text"] == CLEAN
    assert choice["loraplex_grounding"]["cited"] == [1, 2]
    streamed = _chunks(await grounded.http.post("/v1/completions", json=body | {"stream": True}))
    assert "".join(choice["text"] for chunk in streamed for choice in chunk["choices"]) == CLEAN
    several = await grounded.http.post("/v1/completions", json=body | {"prompt": ["a", "b"]})
    assert several.status_code == 400
    assert several.json()["error"]["param"] == "prompt"


async def test_a_request_that_asks_for_nothing_is_not_searched_for(
    grounded: RunningGateway, knowledge: MemoryKnowledge
) -> None:
    for model in ("support", BASE):
        answer = await _chat(grounded, model)
        assert "x-loraplex-retrieval" not in answer.headers
        assert "loraplex_grounding" not in answer.json()["choices"][0]
    assert not knowledge.requests


# Policies


@pytest.mark.parametrize("stream", [False, True])
async def test_where_nothing_is_found_the_model_says_so(
    grounded: RunningGateway, knowledge: MemoryKnowledge, *, stream: bool
) -> None:
    knowledge.stores["policies"] = ()
    answer = await _chat(grounded, "help", stream=stream)
    assert (answer.headers["x-loraplex-retrieval"], answer.headers["x-loraplex-passages"]) == ("empty", "0")
    assert "No document was found" in _prompt(grounded)
    content = _content(_chunks(answer)) if stream else answer.json()["choices"][0]["message"]["content"]
    assert content == "It takes 30 days, or 45. See."


async def test_or_answers_as_it_would_without(grounded: RunningGateway, knowledge: MemoryKnowledge) -> None:
    knowledge.stores["policies"] = ()
    answer = await _chat(grounded, "plain")
    assert answer.headers["x-loraplex-retrieval"] == "empty"
    assert grounded.engine.requests[-1].body["messages"] == ASK


@pytest.mark.parametrize("extra", [{}, {"n": 2}, {"stream": True, "stream_options": {"include_usage": True}}])
async def test_or_the_gateway_refuses_without_engine_and_adapter(
    grounded: RunningGateway, knowledge: MemoryKnowledge, extra: dict[str, Any]
) -> None:
    knowledge.stores["policies"] = ()
    grounded.residency.saturated.add(STABLE)
    answer = await _chat(grounded, "strict", **extra)
    assert answer.headers["x-loraplex-retrieval"] == "refused"
    assert not grounded.engine.requests
    if extra.get("stream"):
        chunks = _chunks(answer)
        for chunk in chunks:
            check("CreateChatCompletionStreamResponse", chunk)
        assert _content(chunks) == "Not in my documents."
        assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
        usage = chunks[-1]["usage"]
    else:
        check("CreateChatCompletionResponse", answer.json())
        choices = answer.json()["choices"]
        assert [one["message"]["content"] for one in choices] == ["Not in my documents."] * extra.get("n", 1)
        assert {one["finish_reason"] for one in choices} == {"stop"}
        usage = answer.json()["usage"]
    assert usage["completion_tokens"] == 0
    await grounded.until_idle()
    assert grounded.total("loraplex_requests_total", task="strict", outcome="ok") == 1


async def test_a_completion_is_refused_in_its_own_shape(grounded: RunningGateway, knowledge: MemoryKnowledge) -> None:
    knowledge.stores["policies"] = ()
    body = {"model": "strict", "prompt": "How long?"}
    whole = await grounded.http.post("/v1/completions", json=body)
    check("CreateCompletionResponse", whole.json())
    assert whole.json()["choices"][0]["text"] == "Not in my documents."
    chunks = _chunks(await grounded.http.post("/v1/completions", json=body | {"stream": True}))
    assert [choice["text"] for chunk in chunks for choice in chunk["choices"]] == ["Not in my documents."]


@pytest.mark.parametrize("stream", [False, True])
async def test_without_retrieval_a_task_answers_all_the_same(
    grounded: RunningGateway, knowledge: MemoryKnowledge, *, stream: bool
) -> None:
    knowledge.break_down()
    answer = await _chat(grounded, "strict", stream=stream)
    assert answer.status_code == 200
    assert answer.headers["x-loraplex-retrieval"] == "degraded"
    assert grounded.engine.requests[-1].body["messages"] == ASK


@pytest.mark.parametrize("stream", [False, True])
async def test_or_fails(grounded: RunningGateway, knowledge: MemoryKnowledge, *, stream: bool) -> None:
    knowledge.break_down()
    answer = await _chat(grounded, "firm", stream=stream)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "retrieval_unavailable"
    assert "index" not in answer.json()["error"]["message"]
    assert "retry-after" in answer.headers
    assert not grounded.engine.requests
    await grounded.until_idle()
    assert grounded.total("loraplex_retrievals_total", task="firm", outcome="failed") == 1
    assert grounded.total("loraplex_requests_total", task="firm", outcome="unavailable") == 1


async def test_a_search_that_takes_too_long_is_given_up(grounded: RunningGateway, knowledge: MemoryKnowledge) -> None:
    knowledge.open.clear()
    answer = await _chat(grounded, "hasty")
    assert answer.headers["x-loraplex-retrieval"] == "degraded"


async def test_a_task_that_names_no_existing_store_counts_as_down(grounded: RunningGateway) -> None:
    assert (await _chat(grounded, "lost")).headers["x-loraplex-retrieval"] == "degraded"


async def test_a_gateway_without_retrieval_counts_as_down(tmp_path: Path) -> None:
    async with run_grounded(tmp_path, None) as running:
        assert (await _chat(running, "help")).headers["x-loraplex-retrieval"] == "degraded"
        assert (await _chat(running, "firm")).status_code == 503


async def test_a_conversation_without_a_question_is_not_searched_for(
    grounded: RunningGateway, knowledge: MemoryKnowledge
) -> None:
    answer = await _chat(grounded, "help", messages=[{"role": "system", "content": "Be brief."}])
    assert answer.headers["x-loraplex-retrieval"] == "empty"
    assert not knowledge.requests


async def test_a_client_that_leaves_during_the_search_is_counted_as_cancelled(
    grounded: RunningGateway, knowledge: MemoryKnowledge
) -> None:
    knowledge.open.clear()
    request = asyncio.create_task(_chat(grounded, "help"))
    await knowledge.asked.wait()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    await grounded.until_idle()
    assert grounded.total("loraplex_requests_total", task="help", outcome="cancelled") == 1


async def test_a_client_that_leaves_a_grounded_stream_ends_it_in_the_engine(grounded: RunningGateway) -> None:
    grounded.engine.hold_after(3)
    body = {"model": "help", "messages": ASK, "stream": True}
    async with grounded.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        await anext(answer.aiter_bytes())
    await grounded.engine.until(lambda engine: bool(engine.aborted))
    await grounded.until_idle()
    assert grounded.residency.held[STABLE] == 0


async def test_an_error_in_a_grounded_stream_is_its_last_event(grounded: RunningGateway) -> None:
    grounded.engine.fail_next(EngineFailed("the engine stumbled"), after=4)
    chunks = _chunks(await _chat(grounded, "help", stream=True))
    assert chunks[-1]["error"]["code"] == "engine_failed"


async def test_the_search_sees_what_the_caller_may_see(grounded: RunningGateway, knowledge: MemoryKnowledge) -> None:
    await _chat(grounded, "help")
    (request,) = knowledge.requests
    assert (request.stores, request.query, request.k) == (("policies",), "How long do refunds take?", 5)
    assert request.access.everything


async def test_the_search_sees_no_more_than_the_key_may(tmp_path: Path, knowledge: MemoryKnowledge) -> None:
    digest = hashlib.sha256(b"sk-hr").hexdigest()
    keys = [{"name": "hr", "hash": f"sha256:{digest}", "models": ["help"], "labels": ["hr"]}]
    config = config_of(tasks=TASKS, knowledge={}, api_keys=keys)
    async with run_gateway(config, tmp_path, knowledge) as running, running.sdk("sk-hr") as sdk:
        await sdk.chat.completions.create(model="help", messages=ASK)
    assert [request.access for request in knowledge.requests] == [Access(frozenset({"hr"}))]


async def test_the_composition_root_hands_the_client_on(tmp_path: Path, knowledge: MemoryKnowledge) -> None:
    config = config_of(
        tasks={"help": {"retrieval": {"knowledge": ["policies"]}}},
        knowledge={},
        engine={"kind": "openai", "url": "http://127.0.0.1:9/v1"},
        state={"url": f"sqlite:///{tmp_path}/state.db"},
        logging={"audit": {"file": f"{tmp_path}/audit.jsonl"}},
        artifacts={"url": str(tmp_path / "artifacts")},
        adapters={"enabled": False, "cache_dir": str(tmp_path / "cache")},
    )
    gateway = build_gateway(config, engine=FakeEngine(BASE), knowledge=knowledge)
    await gateway.start(lambda line: None)
    try:
        transport = httpx.ASGITransport(gateway.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            answer = await client.post("/v1/chat/completions", json={"model": "help", "messages": ASK})
    finally:
        await gateway.stop()
    assert answer.headers["x-loraplex-retrieval"] == "found"


async def test_what_retrieval_did_is_measured(grounded: RunningGateway, knowledge: MemoryKnowledge) -> None:
    knowledge.expired = 3
    await _chat(grounded, "help")
    await _chat(grounded, "help", stream=True)
    await grounded.until_idle()
    total = grounded.total
    assert total("loraplex_retrievals_total", task="help", outcome="found") == 2
    assert total("loraplex_retrieval_seconds_count", stage="dense") == 2
    assert total("loraplex_retrieval_seconds_count", stage="total") == 2
    assert total("loraplex_document_age_seconds_count", task="help") == 4
    assert total("loraplex_document_age_seconds_sum", task="help") >= 4 * 7200
    assert total("loraplex_expired_documents_total", task="help") == 6
    assert total("loraplex_citations_total", task="help") == 6
    assert total("loraplex_dropped_citations_total", task="help") == 2
    assert total("loraplex_unsupported_claims_total", task="help") == 2
    assert 0 < total("loraplex_passage_budget_used_ratio_sum", task="help") <= 2


async def test_the_sdk_raises_where_retrieval_is_down(grounded: RunningGateway, knowledge: MemoryKnowledge) -> None:
    knowledge.break_down()
    async with grounded.sdk() as sdk:
        with pytest.raises(openai.InternalServerError, match="passages"):
            await sdk.chat.completions.create(model="firm", messages=ASK)

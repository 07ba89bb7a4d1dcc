"""Citations and ``file_search`` in the responses API, through the official SDK and over HTTP."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from retrieval.errors import FilterInvalid
from tests.api.harness import BASE, RunningGateway
from tests.api.knowledge import MemoryKnowledge, run_grounded
from tests.api.openai_schema import check

QUESTION = "How long do refunds take?"
SAID = "It takes 30 days [1], or 45 [7]. See [2]."
CLEAN = "It takes 30 days [1], or 45. See [2]."
FILE_SEARCH: Any = {"type": "file_search", "vector_store_ids": ["policies"]}
LOOK: Any = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}, "strict": False}


@pytest.fixture
def knowledge() -> MemoryKnowledge:
    return MemoryKnowledge()


@pytest.fixture
async def grounded(tmp_path: Path, knowledge: MemoryKnowledge) -> AsyncIterator[RunningGateway]:
    async with run_grounded(tmp_path, knowledge) as running:
        running.engine.saying = SAID
        yield running


async def _respond(gateway: RunningGateway, model: str = BASE, **extra: Any) -> httpx.Response:
    return await gateway.http.post("/v1/responses", json={"model": model, "input": QUESTION} | extra)


async def _events(gateway: RunningGateway, model: str = BASE, **extra: Any) -> list[Any]:
    answer = await _respond(gateway, model, stream=True, **extra)
    assert answer.status_code == 200, answer.text
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    events = [json.loads(line) for line in lines]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    for event in events:
        check("ResponseStreamEvent", event)
    return events


def _part(response: Any) -> Any:
    (message,) = [item for item in response["output"] if item["type"] == "message"]
    return message["content"][0]


# Tasks that retrieve


async def test_a_response_cites_its_passages(grounded: RunningGateway) -> None:
    answer = await _respond(grounded, "help", metadata={"a": "b"})
    assert answer.headers["x-loraplex-retrieval"] == "found"
    response = answer.json()
    check("Response", response)
    part = _part(response)
    assert part["text"] == CLEAN
    assert part["annotations"][0] == {
        "type": "file_citation",
        "index": 0,
        "file_id": "file-1",
        "filename": "refunds-1.md",
        "passage": 11,
        "quote": "Refunds take 30 days.",
        "start_index": 17,
        "end_index": 20,
    }
    assert [(one["file_id"], one["index"]) for one in part["annotations"]] == [("file-1", 0), ("file-2", 1)]
    assert response["metadata"]["a"] == "b"
    report = json.loads(response["metadata"]["loraplex_grounding"])
    assert (report["cited"], report["dropped"], report["unsupported"]) == ([1, 2], 1, ["45"])


async def test_its_events_say_the_same_to_the_last(grounded: RunningGateway) -> None:
    events = await _events(grounded, "help")
    kinds = [event["type"] for event in events]
    by_kind = {event["type"]: event for event in events}
    deltas = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    annotations = [event["annotation"] for event in events if event["type"] == "response.output_text.annotation.added"]
    assert deltas == by_kind["response.output_text.done"]["text"] == CLEAN
    assert kinds.index("response.output_text.annotation.added") < kinds.index("response.output_text.done")
    whole = (await _respond(grounded, "help")).json()
    for part in (
        by_kind["response.content_part.done"]["part"],
        by_kind["response.output_item.done"]["item"]["content"][0],
        _part(by_kind["response.completed"]["response"]),
    ):
        assert part["text"] == CLEAN
        assert part["annotations"] == annotations == _part(whole)["annotations"]
    assert by_kind["response.completed"]["response"]["metadata"] == whole["metadata"]


async def test_a_report_that_is_too_long_for_metadata_is_its_counts(grounded: RunningGateway) -> None:
    grounded.engine.saying = "Claims: " + " ".join(f"{number}{'0' * 30}1" for number in range(1, 100))
    response = (await _respond(grounded, "help")).json()
    assert len(response["metadata"]["loraplex_grounding"]) <= 512
    assert json.loads(response["metadata"]["loraplex_grounding"]) == {
        "passages": 2,
        "cited": 0,
        "dropped": 0,
        "unsupported": 20,
    }


async def test_an_answer_that_was_cut_off_is_cleaned_too(grounded: RunningGateway) -> None:
    events = await _events(grounded, "help", max_output_tokens=5)
    assert events[-1]["type"] == "response.incomplete"
    assert _part(events[-1]["response"])["text"] == "It takes 30 days [1],"


@pytest.mark.parametrize("search", [False, True])
async def test_the_gateway_refuses_in_the_shape_of_a_response(
    grounded: RunningGateway, knowledge: MemoryKnowledge, *, search: bool
) -> None:
    knowledge.stores["policies"] = ()
    tools: Any = {"tools": [FILE_SEARCH]} if search else {}
    answer = await _respond(grounded, "strict", **tools)
    assert answer.headers["x-loraplex-retrieval"] == "refused"
    check("Response", answer.json())
    assert _part(answer.json())["text"] == "Not in my documents."
    assert answer.json()["usage"]["output_tokens"] == 0
    events = await _events(grounded, "strict", **tools)
    assert _part(events[-1]["response"])["text"] == "Not in my documents."
    assert not grounded.engine.requests


async def test_a_contract_keeps_its_verdict(grounded: RunningGateway) -> None:
    response = (await _respond(grounded, "shaped", tools=[FILE_SEARCH])).json()
    assert response["metadata"]["loraplex_contract"] == "satisfied"
    events = await _events(grounded, "shaped")
    assert events[-1]["response"]["metadata"]["loraplex_contract"] == "satisfied"


# The tool


async def test_file_search_works_on_any_model(grounded: RunningGateway, knowledge: MemoryKnowledge) -> None:
    filters = {"type": "eq", "key": "region", "value": "eu"}
    tool = FILE_SEARCH | {"max_num_results": 1, "filters": filters}
    answer = await _respond(grounded, tools=[tool], tool_choice={"type": "file_search"})
    response = answer.json()
    check("Response", response)
    call, message = response["output"]
    assert call == {
        "id": call["id"],
        "type": "file_search_call",
        "status": "completed",
        "queries": [QUESTION],
        "results": None,
    }
    assert call["id"].startswith("fs_")
    assert message["content"][0]["text"] == "It takes 30 days [1], or 45. See."
    assert response["tools"] == [{"filters": None} | tool]
    assert response["tool_choice"] == {"type": "file_search"}
    (search,) = knowledge.requests
    assert (search.stores, search.query, search.k, search.filters) == (("policies",), QUESTION, 1, filters)
    (request,) = grounded.engine.requests
    assert "tools" not in request.body
    assert "tool_choice" not in request.body


async def test_results_are_told_where_they_are_asked_for(grounded: RunningGateway) -> None:
    response = (await _respond(grounded, tools=[FILE_SEARCH], include=["file_search_call.results"])).json()
    check("Response", response)
    first, second = response["output"][0]["results"]
    assert first == {
        "file_id": "file-1",
        "filename": "refunds-1.md",
        "text": "Refunds take 30 days. They are free.",
        "attributes": {"region": "eu"},
        "score": 0.9,
    }
    assert second["file_id"] == "file-2"
    assert "include" not in grounded.engine.requests[-1].body


async def test_its_events_come_first_and_shift_the_engines(grounded: RunningGateway) -> None:
    events = await _events(grounded, tools=[FILE_SEARCH])
    assert [event["type"] for event in events[:8]] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.file_search_call.in_progress",
        "response.file_search_call.searching",
        "response.file_search_call.completed",
        "response.output_item.done",
        "response.output_item.added",
    ]
    assert {event["output_index"] for event in events[2:7]} == {0}
    assert {event["output_index"] for event in events[7:-1]} == {1}
    assert [item["type"] for item in events[-1]["response"]["output"]] == ["file_search_call", "message"]
    assert events[-1]["response"]["output"][0] == events[6]["item"]


async def test_the_sdks_own_stream_helper_understands_it(grounded: RunningGateway) -> None:
    async with grounded.sdk() as sdk, sdk.responses.stream(model=BASE, input=QUESTION, tools=[FILE_SEARCH]) as stream:
        async for _ in stream:
            pass
        response = await stream.get_final_response()
    assert response.output_text == CLEAN
    assert [item.type for item in response.output] == ["file_search_call", "message"]


async def test_other_tools_stay(grounded: RunningGateway) -> None:
    events = await _events(grounded, tools=[LOOK, FILE_SEARCH], input="please look", tool_choice="required")
    body = grounded.engine.requests[-1].body
    assert [tool["type"] for tool in body["tools"]] == ["function"]
    assert body["tool_choice"] == "auto"
    response = events[-1]["response"]
    assert [tool["type"] for tool in response["tools"]] == ["function", "file_search"]
    assert [item["type"] for item in response["output"]] == ["file_search_call", "function_call"]


async def test_a_conversation_may_hold_earlier_searches(grounded: RunningGateway) -> None:
    async with grounded.sdk() as sdk:
        first = await sdk.responses.create(model=BASE, input=QUESTION, tools=[FILE_SEARCH])
        history: Any = [item.model_dump() for item in first.output]
        again: Any = [{"role": "user", "content": QUESTION}, *history, {"role": "user", "content": "And shipping?"}]
        await sdk.responses.create(model=BASE, input=again, tools=[FILE_SEARCH])
    sent = grounded.engine.requests[-1].body["input"]
    assert [item.get("type", "message") for item in sent] == ["message"] * 3


async def test_only_good_enough_passages_are_taken(grounded: RunningGateway) -> None:
    tool = FILE_SEARCH | {"ranking_options": {"score_threshold": 0.7}}
    answer = await _respond(grounded, tools=[tool])
    assert answer.headers["x-loraplex-passages"] == "1"


@pytest.mark.parametrize(
    ("options", "least"), [({}, None), ({"score_threshold": 0}, -1), ({"score_threshold": 0.2}, 0.2)]
)
async def test_a_threshold_of_zero_overrules_that_of_the_store(
    grounded: RunningGateway, knowledge: MemoryKnowledge, options: Any, least: float | None
) -> None:
    await _respond(grounded, tools=[FILE_SEARCH | {"ranking_options": options}])
    assert knowledge.requests[-1].min_score == least


async def test_a_tool_that_is_forbidden_is_not_searched_with(
    grounded: RunningGateway, knowledge: MemoryKnowledge
) -> None:
    response = (await _respond(grounded, tools=[FILE_SEARCH], tool_choice="none")).json()
    check("Response", response)
    assert [item["type"] for item in response["output"]] == ["message"]
    assert not knowledge.requests


async def test_a_task_and_the_caller_may_both_search(grounded: RunningGateway, knowledge: MemoryKnowledge) -> None:
    answer = await _respond(grounded, "help", tools=[FILE_SEARCH | {"max_num_results": 1}])
    assert len(knowledge.requests) == 2
    assert answer.headers["x-loraplex-passages"] == "2"
    assert answer.json()["output"][0]["type"] == "file_search_call"


async def test_a_search_that_finds_nothing_leaves_the_model_alone(grounded: RunningGateway) -> None:
    answer = await _respond(grounded, tools=[{"type": "file_search", "vector_store_ids": ["empty"]}])
    assert answer.headers["x-loraplex-retrieval"] == "empty"
    assert grounded.engine.requests[-1].body["input"] == QUESTION


async def test_a_search_that_fails_is_told(grounded: RunningGateway, knowledge: MemoryKnowledge) -> None:
    knowledge.break_down()
    answer = await _respond(grounded, tools=[FILE_SEARCH])
    assert answer.headers["x-loraplex-retrieval"] == "degraded"
    assert answer.json()["output"][0]["status"] == "failed"
    events = await _events(grounded, tools=[FILE_SEARCH])
    assert "response.file_search_call.completed" not in {event["type"] for event in events}
    assert events[-1]["response"]["output"][0]["status"] == "failed"


async def test_a_store_that_the_caller_names_and_that_is_missing_is_a_404(grounded: RunningGateway) -> None:
    for stream in (False, True):
        answer = await _respond(
            grounded, tools=[{"type": "file_search", "vector_store_ids": ["nowhere"]}], stream=stream
        )
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "vector_store_not_found"


async def test_a_filter_that_retrieval_refuses_is_the_callers(
    grounded: RunningGateway, knowledge: MemoryKnowledge
) -> None:
    knowledge.error = FilterInvalid("not for this store")
    assert (await _respond(grounded, tools=[FILE_SEARCH])).json()["error"]["code"] == "invalid_filter"


@pytest.mark.parametrize(
    ("tools", "param"),
    [
        ([{"type": "file_search"}], "tools[0].vector_store_ids"),
        ([{"type": "file_search", "vector_store_ids": []}], "tools[0].vector_store_ids"),
        ([LOOK, FILE_SEARCH | {"max_num_results": 51}], "tools[1].max_num_results"),
        ([FILE_SEARCH | {"ranking_options": {"score_threshold": 2}}], "tools[0].ranking_options.score_threshold"),
        ([FILE_SEARCH | {"ranking_options": 1}], "tools[0].ranking_options"),
        ([FILE_SEARCH | {"filters": {"type": "like", "key": "a", "value": "b"}}], "filters"),
        ([FILE_SEARCH, FILE_SEARCH], "tools[1]"),
    ],
)
async def test_a_tool_that_is_not_as_the_api_has_it_is_refused(
    grounded: RunningGateway, tools: Any, param: str
) -> None:
    answer = await _respond(grounded, tools=tools)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param
    assert not grounded.engine.requests


async def test_without_retrieval_the_tool_is_refused(tmp_path: Path) -> None:
    async with run_grounded(tmp_path, None) as running, running.sdk() as sdk:
        with pytest.raises(openai.BadRequestError, match="not configured") as refusal:
            await sdk.responses.create(model=BASE, input=QUESTION, tools=[FILE_SEARCH])
    assert refusal.value.param == "tools"

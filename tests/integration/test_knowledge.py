"""Files, vector stores and grounded answers through the official SDK: whole gateway, Milvus Lite, default embedder."""

import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import openai
import pytest
import pytest_asyncio

from tests.api.openai_schema import check, knowledge_schema
from tests.knowledge_live import LiveKnowledge, knowledge_config, live_gateway
from tests.office_files import make_docx, make_pdf

pytestmark = pytest.mark.asyncio(loop_scope="module")

KINDS = {
    "pump.txt": (b"The warranty of the Orion pump lasts 37 months.", "How long is the pump's warranty?", "37 months"),
    "oven.md": (
        b"# Ovens\n\n## Heliox\n\nThe Heliox oven reaches 480 degrees after nine minutes.",
        "How hot does the Heliox oven get?",
        "480 degrees",
    ),
    "leave.html": (
        b"<html><head><title>Leave</title><script>steal()</script></head>"
        b"<body><h1>Parental leave</h1><p>Parents may take 14 weeks of leave.</p></body></html>",
        "How many weeks of leave may parents take?",
        "14 weeks",
    ),
    "lease.pdf": (
        make_pdf(["The lease of the Bergen office ends on 30 June 2031."], "Lease"),
        "When does the lease of the Bergen office end?",
        "30 June 2031",
    ),
    "travel.docx": (
        make_docx([("Heading1", "Travel"), ("Normal", "Train tickets above 220 euros need approval.")]),
        "Which train tickets need approval?",
        "220 euros",
    ),
    "parts.csv": (
        b"part,supplier,price\nflange K7,Nordmetall,18.40\ngasket Z2,Ferrum,3.10\n",
        "Who supplies the flange K7?",
        "Nordmetall",
    ),
    "faq.jsonl": (
        b'{"question": "Where is the spare key?", "answer": "In the blue cabinet on floor 4."}\n'
        b'{"question": "Who waters the plants?", "answer": "The night porter does."}\n',
        "Where do I find the spare key?",
        "blue cabinet",
    ),
}


@dataclass(frozen=True, slots=True)
class Manuals:
    """The vector store ``manuals``, with one file of each kind."""

    store_id: str
    file_ids: dict[str, str]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def live(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LiveKnowledge]:
    tasks = {
        "ask": {"retrieval": {"knowledge": ["manuals"]}},
        "ask-edits": {
            "retrieval": {"knowledge": ["edits"], "when_empty": "refuse", "refusal": "Not in the documents."}
        },
    }
    config = knowledge_config(tmp_path_factory.mktemp("knowledge"), tasks=tasks, knowledge={"max_file_bytes": 200_000})
    async with live_gateway(config) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(live: LiveKnowledge) -> AsyncIterator[openai.AsyncOpenAI]:
    """The SDK; every answer of OpenAI's own form that passes it is held against OpenAI's description."""

    async def validate(answer: Any) -> None:
        schema = knowledge_schema(answer.request.method, answer.request.url.path)
        if answer.is_error:
            schema = "ErrorResponse"
        if schema is not None and "explain" not in answer.request.url.params:
            await answer.aread()
            check(schema, answer.json())

    http = openai.DefaultAsyncHttpxClient(event_hooks={"response": [validate]}, timeout=120, trust_env=False)
    async with openai.AsyncOpenAI(base_url=f"{live.url}/v1", api_key="none", max_retries=0, http_client=http) as sdk:
        yield sdk


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def manuals(client: openai.AsyncOpenAI) -> Manuals:
    store = await client.vector_stores.create(name="manuals")
    ids = {name: await _upload(client, name, data) for name, (data, _, _) in KINDS.items()}
    files: list[Any] = [
        {"file_id": file_id, "attributes": {"kind": name.rpartition(".")[2], "length": len(name)}}
        for name, file_id in ids.items()
    ]
    batch = await client.vector_stores.file_batches.create(store.id, files=files)
    done = await client.vector_stores.file_batches.poll(batch.id, vector_store_id=store.id, poll_interval_ms=50)
    assert (done.status, done.file_counts.completed) == ("completed", len(KINDS))
    return Manuals(store.id, ids)


async def _upload(client: openai.AsyncOpenAI, name: str, data: bytes, **options: Any) -> str:
    return (await client.files.create(file=(name, data), purpose="assistants", **options)).id


async def _attach(client: openai.AsyncOpenAI, store_id: str, file_id: str, **options: Any) -> Any:
    await client.vector_stores.files.create(store_id, file_id=file_id, **options)
    found = await client.vector_stores.files.poll(file_id, vector_store_id=store_id, poll_interval_ms=50)
    assert found.status == "completed", found
    return found


async def _add(client: openai.AsyncOpenAI, store_id: str, name: str, text: str, **attributes: Any) -> str:
    file_id = await _upload(client, name, text.encode())
    await _attach(client, store_id, file_id, attributes=attributes)
    return file_id


async def _found(client: openai.AsyncOpenAI, store_id: str, query: str, **options: Any) -> list[str]:
    page = await client.vector_stores.search(store_id, query=query, **options)
    return [result.filename for result in page.data]


async def _ask(client: openai.AsyncOpenAI, task: str, question: str) -> tuple[str, list[Any]]:
    answer = await client.chat.completions.create(model=task, messages=[{"role": "user", "content": question}])
    message = answer.choices[0].message
    return message.content or "", [one.url_citation for one in message.annotations or ()]


# What is found


@pytest.mark.parametrize("name", KINDS)
async def test_a_file_of_each_kind_is_found_by_its_fact(
    client: openai.AsyncOpenAI, manuals: Manuals, name: str
) -> None:
    data, question, fact = KINDS[name]
    file_id = manuals.file_ids[name]
    page = await client.vector_stores.search(manuals.store_id, query=question, max_num_results=3)
    assert (page.data[0].filename, page.data[0].file_id) == (name, file_id)
    assert fact in page.data[0].content[0].text
    assert 0 < page.data[0].score <= 1
    parts = [part async for part in await client.vector_stores.files.content(file_id, vector_store_id=manuals.store_id)]
    assert fact in "\n".join(part.text or "" for part in parts)
    assert "steal" not in "\n".join(part.text or "" for part in parts)
    assert (await client.files.content(file_id)).content == data


async def test_several_questions_are_answered_in_one_list(client: openai.AsyncOpenAI, manuals: Manuals) -> None:
    questions = [KINDS["pump.txt"][1], KINDS["lease.pdf"][1]]
    page = await client.vector_stores.search(manuals.store_id, query=questions, max_num_results=2)
    assert {result.filename for result in page.data} == {"pump.txt", "lease.pdf"}


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ({"type": "eq", "key": "kind", "value": "pdf"}, {"lease.pdf"}),
        ({"type": "in", "key": "kind", "value": ["csv", "docx"]}, {"parts.csv", "travel.docx"}),
        ({"type": "gte", "key": "length", "value": 10}, {"leave.html", "travel.docx"}),
        (
            {
                "type": "and",
                "filters": [
                    {"type": "ne", "key": "kind", "value": "txt"},
                    {"type": "lt", "key": "length", "value": 9},
                ],
            },
            {"oven.md"},
        ),
        ({"type": "eq", "key": "nobody set this", "value": 1}, set()),
    ],
)
async def test_a_filter_lets_through_what_satisfies_it_and_nothing_else(
    client: openai.AsyncOpenAI, manuals: Manuals, filters: Any, wanted: set[str]
) -> None:
    found = await _found(client, manuals.store_id, "warranty lease leave price", filters=filters, max_num_results=50)
    assert set(found) == wanted


# What is answered


def _assert_names_the_fact(citations: list[Any], manuals: Manuals) -> None:
    assert [(one.filename, one.file_id) for one in citations] == [("pump.txt", manuals.file_ids["pump.txt"])]
    assert "37 months" in citations[0].quote


async def test_a_tasks_answer_cites_the_file_and_quotes_it(
    live: LiveKnowledge, client: openai.AsyncOpenAI, manuals: Manuals
) -> None:
    live.engine.saying = "It lasts 37 months. [1]"
    content, citations = await _ask(client, "ask", KINDS["pump.txt"][1])
    assert content == live.engine.saying
    _assert_names_the_fact(citations, manuals)
    assert "37 months" in json.dumps(live.engine.requests[-1].body)


async def test_a_streamed_answer_cites_as_a_whole_one_does(
    live: LiveKnowledge, client: openai.AsyncOpenAI, manuals: Manuals
) -> None:
    live.engine.saying = "It lasts 37 months. [1]"
    content = ""
    annotations: list[Any] = []
    stream = await client.chat.completions.create(
        model="ask", messages=[{"role": "user", "content": KINDS["pump.txt"][1]}], stream=True
    )
    async for chunk in stream:
        check("CreateChatCompletionStreamResponse", chunk.to_dict())
        for choice in chunk.choices:
            content += choice.delta.content or ""
            annotations += getattr(choice.delta, "annotations", None) or []
    assert content == live.engine.saying
    assert [one["url_citation"]["filename"] for one in annotations] == ["pump.txt"]
    assert "37 months" in annotations[0]["url_citation"]["quote"]


def _tools(manuals: Manuals) -> list[Any]:
    return [{"type": "file_search", "vector_store_ids": [manuals.store_id]}]


async def test_file_search_answers_with_annotations_and_results(
    live: LiveKnowledge, client: openai.AsyncOpenAI, manuals: Manuals
) -> None:
    live.engine.saying = "It lasts 37 months. [1]"
    answer = await client.responses.create(
        model="fake-base",
        input=KINDS["pump.txt"][1],
        tools=_tools(manuals),
        include=["file_search_call.results"],
    )
    check("Response", answer.to_dict())
    call, message = answer.output
    assert call.type == "file_search_call"
    assert call.results
    assert call.results[0].filename == "pump.txt"
    assert message.type == "message"
    part = message.content[0]
    assert part.type == "output_text"
    _assert_names_the_fact(part.annotations, manuals)


async def test_a_streamed_file_search_tells_of_its_search_and_ends_with_the_same_answer(
    live: LiveKnowledge, client: openai.AsyncOpenAI, manuals: Manuals
) -> None:
    live.engine.saying = "It lasts 37 months. [1]"
    stream = await client.responses.create(
        model="fake-base", input=KINDS["pump.txt"][1], tools=_tools(manuals), stream=True
    )
    events = [event async for event in stream]
    for event in events:
        check("ResponseStreamEvent", event.to_dict())
    kinds = [event.type for event in events]
    assert kinds.index("response.file_search_call.completed") < kinds.index("response.output_text.delta")
    last = events[-1]
    assert last.type == "response.completed"
    message = last.response.output[1]
    assert message.type == "message"
    part = message.content[0]
    assert part.type == "output_text"
    _assert_names_the_fact(part.annotations, manuals)


# What changes


async def test_what_is_updated_described_anew_and_deleted_is_so_in_the_next_answer(
    live: LiveKnowledge, client: openai.AsyncOpenAI
) -> None:
    store = (await client.vector_stores.create(name="edits")).id
    question = "What does the parking permit cost?"
    live.engine.saying = "See the rules. [1]"
    old = await _add(client, store, "parking.txt", "The parking permit costs 80 euros a year.", source="parking")
    _, citations = await _ask(client, "ask-edits", question)
    assert ["80 euros" in one.quote for one in citations] == [True]

    new = await _add(client, store, "parking.txt", "The parking permit costs 95 euros a year.", source="parking")
    assert [one.id async for one in client.vector_stores.files.list(store)] == [new]
    _, citations = await _ask(client, "ask-edits", question)
    assert [one.file_id for one in citations] == [new]
    assert "95 euros" in citations[0].quote
    assert "80 euros" not in json.dumps(live.engine.requests[-1].body)
    with pytest.raises(openai.NotFoundError):
        await client.vector_stores.files.retrieve(old, vector_store_id=store)

    described = await client.vector_stores.files.update(
        new, vector_store_id=store, attributes={"source": "parking", "region": "north"}
    )
    assert described.attributes == {"source": "parking", "region": "north"}
    north = {"type": "eq", "key": "region", "value": "north"}
    assert await _found(client, store, question, filters=north) == ["parking.txt"]

    await client.files.delete(new)
    assert await _found(client, store, question) == []
    content, citations = await _ask(client, "ask-edits", question)
    assert (content, citations) == ("Not in the documents.", [])
    for asking in (client.files.retrieve(new), client.files.content(new)):
        with pytest.raises(openai.NotFoundError):
            await asking
    with pytest.raises(openai.NotFoundError):
        await client.vector_stores.files.content(new, vector_store_id=store)
    assert (await client.vector_stores.retrieve(store)).file_counts.total == 0


async def test_a_document_is_served_between_its_dates_alone(client: openai.AsyncOpenAI) -> None:
    store = (await client.vector_stores.create(name="dates")).id
    file_id = await _add(client, store, "offer.txt", "The spring offer is a rebate of 12 percent.", expires_at=1)
    question = "How large is the rebate of the spring offer?"
    assert await _found(client, store, question) == []
    page = await client.vector_stores.search(store, query=question, extra_query={"explain": "true"})
    assert page.to_dict()["expired"] == 1

    async def described(**attributes: Any) -> list[str]:
        await client.vector_stores.files.update(file_id, vector_store_id=store, attributes=attributes)
        return await _found(client, store, question)

    assert await described(expires_at=time.time() + 3600) == ["offer.txt"]
    assert await described(effective_at="2999-01-01") == []
    assert await described(effective_at="2020-01-01T00:00:00Z") == ["offer.txt"]


async def test_lives_of_files_and_stores_are_told(client: openai.AsyncOpenAI) -> None:
    made = await client.files.create(
        file=("short.txt", b"x"), purpose="assistants", expires_after={"anchor": "created_at", "seconds": 7200}
    )
    assert made.expires_at == made.created_at + 7200
    store = await client.vector_stores.create(
        name="short", expires_after={"anchor": "last_active_at", "days": 2}, metadata={"team": "hr"}
    )
    assert store.expires_at == (store.last_active_at or 0) + 2 * 86_400
    renamed = await client.vector_stores.update(store.id, name="shorter", expires_after=None)
    assert (renamed.name, renamed.expires_at, renamed.metadata) == ("shorter", None, {"team": "hr"})
    assert (await client.vector_stores.delete(store.id)).deleted
    with pytest.raises(openai.NotFoundError):
        await client.vector_stores.retrieve(store.id)


async def test_a_waiting_batch_can_be_cancelled_and_a_finished_one_stays(
    client: openai.AsyncOpenAI, manuals: Manuals
) -> None:
    ids = [await _upload(client, f"many-{n}.txt", f"Paragraph {n}.".encode()) for n in range(30)]
    store = (await client.vector_stores.create(name="cancelled")).id
    batch = await client.vector_stores.file_batches.create(store, file_ids=ids)
    cancelled = await client.vector_stores.file_batches.cancel(batch.id, vector_store_id=store)
    assert cancelled.file_counts.in_progress == 0
    # One of them may be past the point of no return.
    assert cancelled.file_counts.cancelled >= len(ids) - 2
    listed = client.vector_stores.file_batches.list_files(batch.id, vector_store_id=store, filter="cancelled")
    assert len([one async for one in listed]) == cancelled.file_counts.cancelled
    assert (await client.vector_stores.retrieve(manuals.store_id)).file_counts.completed == len(KINDS)


# Lists


async def test_lists_are_walked_forwards_backwards_and_by_status(client: openai.AsyncOpenAI, manuals: Manuals) -> None:
    store, count = manuals.store_id, len(KINDS)
    forwards = [one.id async for one in client.vector_stores.files.list(store, order="asc", limit=2)]
    backwards = [one.id async for one in client.vector_stores.files.list(store, order="desc", limit=3)]
    assert forwards == backwards[::-1]
    assert sorted(forwards) == sorted(manuals.file_ids.values())
    before = await client.vector_stores.files.list(store, order="asc", before=forwards[3], limit=2)
    assert ([one.id for one in before.data], before.has_more) == (forwards[1:3], True)
    assert [one.id async for one in client.vector_stores.files.list(store, filter="failed")] == []
    completed = client.vector_stores.files.list(store, filter="completed", limit=100)
    assert len([one async for one in completed]) == count
    uploads = [one.id async for one in client.files.list(order="asc", limit=2)]
    assert [one for one in uploads if one in manuals.file_ids.values()] == list(manuals.file_ids.values())
    assert [one.id async for one in client.files.list(purpose="fine-tune")] == []
    names = [one.id async for one in client.vector_stores.list(order="asc", limit=1)]
    assert names == [one.id async for one in client.vector_stores.list(order="desc", limit=2)][::-1]
    with pytest.raises(openai.NotFoundError):
        await client.vector_stores.list(after="vs_unknown")

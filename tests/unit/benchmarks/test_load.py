"""The load generator, against the mock server and against servers that misbehave."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import orjson
import pytest

from benchmarks.load import Call, chat_body, judge, run_load
from benchmarks.mock_server import CHUNKS, WORDS, MockModel, MockProtocol, answer_bytes, stream_bytes
from benchmarks.wire import Address, Reply, fetch

MODEL = "bench-model"


@pytest.fixture
async def mock() -> AsyncGenerator[Address, None]:
    model = MockModel(MODEL)
    server = await asyncio.get_running_loop().create_server(lambda: MockProtocol(model), "127.0.0.1", 0)
    async with server:
        yield Address("127.0.0.1", server.sockets[0].getsockname()[1])


@asynccontextmanager
async def server_that_says(answer: bytes) -> AsyncIterator[Address]:
    """Sends ``answer`` to the first bytes of every connection, then closes it."""

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1 << 16)
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(respond, "127.0.0.1", 0)
    async with server:
        yield Address("127.0.0.1", server.sockets[0].getsockname()[1])


def call(*, stream: bool, model: str = MODEL) -> Call:
    return Call(chat_body(model, "hello", max_tokens=16, stream=stream), tag="x")


@pytest.mark.parametrize("stream", [False, True])
async def test_every_good_answer_is_counted_once(mock: Address, stream: bool) -> None:  # noqa: FBT001
    result = await run_load(mock, [call(stream=stream)] * 50, concurrency=4)
    assert len(result.samples) == len(result.good) == 50
    assert {sample.completion_tokens for sample in result.samples} == {CHUNKS}
    assert result.requests_per_s > 0


async def test_a_stream_gives_the_time_to_its_first_token_and_the_gaps_between_pieces(mock: Address) -> None:
    result = await run_load(mock, [call(stream=True)], concurrency=1, keep_answers=True)
    (sample,) = result.samples
    assert sample.ttft_s is not None
    assert 0 < sample.ttft_s <= sample.e2e_s
    assert len(sample.gaps_s) == CHUNKS - 1
    assert sample.text == "".join(WORDS)


async def test_a_run_ends_when_its_time_is_up(mock: Address) -> None:
    endless = iter(lambda: call(stream=False), None)
    result = await run_load(mock, endless, concurrency=2, seconds=0.05)
    assert result.good


async def test_an_error_status_is_a_failure_with_its_message(mock: Address) -> None:
    result = await run_load(mock, [call(stream=True, model="nobody")], concurrency=1)
    assert "status 404" in next(iter(result.errors))


async def test_a_caller_whose_request_failed_waits_before_the_next_one(mock: Address) -> None:
    calls = [call(stream=False, model="nobody"), call(stream=False), call(stream=False)]
    result = await run_load(mock, calls, concurrency=1, pause_after_failure_s=0.05)
    refused, second, third = result.samples
    assert second.started_at - (refused.started_at + refused.e2e_s) >= 0.05
    assert third.started_at - (second.started_at + second.e2e_s) < 0.05


async def test_a_connection_that_ends_in_the_middle_is_a_failure() -> None:
    whole = stream_bytes([b"data: %b\n\n" % orjson.dumps({"choices": [{"delta": {"content": "a"}}]})])
    async with server_that_says(whole[:-8]) as address:
        result = await run_load(address, [call(stream=True)] * 2, concurrency=1)
    assert not result.good
    assert len(result.samples) == 2


async def test_a_server_that_is_not_there_is_a_failure() -> None:
    result = await run_load(Address("127.0.0.1", 1), [call(stream=False)], concurrency=1)
    assert "cannot connect" in next(iter(result.errors))


def reply(*pieces: bytes) -> Reply:
    answer = Reply(0.0, status=200, done_at=1.0)
    answer.pieces = [(0.1 * number, piece) for number, piece in enumerate(pieces, start=1)]
    return answer


@pytest.mark.parametrize(
    ("events", "error"),
    [
        (b'data: {"choices": [{"delta": {"content": "a"}}]}\n\ndata: [DONE]\n\n', "the stream has no finish reason"),
        (b'data: {"choices": [{"delta": {"content": "a"}, "finish_reason": "stop"}]}\n\n', "the stream has no [DONE]"),
        (b'data: {"error": {"message": "gone"}}\n\n', "error event: gone"),
        (b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n', "no text"),
        (
            b'data: {"choices": [{"delta": {"content": "a"}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n',
            "no usage",
        ),
    ],
)
def test_an_answer_that_lacks_something_does_not_count(events: bytes, error: str) -> None:
    assert judge(call(stream=True), reply(events)).error == error


def test_events_that_are_cut_anywhere_are_put_together_again() -> None:
    whole = b'data: {"a": 1}\r\n\r\n: a comment\n\ndata: [DONE]\n\n'
    expected = [b'{"a": 1}', b"[DONE]"]
    for cut in range(len(whole)):
        assert [data for _, data in reply(whole[:cut], whole[cut:]).events()] == expected


async def test_the_mock_loads_and_unloads_adapters(mock: Address) -> None:
    body = orjson.dumps({"lora_name": "a@1", "lora_path": "/somewhere"})
    assert (await fetch(mock, "/v1/load_lora_adapter", method="POST", body=body)).status == 200
    listed = orjson.loads((await fetch(mock, "/v1/models")).body)["data"]
    assert [model["id"] for model in listed] == [MODEL, "a@1"]
    assert (await run_load(mock, [call(stream=False, model="a@1")], concurrency=1)).good
    assert (await fetch(mock, "/v1/unload_lora_adapter", method="POST", body=body)).status == 200
    assert not (await run_load(mock, [call(stream=False, model="a@1")], concurrency=1)).good


async def test_bytes_that_are_not_http_are_a_failure() -> None:
    async with server_that_says(b"nonsense\r\n\r\n" + answer_bytes(b"{}")) as address:
        result = await run_load(address, [call(stream=False)], concurrency=1)
    assert "not HTTP" in next(iter(result.errors))

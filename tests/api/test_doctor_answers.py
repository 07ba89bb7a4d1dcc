"""``loraplex doctor`` from outside: one real request, whole and streamed. Each test breaks one thing."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from starlette.types import Receive, Scope, Send

from serving.doctor.answers import PATH
from serving.doctor.finding import Finding, Level
from serving.engine.protocol import EngineFailed
from tests.doctoring import Answer, look, look_through, of, only
from tests.live import served
from tests.living import Living, living

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOKEN_S = 0.02
"""How long each token of a slow engine takes, in seconds."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def steady(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Living]:
    """The same for all tests that leave it as it is."""
    async with living(tmp_path_factory.mktemp("steady")) as made:
        await made.add(1, promote=True)
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def it(tmp_path: Path) -> AsyncIterator[Living]:
    """A gateway with one adapter."""
    async with living(tmp_path) as made:
        await made.add(1, promote=True)
        yield made


async def _meddled(it: Living, change: Callable[[Answer], None], *, streams: bool) -> list[Finding]:
    """What is found where whole answers, or streams, are changed on their way."""

    def meddle(answer: Answer) -> None:
        if answer.headers["content-type"].startswith("text/event-stream") is streams:
            change(answer)

    return await look_through(it.gateway.app, PATH, meddle)


async def test_deltas_that_come_one_by_one_are_well(it: Living) -> None:
    it.engine._token_s = TOKEN_S
    finding = only(await look(f"{it.http.base_url}"), "stream", Level.OK)

    assert finding.message.startswith("Deltas come one by one: 19 deltas")


async def test_a_proxy_that_buffers_streams_is_found(it: Living) -> None:
    it.engine._token_s = TOKEN_S
    finding = only(await _meddled(it, lambda answer: None, streams=True), "stream", Level.FAIL)

    assert finding.message.startswith("Something buffers streams: 19 deltas")
    assert "proxy_buffering off" in finding.next


async def test_a_stream_that_is_compressed_is_told(steady: Living) -> None:
    def compressed(answer: Answer) -> None:
        answer.headers["content-encoding"] = "gzip"

    found = of(await _meddled(steady, compressed, streams=True), "stream")
    assert [finding.level for finding in found] == [Level.WARN, Level.OK]
    assert "compressed on their way (gzip)" in found[0].message


async def test_a_stream_that_is_cut_off_is_told(steady: Living) -> None:
    def cut(answer: Answer) -> None:
        answer.body = answer.body[: len(answer.body) // 2]

    found = await _meddled(steady, cut, streams=True)
    assert "was cut off after" in only(found, "stream", Level.FAIL).message


async def test_a_stream_that_is_no_stream_is_told(steady: Living) -> None:
    def plain(answer: Answer) -> None:
        answer.headers["content-type"] = "application/json"

    found = await _meddled(steady, plain, streams=True)
    assert "came as `application/json`" in only(found, "stream", Level.FAIL).message


async def test_a_stream_without_text_is_told(steady: Living) -> None:
    def silent(answer: Answer) -> None:
        answer.body = b"data: [DONE]\n\n"

    found = await _meddled(steady, silent, streams=True)
    assert "had no text in it" in only(found, "stream", Level.WARN).message


async def test_a_stream_that_ends_in_an_error_is_told(steady: Living) -> None:
    def failing(answer: Answer) -> None:
        answer.body = b'data: {"error": {"message": "the engine died"}}\n\n'

    found = await _meddled(steady, failing, streams=True)
    assert "ended in an error: the engine died" in only(found, "stream", Level.FAIL).message


async def test_an_engine_that_fails_is_told(steady: Living) -> None:
    steady.engine.fail_next(EngineFailed("out of memory"))
    finding = only(await look(f"{steady.http.base_url}"), "request", Level.FAIL)

    assert finding.message.startswith("triage was refused with 500 engine_failed: ")
    assert finding.next == "The replica's log says why."


async def test_an_engine_that_is_gone_is_told(it: Living) -> None:
    it.engine.die()
    found = of(await look(f"{it.http.base_url}"), "request")

    assert [finding.level for finding in found] == [Level.FAIL]


async def test_a_proxy_that_does_not_let_requests_through_is_told(steady: Living) -> None:
    def refused(answer: Answer) -> None:
        answer.status, answer.body = 413, b"<html>Request Entity Too Large</html>"
        answer.headers["server"] = "nginx"

    found = await look_through(steady.gateway.app, PATH, refused)
    assert [finding.message for finding in of(found, "request")] == [
        "triage was not reached: nginx on the way answered 413."
    ]


async def test_a_gateway_at_its_limit_is_no_fault(tmp_path: Path) -> None:
    async with living(tmp_path, limits={"max_concurrent_requests": 1}) as it:
        it.engine.gate.clear()
        held = asyncio.create_task(it.ask(model="tiny-llama"))
        await it.engine.until(lambda engine: bool(engine.requests))
        found = await look(f"{it.http.base_url}")
        it.engine.gate.set()
        await held

    assert "has more to do than it may take" in only(found, "request", Level.WARN).message


async def test_an_empty_answer_is_told(steady: Living) -> None:
    def empty(answer: Answer) -> None:
        answer.edit(lambda data: data["choices"][0]["message"].update(content=""))

    found = await _meddled(steady, empty, streams=False)
    assert "answered an empty text (stop)" in only(found, "request", Level.WARN).message


async def test_an_answer_without_choices_is_told(steady: Living) -> None:
    def bare(answer: Answer) -> None:
        answer.edit(lambda data: data.pop("choices"))

    found = await _meddled(steady, bare, streams=False)
    assert "answered no completion" in only(found, "request", Level.FAIL).message


# Which version answered


async def test_the_base_model_in_an_adapters_place_is_found(steady: Living) -> None:
    def base(answer: Answer) -> None:
        answer.headers["x-loraplex-adapter"] = "base"

    finding = only(await _meddled(steady, base, streams=False), "version", Level.FAIL)
    assert finding.message.startswith("triage was answered by base, and should be by triage@")


async def test_an_answer_that_contradicts_itself_is_found(steady: Living) -> None:
    def cached(answer: Answer) -> None:
        answer.edit(lambda data: data.update(system_fingerprint="triage@00000000"))

    finding = only(await _meddled(steady, cached, streams=False), "version", Level.FAIL)
    assert "its `system_fingerprint` triage@00000000" in finding.message


async def test_headers_that_are_lost_on_the_way_are_told(steady: Living) -> None:
    def lost(answer: Answer) -> None:
        del answer.headers["x-loraplex-adapter"]

    finding = only(await _meddled(steady, lost, streams=False), "version", Level.WARN)
    assert "x-loraplex-adapter is missing" in finding.message


async def test_a_canary_may_answer_its_alias(it: Living) -> None:
    second = await it.add(2)
    await it.admin("POST", "/adapters/triage/canary", {"version": second, "share": 1.0})
    finding = only(await look(f"{it.http.base_url}"), "version", Level.OK)

    assert finding.message == f"triage was answered by {second}, as it should be."


async def test_a_version_that_was_promoted_meanwhile_is_no_fault(it: Living) -> None:
    second = await it.add(2)
    promoted: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == PATH and not promoted:
            promoted.append(second)
            await it.admin("POST", "/adapters/triage/promote", {"version": second})
        await it.gateway.app(scope, receive, send)

    async with served(app) as url:
        finding = only(await look(url), "version", Level.OK)

    assert finding.message == f"triage was answered by {second}, as it should be."

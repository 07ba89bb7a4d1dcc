"""Running suites against a real HTTP server."""

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import PlainTextResponse, Response

from tests.lifecycle import until
from tests.meta.sources import ROOT
from tests.suite_factory import ScriptedEndpoint, ask, completion, make_suite, refusal, scripted, write_suite
from training.errors import EndpointUnreachable, RunRefused
from training.evaluation.endpoint import Endpoint, public_url, with_path
from training.evaluation.journal import journal_path
from training.evaluation.run_file import read_run
from training.evaluation.runner import Progress, run_suite
from training.evaluation.suite import Suite, load_suite
from training.evaluation.types import Json, SuiteRun

FIVE = [ask(str(number), f"<{number}>") for number in range(5)]


def echo(body: Json) -> str:
    """The prompt in angle brackets."""
    return f"<{body['messages'][-1]['content']}>"


async def _run(suite: Suite, server: ScriptedEndpoint, **options: Any) -> SuiteRun:
    async with Endpoint(server.url, "sk-secret", retries=options.pop("retries", 2)) as endpoint:
        return await run_suite(suite, endpoint, model="triage", **options)


async def test_every_case_is_asked_and_scored_in_order(tmp_path: Path) -> None:
    suite = make_suite(tmp_path, FIVE, parameters={"max_tokens": 9})
    async with scripted(echo) as server:
        server.version = "triage@1"
        run = await _run(suite, server)
    assert [result.case_id for result in run.results] == [case.id for case in suite.cases]
    assert set(run.values("exact").values()) == {1.0}
    assert (run.version, run.model, run.suite_digest) == ("triage@1", "triage", suite.digest)
    assert server.bodies[0] | {"messages": 0} == {
        "model": "triage",
        "messages": 0,
        "temperature": 0.0,
        "seed": 0,
        "max_tokens": 9,
    }
    assert set(server.keys) == {"Bearer sk-secret"}
    answer = run.results[0].answer
    assert (answer.prompt_tokens, answer.completion_tokens, answer.finish_reason) == (7, 3, "stop")
    assert answer.seconds > 0


async def test_a_run_records_what_is_needed_to_run_it_again(tmp_path: Path) -> None:
    suite = make_suite(tmp_path, FIVE, repeats=2)
    async with scripted(echo) as server:
        record = (await _run(suite, server, concurrency=3)).record
    assert record["endpoint"] == f"{server.url}/v1"
    assert record["parameters"] == {"temperature": 0.0, "seed": 0}
    assert record["seeds"] == [0, 1]
    assert (record["repeats"], record["concurrency"], record["resumed_answers"]) == (2, 3, 0)
    assert record["started_at"] < record["finished_at"]
    assert {"python", "openai", "jsonschema"} <= set(record["packages"])
    assert "sk-secret" not in json.dumps(record)


async def test_no_more_cases_are_under_way_than_allowed(tmp_path: Path) -> None:
    suite = make_suite(tmp_path, FIVE, repeats=4)
    async with scripted(echo) as server:
        server.gate.clear()
        running = asyncio.create_task(_run(suite, server, concurrency=3))
        await until(lambda: server.waiting == 3, "three requests under way")
        server.gate.set()
        await running
    assert server.most_at_once == 3
    assert len(server.bodies) == 20


async def test_repeats_have_seeds_of_their_own(tmp_path: Path) -> None:
    suite = make_suite(tmp_path, FIVE[:1], repeats=3, parameters={"seed": 7})
    async with scripted(lambda body: f"<{body['seed']}>") as server:
        run = await _run(suite, server)
    assert [result.answer.text for result in run.results] == ["<7>", "<8>", "<9>"]
    assert [result.repeat for result in run.results] == [0, 1, 2]


async def test_a_case_that_fails_stops_no_other(tmp_path: Path) -> None:
    def reply(body: Json) -> str | Response:
        return refusal(400, "too long") if body["messages"][-1]["content"] == "2" else echo(body)

    suite = make_suite(tmp_path, FIVE)
    async with scripted(reply) as server:
        run = await _run(suite, server)
    assert list(run.values("exact").values()) == [1, 1, 0, 1, 1]
    assert run.results[2].answer.error == "400 code_400: too long"
    assert run.results[2].notes["exact"] == "no answer: 400 code_400: too long"
    assert len(server.bodies) == 5


async def test_a_request_that_the_endpoint_could_not_take_is_sent_again(tmp_path: Path) -> None:
    replies: list[Any] = [refusal(429, "later", retry_after_ms="1"), refusal(503, "busy", retry_after_ms="1"), "<0>"]
    async with scripted(lambda body: replies.pop(0)) as server:
        run = await _run(make_suite(tmp_path, FIVE[:1]), server)
    assert run.values("exact") == {run.results[0].case_id: 1.0}
    assert len(server.bodies) == 3


async def test_it_waits_as_long_as_the_endpoint_says(tmp_path: Path) -> None:
    replies: list[Any] = [refusal(429, "later", retry_after="1"), "<0>"]
    async with scripted(lambda body: replies.pop(0)) as server:
        run = await _run(make_suite(tmp_path, FIVE[:1]), server)
    assert run.results[0].answer.seconds >= 1


async def test_an_endpoint_that_goes_on_failing_is_given_up(tmp_path: Path) -> None:
    async with scripted(lambda body: refusal(500, "broken", retry_after_ms="1")) as server:
        run = await _run(make_suite(tmp_path, FIVE[:1]), server, retries=2)
    assert len(server.bodies) == 3
    assert run.results[0].answer.error == "500 code_500: broken"


@pytest.mark.parametrize(
    "body",
    ["", "hello", "[]", "null", '{"choices": []}', '{"choices": [{}]}', '{"choices": [{"message": null}]}', '{"a": 1}'],
)
async def test_an_answer_that_is_no_completion_is_an_error_of_its_case(tmp_path: Path, body: str) -> None:
    async with scripted(lambda _: PlainTextResponse(body, media_type="application/json")) as server:
        run = await _run(make_suite(tmp_path, FIVE[:1]), server)
    assert "no chat completion" in (run.results[0].answer.error or "")


async def test_tools_calls_and_citations_come_through(tmp_path: Path) -> None:
    tool = {"type": "function", "function": {"name": "clock"}}
    call = {"id": "1", "type": "function", "function": {"name": "clock", "arguments": "{}"}}
    citation = {"type": "url_citation", "url_citation": {"quote": "q"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call], "annotations": [citation]}
    row = ask("?", tools=[tool], expected_tool_calls=[{"name": "clock", "arguments": {}}])
    async with scripted(lambda body: message) as server:
        run = await _run(make_suite(tmp_path, [row], {"kind": "tool_calls"}), server)
    assert server.bodies[0]["tools"] == [tool]
    assert run.results[0].scores["tool_calls"] == 1
    assert run.results[0].answer.citations == (citation,)


async def test_halves_of_characters_in_an_answer_can_be_written_and_sent_on(tmp_path: Path) -> None:
    half = "\ud83d"
    call = {"id": half, "type": "function", "function": {"name": half, "arguments": half}}
    message = {"role": "assistant", "content": f"a{half}", "tool_calls": [call], "annotations": [{half: half}]}
    async with scripted(lambda body: PlainTextResponse(json.dumps(completion(message)))) as server:
        answer = (await _run(make_suite(tmp_path, FIVE[:1]), server)).results[0].answer
    assert answer.text == "a\ufffd"
    json.dumps(asdict(answer), ensure_ascii=False).encode()

    async with scripted(lambda body: PlainTextResponse(json.dumps({"error": {"message": half}}), 400)) as server:
        answer = (await _run(make_suite(tmp_path, FIVE[:1]), server)).results[0].answer
    assert "\ufffd" in (answer.error or "")


async def test_answers_of_several_versions_name_none(tmp_path: Path) -> None:
    async with scripted(echo) as server:

        def reply(body: Json) -> str:
            server.version = f"triage@{body['messages'][-1]['content']}"
            return echo(body)

        server._reply = reply
        run = await _run(make_suite(tmp_path, FIVE[:2]), server, concurrency=1)
    assert run.version is None
    assert run.record["versions"] == {"triage@0": 1, "triage@1": 1}


async def test_progress_ends_at_the_total(tmp_path: Path) -> None:
    told: list[Progress] = []
    async with scripted(echo) as server:
        await _run(make_suite(tmp_path, FIVE), server, progress=told.append, concurrency=2)
    assert told[0] == Progress(0, 5, 0, 0)
    assert told[-1] == Progress(5, 5, 0, 0)


async def test_a_progress_that_fails_is_the_runs_own_failure(tmp_path: Path) -> None:
    def tell(progress: Progress) -> None:
        if progress.done:
            raise OSError("gone")

    async with scripted(echo) as server:
        with pytest.raises(OSError, match="gone"):
            await _run(make_suite(tmp_path, FIVE), server, progress=tell)


# Resuming

_PROGRAM = """
import asyncio, sys
from pathlib import Path
from training.evaluation.endpoint import Endpoint
from training.evaluation.runner import run_suite
from training.evaluation.suite import load_suite

async def main(suite, url, out):
    async with Endpoint(url) as endpoint:
        await run_suite(load_suite(Path(suite)), endpoint, model="triage", concurrency=2, out=Path(out))

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_killed_run_goes_on_with_what_is_missing(tmp_path: Path) -> None:
    path = write_suite(tmp_path, [ask(str(number), f"<{number}>") for number in range(12)])
    out = tmp_path / "out" / "run.json"
    async with scripted(echo) as server:

        def reply(body: Json) -> str:
            if len(server.bodies) >= 6:
                server.gate.clear()
            return echo(body)

        server._reply = reply
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _PROGRAM, str(path), server.url, str(out), cwd=ROOT, env=os.environ
        )
        try:
            await until(lambda: not server.gate.is_set() and server.waiting == 2, "two requests that wait")
        finally:
            process.send_signal(signal.SIGKILL)
            await process.wait()
        journal = journal_path(out).read_bytes().splitlines()[1:]
        kept = Counter(json.loads(line)["case_id"] for line in journal)
        assert 4 <= len(kept) < 12
        assert set(kept.values()) == {1}

        server._reply = echo
        server.gate.set()
        await until(lambda: server.waiting == 0, "the end of the killed run's requests")
        asked = len(server.bodies)
        run = await _run(load_suite(path), server, out=out)
    assert len(server.bodies) - asked == 12 - len(kept)
    assert run.record["resumed_answers"] == len(kept)
    assert set(run.values("exact").values()) == {1.0}
    assert read_run(out) == run
    assert not journal_path(out).exists()


async def test_cases_that_failed_are_asked_again(tmp_path: Path) -> None:
    suite, out = make_suite(tmp_path, FIVE), tmp_path / "run.json"
    async with scripted(lambda body: refusal(400, "no") if echo(body) == "<3>" else echo(body)) as server:
        first = await _run(suite, server, out=out)
        assert first.values("exact")[suite.cases[3].id] == 0
        assert journal_path(out).exists()
        server._reply = echo
        second = await _run(suite, server, out=out)
    assert server.prompts[5:] == ["3"]
    assert set(second.values("exact").values()) == {1.0}
    assert not journal_path(out).exists()


async def _half_run(suite: Suite, server: ScriptedEndpoint, out: Path) -> None:
    """A run that leaves its journal: its last case failed."""
    last = suite.cases[-1].messages[-1]["content"]
    server._reply = lambda body: refusal(400, "no") if body["messages"][-1]["content"] == last else echo(body)
    await _run(suite, server, out=out)
    server._reply = echo


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"parameters": {"max_tokens": 3}}, "suite_digest, parameters"),
        ({"repeats": 2}, "suite_digest, repeats"),
    ],
)
async def test_answers_to_another_suite_are_not_mixed_in(tmp_path: Path, settings: Any, what: str) -> None:
    out = tmp_path / "run.json"
    async with scripted(echo) as server:
        await _half_run(make_suite(tmp_path / "a", FIVE), server, out)
        asked = len(server.bodies)
        with pytest.raises(RunRefused, match=f"\\({what} differ\\)"):
            await _run(make_suite(tmp_path / "b", FIVE, **settings), server, out=out)
        assert len(server.bodies) == asked


async def test_answers_of_another_model_are_not_mixed_in(tmp_path: Path) -> None:
    suite, out = make_suite(tmp_path, FIVE), tmp_path / "run.json"
    async with scripted(echo) as server:
        await _half_run(suite, server, out)
        async with Endpoint(server.url) as endpoint:
            with pytest.raises(RunRefused, match="model differ"):
                await run_suite(suite, endpoint, model="other", out=out)


async def test_a_complete_run_leaves_nothing_to_go_on_from(tmp_path: Path) -> None:
    suite, out = make_suite(tmp_path, FIVE), tmp_path / "run.json"
    async with scripted(echo) as server:
        await _run(suite, server, out=out)
        await _run(suite, server, out=out)
    assert len(server.bodies) == 10


# Endpoints


async def test_an_address_where_nothing_answers_is_told(tmp_path: Path) -> None:
    async with scripted(echo) as server:
        url = server.url
        async with Endpoint(url) as endpoint:
            await endpoint.reach()
    async with Endpoint(url, retries=0) as endpoint:
        with pytest.raises(EndpointUnreachable, match=url):
            await endpoint.reach()
        run = await run_suite(make_suite(tmp_path, FIVE[:2]), endpoint, model="m")
    assert all("Connection error" in (result.answer.error or "") for result in run.results)


@pytest.mark.parametrize(
    ("url", "whole"),
    [
        ("http://h:1", "http://h:1/v1"),
        ("http://h:1/", "http://h:1/v1"),
        ("http://h:1/v1/", "http://h:1/v1"),
        ("https://h/openai/v2", "https://h/openai/v2"),
    ],
)
def test_an_address_without_a_path_gets_the_usual_one(url: str, whole: str) -> None:
    assert with_path(url) == whole


def test_what_is_recorded_of_an_address_holds_no_secret() -> None:
    assert public_url("https://me:secret@h/v1?key=secret") == "https://h/v1"

"""Judges, asked over HTTP."""

from pathlib import Path
from typing import Any

import pytest

from tests.suite_factory import Json, ScriptedEndpoint, ask, make_suite, refusal, scripted
from training.errors import SuiteInvalid
from training.evaluation.endpoint import Endpoint
from training.evaluation.runner import run_suite
from training.evaluation.suite import Suite
from training.evaluation.types import SuiteRun

FIVE = [ask(str(number), f"<{number}>") for number in range(5)]


def echo(body: Json) -> str:
    """The prompt in angle brackets."""
    return f"<{body['messages'][-1]['content']}>"


async def _run(suite: Suite, server: ScriptedEndpoint, **options: Any) -> SuiteRun:
    async with Endpoint(server.url) as endpoint:
        return await run_suite(suite, endpoint, model="triage", **options)


def _judged(url: str, **settings: Any) -> Json:
    return {"kind": "judge", "url": url, "model": "judge-1", "rubric": "Is it kind?", **settings}


async def test_a_judge_grades_and_its_replies_are_kept(tmp_path: Path) -> None:
    grade = '{"reason": "so so", "score": 3}'
    async with scripted(echo) as server, scripted(lambda body: grade) as judge:
        suite = make_suite(tmp_path, FIVE[:2], {"kind": "exact"}, _judged(judge.url))
        run = await _run(suite, server)
    assert set(run.values("judge").values()) == {0.5}
    (verdict,) = run.results[0].verdicts
    assert verdict["replies"] == [grade]
    assert run.results[0].notes["judge"] == "so so"
    assert judge.bodies[0]["temperature"] == 0
    assert judge.bodies[0]["response_format"]["type"] == "json_schema"
    assert sorted(number for number in "01" for prompt in judge.prompts if f"<{number}>" in prompt) == ["0", "1"]
    assert run.record["judges"] == [{"url": judge.url, "model": "judge-1"}]


async def test_a_verdict_that_cannot_be_read_is_asked_for_again(tmp_path: Path) -> None:
    replies = ["Very kind!", '{"reason": "kind", "score": 5}']
    async with scripted(echo) as server, scripted(lambda body: replies.pop(0)) as judge:
        run = await _run(make_suite(tmp_path, FIVE[:1], _judged(judge.url, structured=False)), server)
    assert list(run.values("judge").values()) == [1.0]
    assert [body["seed"] for body in judge.bodies] == [0, 1]
    assert "response_format" not in judge.bodies[0]
    assert run.results[0].verdicts[0]["replies"] == ["Very kind!", '{"reason": "kind", "score": 5}']


async def test_a_judge_that_never_gives_a_verdict_scores_nothing(tmp_path: Path) -> None:
    async with scripted(echo) as server, scripted(lambda body: "kind") as judge:
        suite = make_suite(tmp_path, FIVE[:1], {"kind": "exact"}, _judged(judge.url, attempts=2))
        out = tmp_path / "run.json"
        run = await _run(suite, server, out=out)
        assert len(judge.bodies) == 2
        assert run.results[0].scores == {"exact": 1.0}
        assert run.results[0].notes["judge"] == "no verdict"
        with pytest.raises(KeyError):
            run.values("judge")
        judge._reply = lambda body: '{"reason": "kind", "score": 5}'
        again = await _run(suite, server, out=out)
    assert list(again.values("judge").values()) == [1.0]
    assert len(server.bodies) == 1


async def test_a_judge_that_refuses_is_told_in_the_verdict(tmp_path: Path) -> None:
    async with scripted(echo) as server, scripted(lambda body: refusal(401, "no key")) as judge:
        run = await _run(make_suite(tmp_path, FIVE[:1], _judged(judge.url)), server)
    assert run.results[0].verdicts[0]["reason"] == "401 code_401: no key"
    assert len(judge.bodies) == 1


async def test_a_judge_compares_in_both_orders(tmp_path: Path) -> None:
    async with (
        scripted(echo) as server,
        scripted(lambda body: '{"reason": "the first", "better": "first"}') as judge,
    ):
        run = await _run(make_suite(tmp_path, FIVE[:1], _judged(judge.url, mode="compare")), server)
    assert list(run.values("judge").values()) == [0.5]
    assert [one["order"] for one in run.results[0].verdicts] == ["answer first", "answer second"]


async def test_no_judge_is_asked_about_a_case_without_an_answer(tmp_path: Path) -> None:
    async with scripted(lambda body: refusal(400, "no")) as server, scripted(lambda body: "x") as judge:
        run = await _run(make_suite(tmp_path, FIVE[:1], _judged(judge.url)), server)
    assert judge.bodies == []
    assert list(run.values("judge").values()) == [0.0]


async def test_a_judges_key_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with scripted(echo) as server, scripted(lambda body: '{"reason": "", "score": 5}') as judge:
        suite = make_suite(tmp_path, FIVE[:1], _judged(judge.url, api_key_env="JUDGE_KEY"))
        monkeypatch.delenv("JUDGE_KEY", raising=False)
        with pytest.raises(SuiteInvalid, match="JUDGE_KEY"):
            await _run(suite, server)
        monkeypatch.setenv("JUDGE_KEY", "sk-judge")
        await _run(suite, server)
    assert set(judge.keys) == {"Bearer sk-judge"}

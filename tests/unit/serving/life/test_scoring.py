"""The process that scores samples: what it says, and what becomes of it."""

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.rollout_types import Sample
from serving.life.protocol import Order, Scored
from serving.life.scorer import ScoringProcess
from serving.life.scoring import Scorers
from serving.settings.life import JudgeScoreSettings
from tests.suite_factory import ask, refusal, scripted, write_suite

SECRET = "the vault is behind the painting"


def kept(answer: str, *passages: str) -> str:
    messages = [{"role": "user", "content": SECRET}]
    return json.dumps({"messages": messages, "context": list(passages), "answer": answer})


def judge(url: str, **changes: Any) -> dict[str, Any]:
    settings = {"url": url, "model": "referee", "rubric": "Be right.", "timeout_s": 20.0} | changes
    return JudgeScoreSettings.model_validate(settings).model_dump(mode="json")


async def scored(signal: str, settings: dict[str, Any], *samples: str, by: Scorers | None = None) -> Any:
    order = {"signal": signal, "settings": settings, "samples": list(samples)}
    return await (by or Scorers()).answer(order)


async def test_rules_score_answers_and_are_read_again_when_their_file_has_changed(tmp_path: Path) -> None:
    path = write_suite(tmp_path, [ask("?")], {"kind": "regex", "pattern": "[0-9]"})
    by, settings = Scorers(), {"file": str(path)}
    assert await scored("suite", settings, kept("7"), kept("x"), by=by) == {"values": [1.0, 0.0], "problem": ""}
    path.write_text(path.read_text(encoding="utf-8").replace("[0-9]", "[a-z]"), encoding="utf-8")
    assert (await scored("suite", settings, kept("7"), kept("x"), by=by))["values"] == [0.0, 1.0]


async def test_an_answer_that_no_rule_applies_to_has_no_score(tmp_path: Path) -> None:
    case = ask("?", context=["The plan costs 79 EUR."])
    path = write_suite(tmp_path, [case], {"kind": "groundedness"})
    answers = kept("It costs 79."), kept("The plan costs 79 EUR.", "The plan costs 79 EUR.")
    assert (await scored("suite", {"file": str(path)}, *answers))["values"] == [None, 1.0]


async def test_a_suite_that_is_gone_or_has_nothing_to_say_is_a_problem(tmp_path: Path) -> None:
    gone = await scored("suite", {"file": str(tmp_path / "nowhere.yaml")}, kept("7"))
    assert gone["values"] == []
    assert "cannot read the suite" in gone["problem"]
    path = write_suite(tmp_path, [ask("?", "7")], {"kind": "exact"})
    assert "every scorer needs a reference" in (await scored("suite", {"file": str(path)}, kept("7")))["problem"]


async def test_a_judge_grades_each_answer_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def grade(body: dict[str, Any]) -> str:
        shown = body["messages"][-1]["content"]
        return json.dumps({"reason": "so", "score": 5 if "billing" in shown else 2})

    monkeypatch.setenv("REFEREE_KEY", "sk-judge")
    async with scripted(grade) as endpoint:
        settings = judge(endpoint.url, api_key_env="REFEREE_KEY", max_tokens=64)
        answer = await scored("judge", settings, kept("billing"), kept("outage", "about outages"))
    assert answer == {"values": [1.0, 0.25], "problem": ""}
    assert endpoint.keys == ["Bearer sk-judge"] * 2
    asked = next(body for body in endpoint.bodies if "outage" in body["messages"][-1]["content"])
    assert (asked["model"], asked["max_tokens"]) == ("referee", 64)
    assert all(part in asked["messages"][-1]["content"] for part in (SECRET, "about outages", "Be right."))


async def test_a_verdict_that_cannot_be_read_is_not_asked_for_again() -> None:
    async with scripted(lambda body: "Well done!") as endpoint:
        answer = await scored("judge", judge(endpoint.url), kept("billing"))
    assert answer == {"values": [None], "problem": ""}
    assert len(endpoint.bodies) == 1


async def test_a_judge_that_is_away_is_a_problem_that_quotes_nothing() -> None:
    async with scripted(lambda body: refusal(503, f"cannot read {SECRET}")) as endpoint:
        answer = await scored("judge", judge(endpoint.url), kept("billing"))
    assert answer == {"values": [None], "problem": "the judge did not answer: 503 code_503"}
    assert len(endpoint.bodies) == 1
    gone = await scored("judge", judge(endpoint.url), kept("billing"))
    assert gone["values"] == [None]
    assert "the judge did not answer" in gone["problem"]


async def test_a_key_that_is_not_there_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REFEREE_KEY", raising=False)
    settings = judge("http://127.0.0.1:9/v1", api_key_env="REFEREE_KEY")
    answer = await scored("judge", settings, kept("billing"))
    assert answer["values"] == []
    assert "REFEREE_KEY" in answer["problem"]


async def test_what_cannot_be_read_is_a_problem_that_quotes_nothing(tmp_path: Path) -> None:
    path = write_suite(tmp_path, [ask("?")], {"kind": "regex", "pattern": "[0-9]"})
    answer = await scored("suite", {"file": str(path)}, f'{{"{SECRET}": 1}}')
    assert answer == {"values": [], "problem": "scoring failed with KeyError"}


def order(*contents: str, **settings: Any) -> Order:
    now = datetime.now(UTC)
    samples = [
        Sample(7, "canary", "suite", "triage@22222222", "labels", content, now, now + timedelta(minutes=1))
        for content in contents
    ]
    return Order("suite", settings, tuple(samples))


async def test_a_process_of_its_own_answers_order_after_order(tmp_path: Path) -> None:
    path = write_suite(tmp_path, [ask("?")], {"kind": "regex", "pattern": "[0-9]"})
    process = ScoringProcess()
    try:
        assert await process.score(order(kept("7"), kept("x"), file=str(path))) == Scored((1.0, 0.0))
        assert await process.score(order(kept("x"), file=str(path))) == Scored((0.0,))
    finally:
        await process.close()


async def test_a_process_that_dies_is_a_problem_and_the_next_order_has_another_one(tmp_path: Path) -> None:
    script = tmp_path / "scoring.py"
    script.write_text(
        "import pathlib, sys\n"
        f"mark = pathlib.Path({str(tmp_path / 'mark')!r})\n"
        "sys.stdin.readline()\n"
        "if not mark.exists():\n"
        "    mark.touch()\n"
        "    sys.exit(3)\n"
        'print(\'{"values": [1.0], "problem": ""}\', flush=True)\n'
        "sys.stdin.readline()\n"
    )
    process = ScoringProcess((sys.executable, str(script)))
    try:
        first = await process.score(order(kept("7")))
        assert first.values == ()
        assert "the process that scores ended" in first.problem
        assert await process.score(order(kept("7"))) == Scored((1.0,))
    finally:
        await process.close()

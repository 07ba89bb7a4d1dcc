"""Samples of answers under traffic, scored by a judge and by a suite's rules in a process of its own."""

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table, func, select

from adapters import tables
from tests.lifecycle import until
from tests.living import Living, living
from tests.suite_factory import ask, scripted, write_suite

REQUESTS = 64
OTHERS: dict[str, None] = dict.fromkeys(("contract", "refusal", "incomplete", "slow", "feedback"))


def policy(**samples: Any) -> dict[str, Any]:
    sampled = {"share": 1.0, "per_minute": 1000} | samples
    return {"min_requests": 100_000, "steps": [0.5], "signals": OTHERS | {"samples": sampled}}


def grade(body: dict[str, Any]) -> str:
    """The best grade, but for what the spoilt engine breaks."""
    broken = "{not what was asked for" in body["messages"][-1]["content"]
    return json.dumps({"reason": "it is no label" if broken else "a label", "score": 1 if broken else 5})


async def end_after_some_requests(it: Living) -> tuple[str, str, Any]:
    """Stable and candidate version, and the rollout's end; every answer of the candidate is broken."""
    old, new = await it.add(1, promote=True), await it.add(2)
    it.engine.broken[new] = 1.0
    await it.admin("POST", "/adapters/triage/rollout", {"version": new})
    await until(lambda: state(it).get("applied"), "the canary")
    for _ in range(REQUESTS // 8):
        await asyncio.gather(*(it.ask() for _ in range(8)))
    found: list[Any] = []

    async def there() -> bool:
        found[:] = [await it.rollout()]
        return found[0]["ended_at"] is not None

    # The process that scores takes seconds to start, which are not the rollout's.
    await until(lambda: rows(it, tables.sample_scores) > 0, "the first scores")
    await until(there, "the end")
    return old, new, found[0]


def rows(it: Living, table: Table) -> int:
    with it.plane.catalog.database.reading() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


async def test_a_judge_rolls_back_a_version_whose_answers_are_worse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("REFEREE_KEY", "sk-judge")
    judge = {"model": "referee", "rubric": "A label.", "api_key_env": "REFEREE_KEY", "requests_per_hour": 10_000}
    caplog.set_level(logging.INFO)
    async with scripted(grade) as endpoint, living(tmp_path, policy(judge=judge | {"url": endpoint.url})) as it:
        old, new, ended = await end_after_some_requests(it)
        assert ended["phase"] == "rolled_back"
        assert f"worse than {old}: judge" in ended["reason"]
        assert it.statuses == {200: REQUESTS}
        report = (await it.admin("GET", f"/versions/{new}/reports"))["data"][0]["body"]
        signal = next(each for each in report["signals"] if each["signal"] == "judge")
        assert signal["candidate_n"] == signal["candidate_bad"] > 0 == signal["current_bad"]
        assert signal["candidate_n"] + signal["current_n"] <= len(endpoint.bodies) <= REQUESTS
        await until(lambda: rows(it, tables.samples) == 0, "no sample is left")
    assert set(endpoint.keys) == {"Bearer sk-judge"}
    assert "ticket" not in caplog.text
    assert "not what was asked" not in caplog.text


async def test_a_suites_rules_roll_back_a_version_whose_answers_break_them(tmp_path: Path) -> None:
    suite = write_suite(tmp_path / "suite", [ask("ticket", '{"label": "outage"}')], {"kind": "json"})
    async with living(tmp_path, policy(suite={"file": str(suite)})) as it:
        old, _, ended = await end_after_some_requests(it)
        assert ended["phase"] == "rolled_back"
        assert f"worse than {old}: suite" in ended["reason"]
        await until(lambda: rows(it, tables.samples) == 0, "no sample is left")


async def test_every_sample_counts_once_whichever_control_plane_had_it_scored(tmp_path: Path) -> None:
    suite = write_suite(tmp_path / "suite", [ask("ticket", '{"label": "outage"}')], {"kind": "json"})
    async with living(tmp_path, policy(suite={"file": str(suite)})) as it:
        await it.add(1, promote=True)
        await it.admin("POST", "/adapters/triage/rollout", {"version": await it.add(2)})
        await until(lambda: state(it).get("applied"), "the canary")
        await asyncio.gather(*(it.ask() for _ in range(REQUESTS // 2)))
        await until(lambda: counted(it) > 0, "the first scores")
        await it.restart_control()
        await asyncio.gather(*(it.ask() for _ in range(REQUESTS // 2)))
        await until(lambda: counted(it) >= REQUESTS and rows(it, tables.samples) == 0, "the last scores")
        assert counted(it) == REQUESTS
        assert (await it.rollout())["phase"] == "canary"


def state(it: Living) -> Any:
    return it.plane.life.records.last("triage")[0].state


def counted(it: Living) -> int:
    """Samples that the tests of the rollout have had."""
    _, candidate, _, stable = state(it)["evidence"]["scored"]["suite"]
    return int(candidate + stable)

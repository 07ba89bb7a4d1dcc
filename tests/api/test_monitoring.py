"""Drift and output quality from the request to the admin API and the metrics."""

import asyncio
import hashlib
import logging
from pathlib import Path
from typing import Any

import pytest

from tests.lifecycle import until
from tests.living import Living, living
from tests.observing import InProcess, flush, in_process

SECRET = "the vault is behind the painting"
MONITORING: dict[str, Any] = {"drift": {"check_interval_s": 1e-6, "per_minute": 100_000}}
KEYS = [
    {"name": name, "hash": "sha256:" + hashlib.sha256(name.encode()).hexdigest(), **fields}
    for name, fields in (("root", {"admin": True}), ("ann", {}))
]


async def scraped(it: Living) -> str:
    return (await it.http.get("/metrics")).text


async def test_a_version_that_gets_worse_is_seen_in_its_score_and_its_parts(tmp_path: Path) -> None:
    async with living(tmp_path, observing=in_process([]), monitoring=MONITORING) as it:
        version = await it.add(1, promote=True)
        for _ in range(4):
            await asyncio.gather(*(it.ask() for _ in range(8)))
        await flush(it.gateway)
        good = (await it.admin("GET", "/monitoring/labels"))["quality"][version]
        assert good["score"] == 1.0
        it.engine.broken[version] = 1.0
        for _ in range(4):
            await asyncio.gather(*(it.ask() for _ in range(8)))
        await flush(it.gateway)
        worse = (await it.admin("GET", "/monitoring/labels"))["quality"][version]
        assert worse["score"] < 0.7
        assert worse["parts"]["parse"]["value"] < 0.7
        assert worse["requests"] == 64
        text = await scraped(it)
        bad = f'loraplex_quality_checks_total{{adapter="{version}",check="parse",replica="r0",result="bad"'
        assert [line for line in text.splitlines() if line.startswith(bad) and not line.endswith(" 0.0")]
        assert f'loraplex_quality_score_ratio{{adapter="{version}",replica="r0",task="labels"}}' in text
        assert 'loraplex_observer_up{replica="r0"} 1.0' in text


async def test_feedback_is_a_part_of_the_quality(tmp_path: Path) -> None:
    async with living(tmp_path, observing=in_process([]), monitoring=MONITORING) as it:
        version = await it.add(1, promote=True)
        asked = await it.ask()
        given = await it.http.post("/v1/feedback", json={"id": asked.json()["id"], "score": 0.25})
        assert given.status_code == 200
        await flush(it.gateway)
        parts = (await it.admin("GET", "/monitoring/labels"))["quality"][version]["parts"]
        assert parts["feedback"]["value"] == 0.25


async def test_a_worse_version_is_rolled_back_by_the_signal_quality(tmp_path: Path) -> None:
    others: dict[str, None] = dict.fromkeys(("errors", "contract", "refusal", "incomplete", "slow", "feedback"))
    policy = {"min_requests": 100_000, "steps": [0.5], "signals": others | {"quality": {"per_minute": 100_000}}}
    async with living(tmp_path, policy, observing=in_process([]), monitoring=MONITORING) as it:
        old, new = await it.add(1, promote=True), await it.add(2)
        it.engine.broken[new] = 1.0
        await it.admin("POST", "/adapters/triage/rollout", {"version": new})
        records = it.plane.life.records
        await until(lambda: records.last("triage")[0].state.get("applied"), "the canary")
        ended = await it.traffic("rolled_back")
        assert f"worse than {old}: quality" in ended["reason"]


async def test_a_reference_is_asked_for_set_and_stands_in_the_history(tmp_path: Path) -> None:
    async with living(tmp_path, observing=in_process([]), monitoring=MONITORING) as it:
        version = await it.add(1, promote=True)
        for _ in range(26):
            await asyncio.gather(*(it.ask() for _ in range(8)))
        await flush(it.gateway)
        before = (await it.admin("GET", "/monitoring/labels"))["drift"]
        assert (before["frozen"], before["reference"]["rows"]) == (False, 208)
        asked = await it.admin("POST", "/monitoring/labels/reference")
        assert (asked["state"], asked["version"]) == ("waiting", None)
        await flush(it.gateway)
        after = await it.admin("GET", "/monitoring/labels")
        assert (after["drift"]["frozen"], after["references"][0]["state"]) == (True, "done")
        await it.admin("POST", "/monitoring/labels/reference", {"version": version})
        await flush(it.gateway)
        refused = (await it.admin("GET", "/monitoring/labels"))["references"][0]
        assert (refused["state"], "no section `training`" in refused["detail"]) == ("failed", True)
        history = (await it.admin("GET", "/history"))["data"]
        actions = [event["action"] for event in history if event["alias"] == "labels"]
        assert actions == ["freeze-reference", "freeze-reference"]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/nobody/reference", {}, 404),
        ("/labels/reference", {"version": "triage@99999999"}, 404),
        ("/labels/reference", {"versoin": "x"}, 400),
        ("/free/reference", {}, 400),
    ],
)
async def test_what_cannot_be_a_reference_is_refused(
    tmp_path: Path, path: str, body: dict[str, Any], status: int
) -> None:
    tasks = {"labels": {"adapter": "triage"}, "free": {}}
    monitoring = MONITORING | {"tasks": {"free": {"drift": False}}}
    async with living(tmp_path, observing=in_process([]), monitoring=monitoring, tasks=tasks) as it:
        answer = await it.http.post(f"/admin/v1/monitoring{path}", json=body)
        assert answer.status_code == status
        assert answer.json()["error"]["message"]


async def test_only_administrators_see_it_and_nobody_where_it_is_off(tmp_path: Path) -> None:
    for name in ("on", "off"):
        (tmp_path / name).mkdir()
    async with living(tmp_path / "on", observing=in_process([]), monitoring=MONITORING, api_keys=KEYS) as it:
        for name, status in (("root", 200), ("ann", 403)):
            answer = await it.http.get("/admin/v1/monitoring", headers={"authorization": f"Bearer {name}"})
            assert answer.status_code == status
    async with living(tmp_path / "off") as it:
        answer = await it.http.get("/admin/v1/monitoring")
        assert answer.status_code == 404
        assert "monitoring: {}" in answer.json()["error"]["message"]


async def test_a_task_of_which_nothing_is_known_says_so(tmp_path: Path) -> None:
    async with living(tmp_path, observing=in_process([]), monitoring=MONITORING) as it:
        assert (await it.admin("GET", "/monitoring"))["data"] == []
        known = await it.admin("GET", "/monitoring/labels")
        assert (known["at"], known["drift"], known["quality"]) == (None, None, {})
        assert (await it.http.get("/admin/v1/monitoring/nobody")).status_code == 404


async def test_a_secret_in_a_prompt_appears_nowhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    made: list[InProcess] = []
    async with living(tmp_path, observing=in_process(made), monitoring=MONITORING) as it:
        await it.add(1, promote=True)
        base = it.config.model.public_name
        for model in ("labels", base):
            answer = await it.ask(model=model, messages=[{"role": "user", "content": SECRET}])
            assert answer.status_code == 200
        await flush(it.gateway)
        seen = [await scraped(it), str(await it.admin("GET", "/monitoring")), caplog.text]
        assert all(SECRET not in text for text in seen)
    for path in tmp_path.glob("state.db*"):
        assert SECRET.encode() not in path.read_bytes()


async def test_texts_are_shown_to_administrators_where_they_are_kept(tmp_path: Path) -> None:
    small = {"reference_requests": 200, "reference_hours": 0.0, "looks": [40], "window_hours": 1e-6}
    drift = MONITORING["drift"] | small | {"false_alarms_per_day": 1e6}
    kept = {"drift": drift, "keep_texts": True}
    async with living(tmp_path, observing=in_process([]), monitoring=kept) as it:
        await it.add(1, promote=True)
        for _ in range(25):
            await asyncio.gather(*(it.ask() for _ in range(8)))
        strange = [{"role": "user", "content": SECRET}]
        for _ in range(6):
            await asyncio.gather(*(it.ask(messages=strange) for _ in range(8)))
        await flush(it.gateway)
        unusual = (await it.admin("GET", "/monitoring/labels"))["drift"]["unusual"]
        assert SECRET in {one["text"] for one in unusual}


async def test_generation_goes_on_while_the_observer_is_broken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made: list[InProcess] = []
    async with living(tmp_path, observing=in_process(made), monitoring=MONITORING) as it:
        await it.add(1, promote=True)
        records = made[0].worker.keeper._records
        records._database.close()
        records._database = Broken()  # type: ignore[assignment]
        assert (await it.ask()).status_code == 200
        await flush(it.gateway)
        assert it.statuses == {200: 1}
        assert 'loraplex_observer_up{replica="r0"} 0.0' in await scraped(it)
        assert caplog.text.count("answers are not observed in full") == 1


class Broken:
    """A database that is none."""

    def __getattr__(self, name: str) -> Any:
        raise ZeroDivisionError("no database")

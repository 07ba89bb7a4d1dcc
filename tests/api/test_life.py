"""From candidate to stable by itself, under traffic, and back where a version is worse."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.lifecycle import until
from tests.living import Living, living


async def two_versions(it: Living) -> tuple[str, str]:
    """A stable version, and one that has not been seen by anybody."""
    return await it.add(1, promote=True), await it.add(2)


async def begin(it: Living, version: str, **wishes: Any) -> Any:
    return await it.admin("POST", "/adapters/triage/rollout", {"version": version} | wishes)


async def test_a_good_version_is_promoted_by_itself_and_nobody_notices(tmp_path: Path) -> None:
    async with living(tmp_path) as it:
        old, new = await two_versions(it)
        begun = await begin(it, new)
        assert (begun["candidate"], begun["stable"]) == (new, old)
        ended = await it.traffic("promoted", "rolled_back")
        assert ended["phase"] == "promoted"
        assert "the last step ended" in ended["reason"]
        assert [entry["phase"] for entry in ended["history"]] == ["canary", "canary", "promoting", "promoted"]
        assert (await it.alias())["stable"] == new
        assert it.statuses == {200: it.asked}
        story = (await it.admin("GET", f"/adapters/{new}"))["reports"][0]
        assert (story["kind"], story["verdict"], story["summary"]) == ("rollout", "promoted", ended["reason"])
        history = (await it.admin("GET", "/history?alias=triage"))["data"]
        steps = [(event["action"], event["actor"]) for event in reversed(history) if event["version"] == new]
        assert steps == [
            ("add", "anonymous"),
            ("rollout", "anonymous"),
            ("canary", "rollout"),
            ("canary", "rollout"),
            ("promote", "rollout"),
        ]
        assert "requests and no sign of harm" in history[0]["detail"] or "no worse" in history[0]["detail"]


@pytest.mark.parametrize("share", [0.15, 0.3])
async def test_a_version_that_breaks_outputs_is_rolled_back_by_itself(tmp_path: Path, share: float) -> None:
    async with living(tmp_path, {"min_requests": 100_000, "steps": [0.5]}) as it:
        old, new = await two_versions(it)
        it.engine.broken[new] = share
        await begin(it, new)
        ended = await it.traffic("promoted", "rolled_back")
        assert ended["phase"] == "rolled_back"
        assert f"worse than {old}: contract" in ended["reason"]
        alias = await it.alias()
        assert (alias["stable"], alias["canary"]) == (old, None)
        assert it.statuses == {200: it.asked}
        event = (await it.admin("GET", "/history?alias=triage&limit=1"))["data"][0]
        assert (event["action"], event["actor"]) == ("rollback", "rollout")
        assert "contract" in event["detail"]
        report = (await it.admin("GET", f"/versions/{new}/reports"))["data"][0]
        assert report["verdict"] == "rolled_back"
        assert next(each for each in report["body"]["signals"] if each["signal"] == "contract")["worse"]


async def test_callers_judgments_roll_a_version_back(tmp_path: Path) -> None:
    async with living(tmp_path, {"min_requests": 100_000, "steps": [0.5]}) as it:
        _, new = await two_versions(it)
        await begin(it, new)

        def judge(answer: httpx.Response) -> dict[str, str] | None:
            return {"rating": "down" if answer.headers["x-loraplex-adapter"] == new else "up"}

        ended = await it.traffic("promoted", "rolled_back", judge=judge)
        assert ended["phase"] == "rolled_back"
        assert "feedback" in ended["reason"]


async def test_a_shadow_comes_first_where_it_is_wished_and_a_broken_one_is_never_seen(tmp_path: Path) -> None:
    async with living(tmp_path, {"shadow_requests": 20}) as it:
        old, new = await two_versions(it)
        await begin(it, new, shadow=True)
        now = await it.traffic("canary", "rolled_back")
        assert [entry["phase"] for entry in now["history"]] == ["shadow", "canary"]
        await it.admin("DELETE", "/adapters/triage/rollout")
        await it.admin("POST", "/adapters/triage/rollback")
        third = await it.add(3)
        it.engine.broken[third] = 1.0
        await begin(it, third, shadow=True)
        ended = await it.traffic("promoted", "rolled_back", "canary")
        assert ended["phase"] == "rolled_back"
        alias = await it.alias()
        assert (alias["stable"], alias["canary"], alias["shadow"]) == (old, None, None)
        assert it.statuses == {200: it.asked}


async def test_another_control_plane_goes_on_where_the_first_one_was(tmp_path: Path) -> None:
    async with living(tmp_path, {"steps": [0.3, 0.6], "min_requests": 25}) as it:
        _, new = await two_versions(it)
        await begin(it, new)
        await it.traffic("canary", most=64)
        await it.restart_control()
        ended = await it.traffic("promoted", "rolled_back")
        assert ended["phase"] == "promoted"
        assert [entry["step"] for entry in ended["history"]] == [0, 1, 0, 0]
        counted = (await it.admin("GET", f"/versions/{new}/reports"))["data"][0]["body"]["signals"]
        errors = next(each for each in counted if each["signal"] == "errors")
        assert 50 <= errors["candidate_n"] + errors["current_n"] <= it.asked


@pytest.mark.parametrize(
    ("path", "body", "why"),
    [
        ("/adapters/triage/canary", {"share": 0}, "was ended by hand"),
        ("/adapters/triage/rollback", {}, "was ended by hand"),
        ("/adapters/triage/promote", {"version": None}, "was promoted by hand"),
        ("/adapters/triage/canary", {"version": None, "share": 0.9}, "was changed by hand"),
    ],
)
async def test_what_somebody_does_by_hand_ends_it(tmp_path: Path, path: str, body: dict[str, Any], why: str) -> None:
    async with living(tmp_path, {"min_requests": 100_000}) as it:
        _, new = await two_versions(it)
        await begin(it, new)
        await _until_phase(it, "canary", applied=True)
        await it.admin("POST", path, body | ({"version": new} if "version" in body else {}))
        before = await it.alias()
        ended = await _until_phase(it, "stopped")
        assert why in ended["reason"]
        assert await it.alias() == before
        event = (await it.admin("GET", "/history?alias=triage&limit=1"))["data"][0]
        assert (event["action"], event["detail"]) == ("end-rollout", ended["reason"])


async def test_it_can_be_stopped_and_the_canary_stays(tmp_path: Path) -> None:
    async with living(tmp_path, {"min_requests": 100_000}) as it:
        _, new = await two_versions(it)
        await begin(it, new)
        await _until_phase(it, "canary", applied=True)
        stopped = await it.admin("DELETE", "/adapters/triage/rollout")
        assert (stopped["phase"], stopped["reason"]) == ("stopped", "stopped by anonymous")
        assert (await it.alias())["canary"] == new
        again = await it.http.delete("/admin/v1/adapters/triage/rollout")
        assert again.status_code == 409


async def test_a_candidate_is_examined_and_does_what_its_policy_says(tmp_path: Path) -> None:
    policy = {"suite": str(tmp_path / "suite.yaml"), "on_pass": "promote"}
    async with living(tmp_path, policy) as it:
        old, new = await two_versions(it)
        await it.plane.life.candidate(new, actor="job")
        ended = await _until_phase(it, "promoted")
        assert "passed the gate" in ended["reason"]
        assert ended["started_by"] == "job"
        (asked,) = it.examiner.asked
        assert (asked.candidate, asked.current, asked.suite) == (new, old, tmp_path / "suite.yaml")


async def test_a_version_that_cannot_be_loaded_never_answers(tmp_path: Path) -> None:
    async with living(tmp_path) as it:
        old, new = await two_versions(it)
        it.engine.inert.add(new)
        await begin(it, new)
        ended = await _until_phase(it, "failed")
        assert "cannot be served" in ended["reason"]
        assert (await it.alias())["stable"] == old


async def test_rollouts_and_feedback_are_measured(tmp_path: Path) -> None:
    async with living(tmp_path, {"min_requests": 100_000}) as it:
        _, new = await two_versions(it)
        await begin(it, new)
        await _until_phase(it, "canary", applied=True)
        answer = await it.ask()
        await it.http.post("/v1/feedback", json={"id": answer.json()["id"], "score": 0.8})
        text = (await it.http.get("/metrics")).text
        assert f'loraplex_rollout_phase{{adapter="{new}",alias="triage",phase="canary",replica="r0"}} 1.0' in text
        assert f'loraplex_rollout_share_ratio{{adapter="{new}",alias="triage",replica="r0"}} 0.3' in text
        assert 'loraplex_rollout_decisions_total{alias="triage",decision="canary",replica="r0"} 1.0' in text
        assert 'rating="up"' in text


async def _until_phase(it: Living, phase: str, *, applied: bool = False) -> Any:
    found: list[Any] = []

    async def there() -> bool:
        found[:] = [await it.rollout()]
        stands = not applied or (await it.alias())["canary_share"] == found[0]["share"]
        return bool(found[0]["phase"] == phase and stands)

    await until(there, f"phase {phase}")
    if applied:
        # The next look at the alias is what tells a hand-made change from one that is still on its way.
        number = found[0]["id"]
        records = it.plane.life.records
        await until(lambda: records.rollout(number).state.get("applied"), "the plan has seen the alias")
    await asyncio.sleep(0)
    return found[0]

"""A candidate's examination for real: the suite and the gate in a process of their own, against this gateway."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.lifecycle import until
from tests.living import Living, living

CASES = 24


def suite(folder: Path) -> str:
    """A suite that asks for the prompt again, as the fake engine does."""
    rows = [{"id": f"case-{number}", "prompt": f"ticket {number}"} for number in range(CASES)]
    (folder / "cases.jsonl").write_text("\n".join(map(json.dumps, rows)))
    path = folder / "suite.yaml"
    path.write_text("name: echo\ncases: cases.jsonl\nscorers:\n  - kind: regex\n    pattern: 'ticket [0-9]+'\n")
    return str(path)


def policy(folder: Path) -> dict[str, Any]:
    rule = {"kind": "non_inferiority", "margin": 0.3}
    return {"suite": suite(folder), "on_pass": "promote", "gate": {"metrics": {"regex": rule}, "min_cases": 20}}


async def ended(it: Living) -> Any:
    found: list[Any] = []

    async def there() -> bool:
        found[:] = [await it.rollout()]
        return found[0]["ended_at"] is not None

    await until(there, "the end")
    return found[0]


async def test_a_candidate_that_is_worse_does_not_pass_the_gate(tmp_path: Path) -> None:
    pytest.importorskip("training.evaluation.runner")
    async with living(tmp_path, policy(tmp_path), examines=True) as it:
        stable, worse = await it.add(1, promote=True), await it.add(2)
        it.engine.broken[worse] = 1.0
        await it.plane.life.candidate(worse, actor="job")
        refused = await ended(it)
        assert refused["phase"] == "refused"
        assert "did not pass the gate: regex: failed" in refused["reason"]
        assert (await it.alias())["stable"] == stable
        reports = (await it.admin("GET", f"/versions/{worse}/reports"))["data"]
        assert [(report["kind"], report["verdict"]) for report in reports] == [
            ("rollout", "refused"),
            ("gate", "failed"),
            ("run", None),
            ("run", None),
        ]
        assert reports[3]["summary"] == f"echo: regex 0.0000 over {CASES} cases"
        assert [report["body"]["answered_by"] for report in reports[2:]] == [stable, worse]
        assert len(reports[1]["body"]["flips"]) == 20

"""The worker whole: in this process, and in one of its own."""

from pathlib import Path
from typing import Any

import pytest

from adapters.catalog import Catalog
from serving.config import GatewayConfig, parse_config
from serving.observing.process import ObserverLost, ObserverProcess
from tests.lifecycle import until
from tests.observing import InProcess
from tests.unit.serving.observing.facts import VERSION, record

SECRET = "the vault is behind the painting"
NOWHERE = "http://127.0.0.1:9/v1"
JUDGE = {"url": "http://judge/v1", "model": "m", "rubric": "Be right.", "share": 1.0}


def config(folder: Path, **monitoring: Any) -> GatewayConfig:
    made = parse_config(
        {
            "model": {"id": "org/base"},
            "tasks": {"triage": {"adapter": "triage"}},
            "state": {"url": f"sqlite:///{folder}/state.db"},
            "monitoring": monitoring,
        }
    )
    catalog = Catalog(made.state.url)
    catalog.migrate()
    catalog.close()
    return made


async def test_records_are_checked_and_counted(tmp_path: Path) -> None:
    it = InProcess(config(tmp_path))
    found = await it.observe([record(is_drawn=True), record(answer=""), {"kind": "answer", "task": "triage"}])
    assert found["observed"] == 2
    assert ["triage", VERSION, "stable", "empty", 1, 1] in found["checks"]
    assert len(found["lags"]) == 2
    assert found["problem"] == "1 records could not be checked: KeyError (1)"


async def test_how_things_stand_is_told_once(tmp_path: Path) -> None:
    it = InProcess(config(tmp_path, drift={"check_interval_s": 1000.0}))
    await it.observe([record(is_drawn=True)])
    second = await it.observe([])
    assert second["standing"]["windows"] == [["triage", "reference", 1], ["triage", "live", 0]]
    assert (await it.observe([]))["standing"] is None


async def test_confidence_is_given_where_the_engine_told_it(tmp_path: Path) -> None:
    it = InProcess(config(tmp_path))
    told = record(logprobs=[-0.5, -1.5], alternatives=[[-0.7, -0.7]])
    found = await it.observe([told, record()])
    ((task, adapter, logprob, entropy),) = found["confidence"]
    assert (task, adapter, logprob) == ("triage", VERSION, -1.0)
    assert entropy == pytest.approx(0.693, abs=0.001)


async def test_a_sampled_answer_is_judged_and_its_grade_a_part_of_the_score(tmp_path: Path) -> None:
    asked: list[dict[str, Any]] = []

    async def judge(order: dict[str, Any]) -> dict[str, Any]:
        asked.append(order)
        return {"values": [0.25], "problem": ""}

    it = InProcess(config(tmp_path, quality={"judge": JUDGE}), judge=judge)
    it.worker.keeper.turn()
    it.worker._judging.start()
    content = '{"messages": [], "context": [], "answer": "x"}'
    await it.observe([record(content=content), record(outcome="server_error", content=content)])
    found: list[dict[str, Any]] = []

    async def graded() -> bool:
        found.append(await it.observe([]))
        return bool(found[-1]["checks"])

    await until(graded, "the verdict")
    assert found[-1]["checks"] == [["triage", VERSION, "stable", "judge", 0, 1]]
    assert len(asked) == 1


async def test_a_process_of_its_own_says_and_stores_nothing_of_prompts(tmp_path: Path) -> None:
    made = config(tmp_path, drift={"check_interval_s": 0.05, "embedder": {"url": NOWHERE, "model": "m"}})
    it = ObserverProcess(made, "r0")
    secrets = record(prompt=SECRET, answer=f"I cannot help with that: {SECRET}", is_drawn=True)
    found = await it.observe([secrets])
    assert found["observed"] == 1
    assert ["triage", VERSION, "stable", "refusal", 0, 1] in found["checks"]
    answers = [found]
    await until(shown_by(it, answers), "the windows")
    await it.stop()
    assert "did not embed" in answers[-1]["problem"]
    assert SECRET not in str(answers)
    for path in tmp_path.glob("state.db*"):
        assert SECRET.encode() not in path.read_bytes()
    # Another one goes on where it was.
    again = ObserverProcess(made, "r0")
    answers.clear()
    await until(shown_by(again, answers), "the windows again")
    assert answers[-1]["standing"]["windows"][0] == ["triage", "reference", 1]
    await again.stop()


def shown_by(it: ObserverProcess, answers: list[dict[str, Any]]) -> Any:
    async def shown() -> bool:
        answers.append(await it.observe([]))
        return answers[-1]["standing"] is not None and bool(answers[-1]["standing"]["windows"])

    return shown


async def test_a_process_ends_with_its_parent(tmp_path: Path) -> None:
    it = ObserverProcess(config(tmp_path), "r0")
    await it.observe([])
    process = it._process
    assert process is not None
    assert process.stdin is not None
    process.stdin.close()
    await until(lambda: process.returncode is not None, "its end")
    await it.stop()


@pytest.mark.parametrize(
    ("sections", "problem"),
    [({}, "no section `monitoring`"), ({"monitoring": {}, "state": {"url": "sqlite://"}}, "in memory")],
)
async def test_a_process_that_cannot_begin_says_why(sections: dict[str, Any], problem: str) -> None:
    it = ObserverProcess(parse_config({"model": {"id": "org/base"}} | sections), "r0")
    with pytest.raises(ObserverLost, match=f"cannot begin.*{problem}"):
        await it.observe([])
    await it.stop()

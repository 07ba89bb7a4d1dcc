"""``loraplex adapters`` about reports and automatic rollouts, against a live admin API."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from serving.cli.main import build_app
from tests.lifecycle import World, world
from tests.live import served_control

Run = Callable[..., Awaitable[str]]


@asynccontextmanager
async def terminal(folder: Path) -> AsyncIterator[tuple[World, Run]]:
    """A world without replicas, in which no rollout is driven; and what runs commands against it."""
    async with world(folder, replicas=0) as it, served_control(it) as url:

        async def run(*arguments: str, exit_code: int = 0) -> str:
            full = ["adapters", *arguments, "--url", url]
            result = await asyncio.to_thread(CliRunner().invoke, build_app("adapters"), full)
            assert result.exit_code == exit_code, result.output
            return result.output

        yield it, run


def write(path: Path, value: Any) -> str:
    path.write_text(json.dumps(value) if not isinstance(value, str) else value)
    return str(path)


async def test_a_versions_story_is_told(tmp_path: Path) -> None:
    async with terminal(tmp_path) as (it, run):
        version = await it.add("triage", 1)
        answers = [{"case_id": "1", "answer": {"text": "a long answer", "error": None}, "scores": {"accuracy": 1.0}}]
        suite = {"suite": "triage-v1", "primary": "accuracy", "model": version, "results": answers}
        told = await run("report", version, write(tmp_path / "run.json", suite))
        assert f"attached to {version}: run" in told
        verdict = {"passed": False, "outcome": "failed", "reason": "accuracy is worse", "flips": []}
        assert "gate, failed" in await run("report", version, write(tmp_path / "verdict.json", verdict))
        shown = await run("show", version)
        assert shown.index("triage-v1: accuracy") < shown.index("accuracy is worse")
        stored = json.loads(await run("show", version, "--json"))["reports"]
        assert [report["verdict"] for report in stored] == ["failed", None]
        assert "a long answer" not in str([report.body for report in it.life.records.reports(version)])


async def test_a_file_that_is_no_report_is_refused(tmp_path: Path) -> None:
    async with terminal(tmp_path) as (it, run):
        version = await it.add("triage", 1)
        assert "is not JSON" in await run("report", version, write(tmp_path / "a.json", "{"), exit_code=1)
        assert "neither a suite's run" in await run("report", version, write(tmp_path / "b.json", [1]), exit_code=1)
        good = write(tmp_path / "c.json", {"kind": "note", "summary": "fine"})
        assert "There is no adapter version" in await run("report", "triage@99999999", good, exit_code=1)


async def test_an_automatic_rollout_is_begun_told_and_stopped(tmp_path: Path) -> None:
    async with terminal(tmp_path) as (it, run):
        stable = await it.add("triage", 1, promote=True)
        version = await it.add("triage", 2)
        assert "no automatic rollout" in await run("rollout", "triage", exit_code=1)
        begun = await run("rollout", version, "--shadow", "--steps", "0.1,0.4")
        assert f"against {stable}" in begun
        policy = json.loads(await run("rollout", "triage", "--json"))["policy"]
        assert (policy["on_pass"], policy["steps"], policy["suite"]) == ("shadow", [0.1, 0.4], None)
        assert "is in progress" in await run("rollout", version, exit_code=1)
        assert "stopped by anonymous" in await run("rollout", "triage", "--stop")
        assert "no automatic rollout" in await run("rollout", "triage", "--stop", exit_code=1)
        history = await run("history", "triage")
        assert "end-rollout" in history
        assert "stopped by" in history


async def test_shares_that_are_none_are_a_wrong_use(tmp_path: Path) -> None:
    async with terminal(tmp_path) as (it, run):
        await it.add("triage", 1, promote=True)
        version = await it.add("triage", 2)
        assert "not a list of shares" in await run("rollout", version, "--steps", "half", exit_code=2)
        assert "every share" in await run("rollout", version, "--steps", "0.5,0.1", exit_code=1)

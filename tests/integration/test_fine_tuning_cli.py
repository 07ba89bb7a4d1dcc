"""``loraplex jobs`` against a live gateway."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from serving.cli.client import API_KEY_ENV
from tests.adapter_factory import BASE_NAME
from tests.jobs_live import LiveJobs, jobs_config, live_jobs, planned, until_status, until_step
from tests.knowledge_terminal import KnowledgeTerminal

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LiveJobs]:
    """A gateway with one place for jobs."""
    monkeypatch.setenv(API_KEY_ENV, "ada")
    async with live_jobs(jobs_config(tmp_path), tmp_path) as running:
        yield running


def write(folder: Path, **plan: object) -> str:
    """A training file."""
    path = folder / "cards.jsonl"
    path.write_bytes(planned(**plan))
    return str(path)


async def test_a_job_is_created_paused_resumed_and_followed(live: LiveJobs, tmp_path: Path) -> None:
    terminal = KnowledgeTerminal(live.url)
    file = write(tmp_path, steps=3, hold_at=2)
    created = await terminal.json(
        *("jobs", "create", BASE_NAME, file, "--heldout", file, "--adapter", "cards", "--epochs", "2", "--rank", "8")
    )
    assert created["loraplex"] == {"adapter": "cards", "recipe": {"rank": 8}, "allow": []}
    assert created["hyperparameters"]["n_epochs"] == 2
    async with live.sdk() as client:
        await until_step(client, created["id"], 1)
        assert "paused" in await terminal.run("jobs", "pause", created["id"])
        await terminal.run("jobs", "resume", created["id"])
        live.release()
        done = await until_status(client, created["id"], "succeeded")

    assert str(done.fine_tuned_model) in await terminal.run("jobs", "ls")
    assert "succeeded" in await terminal.run("jobs", "show", created["id"])
    lines = (await terminal.run("jobs", "events", created["id"])).splitlines()
    assert lines[0].endswith(f"Created fine-tuning job: {created['id']}")
    assert lines[-1].endswith("The job has successfully completed")
    refused = await terminal.json("jobs", "cancel", created["id"], exit_code=1)
    assert refused["error"]["code"] == "job_conflict"


async def test_a_failed_job_says_why_and_where(live: LiveJobs, tmp_path: Path) -> None:
    terminal = KnowledgeTerminal(live.url)
    assert "no fine-tuning jobs" in await terminal.run("jobs", "ls")
    file = write(tmp_path, refuse={"code": "x", "message": "[red]bad\x1b[2J row", "param": "train", "line": 7})
    created = await terminal.json("jobs", "create", BASE_NAME, file)
    async with live.sdk() as client:
        await until_status(client, created["id"], "failed")

    shown = await terminal.run("jobs", "show", created["id"])

    assert "[red]bad?[2J row (line 7)" in shown


async def test_a_file_that_is_not_there_is_told_before_anything_is_sent(live: LiveJobs) -> None:
    terminal = KnowledgeTerminal(live.url)
    refused = await terminal.json("jobs", "create", BASE_NAME, "/nowhere.jsonl", exit_code=1)

    assert refused["error"]["code"] == "file_unreadable"

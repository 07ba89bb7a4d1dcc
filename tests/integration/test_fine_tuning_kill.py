"""``kill -9`` in the middle of a job, of its control plane and of its trainer."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.integration.instance import ROOT, eventually
from tests.jobs_live import LiveJobs, created, told, trainer_of, until_status, until_step

pytestmark = pytest.mark.timeout(120)


@asynccontextmanager
async def hosted(folder: Path) -> AsyncIterator[LiveJobs]:
    """A gateway in a process of its own, killed at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.integration.jobs_host",
        str(folder),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), 60)
        yield LiveJobs(json.loads(line)["url"], folder)
    finally:
        process.kill()
        await process.wait()


async def test_a_job_goes_on_after_its_control_plane_and_its_trainer_were_killed(tmp_path: Path) -> None:
    async with hosted(tmp_path) as live, live.sdk() as client:
        job = await created(client, steps=5, hold_at=3)
        await until_step(client, job.id, 2)
        orphan = trainer_of(live, job.id)
        before = await told(client, job.id)

    # The trainer learns of it by its standard input, and ends by itself.
    await eventually(lambda: not orphan.is_running(), "the trainer's end")

    async with hosted(tmp_path) as live, live.sdk() as client:
        await eventually(lambda: trainer_of(live, job.id) != orphan, "another trainer")
        trainer_of(live, job.id).kill()
        live.release()
        done = await until_status(client, job.id, "succeeded", "failed")
        messages = await told(client, job.id)

    assert done.fine_tuned_model is not None
    assert messages[: len(before)] == before
    assert "The gateway started again: the job goes on from its last checkpoint" in messages
    assert [message[:6] for message in messages if message.startswith("Step ")] == [f"Step {n}" for n in range(1, 6)]

"""A fine-tuning job with the real trainer, from uploaded rows to a version that answers."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.fine_tuning import FineTuningJob

from serving.config import GatewayConfig, parse_config
from serving.engine.fake import FakeEngine
from serving.gateway import build_gateway
from tests.jobs_live import LiveJobs, told, trainer_of, until_status, until_step, uploaded
from tests.live import served
from tests.tiny_chat_model import make_chat_model

pytestmark = pytest.mark.timeout(280)

BASE = "tiny-chat"
STEPS = 100  # 16 rows, 8 a step, 50 times
RECIPE = {"rank": 4, "checkpoint_every": 10, "max_length": 64}
ROWS = b"".join(
    json.dumps(
        {
            "messages": [
                {"role": "user", "content": f"Question {number} of {number * 7}?"},
                {"role": "assistant", "content": "yes" if number % 3 else "no"},
            ]
        }
    ).encode()
    + b"\n"
    for number in range(16)
)


def config_in(folder: Path) -> GatewayConfig:
    """A gateway over a tiny model; without keys, so that everybody may do everything."""
    return parse_config(
        {
            "model": {"id": str(make_chat_model(folder / BASE))},
            "state": {"url": f"sqlite:///{folder}/state.db"},
            "logging": {"audit": {"file": f"{folder}/audit.jsonl"}},
            "artifacts": {"url": str(folder / "artifacts")},
            "adapters": {"cache_dir": str(folder / "cache"), "sync_interval_s": 0.02},
            "training": {"folder": str(folder / "jobs")},
        }
    )


@asynccontextmanager
async def gateway_in(folder: Path) -> AsyncIterator[LiveJobs]:
    config = config_in(folder)
    gateway = build_gateway(config, engine=FakeEngine(config.model.public_name), replica="test")
    await gateway.start(lambda _: None)
    try:
        async with served(gateway.app) as url:
            yield LiveJobs(url, folder)
    finally:
        await gateway.stop()


async def create(client: openai.AsyncOpenAI, data: bytes = ROWS, **recipe: Any) -> FineTuningJob:
    return await client.fine_tuning.jobs.create(
        model=BASE,
        training_file=await uploaded(client, data),
        seed=7,
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 50, "batch_size": 8}}},
        extra_body={"loraplex": {"adapter": "triage", "recipe": RECIPE | recipe}},
    )


async def ended(client: openai.AsyncOpenAI, job_id: str) -> FineTuningJob:
    return await until_status(client, job_id, "succeeded", "failed", within_s=200)


async def test_rows_become_a_version_that_answers_also_when_the_trainer_is_killed(tmp_path: Path) -> None:
    async with gateway_in(tmp_path) as live, live.sdk() as client:
        whole = await ended(client, (await create(client)).id)
        assert whole.status == "succeeded", whole.error
        assert whole.trained_tokens
        assert whole.fine_tuned_model is not None
        answer = await client.chat.completions.create(
            model=whole.fine_tuned_model, messages=[{"role": "user", "content": "hello"}]
        )
        assert answer.choices[0].message.content

        job = await create(client)
        await until_step(client, job.id, 20, within_s=120)
        trainer_of(live, job.id).kill()
        resumed = await ended(client, job.id)
        messages = await told(client, job.id)

    # A version is named by its content: cut off and gone on, the trainer has made the same bytes.
    assert resumed.fine_tuned_model == whole.fine_tuned_model
    assert sum("resum" in message.lower() or "goes on" in message for message in messages) >= 1
    assert (tmp_path / "jobs" / job.id / "adapter" / "curves.png").stat().st_size > 0


async def test_the_control_plane_ends_and_the_job_goes_on_under_the_next(tmp_path: Path) -> None:
    async with gateway_in(tmp_path) as live, live.sdk() as client:
        job = await create(client)
        await until_step(client, job.id, 20, within_s=120)
    async with gateway_in(tmp_path) as live, live.sdk() as client:
        done = await ended(client, job.id)
        steps = [one.step_number async for one in client.fine_tuning.jobs.checkpoints.list(job.id)]
    assert done.status == "succeeded", done.error
    # The trainer that was asked to end wrote one more, wherever it was.
    assert set(steps) >= set(range(10, STEPS + 1, 10))


async def test_a_bad_row_fails_the_job_with_its_line(tmp_path: Path) -> None:
    async with gateway_in(tmp_path) as live, live.sdk() as client:
        bad = ROWS + b'{"messages": [{"role": "user", "content": "And this?"}]}\n'
        job = await ended(client, (await create(client, bad)).id)
    assert job.status == "failed"
    assert job.error is not None
    assert job.error.param == "training_file"
    assert "17" in job.error.message
    assert "`messages`" in job.error.message

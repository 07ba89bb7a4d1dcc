"""Fine-tuning through the official SDK: from a file to a model that answers, and everything in between."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.fine_tuning import FineTuningJobEvent

from tests.adapter_factory import BASE_NAME
from tests.jobs_live import (
    LiveJobs,
    created,
    jobs_config,
    live_jobs,
    planned,
    told,
    until_status,
    until_step,
    uploaded,
)

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[LiveJobs]:
    """A gateway with one place for jobs."""
    async with live_jobs(jobs_config(tmp_path), tmp_path) as running:
        yield running


@pytest.fixture
async def client(live: LiveJobs) -> AsyncIterator[openai.AsyncOpenAI]:
    """The official SDK, with a key that may write."""
    async with live.sdk() as sdk:
        yield sdk


async def test_a_job_goes_from_its_file_to_a_model_that_answers(live: LiveJobs, client: openai.AsyncOpenAI) -> None:
    training = await uploaded(client, planned(steps=3))
    validation = await uploaded(client, planned())

    job = await client.fine_tuning.jobs.create(
        model=BASE_NAME,
        training_file=training,
        validation_file=validation,
        suffix="Card support!",
        seed=11,
        metadata={"team": "cards"},
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3, "batch_size": "auto"}}},
    )

    assert (job.status, job.fine_tuned_model, job.seed) == ("queued", None, 11)
    done = await until_status(client, job.id, "succeeded", "failed")
    assert done.error is None
    assert done.fine_tuned_model is not None
    assert done.fine_tuned_model.startswith("Card-support@")
    assert (done.trained_tokens, done.metadata, done.training_file) == (300, {"team": "cards"}, training)
    assert done.finished_at is not None
    answer = await client.chat.completions.create(
        model=done.fine_tuned_model, messages=[{"role": "user", "content": "hello"}]
    )
    assert answer.system_fingerprint == done.fine_tuned_model
    messages = await told(client, job.id)
    assert messages[0] == f"Created fine-tuning job: {job.id}"
    assert "Step 3/3: training loss=0.33" in messages
    assert messages[-1] == "The job has successfully completed"
    orders = json.loads((live.folder / "jobs" / job.id / "job.json").read_text())
    assert orders["method"] == "sft"
    assert orders["recipe"] == {
        "name": "Card-support",
        "base_model": BASE_NAME,
        "train": "train.jsonl",
        "heldout": "heldout.jsonl",
        "seed": 11,
        "epochs": 3,
    }


async def test_preferences_are_trained_on_with_their_own_hyperparameters(
    live: LiveJobs, client: openai.AsyncOpenAI
) -> None:
    job = await client.fine_tuning.jobs.create(
        model=BASE_NAME,
        training_file=await uploaded(client, planned()),
        method={"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.2, "learning_rate_multiplier": 2}}},
        extra_body={"loraplex": {"adapter": "cards", "recipe": {"rank": 4}, "allow": ["leakage"]}},
    )

    assert job.method is not None
    assert job.method.dpo is not None
    assert job.method.dpo.hyperparameters is not None
    assert job.method.dpo.hyperparameters.beta == 0.2
    await until_status(client, job.id, "succeeded")
    orders = json.loads((live.folder / "jobs" / job.id / "job.json").read_text())
    assert orders["method"] == "dpo"
    assert orders["allow"] == ["leakage"]
    assert orders["recipe"]["beta"] == 0.2
    assert orders["recipe"]["learning_rate"] == pytest.approx(4e-5)
    assert orders["recipe"]["rank"] == 4


async def test_a_bad_file_is_told_with_its_line(client: openai.AsyncOpenAI) -> None:
    refusal = {
        "code": "invalid_training_file",
        "message": "line 7: the last message must be the assistant's",
        "param": "training_file",
        "line": 7,
    }

    job = await created(client, refuse=refusal)

    failed = await until_status(client, job.id, "failed", "succeeded")
    assert failed.error is not None
    assert failed.error.model_dump() == refusal
    assert failed.fine_tuned_model is None
    page = await client.fine_tuning.jobs.list_events(job.id)
    assert page.data[0].level == "error"
    assert page.data[0].data == refusal


async def test_events_come_once_each_and_in_pages(client: openai.AsyncOpenAI) -> None:
    job = await created(client, steps=5)
    await until_status(client, job.id, "succeeded")

    newest = await client.fine_tuning.jobs.list_events(job.id, limit=2)
    everything = [event async for event in client.fine_tuning.jobs.list_events(job.id, limit=3)]

    assert newest.has_more
    assert [event.id for event in everything[:2]] == [event.id for event in newest.data]
    assert len({event.id for event in everything}) == len(everything)
    metrics = [event.data for event in everything if event.type == "metrics"]
    assert [one["step"] for one in metrics if isinstance(one, dict)] == [5, 4, 3, 2, 1]


async def test_events_are_streamed_until_the_job_has_ended(live: LiveJobs, client: openai.AsyncOpenAI) -> None:
    job = await created(client, steps=3, hold_at=2)
    stream: openai.AsyncStream[FineTuningJobEvent] = await client.get(
        f"/fine_tuning/jobs/{job.id}/events",
        cast_to=FineTuningJobEvent,
        options={"params": {"stream": "true"}},
        stream=True,
        stream_cls=openai.AsyncStream[FineTuningJobEvent],
    )

    messages: list[str] = []
    async for event in stream:
        messages.append(event.message)
        if event.message.startswith("Step 1/"):
            live.release()

    assert messages == await told(client, job.id)
    assert messages[-1] == "The job has successfully completed"


async def test_a_stream_of_a_job_that_nobody_knows_is_refused(live: LiveJobs) -> None:
    async with live.http() as http:
        answer = await http.get("fine_tuning/jobs/ftjob-none/events", params={"stream": "true"})

    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"


async def test_a_checkpoint_is_a_model_once_it_is_published(live: LiveJobs, client: openai.AsyncOpenAI) -> None:
    job = await created(client, steps=3)
    await until_status(client, job.id, "succeeded")
    page = await client.fine_tuning.jobs.checkpoints.list(job.id, limit=2)

    assert [one.step_number for one in page.data] == [3, 2]
    assert page.has_more
    assert page.data[0].metrics.train_loss == pytest.approx(1 / 3)
    assert page.data[1].fine_tuned_model_checkpoint == "cards:ckpt-step-2"
    path = f"fine_tuning/jobs/{job.id}/checkpoints/{page.data[1].id}/publish"
    async with live.http() as http:
        published = (await http.post(path)).json()
        again = (await http.post(path)).json()
    assert published["fine_tuned_model_checkpoint"].startswith("cards@")
    assert again == published
    answer = await client.chat.completions.create(
        model=published["fine_tuned_model_checkpoint"], messages=[{"role": "user", "content": "hello"}]
    )
    assert answer.system_fingerprint == published["fine_tuned_model_checkpoint"]


async def test_a_cancelled_job_ends_and_frees_its_place(client: openai.AsyncOpenAI) -> None:
    held = await created(client, steps=3, hold_at=2)
    waiting = await created(client)
    await until_step(client, held.id, 1)

    cancelled = await client.fine_tuning.jobs.cancel(held.id)

    assert cancelled.status == "cancelled"
    assert cancelled.finished_at is not None
    await until_status(client, waiting.id, "succeeded")
    assert (await client.fine_tuning.jobs.retrieve(held.id)).status == "cancelled"
    with pytest.raises(openai.ConflictError, match="it is cancelled"):
        await client.fine_tuning.jobs.cancel(held.id)


async def test_a_paused_job_gives_up_its_place_and_goes_on_where_it_was(
    live: LiveJobs, client: openai.AsyncOpenAI
) -> None:
    job = await created(client, steps=4, hold_at=3)
    await until_step(client, job.id, 2)

    paused: Any = await client.fine_tuning.jobs.pause(job.id)
    assert paused.status == "paused"
    other = await created(client)
    await until_status(client, other.id, "succeeded")
    live.release()
    resumed = await client.fine_tuning.jobs.resume(job.id)

    assert resumed.status == "queued"
    await until_status(client, job.id, "succeeded")
    messages = await told(client, job.id)
    assert "Resuming from step 2" in messages
    assert sum(message.startswith("Step 1/") for message in messages) == 1


async def test_jobs_are_trained_in_the_order_of_their_arrival(live: LiveJobs, client: openai.AsyncOpenAI) -> None:
    file = await uploaded(client, planned(steps=2, hold_at=1))
    jobs = [await created(client, file=file) for _ in range(3)]

    live.release()
    ended = [await until_status(client, job.id, "succeeded") for job in jobs]

    # The queue tells their turns apart by the events, which are numbered over all jobs.
    begun = []
    for job in ended:
        events = [event async for event in client.fine_tuning.jobs.list_events(job.id)]
        numbers = {event.message: int(event.id.removeprefix("ftevent-")) for event in events}
        begun.append((numbers["validating"], numbers["The job has successfully completed"]))
    assert begun == sorted(begun)
    assert all(before[1] < after[0] for before, after in itertools.pairwise(begun))


async def test_a_trainer_that_is_killed_goes_on_from_its_checkpoint(client: openai.AsyncOpenAI) -> None:
    job = await created(client, steps=4, crash_at=3)

    await until_status(client, job.id, "succeeded")

    messages = await told(client, job.id)
    assert "The trainer was ended by signal 9; it is started again and goes on from its last checkpoint." in messages
    assert "Resuming from step 2" in messages
    steps = [message for message in messages if message.startswith("Step ")]
    assert len(steps) == 4


async def test_a_trainer_that_only_ever_crashes_fails_with_its_last_words(client: openai.AsyncOpenAI) -> None:
    job = await created(client, crash_always=True)

    failed = await until_status(client, job.id, "failed")

    assert failed.error is not None
    assert failed.error.code == "training_failed"
    assert "3 times in a row without a new checkpoint" in failed.error.message
    assert "RuntimeError: the stand-in was told to crash" in failed.error.message


async def test_a_job_outlives_its_control_plane(tmp_path: Path) -> None:
    config = jobs_config(tmp_path)
    async with live_jobs(config, tmp_path) as live, live.sdk() as client:
        job = await created(client, steps=4, hold_at=3)
        waiting = await created(client)
        await until_step(client, job.id, 2)
        before = await told(client, job.id)

    async with live_jobs(config, tmp_path) as live, live.sdk() as client:
        live.release()
        await until_status(client, job.id, "succeeded")
        await until_status(client, waiting.id, "succeeded")
        messages = await told(client, job.id)

    assert messages[: len(before)] == before
    assert "Resuming from step 2" in messages
    assert sum(message.startswith("Step ") for message in messages) == 4


async def test_a_file_may_be_deleted_once_its_job_is_created(client: openai.AsyncOpenAI) -> None:
    file = await uploaded(client, planned())
    job = await created(client, file=file)

    await client.files.delete(file)

    await until_status(client, job.id, "succeeded")


async def test_integrations_are_left_out_and_the_events_say_so(client: openai.AsyncOpenAI) -> None:
    job = await client.fine_tuning.jobs.create(
        model=BASE_NAME,
        training_file=await uploaded(client, planned()),
        integrations=[{"type": "wandb", "wandb": {"project": "cards"}}],
    )

    assert job.integrations == []
    page = await client.fine_tuning.jobs.list_events(job.id, limit=100)
    assert any(event.level == "warn" and "Integrations" in event.message for event in page.data)


async def test_the_trainer_steps_back_for_everything_else(live: LiveJobs, client: openai.AsyncOpenAI) -> None:
    import psutil

    job = await created(client, hold_at=2)
    await until_step(client, job.id, 1)
    lock = (live.folder / "jobs" / job.id / "lock").read_text()

    assert await asyncio.to_thread(psutil.Process(int(lock.split()[0])).nice) == 19

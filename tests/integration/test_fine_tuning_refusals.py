"""What fine-tuning refuses, from whom it hides, and what hostile callers get."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from serving.engine.fake import FakeEngine
from serving.gateway import build_gateway
from tests.adapter_factory import BASE_NAME
from tests.jobs_live import LiveJobs, created, jobs_config, live_jobs, planned, until_status, uploaded
from tests.knowledge_live import BASE, knowledge_config
from tests.live import served

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[LiveJobs]:
    """A gateway with one place for jobs."""
    async with live_jobs(jobs_config(tmp_path, training={"max_unfinished_jobs": 2}), tmp_path) as running:
        yield running


HYPERPARAMETERS: list[tuple[dict[str, Any], str]] = [
    ({"n_epochs": 0}, "n_epochs"),
    ({"n_epochs": 51}, "n_epochs"),
    ({"n_epochs": True}, "n_epochs"),
    ({"n_epochs": "many"}, "n_epochs"),
    ({"n_epochs": 1.5}, "n_epochs"),
    ({"batch_size": 257}, "batch_size"),
    ({"learning_rate_multiplier": 0}, "learning_rate_multiplier"),
    ({"learning_rate_multiplier": 10**400}, "learning_rate_multiplier"),
    ({"beta": 0.1}, "beta"),
    ({"warmup": 1}, "warmup"),
]
BODIES: list[tuple[dict[str, Any], str | None]] = [
    ({"model": "gpt-4o"}, "model"),
    ({"model": 7}, "model"),
    ({"training_file": "file-none"}, "training_file"),
    ({"training_file": "../../etc/passwd"}, "training_file"),
    ({"validation_file": "file-none"}, "validation_file"),
    ({"method": {"type": "reinforcement", "reinforcement": {"grader": {}}}}, "method"),
    ({"method": {"type": "supervised", "dpo": {}}}, "method"),
    ({"method": {"type": "dpo"}, "hyperparameters": {"n_epochs": 1}}, None),
    ({"suffix": ""}, "suffix"),
    ({"suffix": "!!"}, "suffix"),
    ({"suffix": "a\x00b"}, "suffix"),
    ({"suffix": "a" * 65}, "suffix"),
    ({"suffix": "one", "loraplex": {"adapter": "two"}}, "suffix"),
    ({"seed": -1}, "seed"),
    ({"seed": 2**31}, "seed"),
    ({"metadata": {"key": 1}}, "metadata.key"),
    ({"metadata": {str(number): "" for number in range(17)}}, "metadata"),
    ({"integrations": [{"type": "other"}]}, "integrations.0.type"),
    ({"loraplex": {"adapter": "../evil"}}, "loraplex.adapter"),
    ({"loraplex": {"adapter": BASE_NAME}}, "name"),
    ({"loraplex": {"recipe": {"train": "/etc/passwd"}}}, "loraplex.recipe.train"),
    ({"loraplex": {"recipe": {"rank": 32}}}, "loraplex.recipe.rank"),
    ({"loraplex": {"recipe": {"rank": "32"}}}, "loraplex.recipe.rank"),
    ({"loraplex": {"recipe": {"rank": 0}}}, "loraplex.recipe.rank"),
    ({"loraplex": {"recipe": {"use_dora": True}}}, "loraplex.recipe.use_dora"),
    ({"loraplex": {"recipe": {"epochs": 2}}, "hyperparameters": {"n_epochs": 1}}, "loraplex.recipe.epochs"),
    ({"loraplex": {"recipe": {"target_modules": ["x" * 70_000]}}}, "loraplex.recipe"),
    ({"loraplex": {"allow": ["../x"]}}, "loraplex.allow.0"),
    ({"loraplex": {"unknown": 1}}, "loraplex.unknown"),
    ({"organisation": "x"}, "organisation"),
]


async def test_what_is_wrong_with_a_request_is_named(live: LiveJobs) -> None:
    async with live.sdk() as client, live.http() as http:
        good = {"model": BASE_NAME, "training_file": await uploaded(client, planned())}
        for changes, param in BODIES:
            answer = await http.post("fine_tuning/jobs", json=good | changes)
            assert answer.status_code in (400, 404), (changes, answer.text)
            assert answer.json()["error"]["param"] == param, (changes, answer.text)
        for hyperparameters, param in HYPERPARAMETERS:
            method = {"type": "supervised", "supervised": {"hyperparameters": hyperparameters}}
            answer = await http.post("fine_tuning/jobs", json=good | {"method": method})
            assert answer.status_code == 400, (hyperparameters, answer.text)
            assert answer.json()["error"]["param"] == f"method.supervised.hyperparameters.{param}"
        assert (await http.get("fine_tuning/jobs")).json()["data"] == []
    assert [path.name for path in (live.folder / "jobs").iterdir()] == []


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b'"\\ud800"', b'{"model": "\\ud800", "training_file": "x"}', b"[" * 5_000, b'{"seed": NaN}'],
)
async def test_a_body_that_is_no_request_is_a_400(live: LiveJobs, body: bytes) -> None:
    async with live.http() as http:
        answer = await http.post("fine_tuning/jobs", content=body, headers={"content-type": "application/json"})

    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


async def test_a_file_must_be_for_fine_tuning_and_hold_something(live: LiveJobs) -> None:
    async with live.sdk() as client:
        other = await uploaded(client, planned(), purpose="assistants")
        with pytest.raises(openai.BadRequestError, match="this needs `fine-tune`"):
            await created(client, file=other)
        with pytest.raises(openai.BadRequestError, match="is empty"):
            await created(client, file=await uploaded(client, b"\n \n"))


async def test_only_so_many_jobs_are_taken(live: LiveJobs) -> None:
    async with live.sdk() as client:
        file = await uploaded(client, planned(hold_at=1))
        await created(client, file=file)
        await created(client, file=file)
        with pytest.raises(openai.RateLimitError, match="2 jobs are unfinished"):
            await created(client, file=file)


async def test_a_key_that_may_not_write_creates_nothing(live: LiveJobs) -> None:
    async with live.sdk("reader") as client:
        with pytest.raises(openai.PermissionDeniedError, match="writes_knowledge"):
            await client.fine_tuning.jobs.create(model=BASE_NAME, training_file="file-x")


async def test_a_key_makes_versions_of_no_adapter_whose_versions_it_may_not_call(live: LiveJobs) -> None:
    async with live.sdk("narrow") as client:
        with pytest.raises(openai.PermissionDeniedError, match=r"support@\*"):
            await created(client, adapter="support")
        assert (await created(client, adapter="cards")).status == "queued"


async def test_a_job_is_its_owners_and_the_administrators(live: LiveJobs) -> None:
    async with live.sdk("ada") as ada, live.sdk("ben") as ben, live.sdk("root") as root:
        file = await uploaded(ada, planned())
        job = await created(ada, file=file)
        await until_status(ada, job.id, "succeeded")

        with pytest.raises(openai.NotFoundError) as raised:
            await created(ben, file=file)
        assert raised.value.param == "training_file"
        for call in (
            ben.fine_tuning.jobs.retrieve(job.id),
            ben.fine_tuning.jobs.cancel(job.id),
            ben.fine_tuning.jobs.pause(job.id),
            ben.fine_tuning.jobs.resume(job.id),
            ben.fine_tuning.jobs.list_events(job.id),
            ben.fine_tuning.jobs.checkpoints.list(job.id),
        ):
            with pytest.raises(openai.NotFoundError, match="No such fine-tuning job"):
                await call
        assert (await ben.fine_tuning.jobs.list()).data == []
        assert [one.id for one in (await root.fine_tuning.jobs.list()).data] == [job.id]
    async with live.http("ben") as http:
        for path in ("events?stream=true", "checkpoints/ftckpt-1/publish"):
            answer = await http.request("POST" if "publish" in path else "GET", f"fine_tuning/jobs/{job.id}/{path}")
            assert answer.status_code == 404


async def test_jobs_are_listed_by_metadata_and_in_pages(live: LiveJobs) -> None:
    async with live.sdk() as client:
        jobs = []
        for metadata in ({"team": "cards"}, None):
            job = await client.fine_tuning.jobs.create(
                model=BASE_NAME, training_file=await uploaded(client, planned()), metadata=metadata
            )
            jobs.append((await until_status(client, job.id, "succeeded")).id)

        first = await client.fine_tuning.jobs.list(limit=1)
        assert ([one.id for one in first.data], first.has_more) == ([jobs[1]], True)
        assert [one.id async for one in client.fine_tuning.jobs.list(limit=1)] == [jobs[1], jobs[0]]
        assert [one.id async for one in client.fine_tuning.jobs.list(metadata={"team": "cards"})] == [jobs[0]]
        assert [one.id async for one in client.fine_tuning.jobs.list(metadata={"team": "loans"})] == []
    async with live.http() as http:
        bare = await http.get("fine_tuning/jobs", params={"metadata": "null"})
        assert [one["id"] for one in bare.json()["data"]] == [jobs[1]]
        assert (await http.get("fine_tuning/jobs", params={"metadata": "x"})).status_code == 400


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("jobs?after=ftjob-none", 404),
        ("jobs?limit=0", 400),
        ("jobs?limit=many", 400),
        ("jobs/JOB/events?after=ftevent-%D9%A3", 404),
        ("jobs/JOB/events?after=ftevent-99999999999999999999", 404),
        ("jobs/JOB/events?after=7", 404),
        ("jobs/JOB/events?order=up", 400),
        ("jobs/JOB/checkpoints?after=ftckpt-", 404),
        ("jobs/JOB/elsewhere", 404),
        ("jobs/%00", 404),
        ("jobs/" + "x" * 3000, 404),
        ("models", 404),
    ],
)
async def test_a_place_that_is_none_is_told_in_the_envelope(live: LiveJobs, path: str, status: int) -> None:
    async with live.sdk() as client, live.http() as http:
        job = await created(client, hold_at=1)
        answer = await http.get("fine_tuning/" + path.replace("JOB", job.id))

    assert answer.status_code == status, answer.text
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


async def test_what_a_job_is_not_in_the_state_for_is_a_conflict(live: LiveJobs) -> None:
    async with live.sdk() as client:
        job = await created(client)
        await until_status(client, job.id, "succeeded")
        for call in (client.fine_tuning.jobs.pause, client.fine_tuning.jobs.resume, client.fine_tuning.jobs.cancel):
            with pytest.raises(openai.ConflictError, match="it is succeeded"):
                await call(job.id)


async def test_a_gateway_without_the_section_says_how_to_enable_it(tmp_path: Path) -> None:
    plain = knowledge_config(tmp_path).model_copy(update={"knowledge": None})
    gateway = build_gateway(plain, engine=FakeEngine(BASE, capacity=None))
    await gateway.start(lambda _: None)
    async with served(gateway.app) as url, httpx.AsyncClient(trust_env=False) as http:
        answer = await http.get(f"{url}/v1/fine_tuning/jobs")
    await gateway.stop()

    assert answer.status_code == 404
    assert "a section `training: {}`" in answer.json()["error"]["message"]


async def test_files_are_kept_without_knowledge(live: LiveJobs) -> None:
    async with live.sdk() as client:
        file = await uploaded(client, b"hello")
        assert (await client.files.content(file)).content == b"hello"
        assert [one.id async for one in client.files.list(purpose="fine-tune")] == [file]
        await client.files.delete(file)
        with pytest.raises(openai.NotFoundError):
            await client.files.retrieve(file)

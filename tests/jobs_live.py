"""A whole gateway that takes fine-tuning jobs, on loopback, in front of the fake engine and a stand-in trainer."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
from openai.types.fine_tuning import FineTuningJob

from serving.config import GatewayConfig, parse_config
from serving.engine.fake import FakeEngine
from serving.gateway import build_gateway
from serving.jobs.launcher import ProcessLauncher
from tests.adapter_factory import BASE_NAME, make_adapter, make_base
from tests.api import openai_schema
from tests.knowledge_live import key_of
from tests.live import served

STANDIN = (sys.executable, "-m", "tests.standin_trainer")
PATIENCE_S = 30.0
KEYS = [
    key_of("ada", writes_knowledge=True),
    key_of("ben", writes_knowledge=True),
    key_of("reader"),
    key_of("root", admin=True),
    key_of("narrow", writes_knowledge=True, models=["support", "cards@*"]),
]

_SCHEMAS = (
    ("POST", "fine_tuning/jobs", "FineTuningJob"),
    ("GET", "fine_tuning/jobs", "ListPaginatedFineTuningJobsResponse"),
    ("GET", "fine_tuning/jobs/ID", "FineTuningJob"),
    ("POST", "fine_tuning/jobs/ID/cancel", "FineTuningJob"),
    ("POST", "fine_tuning/jobs/ID/pause", "FineTuningJob"),
    ("POST", "fine_tuning/jobs/ID/resume", "FineTuningJob"),
    ("GET", "fine_tuning/jobs/ID/events", "ListFineTuningJobEventsResponse"),
    ("GET", "fine_tuning/jobs/ID/checkpoints", "ListFineTuningJobCheckpointsResponse"),
    ("POST", "fine_tuning/jobs/ID/checkpoints/ID/publish", "FineTuningJobCheckpoint"),
)


@dataclass(frozen=True, slots=True)
class LiveJobs:
    """What a test drives and looks at."""

    url: str
    folder: Path

    def sdk(self, key: str = "ada") -> openai.AsyncOpenAI:
        """The official client, without its retries; every answer is held against OpenAI's description."""
        return openai.AsyncOpenAI(
            base_url=f"{self.url}/v1",
            api_key=key,
            max_retries=0,
            http_client=openai.DefaultAsyncHttpxClient(
                timeout=30, trust_env=False, event_hooks={"response": [_check_answer]}
            ),
        )

    def http(self, key: str = "ada") -> httpx.AsyncClient:
        """Bare HTTP under ``/v1``."""
        headers = {"authorization": f"Bearer {key}"}
        return httpx.AsyncClient(base_url=f"{self.url}/v1/", headers=headers, timeout=30, trust_env=False)

    def release(self) -> None:
        """Let the trainers that wait go on."""
        (self.folder / "jobs" / "release").touch()


def jobs_config(folder: Path, *, training: dict[str, Any] | None = None, **sections: Any) -> GatewayConfig:
    """A configuration whose whole state is in ``folder``. ``training`` adds to that section."""
    base = make_base(folder / BASE_NAME)
    make_adapter(folder / "made", base)
    return parse_config(
        {
            "model": {"id": str(base)},
            "state": {"url": f"sqlite:///{folder}/state.db"},
            "logging": {"audit": {"file": f"{folder}/audit.jsonl"}},
            "artifacts": {"url": str(folder / "artifacts")},
            "adapters": {"cache_dir": str(folder / "cache"), "sync_interval_s": 0.02},
            "training": {"folder": str(folder / "jobs"), **(training or {})},
            "api_keys": KEYS,
            **sections,
        }
    )


@asynccontextmanager
async def live_jobs(config: GatewayConfig, folder: Path) -> AsyncIterator[LiveJobs]:
    """A gateway that runs its own control plane, as an operator's does."""
    engine = FakeEngine(config.model.public_name)
    gateway = build_gateway(config, engine=engine, replica="test", launcher=ProcessLauncher(STANDIN))
    await gateway.start(lambda _: None)
    try:
        async with served(gateway.app) as url:
            yield LiveJobs(url, folder)
    finally:
        await gateway.stop()


def planned(**plan: Any) -> bytes:
    """A training file that tells the stand-in what to do."""
    messages = [
        {"role": "user", "content": json.dumps({"steps": 2, **plan})},
        {"role": "assistant", "content": "card_arrival"},
    ]
    return json.dumps({"messages": messages}).encode() + b"\n"


async def uploaded(client: openai.AsyncOpenAI, data: bytes, purpose: Any = "fine-tune") -> str:
    """The id of a file that was sent."""
    return (await client.files.create(file=("train.jsonl", data), purpose=purpose)).id


async def created(client: openai.AsyncOpenAI, *, adapter: str = "cards", file: str = "", **plan: Any) -> FineTuningJob:
    """A job whose trainer follows ``plan``."""
    return await client.fine_tuning.jobs.create(
        model=BASE_NAME,
        training_file=file or await uploaded(client, planned(**plan)),
        seed=7,
        extra_body={"loraplex": {"adapter": adapter}},
    )


async def until_status(
    client: openai.AsyncOpenAI, job_id: str, *wanted: str, within_s: float = PATIENCE_S
) -> FineTuningJob:
    """The job, once it is in one of these states."""
    return await until_job(client, job_id, lambda job: job.status in wanted, " or ".join(wanted), within_s)


async def until_job(
    client: openai.AsyncOpenAI,
    job_id: str,
    condition: Callable[[FineTuningJob], bool],
    what: str,
    within_s: float = PATIENCE_S,
) -> FineTuningJob:
    """The job, once ``condition`` holds."""
    deadline = time.monotonic() + within_s
    while True:
        job = await client.fine_tuning.jobs.retrieve(job_id)
        if condition(job):
            return job
        assert time.monotonic() < deadline, f"not {what} after {within_s:g} s: {job}"
        await asyncio.sleep(0.02)


async def until_step(client: openai.AsyncOpenAI, job_id: str, step: int, within_s: float = PATIENCE_S) -> None:
    """Wait for a checkpoint of that step."""
    deadline = time.monotonic() + within_s
    while True:
        page = await client.fine_tuning.jobs.checkpoints.list(job_id)
        if any(one.step_number >= step for one in page.data):
            return
        assert time.monotonic() < deadline, f"no checkpoint at step {step} after {within_s:g} s"
        await asyncio.sleep(0.02)


def trainer_of(live: LiveJobs, job_id: str) -> psutil.Process:
    """The trainer that works on a job."""
    pid, *_ = (live.folder / "jobs" / job_id / "lock").read_text().split()
    return psutil.Process(int(pid))


async def told(client: openai.AsyncOpenAI, job_id: str) -> list[str]:
    """The messages of a job's events, the oldest first."""
    return [event.message async for event in client.fine_tuning.jobs.list_events(job_id, limit=100)][::-1]


async def _check_answer(response: Any) -> None:
    if response.status_code != httpx.codes.OK or not openai_schema.is_at_hand():
        return
    name = openai_schema.schema_of(_SCHEMAS, response.request.method, response.request.url.path)
    if name is None or "event-stream" in response.headers["content-type"]:
        return
    await response.aread()
    openai_schema.check(name, _unpaused(response.json()))


def _unpaused(answer: Any) -> Any:
    """OpenAI's own example of a pause has the status ``paused``, which its list of them lacks."""
    if isinstance(answer, list):
        return [_unpaused(one) for one in answer]
    if not isinstance(answer, dict):
        return answer
    return {name: "queued" if (name, one) == ("status", "paused") else _unpaused(one) for name, one in answer.items()}

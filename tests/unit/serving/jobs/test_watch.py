"""What a scrape tells of fine-tuning jobs."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from adapters.database import Database
from adapters.errors import CatalogUnavailable
from serving.jobs.records import Jobs
from serving.jobs.tables import SCHEMA
from serving.jobs.types import JobStatus, NewEvent
from serving.jobs.watch import JobWatch
from tests.unit.serving.jobs.test_events_file import a_job

NOW = 10_000.0


@pytest.fixture
def url(empty_state_url: str) -> str:
    return empty_state_url


@pytest.fixture
def jobs(url: str) -> Iterator[Jobs]:
    """Records on a real database."""
    database = Database(url, SCHEMA)
    database.migrate()
    yield Jobs(database)
    database.close()


@pytest.fixture
def watch(url: str) -> Iterator[JobWatch]:
    made = JobWatch(url, clock=lambda: NOW)
    yield made
    made.close()


def _add(jobs: Jobs, job_id: str, status: JobStatus, *heard_at: float) -> None:
    jobs.add(replace(a_job(job_id), status=status), [NewEvent("it lives", at) for at in heard_at])


async def test_jobs_are_counted_by_status_with_zeros(jobs: Jobs, watch: JobWatch) -> None:
    _add(jobs, "ftjob-1", JobStatus.RUNNING, NOW)
    _add(jobs, "ftjob-2", JobStatus.QUEUED, NOW)
    _add(jobs, "ftjob-3", JobStatus.QUEUED, NOW)
    _add(jobs, "ftjob-4", JobStatus.SUCCEEDED, NOW)

    lines = (await watch.metrics_text()).decode().splitlines()

    assert 'loraplex_jobs{replica="control",status="queued"} 2.0' in lines
    assert 'loraplex_jobs{replica="control",status="running"} 1.0' in lines
    assert 'loraplex_jobs{replica="control",status="paused"} 0.0' in lines
    assert not any("succeeded" in line for line in lines)


async def test_the_silence_is_that_of_the_quietest_trainer_at_work(jobs: Jobs, watch: JobWatch) -> None:
    _add(jobs, "ftjob-1", JobStatus.RUNNING, NOW - 9000, NOW - 60)
    _add(jobs, "ftjob-2", JobStatus.VALIDATING, NOW - 3000)
    _add(jobs, "ftjob-3", JobStatus.PAUSED, NOW - 9000)
    _add(jobs, "ftjob-4", JobStatus.FAILED, NOW - 9000)

    assert 'loraplex_job_silence_seconds{replica="control"} 3000.0' in (await watch.metrics_text()).decode()


async def test_where_no_job_is_at_work_nobody_is_silent(jobs: Jobs, watch: JobWatch) -> None:
    _add(jobs, "ftjob-1", JobStatus.QUEUED, NOW - 9000)

    assert 'loraplex_job_silence_seconds{replica="control"} 0.0' in (await watch.metrics_text()).decode()


async def test_before_the_control_plane_made_its_tables_nothing_is_told(watch: JobWatch) -> None:
    with pytest.raises(CatalogUnavailable):
        await watch.metrics_text()

"""What is kept of jobs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.database import Database
from serving.jobs.records import Jobs
from serving.jobs.tables import SCHEMA
from serving.jobs.types import JobStatus, NewCheckpoint, NewEvent, News
from tests.unit.serving.jobs.test_events_file import a_job


@pytest.fixture
def jobs(state_url: str) -> Iterator[Jobs]:
    """Records on a real database."""
    database = Database(state_url, SCHEMA)
    database.migrate()
    yield Jobs(database)
    database.close()


def test_what_jobs_told_is_forgotten_a_while_after_their_end(jobs: Jobs) -> None:
    for job_id in ("ftjob-1", "ftjob-2", "ftjob-3"):
        jobs.add(a_job(job_id), [NewEvent("created", 1.0)])
        jobs.absorb(job_id, News(checkpoints=(NewCheckpoint(1, "checkpoints/step-1", {}, 1.0),), read_to=1))
    for job_id, at in (("ftjob-1", 100), ("ftjob-2", 101)):
        jobs.move(job_id, JobStatus.SUCCEEDED, allowed=[JobStatus.QUEUED], finished_at=at)

    jobs.forget(100)

    def told(job_id: str) -> tuple[int, int]:
        events = jobs.events(job_id, after=None, ascending=True, limit=9)
        return len(events), len(jobs.checkpoints(job_id, after=None, limit=9))

    assert [told(job_id) for job_id in ("ftjob-1", "ftjob-2", "ftjob-3")] == [(0, 0), (1, 1), (1, 1)]
    assert jobs.get("ftjob-1") is not None


def test_an_installation_has_one_name_that_no_other_has(jobs: Jobs, tmp_path: Path) -> None:
    other = Database(f"sqlite:///{tmp_path}/other.db", SCHEMA)
    other.migrate()

    assert jobs.installation() == jobs.installation()
    assert Jobs(other).installation() not in ("", jobs.installation())
    other.close()

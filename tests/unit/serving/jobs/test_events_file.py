"""What a trainer writes is taken in once, whatever it is."""

import json
from pathlib import Path

import pytest

from adapters.database import Database
from serving.jobs.events_file import read_news
from serving.jobs.records import Jobs
from serving.jobs.tables import SCHEMA
from serving.jobs.types import JobRecord, JobStatus


def line(kind: str = "message", message: object = "hello", **data: object) -> bytes:
    """One line of an event file."""
    return json.dumps({"at": 5.0, "level": "info", "type": kind, "message": message, "data": data}).encode() + b"\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a trainer writes."""
    return tmp_path / "events.jsonl"


def test_a_file_that_is_not_there_yet_has_no_news(file: Path) -> None:
    assert read_news(file, 0) is None


def test_a_line_is_read_once_it_is_whole(file: Path) -> None:
    file.write_bytes(line() + line("phase", "training", phase="training")[:20])
    news = read_news(file, 0)
    assert news is not None
    assert [event.message for event in news.events] == ["hello"]
    assert read_news(file, news.read_to) is None

    file.write_bytes(line() + line("phase", "training", phase="training"))
    rest = read_news(file, news.read_to)
    assert rest is not None
    assert rest.phase == "training"


@pytest.mark.parametrize(
    "garbage",
    [
        b"\n",
        b"nonsense\n",
        b"[]\n",
        b'"x"\n',
        b"\xff\xfe\n",
        b'{"type": 1}\n',
        b"{}\n",
        b"[" * 100_000 + b"\n",
        b"1" * 5000 + b"\n",
    ],
)
def test_a_line_that_is_no_event_is_passed_over(file: Path, garbage: bytes) -> None:
    file.write_bytes(garbage + line())
    news = read_news(file, 0)
    assert news is not None
    assert [event.message for event in news.events] == ["hello"]
    assert news.read_to == len(file.read_bytes())


def test_a_line_without_an_end_does_not_stop_the_reading(file: Path) -> None:
    file.write_bytes(b"x" * 300_000)
    news = read_news(file, 0)
    assert news is not None
    assert (news.events, news.read_to) == ((), 300_000)


def test_what_no_database_or_client_takes_is_left_out(file: Path) -> None:
    file.write_bytes(
        b'{"type": "metrics", "level": "loud", "message": "a\\u0000\\ud800", "data": {"x": [NaN, 1e999, 2]}}\n'
    )
    news = read_news(file, 0)
    assert news is not None
    (event,) = news.events
    assert (event.message, event.level, event.kind, event.at) == ("a?", "info", "metrics", 0.0)
    assert event.data == {"x": [None, None, 2]}


def test_where_the_folder_is_is_left_out(file: Path) -> None:
    file.write_bytes(line(message=f"{file}:3: twice", file=str(file)))
    news = read_news(file, 0)
    assert news is not None
    assert (news.events[0].message, news.events[0].data) == ("events.jsonl:3: twice", {"file": "events.jsonl"})


def test_a_checkpoint_needs_a_step_and_a_path(file: Path) -> None:
    file.write_bytes(
        line("checkpoint", "no", step="2", path="p")
        + line("checkpoint", "yes", step=2, path="p", metrics={"train_loss": 1})
    )
    news = read_news(file, 0)
    assert news is not None
    assert [(one.step, one.path, one.metrics) for one in news.checkpoints] == [(2, "p", {"train_loss": 1})]


def test_events_and_how_far_they_were_read_are_stored_together(tmp_path: Path, file: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/state.db", SCHEMA)
    database.migrate()
    jobs = Jobs(database)
    job = jobs.add(a_job(), [])
    file.write_bytes(line("checkpoint", "one", step=1, path="p", metrics={}) + line("metrics", "two", seconds_left=10))
    jobs.change(job.id, fruitless_starts=2)
    news = read_news(file, 0)
    assert news is not None
    jobs.absorb(job.id, news)

    stored = jobs.get(job.id)
    assert stored is not None
    assert (stored.read_to, stored.fruitless_starts, stored.estimated_finish) == (news.read_to, 0, 15)
    jobs.change(job.id, fruitless_starts=1)
    jobs.absorb(job.id, news)
    again = jobs.get(job.id)
    assert again is not None
    assert again.fruitless_starts == 1, "the same step again is no progress"
    assert len(jobs.checkpoints(job.id, after=None, limit=10)) == 1
    database.close()


def a_job(job_id: str = "ftjob-1") -> JobRecord:
    """A job that waits."""
    return JobRecord(
        id=job_id,
        serial=0,
        owner="ada",
        status=JobStatus.QUEUED,
        model="base",
        method="supervised",
        hyperparameters={},
        adapter="cards",
        recipe={},
        allow=[],
        training_file="file-1",
        validation_file=None,
        suffix=None,
        seed=1,
        metadata=None,
        created_at=1,
    )

"""Jobs while the state is away, or the control plane is on its way out."""

import asyncio
from pathlib import Path

import pytest

from adapters.errors import CatalogUnavailable
from serving.errors import NotReady
from serving.jobs.records import Jobs
from serving.jobs.types import JobRecord, JobStatus
from tests.lifecycle import until
from tests.unit.serving.jobs.test_supervisor import Ended, Heard, Scripted, house


class Deaf(Heard):
    """Cannot hear the first time."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error: Exception | None = error

    async def candidate(self, version: str, *, actor: str) -> None:
        """See Candidates."""
        error, self._error = self._error, None
        if error is not None:
            raise error
        await super().candidate(version, actor=actor)


@pytest.mark.parametrize("error", [CatalogUnavailable("away"), NotReady("stopping")])
async def test_a_version_that_nobody_can_take_now_is_handed_on_later(tmp_path: Path, error: Exception) -> None:
    heard = Deaf(error)
    async with house(tmp_path, heard=heard) as it:
        it.supervisor._driver._launcher = Scripted(it.succeed)
        it.add()
        await it.supervisor.start()

        def taken() -> bool:
            it.supervisor.wake()
            return not it.jobs.unannounced() and it.job().finished_at is not None

        await until(taken, "the version is taken")
        done, messages = it.job(), it.messages()

    assert heard.versions == [f"ada (ftjob-1): {done.version}"]
    assert not any("did not begin" in message for message in messages)


async def test_a_database_that_is_away_does_not_hold_up_the_end_of_the_gateway(tmp_path: Path) -> None:
    class Away(Jobs):
        """Answers until it is told not to."""

        away = False

        def get(self, job_id: str) -> JobRecord | None:
            if self.away:
                raise CatalogUnavailable("away")
            return super().get(job_id)

    class Ones:
        def launch(self, folder: Path) -> Ended:
            return trainer

    trainer = Ended(None)
    async with house(tmp_path) as it:
        records = Away(it.database)
        driver = it.supervisor._driver
        driver._launcher, driver._jobs = Ones(), records
        it.add()
        await it.supervisor.start()
        await until(lambda: it.job().fruitless_starts == 1)
        records.away = True
        async with asyncio.timeout(10):
            await it.supervisor.stop()
        assert trainer.poll() == 75
        assert it.job().status is JobStatus.QUEUED

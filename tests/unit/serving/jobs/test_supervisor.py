"""Jobs are seen through whatever fails: trainers, launchers, results, and those who hear of them."""

import asyncio
import fcntl
import json
import os
import shutil
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from adapters.database import Database
from adapters.errors import StoreUnavailable
from serving.jobs.driver import Driver
from serving.jobs.folder import JobFolder
from serving.jobs.launcher import FolderBusy
from serving.jobs.records import Jobs
from serving.jobs.supervisor import JobSupervisor
from serving.jobs.tables import SCHEMA
from serving.jobs.types import JobRecord, JobStatus
from serving.rollout import AddResult, Rollouts
from tests.adapter_factory import make_adapter
from tests.lifecycle import World, until, world
from tests.unit.serving.jobs.test_events_file import a_job, line

Script = Callable[[JobFolder], int | None]
"""What a trainer does, all at once, and its exit status; None: it works until it is told to stop."""


class Scripted:
    """Launches trainers that follow a script, one after another, the last one again and again."""

    def __init__(self, *scripts: Script) -> None:
        self.launched = 0
        self._scripts = scripts

    def launch(self, folder: Path) -> "Ended":
        """See Launcher."""
        script = self._scripts[min(self.launched, len(self._scripts) - 1)]
        self.launched += 1
        return Ended(script(JobFolder(folder)))


class Ended:
    """See Trainer."""

    def __init__(self, status: int | None) -> None:
        self._status = status

    def poll(self) -> int | None:
        """See Trainer."""
        return self._status

    def stop(self) -> None:
        """See Trainer."""
        self._status = 75

    def kill(self) -> None:
        """See Trainer."""
        self._status = -9


class Heard:
    """Notes the candidates."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.versions: list[str] = []
        self._refuses = refuses

    async def candidate(self, version: str, *, actor: str) -> None:
        """See Candidates."""
        self.versions.append(f"{actor}: {version}")
        if self._refuses:
            raise RuntimeError("no policy")


class House:
    """A queue over real records and real rollouts."""

    def __init__(self, it: World, launcher: Scripted, heard: Heard) -> None:
        self.it = it
        self.root = it.folder / "jobs"
        self.database = Database(it.config.state.url, SCHEMA)
        self.database.migrate()
        self.jobs = Jobs(self.database)
        driver = Driver(self.root, self.jobs, launcher, it.rollouts, max_attempts=3, poll_s=0.01)
        self.supervisor = JobSupervisor(self.root, self.jobs, driver, places=1, keep_days=1, candidates=heard)

    def add(self, job_id: str = "ftjob-1") -> JobRecord:
        """A job that waits."""
        JobFolder(self.root / job_id).write({}, b"", None, installation=self.jobs.installation())
        return self.jobs.add(a_job(job_id), [])

    def job(self, job_id: str = "ftjob-1") -> JobRecord:
        """A job as it is now."""
        found = self.jobs.get(job_id)
        assert found is not None
        return found

    async def ended(self) -> JobRecord:
        """The job, once it has ended."""
        await until(lambda: self.job().finished_at is not None and not self.jobs.unannounced(), "the job's end")
        return self.job()

    def messages(self) -> list[str]:
        """What was told of the job."""
        return [event.message for event in self.jobs.events("ftjob-1", after=None, ascending=True, limit=100)]

    def succeed(self, folder: JobFolder) -> int:
        """A trainer that is done at once."""
        shutil.copytree(make_adapter(self.it.folder / "made", self.it.base), folder.adapter)
        (folder.path / "result.json").write_text(json.dumps({"trained_tokens": 5}))
        return 0


@asynccontextmanager
async def house(folder: Path, *scripts: Script, heard: Heard | None = None) -> AsyncIterator[House]:
    """A house that is not started yet."""
    async with world(folder, replicas=0) as it:
        made = House(it, Scripted(*scripts), heard or Heard())
        made.root.mkdir()
        try:
            yield made
        finally:
            await made.supervisor.stop()
            made.database.close()


async def test_a_version_is_handed_on_once(tmp_path: Path) -> None:
    heard = Heard()
    async with house(tmp_path, heard=heard) as it:
        it.supervisor._driver._launcher = Scripted(it.succeed)
        it.add()
        await it.supervisor.start()
        done = await it.ended()

    assert heard.versions == [f"ada (ftjob-1): {done.version}"]
    assert done.trained_tokens == 5


async def test_nobody_who_takes_the_version_is_a_warning(tmp_path: Path) -> None:
    heard = Heard(refuses=True)
    async with house(tmp_path, heard=heard) as it:
        it.supervisor._driver._launcher = Scripted(it.succeed)
        it.add()
        await it.supervisor.start()
        done = await it.ended()
        messages = it.messages()

    assert done.status is JobStatus.SUCCEEDED
    assert messages[-1] == f"The rollout of {done.version} did not begin: no policy"
    assert len(heard.versions) == 1


async def test_a_result_that_must_not_be_served_fails_the_job(tmp_path: Path) -> None:
    def pickled(folder: JobFolder) -> int:
        folder.adapter.mkdir()
        (folder.adapter / "adapter_model.bin").write_bytes(b"x")
        (folder.path / "result.json").write_text("{}")
        return 0

    async with house(tmp_path, pickled) as it:
        it.add()
        await it.supervisor.start()
        failed = await it.ended()

    assert failed.error is not None
    assert failed.error["code"] == "pickle_weights"


async def test_a_trainer_that_cannot_be_started_fails_the_job_in_the_end(tmp_path: Path) -> None:
    def missing(folder: JobFolder) -> int:
        raise FileNotFoundError("no program nice")

    async with house(tmp_path, missing) as it:
        it.add()
        await it.supervisor.start()
        failed = await it.ended()

    assert failed.error is not None
    assert "could not be started (no program nice), 3 times in a row" in failed.error["message"]


async def test_only_starts_without_a_new_checkpoint_count(tmp_path: Path) -> None:
    def further(folder: JobFolder) -> int:
        step = folder.events.read_bytes().count(b"\n") if folder.events.exists() else 0
        with folder.events.open("ab") as file:
            file.write(line("checkpoint", "more", step=step, path="p", metrics={}))
        return 1

    async with house(tmp_path, further, further, further, further, lambda _: 1) as it:
        it.add()
        await it.supervisor.start()
        await it.ended()
        messages = it.messages()

    assert messages.count("more") == 4
    assert "3 times in a row" in messages[-1]


async def test_a_success_without_a_result_is_a_crash(tmp_path: Path) -> None:
    async with house(tmp_path, lambda _: 0) as it:
        it.add()
        await it.supervisor.start()
        failed = await it.ended()

    assert failed.error is not None
    assert failed.error["code"] == "training_failed"


async def test_a_folder_that_an_orphan_still_works_in_is_waited_for(tmp_path: Path) -> None:
    def busy(folder: JobFolder) -> int:
        raise FolderBusy("an orphan")

    async with house(tmp_path) as it:
        it.supervisor._driver._launcher = Scripted(busy, busy, busy, busy, it.succeed)
        it.add()
        await it.supervisor.start()
        assert (await it.ended()).status is JobStatus.SUCCEEDED


async def test_a_store_that_is_away_is_waited_for(tmp_path: Path) -> None:
    class Away(Rollouts):
        """Has no store the first time."""

        asked = 0

        async def add(self, name: str, source: str, *, actor: str, promote: bool = False) -> AddResult:
            self.asked += 1
            if self.asked == 1:
                raise StoreUnavailable("away")
            return await super().add(name, source, actor=actor, promote=promote)

    async with house(tmp_path) as it:
        away = Away(it.it.config, it.it.catalog, it.it.store, it.it.rollouts._base_spec)
        launcher = Scripted(it.succeed)
        driver = it.supervisor._driver
        driver._launcher, driver._rollouts = launcher, away
        it.add()
        await it.supervisor.start()
        done = await it.ended()
        await away.close()

    assert done.status is JobStatus.SUCCEEDED
    assert launcher.launched == 1, "what is trained is not trained again"


async def test_what_an_earlier_control_plane_left_is_taken_up_in_its_old_place(tmp_path: Path) -> None:
    order: list[str] = []

    def note(folder: JobFolder) -> int | None:
        order.append(folder.path.name)
        return 1

    async with house(tmp_path, note) as it:
        for job_id in ("ftjob-1", "ftjob-2"):
            it.add(job_id)
        it.jobs.move("ftjob-1", JobStatus.RUNNING, allowed=[JobStatus.QUEUED])
        await it.supervisor.start()
        await until(lambda: it.job("ftjob-2").finished_at is not None)
        messages = it.messages()

    assert order == ["ftjob-1"] * 3 + ["ftjob-2"] * 3
    assert messages[0] == "The gateway started again: the job goes on from its last checkpoint"


async def test_a_slow_trainer_does_not_hold_up_the_end_of_the_gateway(tmp_path: Path) -> None:
    class Slow(Ended):
        """Takes long for its checkpoint."""

        told = 0

        def stop(self) -> None:
            self.told += 1

    slow = Slow(None)

    class SlowOnes:
        def launch(self, folder: Path) -> Slow:
            return slow

    async with house(tmp_path, lambda _: None) as it:
        it.supervisor._driver._launcher = SlowOnes()
        it.supervisor._driver._closing_grace_s = 0.05
        it.add()
        await it.supervisor.start()
        await until(lambda: it.job().fruitless_starts == 1)
        await it.supervisor.stop()
        job = it.job()

    assert (slow.told, slow.poll()) == (1, None)
    assert job.status is JobStatus.QUEUED


async def test_a_trainer_that_is_slow_to_kill_holds_up_nothing_else(tmp_path: Path) -> None:
    async with house(tmp_path) as it:
        loop = asyncio.get_running_loop()

        class Distant(Ended):
            """Is on another machine."""

            def poll(self) -> int | None:
                raise RuntimeError("no word of it")

            def kill(self) -> None:
                # Over only if the event loop goes on meanwhile.
                asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(10)
                killed.set()

        class DistantOnes:
            def launch(self, folder: Path) -> Distant:
                return Distant(None)

        killed = threading.Event()
        it.supervisor._driver._launcher = DistantOnes()
        it.add()
        await it.supervisor.start()
        await until(killed.is_set, "the trainer's end")


async def test_a_paused_trainer_that_does_not_end_is_ended(tmp_path: Path) -> None:
    class Deaf(Ended):
        """Does not hear."""

        def stop(self) -> None:
            """Nothing."""

    deaf = Deaf(None)

    class DeafOnes:
        def launch(self, folder: Path) -> Deaf:
            return deaf

    async with house(tmp_path, lambda _: None) as it:
        it.supervisor._driver._launcher = DeafOnes()
        it.supervisor._driver._stop_grace_s = 0.05
        it.add()
        await it.supervisor.start()
        await until(lambda: it.job().fruitless_starts == 1)
        it.jobs.move("ftjob-1", JobStatus.PAUSED, allowed=[JobStatus.QUEUED])
        await until(lambda: deaf.poll() is not None)

        assert deaf.poll() == -9
        assert it.job().status is JobStatus.PAUSED


LONG_AGO = time.time() - 3 * 86_400


async def test_folders_go_a_while_after_their_jobs_and_those_without_a_job_at_once(tmp_path: Path) -> None:
    waiting, old, recent, partial, young, held = (f"ftjob-{number:032x}" for number in range(6))
    partial += ".partial"
    async with house(tmp_path, lambda _: None) as it:
        for job_id in (waiting, old, recent):
            it.add(job_id)
        it.jobs.change(old, status="succeeded", finished_at=int(LONG_AGO), announced=True)
        it.jobs.change(recent, status="failed", finished_at=int(time.time()))
        for name in (partial, young, held):
            JobFolder(it.root / name).write({}, b"", None, installation=it.jobs.installation())
        with (it.root / held / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for name in (waiting, old, recent, partial, young, held):
                os.utime(it.root / name, (time.time(), time.time() if name == young else LONG_AGO))
            it.supervisor._clean()
        left = {path.name for path in it.root.iterdir()}

    assert left == {waiting, recent, young, held}


async def test_what_is_not_ours_in_the_folder_stays(tmp_path: Path) -> None:
    """The folder may be a share with other things in it, the jobs of another installation among them."""
    others = [f"ftjob-{1:032x}", f"ftjob-{2:032x}.partial", "ftjob-backup", "photos"]
    async with house(tmp_path, lambda _: None) as it:
        for name in others:
            JobFolder(it.root / name).write({}, b"", None, installation="them")
        JobFolder(it.root / "ftjob-abc").write({}, b"", None, installation=it.jobs.installation())
        (it.root / f"ftjob-{3:032x}").mkdir()
        for path in it.root.iterdir():
            os.utime(path, (LONG_AGO, LONG_AGO))
        it.supervisor._clean()
        left = {path.name for path in it.root.iterdir()}

    assert left == {*others, "ftjob-abc", f"ftjob-{3:032x}"}

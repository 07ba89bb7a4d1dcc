"""``JobSupervisor``: the queue. First come, first trained."""

import asyncio
import logging
import re
import time
from functools import partial
from pathlib import Path

from adapters.errors import AdapterServerError
from serving.errors import NotReady
from serving.jobs.driver import Driver
from serving.jobs.folder import JobFolder
from serving.jobs.launcher import is_at_work
from serving.jobs.records import Jobs
from serving.jobs.types import ACTIVE, Candidates, JobStatus, NewEvent
from serving.waiting import happens_within

logger = logging.getLogger(__name__)

_LOOK_S = 5.0
"""How often the queue is looked at where nobody says that it changed, in seconds."""
_CLEAN_S = 3600.0
_ORPHAN_S = 3600.0
_DAY_S = 86_400.0
_OURS = re.compile(r"ftjob-[0-9a-f]{32}(\.partial)?")


class JobSupervisor:
    """Keeps up to ``places`` drivers at work, between :meth:`start` and :meth:`stop`.

    Args:
        root: the folder of the jobs' folders.
        keep_days: how long the folder, events and checkpoints of a job stay after its end.
        candidates: who is told of new versions; None: nobody.
    """

    def __init__(
        self,
        root: Path,
        jobs: Jobs,
        driver: Driver,
        *,
        places: int,
        keep_days: float,
        candidates: Candidates | None = None,
    ) -> None:
        self._root = root
        self._jobs = jobs
        self._driver = driver
        self._places = places
        self._keep_s = keep_days * _DAY_S
        self._candidates = candidates
        self._drivers: dict[str, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Take up what an earlier control plane left, and begin. Raises CatalogUnavailable."""
        await asyncio.to_thread(self._recover)
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Have the trainers write a checkpoint and end; the next control plane takes the jobs up again."""
        self._stopping = True
        self._driver.close()
        self._changed.set()
        if self._task is not None:
            await self._task
        await asyncio.gather(*self._drivers.values(), return_exceptions=True)

    def wake(self) -> None:
        """A job was created, or wants something else than before. Call it on the event loop."""
        self._changed.set()

    def _recover(self) -> None:
        self._root.mkdir(parents=True, exist_ok=True)
        told = NewEvent(
            "The gateway started again: the job goes on from its last checkpoint", time.time(), level="warn"
        )
        for job in self._jobs.in_status(ACTIVE):
            self._jobs.move(job.id, JobStatus.QUEUED, allowed=ACTIVE, tell=[told], estimated_finish=None)

    async def _run(self) -> None:
        clean_at = time.monotonic()
        while not self._stopping:
            try:
                await self._fill()
                await self._announce()
                if time.monotonic() >= clean_at:
                    clean_at = time.monotonic() + _CLEAN_S
                    await asyncio.to_thread(self._clean)
            except (AdapterServerError, NotReady, OSError) as error:
                logger.warning("the queue of jobs waits: %s", error)
            except Exception:
                logger.exception("the queue of jobs could not be worked on; trying again")
            if await happens_within(self._changed, _LOOK_S):
                self._changed.clear()

    async def _fill(self) -> None:
        """Give every free place to the job that has waited longest."""
        waiting = await asyncio.to_thread(self._jobs.startable)
        for job_id in waiting:
            if len(self._drivers) >= self._places or self._stopping:
                return
            if job_id not in self._drivers:
                self._drivers[job_id] = asyncio.create_task(self._drive(job_id))

    async def _drive(self, job_id: str) -> None:
        try:
            await self._driver.run(job_id)
        finally:
            del self._drivers[job_id]
            self._changed.set()

    async def _announce(self) -> None:
        """Hand the results on. A control plane that was killed in between does it again: better twice than never."""
        for job in await asyncio.to_thread(self._jobs.unannounced):
            if self._candidates is not None and job.version is not None:
                try:
                    # With the job in its name, a second call for it is known as one.
                    await self._candidates.candidate(job.version, actor=f"{job.owner} ({job.id})")
                except (AdapterServerError, NotReady):
                    raise
                except Exception as error:
                    logger.exception("nobody took the candidate %s", job.version)
                    told = NewEvent(f"The rollout of {job.version} did not begin: {error}", time.time(), level="warn")
                    await asyncio.to_thread(self._jobs.tell, job.id, told)
            await asyncio.to_thread(partial(self._jobs.change, job.id, announced=True))

    def _clean(self) -> None:
        """Forget what jobs that ended long ago told, and remove their folders and those of ours that have no job."""
        ended_before = int(time.time() - self._keep_s)
        self._jobs.forget(ended_before)
        installation = self._jobs.installation()
        folders = {path.name: path for path in self._root.iterdir() if _OURS.fullmatch(path.name) and path.is_dir()}
        kept = self._jobs.kept(list(folders), ended_before)
        for name, path in folders.items():
            # A younger one may be of a job that is about to be recorded.
            if name in kept or time.time() - path.stat().st_mtime <= _ORPHAN_S:
                continue
            if not JobFolder(path).belongs_to(installation) or is_at_work(path):
                continue
            logger.info("the folder of %s is removed", name)
            JobFolder(path).remove()

"""``Driver``: one job, from its turn in the queue until no trainer is wanted for it any more."""

import asyncio
import logging
import time
from contextlib import suppress
from pathlib import Path

from adapters.errors import AdapterClientError, AdapterServerError, CatalogUnavailable
from adapters.types import ReplicaReport
from serving.errors import GatewayClientError, NotReady, answer_for
from serving.jobs.events_file import number, read_news
from serving.jobs.folder import JobFolder, Mistake
from serving.jobs.launcher import REFUSED, STOPPED, FolderBusy, Launcher, Trainer
from serving.jobs.records import Jobs
from serving.jobs.types import STARTABLE, JobRecord, JobStatus, NewEvent, News
from serving.replicas import ReplicaWatch
from serving.rollout import CONFIRM_S, Rollouts
from serving.waiting import happens_within

logger = logging.getLogger(__name__)

_STATUS_OF_PHASE = {
    "validating": JobStatus.VALIDATING,
    "training": JobStatus.RUNNING,
    "writing": JobStatus.RUNNING,
}
_LONGEST_PAUSE_S = 30.0


class Driver:
    """Starts the trainer, tells the records what it tells, starts it again where it crashes, and takes in its result.

    Args:
        poll_s: how often the trainer is looked at, in seconds.
        stop_grace_s: how long a trainer that was told to stop may take for its checkpoint, in seconds.
        closing_grace_s: how long this process waits for that at its own end, in seconds.
    """

    def __init__(
        self,
        root: Path,
        jobs: Jobs,
        launcher: Launcher,
        rollouts: Rollouts,
        *,
        max_attempts: int,
        poll_s: float = 0.25,
        stop_grace_s: float = 120.0,
        closing_grace_s: float = 5.0,
    ) -> None:
        self._root = root
        self._jobs = jobs
        self._launcher = launcher
        self._rollouts = rollouts
        self._max_attempts = max_attempts
        self._poll_s = poll_s
        self._stop_grace_s = stop_grace_s
        self._closing_grace_s = closing_grace_s
        self._closing = asyncio.Event()

    def close(self) -> None:
        """Have every job put down where it is; the next control plane takes them up again."""
        self._closing.set()

    async def run(self, job_id: str) -> None:
        """Return once the job wants no trainer any more, or at :meth:`close`."""
        pause_s = self._poll_s
        while not self._closing.is_set():
            try:
                job = await asyncio.to_thread(self._jobs.get, job_id)
                if job is None or job.status not in STARTABLE:
                    return
                if await self._step(job):
                    pause_s = self._poll_s
                    continue
            except (AdapterServerError, NotReady, OSError) as error:
                # The database, the store or the disk: what passes by itself, or by an operator's hand.
                logger.warning("%s waits: %s", job_id, error)
            except Exception:
                logger.exception("%s waits", job_id)
            await happens_within(self._closing, pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    async def _step(self, job: JobRecord) -> bool:
        """One run of the trainer, or the taking in of its result. False: to be tried again in a moment."""
        folder = JobFolder(self._root / job.id)
        result = await asyncio.to_thread(folder.result)
        if result is not None:
            await self._absorb(job.id, folder)
            await self._take_in(job, folder, result)
            return True
        await asyncio.to_thread(folder.forget_mistake)
        try:
            trainer = await asyncio.to_thread(self._launcher.launch, folder.path)
        except FolderBusy:
            return False
        except OSError as error:
            await self._count_start(job)
            return await self._crashed(job.id, folder, f"could not be started ({error})")
        try:
            # A new checkpoint forgives it.
            await self._count_start(job)
            status = await self._watch(job.id, folder, trainer)
        except BaseException:
            # Whatever it was, no trainer stays behind that nobody watches.
            await asyncio.to_thread(trainer.kill)
            raise
        await self._absorb(job.id, folder)
        if status is None:
            await asyncio.to_thread(self._jobs.change, job.id, fruitless_starts=0, estimated_finish=None)
            return True
        return await self._after(job.id, folder, status)

    async def _count_start(self, job: JobRecord) -> None:
        await asyncio.to_thread(self._jobs.change, job.id, fruitless_starts=job.fruitless_starts + 1)

    async def _watch(self, job_id: str, folder: JobFolder, trainer: Trainer) -> int | None:
        """Tell the records what the trainer tells, until it has ended. Returns its exit status; None where it ended
        because it was told to, or is left to end by itself because this process does."""
        stopping_at: float | None = None
        while (status := await asyncio.to_thread(trainer.poll)) is None:
            wanted: JobStatus | None = None
            if not self._closing.is_set():
                # A database that is away now is no reason to lose a training: the file keeps what is not read yet.
                with suppress(CatalogUnavailable):
                    await self._absorb(job_id, folder)
                    wanted = await self._wanted(job_id)
            unwanted = self._closing.is_set() or (wanted is not None and wanted not in STARTABLE)
            overdue = stopping_at is not None and time.monotonic() - stopping_at > self._stop_grace_s
            if wanted is JobStatus.CANCELLED or overdue:
                stopping_at = stopping_at or time.monotonic()
                await asyncio.to_thread(trainer.kill)
            elif stopping_at is None and unwanted:
                stopping_at = time.monotonic()
                await asyncio.to_thread(trainer.stop)
            if stopping_at is None:
                await happens_within(self._closing, self._poll_s)
            elif self._closing.is_set() and time.monotonic() - stopping_at > self._closing_grace_s:
                return None
            else:
                await asyncio.sleep(self._poll_s)
        return status if stopping_at is None else None

    async def _wanted(self, job_id: str) -> JobStatus:
        job = await asyncio.to_thread(self._jobs.get, job_id)
        return JobStatus.CANCELLED if job is None else job.status

    async def _after(self, job_id: str, folder: JobFolder, status: int) -> bool:
        """What a trainer's end means. False: it is to be started again, not at once."""
        mistake = await asyncio.to_thread(folder.mistake)
        if status == REFUSED and mistake is not None:
            await self._fail(job_id, mistake)
            return True
        if status == 0 and await asyncio.to_thread(folder.result) is not None:
            return True
        return await self._crashed(job_id, folder, _how(status))

    async def _crashed(self, job_id: str, folder: JobFolder, how: str) -> bool:
        job = await asyncio.to_thread(self._jobs.get, job_id)
        starts = 0 if job is None else job.fruitless_starts
        if starts >= self._max_attempts:
            said = await asyncio.to_thread(folder.log_tail)
            count = "once" if starts == 1 else f"{starts} times in a row"
            message = f"The trainer {how}, {count} without a new checkpoint."
            message += f" Its last lines:\n{said}" if said else ""
            await self._fail(job_id, Mistake("training_failed", message, None, None))
            return True
        message = f"The trainer {how}; it is started again and goes on from its last checkpoint."
        await asyncio.to_thread(self._jobs.tell, job_id, _event(message, level="warn"))
        return False

    async def _absorb(self, job_id: str, folder: JobFolder) -> None:
        """Take in what the trainer wrote since. Raises CatalogUnavailable, OSError."""
        while await asyncio.to_thread(self._absorb_piece, job_id, folder):
            pass

    def _absorb_piece(self, job_id: str, folder: JobFolder) -> bool:
        job = self._jobs.get(job_id)
        news = None if job is None else read_news(folder.events, job.read_to)
        if news is None:
            return False
        self._jobs.absorb(job_id, news)
        self._follow(job_id, news)
        return True

    def _follow(self, job_id: str, news: News) -> None:
        status = None if news.phase is None else _STATUS_OF_PHASE[news.phase]
        if status is not None:
            self._jobs.move(job_id, status, allowed=STARTABLE)

    async def _take_in(self, job: JobRecord, folder: JobFolder, result: dict[str, object]) -> None:
        """Make a version of the result. Raises what passes by itself."""
        try:
            added = await self._rollouts.add(job.adapter, str(folder.adapter), actor=job.owner)
        except (AdapterClientError, GatewayClientError) as error:
            await self._fail(job.id, Mistake(answer_for(error).code, str(error), None, None))
            return
        version = added.version.name
        await self._until_known()
        tokens = number(result.get("trained_tokens"))
        told = [
            _event(f"New fine-tuned model created: {version}", data={"version": version}),
            _event("The job has successfully completed"),
        ]
        await asyncio.to_thread(
            lambda: self._jobs.move(
                job.id,
                JobStatus.SUCCEEDED,
                allowed=STARTABLE,
                tell=told,
                version=version,
                finished_at=int(time.time()),
                estimated_finish=None,
                trained_tokens=None if tokens is None else int(tokens),
            )
        )

    async def _until_known(self) -> None:
        """Whoever reads that the job succeeded can call its model at once."""

        async def live() -> tuple[ReplicaReport, ...]:
            return (await self._rollouts.overview()).replicas

        revision = (await self._rollouts.overview()).snapshot.revision
        await ReplicaWatch(live, timeout_s=CONFIRM_S).until_revision(revision, CONFIRM_S)

    async def _fail(self, job_id: str, mistake: Mistake) -> None:
        error: dict[str, object] = {"code": mistake.code, "message": mistake.message, "param": mistake.param}
        if mistake.line is not None:
            error["line"] = mistake.line
        told = _event(f"The job failed: {mistake.message}", level="error", data=error)
        await asyncio.to_thread(
            lambda: self._jobs.move(
                job_id,
                JobStatus.FAILED,
                allowed=STARTABLE,
                tell=[told],
                error=error,
                finished_at=int(time.time()),
                estimated_finish=None,
            )
        )


def _how(status: int) -> str:
    if status < 0:
        return f"was ended by signal {-status}"
    return "stopped by itself" if status == STOPPED else f"ended with status {status}"


def _event(message: str, *, level: str = "info", data: dict[str, object] | None = None) -> NewEvent:
    return NewEvent(message, time.time(), level=level, data=data or {})

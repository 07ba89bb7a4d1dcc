"""``JobDesk``: what callers do with jobs, each only with what they may see."""

import random
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

from serving.auth import Caller
from serving.config import GatewayConfig, TrainingSettings
from serving.errors import InvalidRequest, JobConflict, ObjectNotFound, Overloaded, PermissionDenied
from serving.jobs.folder import JobFolder
from serving.jobs.orders import METHODS, JobRequest, adapter_name, check_recipe, full_recipe
from serving.jobs.records import Jobs
from serving.jobs.types import STARTABLE, UNFINISHED, Checkpoint, JobEvent, JobRecord, JobStatus, NewEvent
from serving.knowledge.library import Library
from serving.knowledge.pages import Page
from serving.names import check_adapter_name

PURPOSE = "fine-tune"

_AT_ONCE = 200
_LAST_SEED = 2**31 - 1


class JobDesk:
    """Blocking, thread-safe. A job is seen by the key that created it, and by administrators; for others it does not
    exist. Every method may raise CatalogUnavailable.

    Args:
        base: folder of the checkpoint that is trained on.
        root: the folder of the jobs' folders.
        changed: called after every change that the queue should know of; from any thread.
    """

    def __init__(
        self,
        config: GatewayConfig,
        settings: TrainingSettings,
        jobs: Jobs,
        library: Library,
        *,
        base: str,
        root: Path,
        changed: Callable[[], None],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        self._settings = settings
        self._jobs = jobs
        self._library = library
        self._base = base
        self._root = root
        self._changed = changed
        self._now = now

    def create(self, caller: Caller, request: JobRequest) -> JobRecord:
        """Take a job on; on return it is durable, and has its own copy of the files.

        Raises:
            PermissionDenied, InvalidRequest, Overloaded, StoreUnavailable.
            ObjectNotFound: a file that is not there, or not for this caller.
        """
        caller.require_writer()
        config = self._config
        if request.model not in (config.model.public_name, config.model.id):
            raise InvalidRequest(
                f"This gateway fine-tunes its base model, `{config.model.public_name}`, and no other.", param="model"
            )
        job_id = f"ftjob-{uuid.uuid4().hex}"
        adapter = self._adapter(caller, request, job_id)
        check_recipe(request, config.adapters.max_rank)
        if self._jobs.unfinished() >= self._settings.max_unfinished_jobs:
            raise Overloaded(
                f"{self._settings.max_unfinished_jobs} jobs are unfinished; cancel one, or try again later."
            )
        train = self._content(caller, request.training_file, "training_file")
        heldout = None
        if request.validation_file is not None:
            heldout = self._content(caller, request.validation_file, "validation_file")
        seed = random.randint(0, _LAST_SEED) if request.seed is None else request.seed  # noqa: S311
        recipe = full_recipe(
            request,
            adapter=adapter,
            base_model=config.model.public_name,
            seed=seed,
            max_rank=config.adapters.max_rank,
        )
        orders = {
            "method": METHODS[request.method],
            "recipe": recipe,
            "base": self._base,
            "allow": list(request.allow),
            "max_rank": config.adapters.max_rank,
        }
        folder = JobFolder(self._root / job_id)
        folder.write(orders, train, heldout, installation=self._jobs.installation())
        try:
            record = self._jobs.add(self._record(caller, request, job_id, adapter, seed), self._first(request, job_id))
        except Exception:
            folder.remove()
            raise
        self._changed()
        return record

    def job(self, caller: Caller, job_id: str) -> JobRecord:
        """One job. Raises ObjectNotFound."""
        record = self._jobs.get(job_id)
        if record is None or not (caller.admin or record.owner == caller.name):
            raise ObjectNotFound(f"No such fine-tuning job: {job_id[:80]}", param="fine_tuning_job_id")
        return record

    def page(self, caller: Caller, *, after: str | None, limit: int, metadata: Mapping[str, str] | None) -> Page:
        """Jobs, the newest first, those with all of ``metadata``. Raises ObjectNotFound for an unknown ``after``."""
        place = None if after is None else self.job(caller, after).serial
        owner = None if caller.admin else caller.name
        found: list[JobRecord] = []
        while len(found) <= limit:
            part = self._jobs.page(owner=owner, after=place, limit=_AT_ONCE)
            found += [job for job in part if _has(job, metadata)]
            if len(part) < _AT_ONCE:
                break
            place = part[-1].serial
        return Page(found[:limit], has_more=len(found) > limit)

    def cancel(self, caller: Caller, job_id: str) -> JobRecord:
        """End a job for good. Raises ObjectNotFound, JobConflict."""
        return self._move(caller, job_id, JobStatus.CANCELLED, UNFINISHED, "cancelled", finished_at=int(self._now()))

    def pause(self, caller: Caller, job_id: str) -> JobRecord:
        """Have a job write a checkpoint and give up its place. Raises ObjectNotFound, JobConflict."""
        return self._move(caller, job_id, JobStatus.PAUSED, STARTABLE, "paused")

    def resume(self, caller: Caller, job_id: str) -> JobRecord:
        """Let a paused job go on when its turn comes, before those that came after it. Raises as :meth:`pause`."""
        return self._move(caller, job_id, JobStatus.QUEUED, (JobStatus.PAUSED,), "resumed")

    def events(
        self, caller: Caller, job_id: str, *, after: int | None, ascending: bool, limit: int
    ) -> tuple[list[JobEvent], bool]:
        """Events, and whether there are more. Raises ObjectNotFound."""
        self.job(caller, job_id)
        found = self._jobs.events(job_id, after=after, ascending=ascending, limit=limit + 1)
        return found[:limit], len(found) > limit

    def checkpoints(
        self, caller: Caller, job_id: str, *, after: int | None, limit: int
    ) -> tuple[JobRecord, list[Checkpoint], bool]:
        """The job, its checkpoints, the newest first, and whether there are more. Raises ObjectNotFound."""
        job = self.job(caller, job_id)
        found = self._jobs.checkpoints(job_id, after=after, limit=limit + 1)
        return job, found[:limit], len(found) > limit

    def checkpoint(self, caller: Caller, job_id: str, number: int) -> tuple[JobRecord, Checkpoint, Path | None]:
        """One checkpoint, and the folder of its adapter; None where that is gone. Raises ObjectNotFound."""
        job = self.job(caller, job_id)
        found = self._jobs.checkpoint(job_id, number)
        if found is None:
            raise ObjectNotFound("No such checkpoint of this fine-tuning job.", param="checkpoint_id")
        folder = JobFolder(self._root / job_id).inside(found.path)
        if folder is not None and (folder / "adapter").is_dir():
            folder /= "adapter"
        return job, found, folder

    def published(self, checkpoint: Checkpoint, version: str) -> None:
        """Note what a checkpoint became."""
        self._jobs.published(checkpoint.number, version)

    def _adapter(self, caller: Caller, request: JobRequest, job_id: str) -> str:
        name = adapter_name(request, job_id)
        check_adapter_name(name, self._config)
        # A version may be rolled out by its adapter's policy: only who may call all of them may add one.
        if not caller.may_use(f"{name}@*"):
            raise PermissionDenied(
                f"Your API key may not make versions of `{name}`; it needs `{name}@*` in its models."
            )
        return name

    def _content(self, caller: Caller, file_id: str, param: str) -> bytes:
        try:
            record, data = self._library.content(caller, file_id)
        except ObjectNotFound as error:
            raise ObjectNotFound(str(error), param=param) from None
        if record.purpose != PURPOSE:
            raise InvalidRequest(
                f"`{param}`: {record.id} was uploaded with the purpose `{record.purpose}`; this needs `{PURPOSE}`.",
                param=param,
            )
        if not data.strip():
            raise InvalidRequest(f"`{param}`: {record.id} is empty.", param=param)
        return data

    def _record(self, caller: Caller, request: JobRequest, job_id: str, adapter: str, seed: int) -> JobRecord:
        return JobRecord(
            id=job_id,
            serial=0,
            owner=caller.name,
            status=JobStatus.QUEUED,
            model=self._config.model.public_name,
            method=request.method,
            hyperparameters=request.hyperparameters,
            adapter=adapter,
            recipe=request.recipe,
            allow=list(request.allow),
            training_file=request.training_file,
            validation_file=request.validation_file,
            suffix=request.suffix,
            seed=seed,
            metadata=request.metadata,
            created_at=int(self._now()),
        )

    def _first(self, request: JobRequest, job_id: str) -> list[NewEvent]:
        told = [NewEvent(f"Created fine-tuning job: {job_id}", self._now())]
        if request.integrations:
            message = "Integrations are not served here and are left out; the events of this job hold its metrics"
            told.append(NewEvent(message, self._now(), level="warn"))
        return told

    def _move(
        self, caller: Caller, job_id: str, to: JobStatus, allowed: tuple[JobStatus, ...], done: str, **values: int
    ) -> JobRecord:
        job = self.job(caller, job_id)
        told = NewEvent(f"The job was {done} by {caller.name}", self._now())
        if not self._jobs.move(job_id, to, allowed=allowed, tell=[told], estimated_finish=None, **values):
            raise JobConflict(f"{job_id} cannot be {done}: it is {self.job(caller, job.id).status.value}.")
        self._changed()
        return self.job(caller, job_id)


def _has(job: JobRecord, metadata: Mapping[str, str] | None) -> bool:
    if metadata is None:
        return True
    own = job.metadata or {}
    return all(own.get(key) == value for key, value in metadata.items()) and bool(metadata or not own)

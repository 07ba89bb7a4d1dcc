"""``JobService``: fine-tuning, tied together. One for each installation, in the control plane."""

import asyncio
import contextlib
import logging
import os

from adapters.database import Database
from adapters.errors import CatalogUnavailable, StoreUnavailable
from serving.checkpoint import checkpoint_folder
from serving.config import GatewayConfig, TrainingSettings
from serving.engine.protocol import Progress
from serving.errors import ConfigInvalid
from serving.jobs.desk import JobDesk
from serving.jobs.driver import Driver
from serving.jobs.launcher import Launcher, ProcessLauncher
from serving.jobs.records import Jobs
from serving.jobs.supervisor import JobSupervisor
from serving.jobs.tables import SCHEMA
from serving.jobs.types import Candidates
from serving.knowledge.blobs import Blobs
from serving.knowledge.document_records import Documents
from serving.knowledge.file_records import Files
from serving.knowledge.library import Library
from serving.knowledge.store_records import Stores
from serving.knowledge.tables import SCHEMA as FILES_SCHEMA
from serving.knowledge.views import Publisher, Views
from serving.rollout import Rollouts

logger = logging.getLogger(__name__)

_CHORES_S = 60.0
_TIDY_EVERY = 60
"""In how many rounds of chores the artifact store is listed once, which a bucket charges for."""


class JobService:
    """Takes jobs and sees them through. Where there is no section ``knowledge``, it keeps the uploaded files as well.

    Args:
        base: folder of the checkpoint that is trained on.
        launcher: starts trainers; default: processes on this machine.
        candidates: who is told of new versions.
        poll_s: how often trainers are looked at, in seconds.

    Raises:
        ConfigInvalid: jobs are to have GPUs reserved, and nobody here can do that.
    """

    def __init__(
        self,
        config: GatewayConfig,
        settings: TrainingSettings,
        rollouts: Rollouts,
        *,
        base: str,
        launcher: Launcher | None = None,
        candidates: Candidates | None = None,
        poll_s: float = 0.25,
    ) -> None:
        if launcher is None and settings.gpus_per_job:
            raise ConfigInvalid(
                "`training.gpus_per_job`: only Ray reserves GPUs; without it, set `training.visible_devices`"
            )
        root = settings.folder.absolute()
        self._database = Database(config.state.url, SCHEMA)
        self._files_database = Database(config.state.url, FILES_SCHEMA)
        self.keeps_files = config.knowledge is None
        jobs = Jobs(self._database)
        self.library = _library(config, self._files_database)
        self.desk = JobDesk(config, settings, jobs, self.library, base=base, root=root, changed=self._wake)
        driver = Driver(
            root,
            jobs,
            launcher or process_launcher(settings),
            rollouts,
            max_attempts=settings.max_attempts,
            poll_s=poll_s,
        )
        self._supervisor = JobSupervisor(
            root,
            jobs,
            driver,
            places=settings.max_concurrent_jobs,
            keep_days=settings.keep_days,
            candidates=candidates,
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._chores: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Bring the tables up to date, and go on where an earlier control plane stopped. Raises CatalogUnavailable."""
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._database.migrate)
        await asyncio.to_thread(self._files_database.migrate)
        await self._supervisor.start()
        if self.keeps_files:
            self._chores = asyncio.create_task(self._do_chores())

    async def stop(self) -> None:
        """Have the trainers end after a checkpoint."""
        if self._chores is not None:
            self._chores.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._chores
        await self._supervisor.stop()
        await asyncio.to_thread(self._database.close)
        await asyncio.to_thread(self._files_database.close)

    def _wake(self) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._supervisor.wake)

    async def _do_chores(self) -> None:
        rounds = 0
        while True:
            await asyncio.sleep(_CHORES_S)
            try:
                await asyncio.to_thread(self.library.expire)
                if rounds % _TIDY_EVERY == 0:
                    await asyncio.to_thread(self.library.tidy)
                rounds += 1
            except (CatalogUnavailable, StoreUnavailable) as error:
                logger.warning("no file expires now: %s", error)
            except Exception:
                logger.exception("what has expired could not be removed; trying again")


def base_checkpoint(config: GatewayConfig, settings: TrainingSettings, progress: Progress) -> str:
    """The folder of the checkpoint that jobs start from. Blocking: a hub id is looked up. Raises ConfigInvalid."""
    if settings.base is None:
        try:
            return str(checkpoint_folder(config.model, progress).absolute())
        except ConfigInvalid as error:
            raise ConfigInvalid(
                f"{error}; `training.base` can name another checkpoint for jobs to start from"
            ) from None
    model = config.model.model_copy(update={"id": settings.base, "revision": None})
    try:
        return str(checkpoint_folder(model, progress).absolute())
    except ConfigInvalid as error:
        raise ConfigInvalid(str(error).replace("`model.id`", "`training.base`", 1)) from None


def process_launcher(settings: TrainingSettings, *, on_ray: bool = False) -> ProcessLauncher:
    """The launcher of trainers as processes; ``on_ray``: in a place that Ray reserved, devices included."""
    environment = {} if on_ray else {"CUDA_VISIBLE_DEVICES": settings.visible_devices}
    threads = settings.cpus_per_job or os.cpu_count() or 1
    environment["OMP_NUM_THREADS"] = str(threads)
    return ProcessLauncher(niceness=settings.niceness, environment=environment)


def _library(config: GatewayConfig, database: Database) -> Library:
    """The uploaded files. What is in vector stores is known here too, and changed by the process that owns them."""
    stores, documents = Stores(database), Documents(database)
    return Library(
        Files(database),
        stores,
        documents,
        Blobs(config.artifacts),
        Publisher(Views(), stores, documents),
        max_file_bytes=config.max_file_bytes,
        changed=_nothing,
    )


def _nothing() -> None:
    """No index follows the files here."""

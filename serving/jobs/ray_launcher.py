"""``RayLauncher``: trainers for which Ray reserves a place, with GPUs, on any machine of its cluster."""

import contextlib
import logging
import time
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError, RayTaskError

from serving.jobs.launcher import STOPPED, FolderBusy, ProcessLauncher, ProcessTrainer

logger = logging.getLogger(__name__)

_ANSWER_WITHIN_S = 10.0
_KILLED = -9
_NOT_STARTED = 70
"""Exit status that stands for a trainer that could not be started; of EX_SOFTWARE in sysexits.h."""
_POLL_S = 0.2


class RayLauncher:
    """See Launcher. The jobs' folder must be one that all machines share.

    A trainer ends with the control plane: Ray ends an actor whose owner is gone, and the trainer is tied to it.

    Args:
        process: starts the trainer, in the actor's process; Ray has set ``CUDA_VISIBLE_DEVICES`` there.
    """

    def __init__(self, process: ProcessLauncher, *, cpus: float, gpus: float) -> None:
        self._process = process
        self._host = ray.remote(TrainerHost).options(num_cpus=cpus, num_gpus=gpus, max_concurrency=4)

    def launch(self, folder: Path) -> "RayTrainer":
        """See Launcher. Returns at once: a place may have to become free first."""
        return RayTrainer(self._host.remote(self._process, folder))


class TrainerHost:
    """An actor that a trainer is the child of."""

    def __init__(self, launcher: ProcessLauncher, folder: Path) -> None:
        self._launcher = launcher
        self._folder = folder
        self._trainer: ProcessTrainer | None = None

    def start(self) -> None:
        """Start the trainer, once the folder is free."""
        while self._trainer is None:
            try:
                self._trainer = self._launcher.launch(self._folder)
            except FolderBusy:
                time.sleep(_POLL_S)

    def poll(self) -> int | None:
        """See Trainer."""
        return None if self._trainer is None else self._trainer.poll()

    def stop(self) -> bool:
        """See Trainer. Whether there was one to stop."""
        if self._trainer is not None:
            self._trainer.stop()
        return self._trainer is not None

    def kill(self) -> None:
        """See Trainer."""
        if self._trainer is not None:
            self._trainer.kill()


class RayTrainer:
    """See Trainer."""

    def __init__(self, host: Any) -> None:
        self._host = host
        self._started = host.start.remote()
        self._status: int | None = None

    def poll(self) -> int | None:
        """See Trainer. An actor that died has taken its trainer with it."""
        if self._status is None and self._has_place():
            try:
                ray.get(self._started, timeout=0)
                self._status = ray.get(self._host.poll.remote(), timeout=_ANSWER_WITHIN_S)
            except RayActorError:
                self._status = _KILLED
            except RayTaskError as error:
                logger.warning("a trainer could not be started: %s", error)
                self._status = _NOT_STARTED
            except ray.exceptions.GetTimeoutError:
                return None
            if self._status is not None:
                self._release()
        return self._status

    def stop(self) -> None:
        """See Trainer. One that has no place yet gives up waiting."""
        if not self._has_place():
            self._status = STOPPED
            self._release()
            return
        with contextlib.suppress(RayActorError, ray.exceptions.GetTimeoutError):
            ray.get(self._host.stop.remote(), timeout=_ANSWER_WITHIN_S)

    def kill(self) -> None:
        """See Trainer."""
        if self._has_place():
            with contextlib.suppress(RayActorError, ray.exceptions.GetTimeoutError):
                ray.get(self._host.kill.remote(), timeout=_ANSWER_WITHIN_S)
        if self._status is None:
            self._status = _KILLED
        self._release()

    def _has_place(self) -> bool:
        ready, _ = ray.wait([self._started], timeout=0)
        return bool(ready)

    def _release(self) -> None:
        ray.kill(self._host)

"""The control plane: the admin app, the rollouts behind it, and the state that they change."""

import asyncio

from starlette.types import ASGIApp

from adapters.base_model import BaseModelSpec
from adapters.catalog import Catalog
from adapters.store import ArtifactStore
from serving.auth import Authenticator
from serving.checkpoint import base_model_spec
from serving.config import GatewayConfig
from serving.control import build_control
from serving.engine.protocol import Progress
from serving.jobs.launcher import Launcher
from serving.jobs.service import JobService, base_checkpoint
from serving.life.controller import LifeController
from serving.life.examiner import SubprocessExaminer
from serving.life.protocol import Examiner
from serving.observability.audit import note_start, open_audit
from serving.observing.desk import MonitoringDesk
from serving.rollout import Rollouts


class ControlPlane:
    """One per installation: in the gateway's process without Ray, in a deployment of its own under Ray."""

    def __init__(
        self,
        config: GatewayConfig,
        catalog: Catalog,
        base: BaseModelSpec,
        *,
        training_base: str = "",
        launcher: Launcher | None = None,
        examiner: Examiner | None = None,
    ) -> None:
        self.catalog = catalog
        """The desired state."""
        store = ArtifactStore(config.artifacts.url, config.artifacts.options)
        self._rollouts = Rollouts(config, catalog, store, base)
        self._preload = config.adapters.enabled and bool(config.adapters.preload)
        self.life = LifeController(config, catalog, self._rollouts, examiner or SubprocessExaminer(config))
        self._jobs: JobService | None = None
        if config.training is not None:
            self._jobs = JobService(
                config, config.training, self._rollouts, base=training_base, launcher=launcher, candidates=self.life
            )
        self._monitoring = None if config.monitoring is None else MonitoringDesk(config, catalog)
        self._config = config
        self._audit = open_audit(config)
        self.app: ASGIApp = build_control(
            config,
            self._rollouts,
            Authenticator(config),
            self.life,
            self._jobs,
            monitoring=self._monitoring,
            audit=self._audit,
        )

    async def start(self, progress: Progress) -> None:
        """Clean up after a predecessor, and add the adapters that the configuration lists.

        Raises:
            AdapterError: an adapter that nothing serves yet could not be added, or the catalog cannot be reached.
        """
        if self._audit is not None:
            await note_start(self._audit, self._config)
        await self._rollouts.start()
        if self._preload:
            for line in await self._rollouts.preload():
                progress(f"Adapter {line}")
        await self.life.start()
        if self._jobs is not None:
            await self._jobs.start()
        if self._monitoring is not None:
            await self._monitoring.start()

    async def stop(self) -> None:
        """Give up rollouts in progress, undoing their first half, and put jobs down where they are."""
        if self._jobs is not None:
            await self._jobs.stop()
        await self.life.stop()
        await self._rollouts.close()
        if self._monitoring is not None:
            await self._monitoring.stop()
        await asyncio.to_thread(self.catalog.close)


async def start_control_plane(
    config: GatewayConfig, progress: Progress, *, launcher: Launcher | None = None
) -> ControlPlane:
    """Open the state, bring its schema up to date, and start.

    Args:
        launcher: starts the trainers of fine-tuning jobs; default: as processes on this machine.

    Raises:
        ConfigInvalid, BaseModelUnreadable: the base model cannot be read.
        AdapterError: as :meth:`ControlPlane.start`.
    """
    catalog = await asyncio.to_thread(open_catalog, config)
    base = await asyncio.to_thread(base_model_spec, config, progress)
    training_base = ""
    if config.training is not None:
        training_base = await asyncio.to_thread(base_checkpoint, config, config.training, progress)
    plane = ControlPlane(config, catalog, base, training_base=training_base, launcher=launcher)
    try:
        await plane.start(progress)
    except BaseException:
        await plane.stop()
        raise
    return plane


def open_catalog(config: GatewayConfig) -> Catalog:
    """The catalog, at the present schema. Blocking. Raises CatalogUnavailable."""
    catalog = Catalog(config.state.url)
    catalog.migrate()
    return catalog

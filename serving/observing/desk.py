"""``MonitoringDesk``: what administrators see of drift and quality, and what they may ask for. In the control plane."""

import asyncio
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from adapters.catalog import Catalog
from adapters.database import Database
from adapters.types import CatalogSnapshot
from serving.config import GatewayConfig
from serving.errors import InvalidRequest, ObjectNotFound
from serving.names import find_version
from serving.observing.records import MonitoringRecords, Reference, StoredReport
from serving.observing.tables import SCHEMA

ACTION = "freeze-reference"
"""What the history calls it."""


@dataclass(frozen=True, slots=True)
class TaskReport:
    """How one task stands."""

    task: str
    at: datetime | None
    """When that was found; None for a task of which nothing is known yet."""
    drift: dict[str, Any] | None
    """As ``serving.observing.windows.drift_report`` has it; None where drift is not watched."""
    quality: dict[str, dict[str, Any]]
    """By version, as ``serving.observing.windows.quality_report`` has it."""
    references: tuple[Reference, ...] = ()
    """Those that somebody asked for, newest first."""


class MonitoringDesk:
    """Reads what the replicas' observing processes wrote, and leaves wishes for them."""

    def __init__(self, config: GatewayConfig, catalog: Catalog) -> None:
        self._config = config
        self._catalog = catalog
        self._records = MonitoringRecords(Database(config.state.url, SCHEMA), f"control:{uuid.uuid4().hex[:12]}")

    async def start(self) -> None:
        """Bring the tables up to date. Raises CatalogUnavailable."""
        await asyncio.to_thread(self._records.migrate)

    async def stop(self) -> None:
        """Close the connections."""
        await asyncio.to_thread(self._records.close)

    async def overview(self) -> list[TaskReport]:
        """How every task stands of which something is known, by name. Raises CatalogUnavailable."""
        return await asyncio.to_thread(self._overview)

    async def task(self, name: str) -> TaskReport:
        """How one task stands.

        Raises:
            ObjectNotFound: there is no task, adapter or base model of that name.
            CatalogUnavailable: the state database cannot be used.
        """
        await asyncio.to_thread(self._check_name, name)
        known = {report.task: report for report in await self.overview()}
        return known.get(name) or TaskReport(name, None, None, {})

    async def set_reference(self, name: str, version: str | None, *, actor: str) -> Reference:
        """Have a task's live requests compared with another reference from now on. Returns before it is done.

        Args:
            version: whose training data is the reference; None for the task's requests of late.

        Raises:
            ObjectNotFound: there is no task, adapter or base model of that name.
            VersionNotFound: no such version.
            InvalidRequest: its drift is not watched.
            CatalogUnavailable: nothing was asked for.
        """
        return await asyncio.to_thread(self._set_reference, name, version, actor)

    def _overview(self) -> list[TaskReport]:
        wishes, reports = self._records.references(), {one.task: one for one in self._records.reports()}
        names = sorted({*reports, *(wish.task for wish in wishes)})
        return [self._report(name, reports.get(name), wishes) for name in names]

    def _report(self, name: str, stored: StoredReport | None, wishes: Sequence[Reference]) -> TaskReport:
        data: dict[str, Any] = {"drift": None, "quality": {}} if stored is None else json.loads(stored.body)
        settings = self._config.monitoring
        if data["drift"] is not None and (settings is None or not settings.keeps_texts_of(name)):
            # They may have been kept under another configuration.
            for one in (*data["drift"]["unusual"], *data["drift"]["grown"]):
                one["text"] = None
        own = tuple(wish for wish in reversed(wishes) if wish.task == name)
        return TaskReport(name, None if stored is None else stored.at, data["drift"], data["quality"], own)

    def _set_reference(self, name: str, version: str | None, actor: str) -> Reference:
        snapshot = self._check_name(name)
        settings = self._config.monitoring
        if settings is None or settings.drift_of(name) is None:
            raise InvalidRequest(f"The drift of `{name}` is not watched: see `monitoring` in the configuration.")
        found = None if version is None else find_version(snapshot, version).name
        wish = self._records.ask_for_reference(name, actor, found)
        what = "its requests of late" if found is None else f"the training data of {found}"
        with self._catalog.changing() as change:
            change.log(actor, ACTION, name, found, f"drift is compared with {what}")
        return wish

    def _check_name(self, name: str) -> CatalogSnapshot:
        snapshot = self._catalog.snapshot()
        config = self._config
        known = {*config.tasks, config.model.public_name, *snapshot.aliases}
        if name not in known | {version.adapter for version in snapshot.versions.values()}:
            raise ObjectNotFound(f"There is no task, adapter or base model `{name}`.", param="task")
        return snapshot

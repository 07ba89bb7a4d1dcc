"""Waiting for the replicas: what they last said, read from the catalog."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from adapters import errors as adapter_errors
from adapters.errors import AdapterError, AdapterRejected, AdapterServerError, LoadFailed
from adapters.types import Holding, HoldingStatus, ReplicaReport
from serving.account import NOT_PROBED
from serving.errors import NotReady
from serving.waiting import happens_within

LIVE_S = 5.0
"""A replica that reported within this many seconds is live."""

_POLL_S = 0.05

Reports = Callable[[], Awaitable[Sequence[ReplicaReport]]]

_SERVER_CAUSES: dict[str, type[AdapterServerError]] = {
    cause.code: cause
    for cause in vars(adapter_errors).values()
    if isinstance(cause, type) and issubclass(cause, AdapterServerError) and cause is not AdapterServerError
}
_ENGINE_CAUSES = frozenset({"engine_unavailable", "engine_failed", "adapter_unavailable", "internal_error"})


@dataclass(frozen=True, slots=True)
class Readiness:
    """What waiting for a version to be ready everywhere came to."""

    replicas: tuple[str, ...]
    """The live replicas that hold it."""
    notes: tuple[str, ...] = ()
    """What an operator should know, such as a probe that was skipped."""


class ReplicaWatch:
    """Waits for the live replicas through their reports; they may live in any process."""

    def __init__(self, reports: Reports, *, timeout_s: float) -> None:
        self._reports = reports
        self._timeout_s = timeout_s
        self._stopping = asyncio.Event()

    def give_up(self) -> None:
        """End every wait, now and later, because this process stops."""
        self._stopping.set()

    async def until_ready(self, version: str, revision: int) -> Readiness:
        """Wait until every live replica that knows ``revision`` holds ``version``, loaded and probed.

        Raises:
            AdapterRejected: a replica found that it must not serve.
            LoadFailed: a replica could not load it, or not in time.
            AdapterServerError: another cause that a replica reported.
            NotReady: this process stops.
        """
        deadline = time.monotonic() + self._timeout_s
        while True:
            live = await self._reports()
            waiting = []
            for report in live:
                holding = _holding(report, version) if report.revision >= revision else None
                if holding is not None and holding.status is HoldingStatus.FAILED:
                    raise cause_of(holding, report.replica)
                if holding is None or holding.status is not HoldingStatus.READY:
                    waiting.append(report.replica)
            if live and not waiting:
                return _readiness(live, version)
            if time.monotonic() >= deadline:
                raise LoadFailed(
                    f"{_names(waiting)} did not load `{version}` within {self._timeout_s:g} s; nothing was changed"
                    if waiting
                    else f"no replica has reported for {self._timeout_s:g} s; nothing was changed"
                )
            if await happens_within(self._stopping, _POLL_S):
                raise NotReady("the gateway is stopping; nothing was changed")

    async def until_revision(self, revision: int, timeout_s: float) -> tuple[str, ...]:
        """Wait until every live replica serves by ``revision``; the replicas that do not after ``timeout_s``."""
        deadline = time.monotonic() + timeout_s
        while True:
            late = tuple(report.replica for report in await self._reports() if report.revision < revision)
            if not late or time.monotonic() >= deadline or await happens_within(self._stopping, _POLL_S):
                return late

    async def until_gone(self, version: str, timeout_s: float) -> tuple[str, ...]:
        """Wait until no live replica holds ``version``; the replicas that still do after ``timeout_s``."""
        deadline = time.monotonic() + timeout_s
        while True:
            holders = tuple(report.replica for report in await self._reports() if _holding(report, version))
            if not holders or time.monotonic() >= deadline or await happens_within(self._stopping, _POLL_S):
                return holders


def cause_of(holding: Holding, replica: str) -> AdapterError:
    """The error that a replica's failed holding stands for."""
    message = holding.error or f"`{holding.version}` could not be loaded"
    code = holding.error_code or LoadFailed.code
    if code in _SERVER_CAUSES:
        return _SERVER_CAUSES[code](f"{message} (replica {replica})")
    if code in _ENGINE_CAUSES:
        return LoadFailed(f"{message} (replica {replica})")
    return AdapterRejected(code, message)


def _holding(report: ReplicaReport, version: str) -> Holding | None:
    return next((holding for holding in report.holdings if holding.version == version), None)


def _readiness(live: Sequence[ReplicaReport], version: str) -> Readiness:
    notes = {
        holding.error
        for report in live
        if (holding := _holding(report, version)) and holding.error_code == NOT_PROBED and holding.error
    }
    return Readiness(tuple(report.replica for report in live), tuple(sorted(notes)))


def _names(replicas: Sequence[str]) -> str:
    word = "replica" if len(replicas) == 1 else "replicas"
    return f"{word} {', '.join(replicas)}"

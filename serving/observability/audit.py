"""The audit log: who changed what, and what came of it.

A file of JSON lines, opened to append and written through to the disk line by line. A file and not the state database:
it can be made append-only by its file system, shipped by whatever ships logs, and is there when the database is not.
Each change leaves two lines with one ``id``: ``begun`` before anything is done, ``ended`` with its result.
"""

import asyncio
import fcntl
import hashlib
import logging
import os
import secrets
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import orjson

from serving.auth import ANYONE
from serving.config import AuditSettings, GatewayConfig
from serving.errors import AuditUnavailable

Phase = Literal["begun", "ended", "noted"]
Result = Literal["ok", "refused", "failed"]

_MODE = 0o600

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Change:
    """One change that somebody asks for."""

    action: str
    """Such as ``adapters.promote``."""
    object: str
    """The id or name of what is changed; empty where it gets its own only then."""
    actor: str
    """Name of the caller's key, or ``anonymous``."""
    admin: bool
    """Whether the caller may administer the gateway."""
    request_id: str
    details: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the request that say what is asked for: names, versions, shares. No texts, no addresses."""
    id: str = field(default_factory=lambda: f"aud-{secrets.token_hex(8)}")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a change."""

    result: Result
    status: int
    """The HTTP status that it was answered with."""
    made: str | None = None
    """The id or name of what is new."""
    code: str | None = None
    """Of the error, where there was one."""


class AuditLog:
    """One file. Thread-safe; processes may share it."""

    def __init__(self, settings: AuditSettings) -> None:
        self._path = settings.file
        self.refuses = settings.when_unwritable == "refuse"
        """Whether a change that cannot be recorded is not made."""
        # A disk that hangs holds up this thread, and none of those that everything else shares.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="audit")

    async def begin(self, change: Change) -> bool:
        """Record that a change is asked for; whether that worked.

        Raises:
            AuditUnavailable: it did not, and the policy is to refuse.
        """
        written = await self._write("begun", _line(change))
        if not written and self.refuses:
            raise AuditUnavailable("The change was not made: it cannot be recorded in the audit log now.")
        return written

    async def end(self, change: Change, outcome: Outcome) -> bool:
        """Record what came of a change; whether that worked."""
        told = {"result": outcome.result, "status": outcome.status, "code": outcome.code, "made": outcome.made}
        return await self._write("ended", {**_line(change), "object": change.object or outcome.made or "", **told})

    async def note(self, action: str, thing: str, details: Mapping[str, Any]) -> bool:
        """Record something that no request asked for; whether that worked."""
        line = {"id": f"aud-{secrets.token_hex(8)}", "action": action, "object": thing, "details": details}
        return await self._write("noted", {**line, "actor": "operator", "result": "ok"})

    async def _write(self, phase: Phase, values: Mapping[str, Any]) -> bool:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = orjson.dumps({"time": now, "phase": phase, **values}) + b"\n"
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, append_line, self._path, line)
        except OSError as error:
            logger.error(
                "the audit log %s cannot be written: %s; not recorded: %s of %s",
                self._path,
                error.strerror or error,
                phase,
                values["action"],
            )
            return False
        return True


def open_audit(config: GatewayConfig) -> AuditLog | None:
    """The audit log of this configuration; None where it is switched off."""
    return AuditLog(config.logging.audit) if config.logging.audit.enabled else None


async def note_start(audit: AuditLog, config: GatewayConfig) -> None:
    """Record which configuration a control plane begins to work with, and whose keys it knows."""
    digest = hashlib.sha256(config.model_dump_json().encode()).hexdigest()
    keys = [key.name for key in config.api_keys]
    admins = [key.name for key in config.api_keys if key.admin]
    await audit.note("config.loaded", f"sha256:{digest}", {"keys": keys, "admins": admins})


def append_line(path: Path, line: bytes) -> None:
    """Append a line to a file, and have it on the disk when this returns. Blocking. Raises OSError.

    A line that a full disk has cut short stays in the file, which is only ever appended to; the next begins anew.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            line = b"\n" + line
        while line:
            line = line[os.write(descriptor, line) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if new:
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _line(change: Change) -> dict[str, Any]:
    return {
        "id": change.id,
        "action": change.action,
        "object": change.object,
        "actor": change.actor,
        "key": None if change.actor == ANYONE.name else change.actor,
        "admin": change.admin,
        "request_id": change.request_id,
        "details": dict(change.details),
    }

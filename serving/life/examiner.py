"""``SubprocessExaminer``: runs examinations in processes of their own, against this gateway's own address."""

import asyncio
import contextlib
import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adapters.rollout_types import Report
from serving.config import GatewayConfig
from serving.errors import ExaminationFailed, InvalidRequest
from serving.life.exam import EXIT_REFUSED
from serving.life.protocol import Examination, Finding
from serving.life.reports import gate_report, run_report
from serving.process.orders import base_url

logger = logging.getLogger(__name__)

CONCURRENCY = 4
"""Requests of an examination in progress: it shares the engine with callers."""

_LAST_LINES = 5
_GRACE_S = 5.0
_KEPT_S = 7 * 86400.0
"""How long a finished examination is kept, in seconds."""


class SubprocessExaminer:
    """The folder of an examination keeps the answers that it had, so that one that was broken off goes on.

    Args:
        command: what runs an examination; its folder is added.
    """

    def __init__(
        self, config: GatewayConfig, command: Sequence[str] = (sys.executable, "-m", "serving.life.exam")
    ) -> None:
        self._url = config.life.gateway_url or base_url(config)
        self._key_env = config.life.api_key_env
        self._folder = config.life.folder
        self._limit_s = config.life.examination_timeout_s
        self._command = tuple(command)

    async def examine(self, examination: Examination) -> Finding:
        """As the protocol says."""
        folder = self._folder / f"rollout-{examination.rollout}"
        if await asyncio.to_thread(self._prepare, folder, examination):
            return await asyncio.to_thread(_read, folder, examination)
        try:
            async with asyncio.timeout(self._limit_s):
                status = await self._run(folder)
        except TimeoutError:
            raise ExaminationFailed(f"the examination took longer than {self._limit_s:g} s") from None
        if status not in (0, EXIT_REFUSED):
            raise ExaminationFailed(f"the examination ended with status {status}: {_tail(folder / 'log.txt')}")
        return await asyncio.to_thread(_read, folder, examination)

    def _prepare(self, folder: Path, examination: Examination) -> bool:
        """Write down what is asked. Whether the folder holds the answer to just that already."""
        for other in self._folder.glob("rollout-*/result.json"):
            if time.time() - other.stat().st_mtime > _KEPT_S:
                shutil.rmtree(other.parent, ignore_errors=True)
        exam = {
            "base_url": f"{self._url.rstrip('/').removesuffix('/v1')}/v1",
            "suite": str(examination.suite),
            "suite_digest": _digest(examination.suite),
            "candidate": examination.candidate,
            "current": examination.current,
            "gate": dict(examination.gate),
            "concurrency": CONCURRENCY,
        }
        asked = json.dumps(exam, sort_keys=True)
        if _asked(folder) != asked:
            # Another database begins to number its rollouts anew, and a suite can be edited.
            shutil.rmtree(folder, ignore_errors=True)
        elif (folder / "result.json").exists():
            return True
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "error.json").unlink(missing_ok=True)
        (folder / "exam.json").write_text(asked, encoding="utf-8")
        return False

    async def _run(self, folder: Path) -> int:
        environment = dict(os.environ) | {"LORAPLEX_EXAMINER_KEY": os.environ.get(self._key_env, "")}
        with (folder / "log.txt").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                str(folder),
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
        try:
            return await process.wait()
        finally:
            if process.returncode is None:
                await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a process that is no longer wanted, and wait for it."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(_GRACE_S):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _asked(folder: Path) -> str | None:
    """What was asked in the folder; None where nothing was."""
    try:
        return (folder / "exam.json").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _digest(path: Path) -> str | None:
    """Of the suite's content; None where it cannot be read, which the examination itself will say."""
    from training.errors import TrainingError
    from training.evaluation.suite import load_suite

    try:
        return load_suite(path).digest
    except (TrainingError, OSError):
        return None


def _read(folder: Path, examination: Examination) -> Finding:
    """Raises ExaminationFailed."""
    refusal = folder / "error.json"
    if refusal.exists():
        raise ExaminationFailed(str(json.loads(refusal.read_text(encoding="utf-8"))["message"]))
    try:
        result: dict[str, Any] = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ExaminationFailed(f"the examination left no result: {error}") from error
    try:
        return _finding(examination, result)
    except InvalidRequest as error:
        raise ExaminationFailed(f"the examination left no result: {error}") from error


def _finding(examination: Examination, result: dict[str, Any]) -> Finding:
    """Raises InvalidRequest."""
    reports: list[Report] = [run_report(examination.candidate, result["candidate"])]
    if result["current"] is not None:
        compared = run_report(examination.candidate, result["current"])
        reports.append(
            Report(
                compared.version,
                compared.kind,
                None,
                f"{examination.current}, to compare: {compared.summary}",
                compared.body,
            )
        )
    verdict = result["verdict"]
    if verdict is None:
        return Finding(passed=True, reason=f"examined: {reports[0].summary}", reports=tuple(reports))
    reports.append(gate_report(examination.candidate, verdict))
    word = "passed" if verdict["passed"] else "did not pass"
    return Finding(bool(verdict["passed"]), f"{word} the gate: {verdict['reason']}", tuple(reports))


def _tail(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return " | ".join(lines[-_LAST_LINES:]) or "it said nothing"

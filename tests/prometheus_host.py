"""Debian's Prometheus and promtool, for tests of dashboards and rules."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from serving.process.ports import choose
from tests.lifecycle import until

_UNPACKED = Path(__file__).resolve().parents[1] / ".venv" / "prometheus" / "usr" / "bin"
"""Where requirements/test-tools.sh puts them."""


def program(name: str) -> str:
    """The path of ``prometheus`` or ``promtool``. Skips the test where there is none."""
    unpacked = _UNPACKED / name
    found = str(unpacked) if unpacked.is_file() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (Debian's package prometheus; `make tools` fetches it)")
    return found


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run promtool."""
    return subprocess.run([program("promtool"), *arguments], capture_output=True, text=True, timeout=120, check=False)


@dataclass(frozen=True)
class Prometheus:
    """A running server."""

    http: httpx.AsyncClient

    async def query(self, text: str) -> list[Any]:
        """The series of an expression now. Raises AssertionError where it is not valid."""
        answer = await self.http.get("/api/v1/query", params={"query": text})
        body = answer.json()
        assert body["status"] == "success", f"{body.get('error')}\n{text}"
        result: list[Any] = body["data"]["result"]
        return result

    async def rules(self) -> list[Any]:
        """Every rule, with its health."""
        groups = (await self.http.get("/api/v1/rules")).json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    async def until_scraped(self, times: int) -> None:
        """Wait until the target was scraped this often from now on."""
        before = await self._scrapes()

        async def scraped() -> bool:
            return await self._scrapes() >= before + times

        await until(scraped, f"{times} scrapes")

    async def _scrapes(self) -> int:
        found = await self.query('count_over_time(up{job="loraplex"}[1h])')
        return int(found[0]["value"][1]) if found else 0


@asynccontextmanager
async def prometheus(
    folder: Path, target: str, rules: list[Path], beside: Mapping[str, str] | None = None
) -> AsyncIterator[Prometheus]:
    """Scrape ``target``, host and port, each second as job ``loraplex``, under ``rules``; ``beside``: further jobs."""
    jobs = {"loraplex": target, **(beside or {})}
    every = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    config = {
        "global": every,
        "rule_files": [str(path) for path in rules],
        "scrape_configs": [{"job_name": job, "static_configs": [{"targets": [at]}]} for job, at in jobs.items()],
    }
    async with running(folder, config) as server:
        yield server


@asynccontextmanager
async def running(folder: Path, config: Mapping[str, Any]) -> AsyncIterator[Prometheus]:
    """Run a server with this configuration. ``folder`` is made."""
    folder.mkdir(parents=True)
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(dict(config)), encoding="utf-8")
    (port,) = choose([0])
    command = [
        program("prometheus"),
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as http:
                await until(lambda: _is_ready(process, http, folder / "log"), "Prometheus' start")
                yield Prometheus(http)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def _is_ready(process: asyncio.subprocess.Process, http: httpx.AsyncClient, log: Path) -> bool:
    assert process.returncode is None, log.read_text(encoding="utf-8")
    try:
        return (await http.get("/-/ready")).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False

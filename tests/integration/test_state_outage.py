"""The state database and the artifact store go away under load: what is resident goes on being served."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.lifecycle import until
from tests.living import Living, living
from tests.postgres_server import PostgresServer
from tests.s3_server import GATEWAY_KEY, S3Server

IMPATIENT = "?connect_timeout=2&options=-c%20statement_timeout%3D1000"
CALLERS = 3
WHILE_AWAY = 60
"""Requests that are answered while a server is away."""
SLOWEST_S = 2.0
"""Of a request to the fake engine on a busy machine; a wait for a server that is away takes longer."""
BOUND_S = 15.0
UNAVAILABLE = 503


@dataclass
class Load:
    """Steady requests, and what became of them."""

    it: Living
    statuses: Counter[int] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0

    @property
    def answered(self) -> int:
        """How many so far."""
        return self.statuses.total()

    async def more(self, count: int = WHILE_AWAY) -> None:
        """Return once so many more were answered."""
        wanted = self.answered + count
        await until(lambda: self.answered >= wanted, f"{count} more answers")

    async def _ask(self) -> None:
        while True:
            began = time.monotonic()
            answer = await self.it.ask()
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
            self.statuses[answer.status_code] += 1
            self.versions[answer.headers.get("x-loraplex-adapter", "")] += 1


@asynccontextmanager
async def load_on(it: Living) -> AsyncIterator[Load]:
    """Requests of several callers until the block ends; none of them may have failed."""
    load = Load(it)
    async with asyncio.TaskGroup() as group:
        asking = [group.create_task(load._ask()) for _ in range(CALLERS)]
        await load.more(CALLERS)
        yield load
        for task in asking:
            task.cancel()
    assert set(load.statuses) == {200}
    assert load.slowest_s < SLOWEST_S


@pytest.fixture
async def it(
    tmp_path: Path, postgres_server: PostgresServer, postgres_template: str, s3_server: S3Server
) -> AsyncIterator[Living]:
    """A gateway whose state and artifacts are on real servers, with a stable version and one more."""
    url = postgres_server.new_database(postgres_template)
    store = {
        "url": f"s3://{s3_server.new_bucket()}/artifacts",
        "options": s3_server.options_of(GATEWAY_KEY) | {"config_kwargs": {"connect_timeout": 1, "read_timeout": 1}},
    }
    async with living(tmp_path, state={"url": url + IMPATIENT}, artifacts=store) as made:
        await made.add(1, promote=True)
        yield made
    postgres_server.drop_database(url)


async def refused(it: Living, method: str, path: str, body: Any = None) -> httpx.Response:
    """An answer that says, in bounded time, that something is not there now."""
    began = time.monotonic()
    answer = await it.http.request(method, path, json=body)
    assert time.monotonic() - began < BOUND_S
    assert answer.status_code == UNAVAILABLE, answer.text
    return answer


async def until_promoted(it: Living, load: Load, version: str) -> None:
    """Make a version the stable one, and see it answer."""
    await it.admin("POST", "/adapters/triage/promote", {"version": version})
    await until(lambda: load.versions[version] > 0, f"answers of {version}")


@pytest.mark.parametrize(("leave", "come_back"), [("stop", "start"), ("pause", "resume")])
async def test_while_postgresql_is_away_resident_versions_are_served_and_changes_wait_for_its_return(
    it: Living, postgres_server: PostgresServer, leave: str, come_back: str
) -> None:
    second = await it.add(2)
    async with load_on(it) as load:
        answer = (await it.ask()).json()["id"]
        getattr(postgres_server, leave)()
        try:
            await load.more()
            changed, judged, metrics, models = await asyncio.gather(
                refused(it, "POST", "/admin/v1/adapters/triage/promote", {"version": second}),
                refused(it, "POST", "/v1/feedback", {"id": answer, "rating": "up"}),
                it.http.get("/metrics"),
                it.http.get("/v1/models"),
            )
            assert "state database" in changed.json()["error"]["message"]
            assert "Retry-After" in judged.headers
            assert (metrics.status_code, models.status_code) == (200, 200)
            assert (await it.http.get("/readyz")).status_code == 200
            await load.more()
        finally:
            getattr(postgres_server, come_back)()
        assert set(load.versions) == {(await it.alias())["stable"]}
        await until_promoted(it, load, second)


@pytest.mark.parametrize(("leave", "come_back"), [("kill", "start"), ("pause", "resume")])
async def test_while_the_artifact_store_is_away_resident_versions_are_served_and_nothing_half_done_stays(
    it: Living, s3_server: S3Server, tmp_path: Path, leave: str, come_back: str
) -> None:
    cold = await it.add(3)
    async with load_on(it) as load:
        first = set(load.versions)
        getattr(s3_server, leave)()
        try:
            with pytest.raises(AssertionError, match="artifact store"):
                await it.add(2, promote=True)
            answer = await it.ask(model=cold)
            assert (answer.status_code, answer.json()["error"]["code"]) == (UNAVAILABLE, "store_unavailable")
            await load.more()
            listed = await it.admin("GET", "/adapters/triage")
            assert len(listed["versions"]) == 2
        finally:
            getattr(s3_server, come_back)()
        assert set(load.versions) == first
        async with asyncio.timeout(BOUND_S):
            while (await it.ask(model=cold)).status_code == UNAVAILABLE:  # it is tried again after a pause
                pass
        second = await it.add(2)
        await until_promoted(it, load, second)

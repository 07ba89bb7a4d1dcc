"""The gateway's admin API, as a benchmark uses it."""

import asyncio
import time
from typing import Any
from urllib.parse import quote

import orjson
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.fleet import ServerFailed
from benchmarks.wire import Address, Reply, fetch

_TIMEOUT_S = 300.0
_NOT_FOUND = 404


class Admin:
    """One gateway's admin API. Every method raises ServerFailed where it is refused."""

    def __init__(self, address: Address) -> None:
        self._address = address

    async def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One request below ``/admin/v1``."""
        return _answer(await self._send(method, path, body), f"{method} {path}")

    async def add(self, name: str, source: str, *, promote: bool = False) -> str:
        """Add an adapter; returns its version's name."""
        answer = await self.call("POST", "/adapters", {"name": name, "source": source, "promote": promote})
        return str(answer["version"]["name"])

    async def promote(self, alias: str, version: str) -> dict[str, Any]:
        """Make ``version`` the stable one."""
        return await self.call("POST", f"/adapters/{quote(alias)}/promote", {"version": version})

    async def canary(self, alias: str, version: str, share: float) -> dict[str, Any]:
        """Give ``version`` a share of the callers."""
        return await self.call("POST", f"/adapters/{quote(alias)}/canary", {"version": version, "share": share})

    async def rollback(self, alias: str) -> dict[str, Any]:
        """Drop the canary, or return to the previous stable version."""
        return await self.call("POST", f"/adapters/{quote(alias)}/rollback", {})

    async def begin_rollout(self, alias: str, version: str, *, examine: bool) -> dict[str, Any]:
        """Begin an automatic rollout."""
        return await self.call("POST", f"/adapters/{quote(alias)}/rollout", {"version": version, "examine": examine})

    async def rollout(self, alias: str) -> dict[str, Any] | None:
        """The last automatic rollout; None where there was none yet."""
        path = f"/adapters/{quote(alias)}/rollout"
        reply = await self._send("GET", path)
        return None if reply.status == _NOT_FOUND else _answer(reply, f"GET {path}")

    async def reports(self, version: str) -> list[dict[str, Any]]:
        """What was found out about a version, newest first."""
        data: list[dict[str, Any]] = (await self.call("GET", f"/versions/{quote(version)}/reports"))["data"]
        return data

    async def history(self, alias: str) -> list[dict[str, Any]]:
        """What was done to an adapter, newest first."""
        data: list[dict[str, Any]] = (await self.call("GET", f"/history?alias={quote(alias)}&limit=1000"))["data"]
        return data

    async def replicas(self) -> list[dict[str, Any]]:
        """What each live replica holds, by its engine's own account."""
        data: list[dict[str, Any]] = (await self.call("GET", "/replicas"))["data"]
        return data

    async def loaded(self) -> dict[str, set[str]]:
        """Replica → the versions that its engine holds, in a slot or in its memory."""
        return {
            replica["replica"]: {held["version"] for held in replica["holdings"] if held["tier"] in ("slot", "cpu")}
            for replica in await self.replicas()
        }

    async def wait_loaded_only(self, allowed: set[str], timeout_s: float) -> dict[str, set[str]]:
        """Wait until no engine holds anything but ``allowed``, or time is up; returns what they hold then."""
        deadline = time.perf_counter() + timeout_s
        while True:
            loaded = await self.loaded()
            if all(held <= allowed for held in loaded.values()) or time.perf_counter() > deadline:
                return loaded
            await asyncio.sleep(0.2)

    async def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> Reply:
        content = b"" if body is None else orjson.dumps(body)
        return await fetch(self._address, f"/admin/v1{path}", method=method, body=content, timeout_s=_TIMEOUT_S)


def _answer(reply: Reply, what: str) -> dict[str, Any]:
    if reply.status >= 300:
        raise ServerFailed(f"{what}: {reply.status} {reply.body[:500].decode(errors='replace')}")
    answer: dict[str, Any] = orjson.loads(reply.body) if reply.body else {}
    return answer


async def requests_by_replica(address: Address) -> dict[str, int]:
    """Generations that each replica says it has finished, from one scrape of the gateway."""
    text = (await fetch(address, "/metrics")).body.decode()
    counts: dict[str, int] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "loraplex_requests_total":
                replica = sample.labels.get("replica", "")
                counts[replica] = counts.get(replica, 0) + int(sample.value)
    return counts

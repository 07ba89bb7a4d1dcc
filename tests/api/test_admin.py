"""The admin API over HTTP, on a live server."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.lifecycle import PATIENCE_S, World, until, world
from tests.live import served_control

ADMIN_KEY, USER_KEY = "admin-key", "user-key"


def keys() -> list[dict[str, Any]]:
    def hashed(key: str) -> str:
        return "sha256:" + hashlib.sha256(key.encode()).hexdigest()

    return [
        {"name": "olga", "hash": hashed(ADMIN_KEY), "admin": True},
        {"name": "user", "hash": hashed(USER_KEY)},
    ]


@asynccontextmanager
async def admin(
    folder: Path, *, key: str | None = None, **options: Any
) -> AsyncIterator[tuple[World, httpx.AsyncClient]]:
    """A world and a client of its admin API."""
    async with world(folder, **options) as it, served_control(it) as url:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        base = f"{url}/admin/v1"
        async with httpx.AsyncClient(base_url=base, headers=headers, timeout=PATIENCE_S, trust_env=False) as client:
            yield it, client


async def test_an_adapter_is_added_and_promoted_in_one_call(tmp_path: Path) -> None:
    async with admin(tmp_path) as (it, client):
        body = {"name": "triage", "source": it.source("triage", metadata={"epochs": 3}), "promote": True}
        answer = await client.post("/adapters", json=body)
        assert answer.status_code == 201, answer.text
        added = answer.json()
        version = added["version"]["name"]
        assert added["new"] is True
        assert added["version"]["roles"] == ["stable"]
        assert added["rollout"]["alias"]["stable"] == version
        assert added["rollout"]["replicas"] == ["r0"]
        assert await it.replicas[0].ask("triage") == (version, version)


async def test_the_list_says_which_version_is_what_and_where_it_is_loaded(tmp_path: Path) -> None:
    async with admin(tmp_path) as (it, client):
        stable = await it.add("triage", 1, promote=True)
        canary = await it.add("triage", 2)
        answer = await client.post("/adapters/triage/canary", json={"version": canary, "share": 0.25})
        assert answer.status_code == 200, answer.text
        listed = (await client.get("/adapters")).json()
        [adapter] = listed["data"]
        assert adapter["alias"] == {
            "name": "triage",
            "stable": stable,
            "canary": canary,
            "canary_share": 0.25,
            "shadow": None,
            "previous": None,
        }
        by_name = {version["name"]: version for version in adapter["versions"]}
        assert by_name[stable]["roles"] == ["stable"]
        assert by_name[canary]["roles"] == ["canary"]
        assert [holding["status"] for holding in by_name[stable]["residency"]] == ["ready"]
        assert [replica["replica"] for replica in listed["replicas"]] == ["r0"]


async def test_the_whole_life_of_an_adapter(tmp_path: Path) -> None:
    async with admin(tmp_path) as (it, client):
        first, second = await it.add("triage", 1, promote=True), await it.add("triage", 2)

        async def post(path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
            answer = await client.post(path, json=body)
            assert answer.status_code == 200, answer.text
            result: dict[str, Any] = answer.json()
            return result

        assert (await post("/adapters/triage/promote", {"version": second}))["alias"]["stable"] == second
        assert (await post("/adapters/triage/rollback"))["alias"]["stable"] == first
        assert (await post("/adapters/triage/rollback", {}))["alias"]["stable"] == second
        assert (await post("/adapters/triage/shadow", {"version": first}))["alias"]["shadow"] == first
        assert (await post("/adapters/triage/shadow", {"version": None}))["alias"]["shadow"] is None
        assert (await post("/adapters/triage/canary", {"version": first, "share": 0.5}))["alias"]["canary"] == first
        assert (await post("/adapters/triage/canary", {"share": 0}))["alias"]["canary"] is None
        assert (await post(f"/versions/{first}/pin"))["action"] == "pin"
        assert (await client.get(f"/adapters/{first}")).json()["pinned"] is True
        assert (await post(f"/versions/{first}/unpin"))["action"] == "unpin"
        assert (await post(f"/versions/{first}/verify"))["ok"] is True
        assert (await client.delete(f"/versions/{first}")).json()["action"] == "remove"
        assert (await client.get(f"/adapters/{first}")).status_code == 404
        events = (await client.get("/history", params={"alias": "triage", "limit": 3})).json()["data"]
        assert events[0]["action"] == "remove"
        assert events[0]["actor"] == "anonymous"
        assert len(events) == 3


async def test_a_refused_adapter_is_a_400_with_its_cause(tmp_path: Path) -> None:
    async with admin(tmp_path) as (it, client):
        old = await it.add("triage", 1, promote=True)
        new = await it.add("triage", 2)
        it.replicas[0].engine.inert.add(new)
        answer = await client.post("/adapters/triage/promote", json={"version": new})
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert (error["type"], error["code"]) == ("invalid_request_error", "no_effect")
        assert "changes nothing" in error["message"]
        assert await it.replicas[0].ask("triage") == (old, old)


async def test_a_load_that_fails_is_a_503_with_retry_after(tmp_path: Path) -> None:
    async with admin(tmp_path) as (it, client):
        version = await it.add("triage")
        it.replicas[0].engine.refuse_load["triage"] = "out of memory"
        answer = await client.post("/adapters/triage/promote", json={"version": version})
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "5"
        assert answer.json()["error"]["code"] == "adapter_load_failed"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/adapters/nobody", None, 404, "alias_not_found"),
        ("GET", "/adapters/nobody@12345678", None, 404, "version_not_found"),
        ("POST", "/adapters/nobody/promote", {"version": "12345678"}, 404, "version_not_found"),
        ("POST", "/adapters/nobody/rollback", {}, 404, "alias_not_found"),
        ("POST", "/adapters/nobody/rollback", {"to": "x"}, 400, "invalid_request"),
        ("POST", "/adapters/nobody/canary", {"version": "12345678", "share": 1.5}, 400, "invalid_request"),
        ("POST", "/adapters/nobody/canary", {"share": 0.5}, 400, "invalid_request"),
        ("POST", "/adapters", {"name": "triage"}, 400, "invalid_request"),
        ("POST", "/adapters", {"name": "a/b", "source": "x"}, 400, "invalid_request"),
        ("POST", "/adapters", {"name": "triage", "source": "/nowhere/at/all"}, 400, "source_unavailable"),
        ("DELETE", "/versions/nobody@12345678", None, 404, "version_not_found"),
        ("GET", "/nothing", None, 404, "unknown_url"),
        ("PUT", "/adapters", None, 405, "method_not_allowed"),
        ("GET", "/history?limit=0", None, 400, "invalid_request"),
    ],
)
async def test_every_mistake_is_told_in_the_openai_envelope(
    tmp_path: Path, method: str, path: str, body: dict[str, Any] | None, status: int, code: str
) -> None:
    async with admin(tmp_path, replicas=0) as (_, client):
        answer = await client.request(method, path, json=body)
        assert answer.status_code == status, answer.text
        error = answer.json()["error"]
        assert error["code"] == code
        assert set(error) == {"message", "type", "param", "code"}


async def test_a_body_that_is_not_json_is_told_so(tmp_path: Path) -> None:
    async with admin(tmp_path, replicas=0) as (_, client):
        answer = await client.post("/adapters", content=b"{", headers={"content-type": "application/json"})
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == "invalid_json"


@pytest.mark.parametrize(
    ("key", "status", "code"),
    [(None, 401, "invalid_api_key"), ("wrong", 401, "invalid_api_key"), (USER_KEY, 403, "permission_denied")],
)
async def test_only_administrators_get_in(tmp_path: Path, key: str | None, status: int, code: str) -> None:
    async with admin(tmp_path, key=key, replicas=0, api_keys=keys()) as (_, client):
        for path in ("/adapters", "/nothing"):
            answer = await client.get(path)
            assert answer.status_code == status
            assert answer.json()["error"]["code"] == code


async def test_the_history_names_the_administrator(tmp_path: Path) -> None:
    async with admin(tmp_path, key=ADMIN_KEY, replicas=0, api_keys=keys()) as (it, client):
        body = {"name": "triage", "source": it.source("triage")}
        assert (await client.post("/adapters", json=body)).status_code == 201
        [event] = (await client.get("/history")).json()["data"]
        assert event["actor"] == "olga"


async def test_the_replicas_are_listed_with_what_they_hold(tmp_path: Path) -> None:
    async with admin(tmp_path, replicas=2) as (it, client):
        version = await it.add("triage", promote=True)
        listed = (await client.get("/replicas")).json()["data"]
        assert [replica["replica"] for replica in listed] == ["r0", "r1"]
        for replica in listed:
            assert [(held["version"], held["status"]) for held in replica["holdings"]] == [(version, "ready")]


async def test_the_answers_are_documented(tmp_path: Path) -> None:
    async with admin(tmp_path, replicas=0) as (_, client):
        schema = (await client.get(str(client.base_url).replace("/v1/", "/openapi.json"))).json()
        paths = schema["paths"]
        assert "/admin/v1/adapters/{name}/promote" in paths
        for operations in paths.values():
            for operation in operations.values():
                success = next(answer for status, answer in operation["responses"].items() if status.startswith("2"))
                assert success["content"]["application/json"]["schema"]


async def test_a_client_that_goes_away_does_not_stop_its_promote(tmp_path: Path) -> None:
    async with admin(tmp_path) as (it, client):
        version = await it.add("triage")
        [replica] = it.replicas
        replica.engine.load_gate.clear()
        call = asyncio.create_task(client.post("/adapters/triage/promote", json={"version": version}))
        await replica.engine.until(lambda engine: engine.loads == [version])
        call.cancel()
        replica.engine.load_gate.set()
        async with asyncio.timeout(PATIENCE_S):
            while (await client.get("/adapters/triage")).json()["alias"] is None:
                pass
        # Nobody waited for the call's end, and only then has every replica seen the flip.
        await until(lambda: "triage" in replica.residency.snapshot.aliases, "the replica's next look")
        assert await replica.ask("triage") == (version, version)

"""What changes through the API leave in the audit log."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from serving.auth import Authenticator
from serving.control import build_control
from serving.observability.audit import open_audit
from tests.embedding_server import embedding_app
from tests.jobs_live import jobs_config, live_jobs, planned
from tests.knowledge_live import key_of, knowledge_config, live_with_memory_index, made
from tests.lifecycle import PATIENCE_S, World, world
from tests.live import served

FULL = "/dev/full"
Entries = list[dict[str, Any]]


def entries(path: Path) -> Entries:
    """What the audit log holds; nothing where there is none."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


@asynccontextmanager
async def audited(
    folder: Path, *, file: str | None = None, when_unwritable: str = "refuse"
) -> AsyncIterator[tuple[World, httpx.AsyncClient]]:
    """An admin API with an audit log, and a client of it without a key."""
    audit = {"file": file or str(folder / "audit.jsonl"), "when_unwritable": when_unwritable}
    keys = [key_of("olga", admin=True), key_of("user")]
    async with world(folder, api_keys=keys, logging={"audit": audit}) as it:
        app = build_control(it.config, it.rollouts, Authenticator(it.config), it.life, audit=open_audit(it.config))
        async with served(app) as url:
            base = f"{url}/admin/v1"
            async with httpx.AsyncClient(base_url=base, timeout=PATIENCE_S, trust_env=False) as client:
                yield it, client


def by(key: str, **headers: str) -> dict[str, str]:
    """The headers of a request with a key."""
    return {"authorization": f"Bearer {key}", **headers}


async def test_a_change_is_recorded_before_and_after_with_who_and_what(tmp_path: Path) -> None:
    async with audited(tmp_path) as (it, client):
        source = it.source("triage")
        body = {"name": "triage", "source": source, "promote": True}
        headers = by("olga", **{"x-request-id": "req-7"})
        answer = await client.post("/adapters", json=body, headers=headers)
        assert answer.status_code == 201, answer.text
        assert "x-loraplex-audit" not in answer.headers
        begun, ended = entries(tmp_path / "audit.jsonl")
    for entry in (begun, ended):
        assert (entry["action"], entry["object"]) == ("adapters.add", "triage")
        assert (entry["actor"], entry["key"], entry["admin"]) == ("olga", "olga", True)
        assert entry["request_id"] == "req-7"
        assert entry["details"] == {"name": "triage", "promote": True}
    assert (begun["phase"], ended["phase"], begun["id"]) == ("begun", "ended", ended["id"])
    assert (ended["result"], ended["status"], ended["made"]) == ("ok", 201, answer.json()["version"]["name"])
    assert source not in (tmp_path / "audit.jsonl").read_text(encoding="utf-8")


async def test_how_a_body_is_sent_hides_nothing_of_it(tmp_path: Path) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b'{"version": "11111111",'
        yield b' "share": 0.5}'

    async with audited(tmp_path) as (_, client):
        headers = by("olga", **{"content-type": "Application/JSON"})
        answer = await client.post("/adapters/triage/canary", content=pieces(), headers=headers)
        assert answer.status_code == 404, answer.text
        begun, _ = entries(tmp_path / "audit.jsonl")
    assert begun["details"] == {"version": "11111111", "share": 0.5}


async def test_a_body_that_is_too_long_to_be_recorded_arrives_whole(tmp_path: Path) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b'{"version": "11111111", "share": 0.5'
        for _ in range(20):
            yield b" " * 10_000
        yield b"}"

    async with audited(tmp_path) as (_, client):
        headers = by("olga", **{"content-type": "application/json"})
        answer = await client.post("/adapters/triage/canary", content=pieces(), headers=headers)
        assert answer.status_code == 404, answer.text
        begun, _ = entries(tmp_path / "audit.jsonl")
    assert (begun["action"], begun["details"]) == ("adapters.canary", {})


async def test_reading_is_not_recorded(tmp_path: Path) -> None:
    async with audited(tmp_path) as (it, client):
        version = await it.add("triage")
        for path in ("/adapters", "/adapters/triage", f"/versions/{version}/reports", "/history", "/replicas"):
            assert (await client.get(path, headers=by("olga"))).status_code == 200
        assert (await client.post(f"/versions/{version}/verify", headers=by("olga"))).status_code == 200
        assert entries(tmp_path / "audit.jsonl") == []


async def test_a_change_that_is_refused_says_by_which_code(tmp_path: Path) -> None:
    async with audited(tmp_path) as (_, client):
        answer = await client.post("/adapters/triage/promote", json={"version": "1" * 8}, headers=by("olga"))
        assert answer.status_code == 404
        assert (await client.post("/adapters/triage/promote", content=b"{", headers=by("olga"))).status_code == 400
        found = entries(tmp_path / "audit.jsonl")
    assert [(entry["phase"], entry.get("result")) for entry in found] == [("begun", None), ("ended", "refused")] * 2
    assert found[1]["code"] == answer.json()["error"]["code"]
    assert found[3]["status"] == 400


async def test_a_key_that_may_not_is_recorded_and_one_that_nobody_knows_is_not(tmp_path: Path) -> None:
    async with audited(tmp_path) as (_, client):
        for key, status in (("user", 403), ("stranger", 401)):
            answer = await client.post("/adapters/triage/rollback", headers=by(key))
            assert answer.status_code == status
        assert (await client.get("/adapters", headers=by("user"))).status_code == 403
        (entry,) = entries(tmp_path / "audit.jsonl")
    assert (entry["actor"], entry["action"], entry["object"]) == ("user", "adapters.rollback", "triage")
    assert (entry["result"], entry["status"], entry["code"]) == ("refused", 403, "permission_denied")


async def test_on_a_full_disk_nothing_is_changed(tmp_path: Path) -> None:
    async with audited(tmp_path, file=FULL) as (it, client):
        body = {"name": "triage", "source": it.source("triage")}
        answer = await client.post("/adapters", json=body, headers=by("olga"))
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "30"
        assert answer.json()["error"]["code"] == "audit_unavailable"
        listed = await client.get("/adapters", headers=by("olga"))
        assert listed.status_code == 200
        assert it.catalog.snapshot().versions == {}


async def test_on_a_full_disk_the_answer_says_that_a_change_is_not_recorded_where_it_is_allowed(tmp_path: Path) -> None:
    async with audited(tmp_path, file=FULL, when_unwritable="allow") as (it, client):
        body = {"name": "triage", "source": it.source("triage")}
        answer = await client.post("/adapters", json=body, headers=by("olga"))
        assert answer.status_code == 201
        assert answer.headers["x-loraplex-audit"] == "not-recorded"
        assert len(it.catalog.snapshot().versions) == 1


async def test_files_and_jobs_are_recorded_and_so_is_the_start(tmp_path: Path) -> None:
    config = jobs_config(tmp_path)
    async with live_jobs(config, tmp_path) as jobs, jobs.http() as client:
        sent = await client.post("files", files={"file": ("secret.jsonl", planned())}, data={"purpose": "fine-tune"})
        assert sent.status_code == 200, sent.text
        removed = await client.delete(f"files/{sent.json()['id']}")
        assert removed.status_code == 200
        started, *found = entries(tmp_path / "audit.jsonl")
    assert started["action"] == "config.loaded"
    assert [(entry["action"], entry["phase"]) for entry in found] == [
        ("files.upload", "begun"),
        ("files.upload", "ended"),
        ("files.delete", "begun"),
        ("files.delete", "ended"),
    ]
    assert found[1]["made"] == found[2]["object"] == sent.json()["id"]
    assert {entry["actor"] for entry in found} == {"ada"}
    assert "secret" not in (tmp_path / "audit.jsonl").read_text(encoding="utf-8")


async def test_stores_are_recorded_and_searches_are_not(tmp_path: Path) -> None:
    async with served(embedding_app()) as embedder:
        config = knowledge_config(tmp_path, knowledge={"embedder": {"url": f"{embedder}/v1", "model": "words"}})
        async with live_with_memory_index(config) as live, live.http() as client:
            store = await made(client, "vector_stores", {"name": "secret"})
            await client.post(f"vector_stores/{store}/search", json={"query": "secret"})
            assert (await client.delete(f"vector_stores/{store}")).status_code == 200
    found = [entry for entry in entries(tmp_path / "audit.jsonl") if entry["action"] != "config.loaded"]
    assert [(entry["action"], entry["object"]) for entry in found] == [
        ("stores.create", ""),
        ("stores.create", store),
        ("stores.delete", store),
        ("stores.delete", store),
    ]
    assert len({entry["request_id"] for entry in found}) == 2
    assert "secret" not in (tmp_path / "audit.jsonl").read_text(encoding="utf-8")

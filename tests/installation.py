"""A whole installation with adapters, documents and fine-tuning jobs, and a picture of what it serves."""

import asyncio
import hashlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from serving.config import GatewayConfig, load_config
from serving.engine.fake import FakeEngine
from serving.gateway import build_gateway
from serving.jobs.launcher import ProcessLauncher
from tests.adapter_factory import BASE_NAME, make_adapter, make_base
from tests.jobs_live import STANDIN, planned
from tests.knowledge_live import key_of
from tests.lifecycle import until
from tests.live import served

KEYS = [key_of("root", admin=True), key_of("ada", writes_knowledge=True, labels=["sales"]), key_of("reader")]
QUESTIONS = ("How long does a refund take?", "When do parcels leave?", "What does the Team plan cost?")
DOCUMENTS = {
    "refunds.md": b"# Refunds\n\nA refund takes thirty days.\n\n## Abroad\n\nAbroad a refund takes sixty days.",
    "shipping.md": b"# Shipping\n\nParcels leave on Mondays.",
    "prices.md": b"# Prices\n\nThe Team plan costs 40 EUR. \xf0\x9f\x9a\x80",
    "empty.md": b"\n",
}
_CHANGING = {"residency", "last_active_at", "bytes_in_flight", "replicas"}
"""What says when a thing was used or where it is loaded, and not what it is."""


def write_config(folder: Path, embeddings: str, **sections: Any) -> Path:
    """A configuration file whose state, artifacts and index are in ``folder`` unless ``sections`` say otherwise."""
    folder.mkdir(parents=True, exist_ok=True)
    base = make_base(folder.parent / BASE_NAME)
    whole: dict[str, Any] = {
        "model": {"id": str(base)},
        "engine": {"kind": "fake"},
        "state": {"url": f"sqlite:///{folder}/state.db"},
        "logging": {"audit": {"file": f"{folder}/audit.jsonl"}},
        "artifacts": {"url": str(folder / "artifacts")},
        "adapters": {"cache_dir": str(folder / "cache"), "sync_interval_s": 0.02},
        "training": {"folder": str(folder / "jobs")},
        "knowledge": {
            "index": {"uri": str(folder / "milvus.db")},
            "cache_dir": str(folder / "vectors"),
            "embedder": {"url": embeddings, "model": "words"},
        },
        "api_keys": KEYS,
        **sections,
    }
    path = folder / "loraplex.yaml"
    path.write_text(yaml.safe_dump(whole), encoding="utf-8")
    return path


@asynccontextmanager
async def live_installation(file: Path) -> AsyncIterator["LiveInstallation"]:
    """The gateway of a configuration file, on loopback."""
    config = load_config(file)
    make_adapter(file.parent / "made", Path(config.model.id))
    gateway = build_gateway(
        config, engine=FakeEngine(config.model.public_name), replica="test", launcher=ProcessLauncher(STANDIN)
    )
    await gateway.start(lambda _: None)
    try:
        async with served(gateway.app) as url:
            yield LiveInstallation(url, file, config)
    finally:
        await gateway.stop()


class LiveInstallation:
    """What a test drives and looks at."""

    def __init__(self, url: str, file: Path, config: GatewayConfig) -> None:
        self.url = url
        self.file = file
        self.config = config

    def http(self, key: str = "root") -> httpx.AsyncClient:
        """Bare HTTP."""
        headers = {"authorization": f"Bearer {key}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=60, trust_env=False)

    async def fill(self) -> None:
        """Use it for a while: versions in every role, documents of several kinds and keys, jobs that ended and wait."""
        async with self.http() as root, self.http("ada") as ada:
            first = await self.add_version(root, 1, promote=True)
            await self.add_version(root, 2, promote=True)
            canary = await self.add_version(root, 3)
            await _done(root, "POST", "/admin/v1/adapters/triage/canary", json={"version": canary, "share": 0.25})
            await _done(root, "POST", f"/admin/v1/versions/{first}/pin")
            store = await _done(ada, "POST", "/v1/vector_stores", json={"name": "manuals"})
            for name, data in DOCUMENTS.items():
                await self.attach(ada, store["id"], name, data)
            await self.attach(ada, store["id"], "shipping.md", b"# Shipping\n\nParcels leave on Mondays and Fridays.")
            gone = await self.attach(ada, store["id"], "gone.md", b"# Gone\n\nNobody knows of it.")
            await _done(ada, "DELETE", f"/v1/files/{gone}")
            await self.start_job(ada, steps=2)
            paused = await self.start_job(ada, steps=3, hold_at=2, wait=False)
            await _done(ada, "POST", f"/v1/fine_tuning/jobs/{paused}/pause")
            await until(lambda: _ended(self.file.parent / "jobs" / paused), "the end of the paused job's trainer")

    async def add_version(self, root: httpx.AsyncClient, seed: int, *, promote: bool = False) -> str:
        """One more version of the adapter ``triage``; its name."""
        source = make_adapter(self.file.parent / f"triage-{seed}", Path(self.config.model.id), seed=seed)
        body = {"name": "triage", "source": str(source), "promote": promote}
        return str((await _done(root, "POST", "/admin/v1/adapters", json=body))["version"]["name"])

    async def attach(self, client: httpx.AsyncClient, store: str, name: str, data: bytes) -> str:
        """Upload a file into a store, in place of what it has of that source; its id once it is searched."""
        sent = {"files": {"file": (name, data)}, "data": {"purpose": "assistants"}}
        file = await _done(client, "POST", "/v1/files", **sent)
        attributes = {"source": name} | ({"labels": "sales"} if "prices" in name else {})
        body = {"file_id": file["id"], "attributes": attributes}
        place = f"/v1/vector_stores/{store}/files"
        await _done(client, "POST", place, json=body)

        async def settled() -> bool:
            return bool((await _done(client, "GET", f"{place}/{file['id']}"))["status"] != "in_progress")

        await until(settled, f"the ingestion of {name}")
        return str(file["id"])

    async def start_job(self, client: httpx.AsyncClient, *, wait: bool = True, **plan: Any) -> str:
        """A fine-tuning job; its id once it has ended."""
        sent = {"files": {"file": ("train.jsonl", planned(**plan))}, "data": {"purpose": "fine-tune"}}
        file = await _done(client, "POST", "/v1/files", **sent)
        body = {"model": BASE_NAME, "training_file": file["id"], "seed": 7, "suffix": "cards"}
        job = await _done(client, "POST", "/v1/fine_tuning/jobs", json=body)

        async def reached() -> bool:
            now = await _done(client, "GET", f"/v1/fine_tuning/jobs/{job['id']}")
            return bool(now["status"] == ("succeeded" if wait else "running"))

        await until(reached, "the job")
        return str(job["id"])

    async def resume(self, job: str) -> str:
        """Let a paused job go on; the version that came of it."""
        async with self.http() as root:
            await _done(root, "POST", f"/v1/fine_tuning/jobs/{job}/resume")

            async def ended() -> Any:
                now = await _done(root, "GET", f"/v1/fine_tuning/jobs/{job}")
                assert now["status"] not in ("failed", "cancelled"), now["error"]
                return now["fine_tuned_model"]

            await until(ended, "the job")
            return str(await ended())

    async def settled(self) -> None:
        """Return once no document waits to be searched."""
        async with self.http() as root:

            async def none_waits() -> bool:
                stores = await _all(root, "/v1/vector_stores")
                return not any(store["file_counts"]["in_progress"] for store in stores)

            await until(none_waits, "the ingestion")

    async def picture(self) -> dict[str, Any]:
        """All that it serves, as far as clients can tell."""
        async with self.http() as root, self.http("reader") as reader:
            stores = await _all(root, "/v1/vector_stores")
            return {
                "adapters": _steady(await _done(root, "GET", "/admin/v1/adapters")),
                "history": (await _done(root, "GET", "/admin/v1/history"))["data"],
                "answers": [await _fingerprint(root, name) for name in ("triage", "cards")],
                "files": [await _with_digest(root, file) for file in await _all(root, "/v1/files")],
                "stores": [await self._store(root, reader, store) for store in stores],
                "jobs": [await _job(root, job) for job in await _all(root, "/v1/fine_tuning/jobs")],
            }

    async def _store(self, root: httpx.AsyncClient, reader: httpx.AsyncClient, store: dict[str, Any]) -> Any:
        place = f"/v1/vector_stores/{store['id']}"
        documents = await _all(root, f"{place}/files")
        texts = {one["id"]: await _done(root, "GET", f"{place}/files/{one['id']}/content") for one in documents}
        found = {}
        for question in QUESTIONS:
            for who, client in (("root", root), ("reader", reader)):
                answer = await _done(client, "POST", f"{place}/search", json={"query": question})
                found[f"{who}: {question}"] = answer["data"]
        passages = [(await root.get(f"{place}/files/{one['id']}/passages")).json() for one in documents]
        return {
            "store": _steady(store),
            "documents": documents,
            "texts": texts,
            "found": found,
            "passages": passages,
        }


def loraplex(*arguments: str, environment: Mapping[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    """The command, in a process of its own."""
    program = "from serving.cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, **(environment or {})},
    )


async def in_background(*arguments: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    """The same while this event loop serves."""
    return await asyncio.to_thread(loraplex, *arguments, **options)


def _ended(folder: Path) -> bool:
    from serving.jobs.launcher import is_at_work

    return not is_at_work(folder)


async def _done(client: httpx.AsyncClient, method: str, path: str, **options: Any) -> Any:
    answer = await client.request(method, path, **options)
    assert answer.status_code in (200, 201), f"{method} {path}: {answer.status_code} {answer.text}"
    return answer.json()


async def _all(client: httpx.AsyncClient, path: str) -> list[dict[str, Any]]:
    answer = await _done(client, "GET", f"{path}?limit=100")
    assert not answer["has_more"]
    found: list[dict[str, Any]] = answer["data"]
    return found


async def _with_digest(client: httpx.AsyncClient, file: dict[str, Any]) -> dict[str, Any]:
    content = await client.get(f"/v1/files/{file['id']}/content")
    return {**file, "sha256": hashlib.sha256(content.content).hexdigest()}


async def _job(client: httpx.AsyncClient, job: dict[str, Any]) -> dict[str, Any]:
    place = f"/v1/fine_tuning/jobs/{job['id']}"
    return {
        "job": job,
        "events": await _all(client, f"{place}/events"),
        "points": await _all(client, f"{place}/checkpoints"),
    }


async def _fingerprint(client: httpx.AsyncClient, adapter: str) -> str:
    versions = (await _done(client, "GET", f"/admin/v1/adapters/{adapter}"))["versions"]
    names = [one["name"] for one in versions]
    told = []
    for name in names:
        body = {"model": name, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}
        told.append((await _done(client, "POST", "/v1/chat/completions", json=body))["system_fingerprint"])
    assert told == names
    return " ".join(told)


def _steady(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _steady(one) for name, one in value.items() if name not in _CHANGING}
    return [_steady(one) for one in value] if isinstance(value, list) else value

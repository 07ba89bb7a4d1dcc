"""Scraping whole gateways: all replicas or one, who may, and what the engine lacks."""

import asyncio
import contextlib
import dataclasses
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from monitoring.exposition import Format
from serving.config import GatewayConfig
from serving.engine.fake import FakeEngine
from serving.engine.protocol import EngineInfo, Progress
from serving.errors import ConfigInvalid
from serving.gateway import Gateway, build_gateway
from serving.preflight import quick_preflight
from serving.status import unavailable
from tests.api.harness import BASE, config_of
from tests.expositions import families

HELLO: Any = [{"role": "user", "content": "hello there"}]
TOKEN = {"authorization": "Bearer scrape-me"}
ADMIN = {"authorization": "Bearer sk-ops"}
KEYS = [
    {"name": "ops", "hash": "sha256:" + hashlib.sha256(b"sk-ops").hexdigest(), "admin": True},
    {"name": "web", "hash": "sha256:" + hashlib.sha256(b"sk-web").hexdigest()},
]


def _config(folder: Path, **sections: Any) -> GatewayConfig:
    return config_of(
        tasks={},
        engine={"kind": "openai", "url": "http://127.0.0.1:9/v1"},
        state={"url": f"sqlite:///{folder}/state.db"},
        artifacts={"url": str(folder / "artifacts")},
        adapters={"enabled": False, "cache_dir": str(folder / "cache")},
        **sections,
    )


@contextlib.asynccontextmanager
async def _running(config: GatewayConfig, name: str, engine: FakeEngine | None = None) -> AsyncIterator[Gateway]:
    """A gateway that answers, without the admin API."""
    control = unavailable("There is no control plane here.")
    gateway = build_gateway(config, engine=engine or FakeEngine(BASE), replica=name, control=control)
    await gateway.start(lambda line: None)
    try:
        yield gateway
    finally:
        await gateway.stop()


def _client(gateway: Gateway, **headers: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(gateway.app), base_url="http://gw:8000", headers=headers)


def _replicas(exposition: bytes, name: str, form: Format = Format.TEXT) -> set[str]:
    found = next(family for family in families(exposition, form) if family.name == name)
    return {sample.labels["replica"] for sample in found.samples}


async def _targets(http: httpx.AsyncClient, count: int) -> list[Any]:
    """The targets, once there are ``count`` of them: a replica is known with its first report."""
    async with asyncio.timeout(20):
        while True:
            targets: list[Any] = (await http.get("/metrics/targets")).json()
            if len(targets) == count:
                return targets
            await asyncio.sleep(0.02)


async def test_one_scrape_sees_all_replicas_or_the_one_that_is_named(tmp_path: Path) -> None:
    config = _config(tmp_path)
    async with _running(config, "a") as first, _running(config, "b"), _client(first) as http:
        targets = await _targets(http, 2)
        assert [target["labels"]["__param_replica"] for target in targets] == ["a", "b"]
        assert all(target["targets"] == ["gw:8000"] for target in targets)
        for form in Format:
            accept = {"accept": form.value}
            whole = (await http.get("/metrics", headers=accept)).content
            assert _replicas(whole, "loraplex_build_info", form) == {"a", "b"}
            assert _replicas(whole, "fake_engine_requests_running", form) == {"a", "b"}
            for name, label in (("a", "a"), ("b", "b"), ("self", "a")):
                one = (await http.get("/metrics", params={"replica": name}, headers=accept)).content
                assert _replicas(one, "loraplex_build_info", form) == {label}
                assert _replicas(one, "fake_engine_requests_running", form) == {label}


async def test_a_replica_or_a_knowledge_that_is_not_there_is_404(tmp_path: Path) -> None:
    async with _running(_config(tmp_path), "a") as gateway, _client(gateway) as http:
        for name in ("z", "knowledge"):
            answer = await http.get("/metrics", params={"replica": name})
            assert answer.status_code == 404
            assert answer.json()["error"]["code"] == "replica_not_found"


async def test_a_gateway_says_what_it_is(tmp_path: Path) -> None:
    async with _running(_config(tmp_path), "a") as gateway, _client(gateway) as http:
        text = (await http.get("/metrics")).content
    info = next(family for family in families(text) if family.name == "loraplex_build_info")
    (labels,) = (sample.labels for sample in info.samples)
    assert labels["base_model"] == BASE
    assert labels["vllm"] == ""
    assert labels["version"]


class LackingEngine(FakeEngine):
    """An engine that is known to have two metrics, and has one of them."""

    async def start(self, progress: Progress) -> EngineInfo:
        """Ready at once."""
        info = await super().start(progress)
        return dataclasses.replace(info, version="vllm 0.29.0", series=("fake_engine_requests_running", "vllm:gone"))


async def test_metrics_that_the_engine_lacks_are_told_everywhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with _running(_config(tmp_path), "a", LackingEngine(BASE)) as gateway, _client(gateway) as http:
        text = (await http.get("/metrics")).text
        ready = (await http.get("/readyz")).json()
    assert 'loraplex_engine_series_missing{replica="a",series="vllm:gone"} 1.0' in text
    assert 'series="fake_engine_requests_running"' not in text
    assert 'vllm="0.29.0"' in text
    assert "vllm:gone" in ready["warnings"][0]
    assert "vllm:gone" in caplog.text


class MuteEngine(FakeEngine):
    """An engine whose metrics cannot be had."""

    def metrics_text(self) -> bytes:
        """Raises."""
        raise RuntimeError("the registry is broken")


async def test_an_engine_that_does_not_tell_its_metrics_takes_nothing_else_along(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with _running(_config(tmp_path), "a", MuteEngine(BASE)) as gateway, _client(gateway) as http:
        answer = await http.get("/metrics")
    assert answer.status_code == 200
    assert _replicas(answer.content, "loraplex_build_info") == {"a"}
    assert "the engine does not tell its metrics" in caplog.text


async def test_a_scraper_needs_no_admin_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRAPE_TOKEN", "scrape-me\n")
    config = _config(tmp_path, metrics={"token_env": "SCRAPE_TOKEN"}, api_keys=KEYS)
    async with _running(config, "a") as gateway, _client(gateway) as http:
        for path in ("/metrics", "/metrics/targets", "/metrics?replica=self"):
            assert (await http.get(path, headers=TOKEN)).status_code == 200, path
            assert (await http.get(path, headers=ADMIN)).status_code == 200, path
            assert (await http.get(path, headers={"authorization": "Bearer sk-web"})).status_code == 403, path
            assert (await http.get(path, headers={"authorization": "Bearer wrong"})).status_code == 401, path
            assert (await http.get(path)).status_code == 401, path


async def test_the_scrapers_token_opens_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRAPE_TOKEN", "scrape-me")
    config = _config(tmp_path, metrics={"token_env": "SCRAPE_TOKEN"}, api_keys=KEYS)
    async with _running(config, "a") as gateway, _client(gateway, **TOKEN) as http:
        body = {"model": BASE, "messages": HELLO}
        assert (await http.get("/v1/models")).status_code == 401
        assert (await http.post("/v1/chat/completions", json=body)).status_code == 401


async def test_a_token_is_asked_for_even_where_no_keys_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRAPE_TOKEN", "scrape-me")
    config = _config(tmp_path, metrics={"token_env": "SCRAPE_TOKEN"})
    async with _running(config, "a") as gateway, _client(gateway) as http:
        assert (await http.get("/metrics")).status_code == 401
        assert (await http.get("/metrics", headers=TOKEN)).status_code == 200
        assert (await http.get("/v1/models")).status_code == 200


def test_a_token_that_the_environment_lacks_is_told_before_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SCRAPE_TOKEN", raising=False)
    config = _config(tmp_path, metrics={"token_env": "SCRAPE_TOKEN"})
    assert [line for line in quick_preflight(config) if "metrics.token_env" in line]
    with pytest.raises(ConfigInvalid, match="SCRAPE_TOKEN"):
        build_gateway(config, engine=FakeEngine(BASE))


async def test_a_gateway_that_measures_nothing_still_passes_the_engines_metrics_on(tmp_path: Path) -> None:
    async with _running(_config(tmp_path, metrics={"enabled": False}), "a") as gateway, _client(gateway) as http:
        await http.post("/v1/chat/completions", json={"model": BASE, "messages": HELLO})
        text = (await http.get("/metrics")).text
    assert "loraplex_" not in text
    assert 'fake_engine_requests_running{replica="a"} 0' in text

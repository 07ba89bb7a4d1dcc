"""What requests leave behind in the metrics."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from starlette.responses import PlainTextResponse

from monitoring.exposition import Format
from monitoring.metrics import GatewayMetrics
from serving.api.guarded import Guarded
from serving.api.middleware import GatewayMiddleware
from serving.auth import Authenticator, Caller
from tests.api.harness import BASE, STABLE, RunningGateway, config_of, run_gateway
from tests.expositions import families as read

HELLO: Any = [{"role": "user", "content": "hello there"}]


async def test_a_scrape_is_a_valid_exposition(gateway: RunningGateway) -> None:
    await gateway.http.post("/v1/chat/completions", json={"model": "support", "messages": HELLO, "stream": True})
    answer = await gateway.http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = list(text_string_to_metric_families(answer.text))
    assert families
    assert all(sample.labels["replica"] == "test" for family in families for sample in family.samples)


async def test_a_request_is_counted_by_task_and_version(gateway: RunningGateway) -> None:
    for model in ("support", "triage", STABLE, BASE):
        for stream in (True, False):
            body = {"model": model, "messages": HELLO, "stream": stream}
            await gateway.http.post("/v1/chat/completions", json=body)
    await gateway.until_idle()
    for labels, requests in (
        ({"task": "support", "adapter": STABLE, "role": "stable"}, 2),
        ({"task": "triage", "adapter": STABLE, "role": "stable"}, 2),
        ({"task": "triage", "adapter": STABLE, "role": "exact"}, 2),
        ({"task": BASE, "adapter": "base", "role": "base"}, 2),
    ):
        assert gateway.total("loraplex_requests_total", outcome="ok", **labels) == requests
        assert gateway.total("loraplex_request_duration_seconds_count", **labels) == requests
        assert gateway.total("loraplex_time_to_first_token_seconds_count", **labels) == 1
        assert gateway.total("loraplex_prompt_tokens_total", **labels) > 0
        assert gateway.total("loraplex_completion_tokens_total", **labels) > 0
    assert gateway.total("loraplex_gateway_overhead_seconds_count") == 8


async def test_tokens_are_the_same_streamed_or_not_and_asked_for_or_not(gateway: RunningGateway) -> None:
    counts = set()
    for extra in ({}, {"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}):
        before = gateway.total("loraplex_completion_tokens_total")
        await gateway.http.post("/v1/chat/completions", json={"model": BASE, "messages": HELLO} | extra)
        await gateway.until_idle()
        counts.add(gateway.total("loraplex_completion_tokens_total") - before)
    assert len(counts) == 1
    assert counts.pop() > 0


async def test_overhead_leaves_the_engines_time_out(gateway: RunningGateway) -> None:
    await gateway.http.post("/v1/chat/completions", json={"model": BASE, "messages": HELLO})
    await gateway.until_idle()
    overhead = gateway.total("loraplex_gateway_overhead_seconds_sum")
    assert 0 < overhead <= gateway.total("loraplex_request_duration_seconds_sum")


async def test_refusals_are_counted_by_code_and_never_by_what_was_sent(gateway: RunningGateway) -> None:
    await gateway.http.get("/v1/hunter2")
    await gateway.http.post("/v1/completions", content=b"hunter2")
    await gateway.http.post("/v1/completions", json={"model": "hunter2", "prompt": "x"})
    await gateway.http.post("/v1/completions", json={"model": BASE})
    for code in ("unknown_url", "invalid_json", "model_not_found", "invalid_request"):
        assert gateway.total("loraplex_refused_requests_total", code=code) == 1
    assert b"hunter2" not in gateway.metrics.render()


async def test_a_key_that_nobody_knows_is_counted_at_the_admin_api_too() -> None:
    key = {"name": "ops", "hash": "sha256:" + "0" * 64, "admin": True}
    authenticator, metrics = Authenticator(config_of(api_keys=[key])), GatewayMetrics(CollectorRegistry(), replica="r")
    admin = Guarded(PlainTextResponse("welcome"), authenticator, Caller.require_admin)
    app = GatewayMiddleware(admin, authenticator=authenticator, metrics=metrics, max_body_bytes=100)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gw") as http:
        assert (await http.get("/admin/v1/adapters", headers={"authorization": "Bearer guess"})).status_code == 401
    refused = 'loraplex_refused_requests_total{code="invalid_api_key",replica="r"} 1.0'
    assert refused in metrics.render().decode().splitlines()


async def test_the_queue_is_measured_by_task_and_version(gateway: RunningGateway) -> None:
    gateway.engine.queue_s = 0.25
    for stream in (True, False):
        await gateway.http.post("/v1/chat/completions", json={"model": "support", "messages": HELLO, "stream": stream})
    await gateway.until_idle()
    labels = {"task": "support", "adapter": STABLE}
    assert gateway.total("loraplex_queue_seconds_count", **labels) == 2
    assert 0.5 < gateway.total("loraplex_queue_seconds_sum", **labels) < 5


async def test_a_refused_request_did_not_queue(tmp_path: Path) -> None:
    async with run_gateway(config_of(limits={"max_concurrent_requests": 1}), tmp_path) as gateway:
        gateway.engine.gate.clear()
        body = {"model": BASE, "messages": HELLO}
        first = asyncio.create_task(gateway.http.post("/v1/chat/completions", json=body))
        await gateway.engine.until(lambda engine: bool(engine.running))
        assert (await gateway.http.post("/v1/chat/completions", json=body)).status_code == 429
        gateway.engine.gate.set()
        await first
        await gateway.until_idle()
        assert gateway.total("loraplex_requests_total") == 2
        assert gateway.total("loraplex_queue_seconds_count") == 1


async def test_a_scraper_that_prefers_openmetrics_gets_it_with_exemplars(gateway: RunningGateway) -> None:
    gateway.metrics.trace = lambda: "0af7651916cd43dd8448eb211c80319c"
    await gateway.http.post("/v1/chat/completions", json={"model": "support", "messages": HELLO})
    await gateway.until_idle()
    answer = await gateway.http.get("/metrics", headers={"accept": Format.OPENMETRICS.value})
    assert answer.headers["content-type"] == Format.OPENMETRICS.value
    assert answer.headers["vary"] == "accept"
    duration = next(
        family
        for family in read(answer.content, Format.OPENMETRICS)
        if family.name == "loraplex_request_duration_seconds"
    )
    assert [sample.exemplar.value for sample in duration.samples if sample.exemplar is not None]


async def test_targets_are_what_prometheus_service_discovery_takes(gateway: RunningGateway) -> None:
    answer = await gateway.http.get("/metrics/targets", headers={"host": "gateway.example:8000"})
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == [
        {"targets": ["gateway.example:8000"], "labels": {"instance": "test", "__param_replica": "test"}}
    ]


async def test_targets_follow_no_address_that_is_none(gateway: RunningGateway) -> None:
    for host in ("gateway example", "evil/path", 'a"b', "a:b:c"):
        answer = await gateway.http.get("/metrics/targets", headers={"host": host})
        assert answer.status_code == 400, host


async def test_a_replica_that_nobody_knows_is_404(gateway: RunningGateway) -> None:
    assert (await gateway.http.get("/metrics?replica=self")).status_code == 200
    answer = await gateway.http.get("/metrics?replica=nobody")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "replica_not_found"


async def test_warnings_are_told_beside_readiness(gateway: RunningGateway) -> None:
    assert (await gateway.http.get("/readyz")).json() == {"status": "ready"}
    gateway.status.warnings = ("something is missing",)
    assert (await gateway.http.get("/readyz")).json() == {"status": "ready", "warnings": ["something is missing"]}

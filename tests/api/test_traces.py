"""Traces of requests over real HTTP: which spans there are, what they say, and how they go on elsewhere."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.trace import SpanKind, StatusCode
from prometheus_client import CollectorRegistry
from starlette.requests import Request
from starlette.responses import Response

from monitoring import semconv
from monitoring.exposition import Format
from monitoring.metrics import GatewayMetrics
from serving.config import TracingSettings
from serving.engine.protocol import EngineFailed
from serving.observability.tracing import build_tracer
from tests.api.harness import BASE, SHADOW, STABLE, RunningGateway, config_of, run_gateway, with_alias
from tests.api.knowledge import TASKS, MemoryKnowledge
from tests.api.telling import Traces, id_of, logged, parent_of, traces
from tests.expositions import families
from tests.lifecycle import until
from tests.live import served

CHAT = "POST /v1/chat/completions"
WITH: dict[str, Any] = TASKS | {
    "support": {"adapter": "triage", "sampling": {"max_tokens": 32}},
    "void": {"adapter": "triage", "retrieval": {"knowledge": ["empty"], "when_empty": "refuse"}},
}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.fixture
async def it(tmp_path: Path) -> AsyncIterator[tuple[RunningGateway, Traces]]:
    """A gateway that traces every request, with tasks that retrieve."""
    knowledge = MemoryKnowledge()
    with traces() as made:
        async with run_gateway(config_of(tasks=WITH, knowledge={}), tmp_path, knowledge, tracer=made.tracer) as gateway:
            yield gateway, made


async def ask(
    gateway: RunningGateway, model: str, headers: dict[str, str] | None = None, **extra: Any
) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "How long do refunds take?"}]} | extra
    return await gateway.http.post("/v1/chat/completions", json=body, headers=headers)


async def test_a_generation_is_a_request_a_wait_a_load_and_a_model_call(it: tuple[RunningGateway, Traces]) -> None:
    gateway, made = it
    answer = await ask(gateway, "support", {"x-request-id": "mine"}, temperature=0.5)
    assert answer.status_code == 200
    spans = await made.spans(CHAT)
    request, wait, load, call = (spans[name] for name in (CHAT, "adapter wait", "adapter load", "chat support"))
    assert set(spans) == {CHAT, "adapter wait", "adapter load", "chat support"}
    assert parent_of(request) is None
    assert parent_of(wait) == parent_of(call) == id_of(request)
    assert parent_of(load) == id_of(wait)
    assert (request.kind, call.kind) == (SpanKind.SERVER, SpanKind.INTERNAL)
    assert request.attributes == {
        semconv.HTTP_METHOD: "POST",
        semconv.HTTP_ROUTE: "/v1/chat/completions",
        semconv.HTTP_STATUS: 200,
        semconv.REQUEST_ID: "mine",
        semconv.CALLER: "anonymous",
    }
    usage = answer.json()["usage"]
    assert call.attributes is not None
    assert dict(call.attributes) == {
        semconv.GEN_AI_OPERATION: "chat",
        semconv.GEN_AI_PROVIDER: "vllm",
        semconv.GEN_AI_REQUEST_MODEL: "support",
        semconv.GEN_AI_RESPONSE_MODEL: STABLE,
        semconv.GEN_AI_RESPONSE_ID: answer.json()["id"],
        semconv.GEN_AI_REQUEST_STREAM: False,
        semconv.GEN_AI_FINISH_REASONS: (answer.json()["choices"][0]["finish_reason"],),
        semconv.GEN_AI_INPUT_TOKENS: usage["prompt_tokens"],
        semconv.GEN_AI_OUTPUT_TOKENS: usage["completion_tokens"],
        "gen_ai.request.max_tokens": 32,
        "gen_ai.request.temperature": 0.5,
        semconv.TASK: "support",
        semconv.VERSION_NAME: STABLE,
        semconv.ROLE: "stable",
        semconv.OUTCOME: "ok",
    }
    assert load.attributes == {semconv.VERSION_NAME: STABLE, semconv.TIER: "disk"}
    assert wait.attributes == {semconv.VERSION_NAME: STABLE, semconv.COLD: True}


async def test_an_adapter_that_is_there_is_not_loaded(it: tuple[RunningGateway, Traces]) -> None:
    gateway, made = it
    await ask(gateway, "support")
    await ask(gateway, "triage")
    spans = await made.spans("chat triage", CHAT)
    wait = spans["adapter wait"]
    assert wait.attributes == {semconv.VERSION_NAME: STABLE, semconv.COLD: False}


async def test_a_stream_says_when_its_first_piece_came_and_why_it_ended(it: tuple[RunningGateway, Traces]) -> None:
    gateway, made = it
    await ask(gateway, BASE, stream=True, max_tokens=2)
    call = (await made.spans(f"chat {BASE}", CHAT))[f"chat {BASE}"]
    assert call.attributes is not None
    assert call.attributes[semconv.GEN_AI_REQUEST_STREAM] is True
    assert call.attributes[semconv.GEN_AI_FINISH_REASONS] == ("length",)
    first = call.attributes[semconv.GEN_AI_TIME_TO_FIRST_CHUNK]
    assert isinstance(first, float)
    assert first >= 0
    assert call.attributes[semconv.GEN_AI_OUTPUT_TOKENS] == 2


async def test_a_task_that_retrieves_has_a_search_with_its_stages_and_a_grounding(
    it: tuple[RunningGateway, Traces],
) -> None:
    gateway, made = it
    await ask(gateway, "help")
    spans = await made.spans(CHAT)
    search, stage, ground = (spans[name] for name in ("retrieval policies", "search dense", "ground"))
    assert parent_of(search) == parent_of(ground) == id_of(spans[CHAT])
    assert parent_of(stage) == id_of(search)
    assert search.kind is SpanKind.CLIENT
    assert search.attributes is not None
    assert search.attributes[semconv.GEN_AI_OPERATION] == "retrieval"
    assert search.attributes[semconv.GEN_AI_DATA_SOURCE] == "policies"
    assert search.attributes[semconv.PASSAGES] == 2
    assert stage.start_time is not None
    assert stage.end_time is not None
    assert stage.end_time - stage.start_time == 1_000_000
    assert ground.attributes is not None
    assert ground.attributes[semconv.PASSAGES] == 2


async def test_a_search_that_fails_says_that_it_was_one(tmp_path: Path) -> None:
    knowledge = MemoryKnowledge()
    knowledge.error = ValueError("a secret")
    with traces() as made:
        async with run_gateway(config_of(tasks=WITH, knowledge={}), tmp_path, knowledge, tracer=made.tracer) as gateway:
            await ask(gateway, "help")
            search = (await made.spans(CHAT))["retrieval policies"]
        assert "secret" not in made.text()
    assert search.attributes is not None
    assert search.attributes[semconv.GEN_AI_OPERATION] == "retrieval"
    assert search.attributes[semconv.ERROR_TYPE] == "ValueError"


async def test_an_answer_without_passages_calls_no_model(it: tuple[RunningGateway, Traces]) -> None:
    gateway, made = it
    await ask(gateway, "void")
    assert set(await made.spans(CHAT)) == {CHAT, "retrieval empty", "search dense", "ground"}


async def test_the_engine_is_told_the_span_of_its_call(it: tuple[RunningGateway, Traces]) -> None:
    gateway, made = it
    await ask(gateway, "support", {"traceparent": PARENT, "tracestate": "vendor=1"})
    headers = gateway.engine.requests[-1].headers
    spans = await made.spans("chat support", CHAT)
    _, trace, span, _ = headers["traceparent"].split("-")
    assert trace == TRACE
    assert span == f"{id_of(spans['chat support']):016x}"
    assert headers["tracestate"] == "vendor=1"
    assert parent_of(spans[CHAT]) == 0x00F067AA0BA902B7


async def test_a_shadow_has_a_span_of_its_own(it: tuple[RunningGateway, Traces]) -> None:
    gateway, made = it
    with_alias(gateway, shadow=SHADOW)
    await ask(gateway, "support")
    spans = await made.spans("shadow", CHAT)
    assert parent_of(spans["shadow"]) == id_of(spans[CHAT])
    assert spans["shadow"].attributes == {semconv.VERSION_NAME: SHADOW}
    copies = [request for request in gateway.engine.requests if request.adapter == SHADOW]
    assert copies[-1].headers["traceparent"].split("-")[2] == f"{id_of(spans['shadow']):016x}"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_failure_is_marked_by_its_code(it: tuple[RunningGateway, Traces], *, stream: bool) -> None:
    gateway, made = it
    gateway.engine.fail_next(EngineFailed("a secret"))
    assert (await ask(gateway, BASE, stream=stream)).status_code == 500
    spans = await made.spans(f"chat {BASE}", CHAT)
    for name, error in ((f"chat {BASE}", "engine_failed"), (CHAT, "500")):
        assert spans[name].status.status_code is StatusCode.ERROR
        attributes = spans[name].attributes
        assert attributes is not None
        assert attributes[semconv.ERROR_TYPE] == error
    assert "secret" not in made.text()


async def test_what_a_client_does_wrong_is_no_error_of_ours(it: tuple[RunningGateway, Traces]) -> None:
    gateway, made = it
    assert (await ask(gateway, "nobody")).status_code == 404
    span = (await made.spans(CHAT))[CHAT]
    assert span.status.status_code is StatusCode.UNSET
    assert span.attributes is not None
    assert span.attributes[semconv.HTTP_STATUS] == 404


async def test_routes_are_few_whatever_is_asked_for(it: tuple[RunningGateway, Traces]) -> None:
    gateway, made = it
    for path in ("/v1/models/a-secret-name", "/v1/files/another"):
        await gateway.http.get(path)
    spans = await made.spans("GET /v1/models/{rest}", "GET /v1/files/{rest}")
    assert len(spans) == 2


async def test_scrapes_and_health_checks_are_not_traced(it: tuple[RunningGateway, Traces]) -> None:
    gateway, made = it
    for path in ("/metrics", "/healthz", "/readyz", "/nothing"):
        await gateway.http.get(path)
    await gateway.http.get("/v1/models")
    assert set(await made.spans("GET /v1/models")) == {"GET /v1/models"}


async def test_a_trace_that_its_caller_does_not_export_leaves_nothing_and_goes_on(
    it: tuple[RunningGateway, Traces],
) -> None:
    gateway, made = it
    await ask(gateway, "support", {"traceparent": f"{PARENT[:-2]}00", "tracestate": "vendor=1"})
    headers = gateway.engine.requests[-1].headers
    assert headers["traceparent"].startswith(f"00-{TRACE}-")
    assert headers["traceparent"].endswith("-00")
    assert headers["tracestate"] == "vendor=1"
    await gateway.http.get("/v1/models")
    assert set(await made.spans("GET /v1/models")) == {"GET /v1/models"}


async def test_the_access_line_names_the_trace(it: tuple[RunningGateway, Traces]) -> None:
    gateway, made = it
    with logged("serving.access") as lines:
        await ask(gateway, "support", {"traceparent": PARENT})
        await made.spans(CHAT)
    assert [line["trace_id"] for line in lines] == [TRACE]


def settings(url: str) -> TracingSettings:
    """Traces for a collector at ``url``, soon."""
    return TracingSettings(enabled=True, endpoint=f"{url}/v1/traces", export_interval_s=0.05, timeout_s=0.5)


async def test_a_collector_gets_the_spans_over_otlp(tmp_path: Path) -> None:
    got: list[tuple[str, bytes]] = []

    async def collector(scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        got.append((request.url.path, await request.body()))
        await Response(b"", media_type="application/x-protobuf")(scope, receive, send)

    metrics = GatewayMetrics(CollectorRegistry(), replica="test")
    async with served(collector) as url:
        tracer = build_tracer(settings(url), metrics, "replica-0")
        assert tracer is not None
        async with run_gateway(config_of(), tmp_path, tracer=tracer) as gateway:
            await ask(gateway, BASE)
            await until(lambda: b'result="exported"' in metrics.render(), "an export")
        # In a thread: the collector answers in this loop.
        await asyncio.to_thread(tracer.close, 5.0)
    names: set[str] = set()
    services: set[str] = set()
    for path, body in got:
        assert path == "/v1/traces"
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            values = {one.key: one.value.string_value for one in resource.resource.attributes}
            services.add(f"{values[semconv.SERVICE_NAME]} {values[semconv.SERVICE_INSTANCE]}")
            names |= {span.name for scope in resource.scope_spans for span in scope.spans}
    assert names == {CHAT, f"chat {BASE}"}
    assert services == {"loraplex replica-0"}


@pytest.mark.parametrize("stream", [False, True])
async def test_exemplars_lead_to_the_trace_of_their_request(it: tuple[RunningGateway, Traces], *, stream: bool) -> None:
    gateway, made = it
    await ask(gateway, "help", {"traceparent": PARENT}, stream=stream)
    await made.spans(CHAT)
    assert {"loraplex_request_duration_seconds", "loraplex_retrieval_seconds"} <= _exemplars(gateway, TRACE)


async def test_a_trace_that_is_not_kept_is_no_exemplar(it: tuple[RunningGateway, Traces]) -> None:
    gateway, _ = it
    await ask(gateway, BASE, {"traceparent": f"{PARENT[:-2]}00"})
    await gateway.until_idle()
    assert _exemplars(gateway, TRACE) == set()


def _exemplars(gateway: RunningGateway, trace_id: str) -> set[str]:
    """The metrics with an exemplar that leads to a trace."""
    found = families(gateway.metrics.render(Format.OPENMETRICS), Format.OPENMETRICS)
    return {
        family.name
        for family in found
        for sample in family.samples
        if sample.exemplar is not None and sample.exemplar.labels == {"trace_id": trace_id}
    }


async def test_without_a_collector_generation_goes_on_and_the_loss_is_counted_and_said_once(tmp_path: Path) -> None:
    metrics = GatewayMetrics(CollectorRegistry(), replica="test")
    tracer = build_tracer(settings("http://127.0.0.1:9"), metrics, "replica-0")
    assert tracer is not None
    with logged() as lines:
        async with run_gateway(config_of(), tmp_path, tracer=tracer) as gateway:
            for _ in range(3):
                assert (await ask(gateway, BASE)).status_code == 200
                await until(lambda: b'result="failed"' in metrics.render(), "a failed export")
        await asyncio.to_thread(tracer.close, 5.0)
    said = [line["message"] for line in lines if "spans" in line["message"]]
    assert len(said) == 1
    assert [line for line in lines if line["logger"].startswith("opentelemetry")] == []


def test_a_tracer_is_not_built_where_tracing_is_off() -> None:
    metrics = GatewayMetrics(CollectorRegistry(), replica="test")
    assert build_tracer(TracingSettings(), metrics, "replica-0") is None

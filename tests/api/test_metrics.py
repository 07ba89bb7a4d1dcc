"""What requests leave behind in the metrics."""

from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.api.harness import BASE, STABLE, RunningGateway

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

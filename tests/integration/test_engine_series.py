"""What the pinned vLLM measures of itself and of each request."""

from contextlib import aclosing

import pytest

from monitoring.catalogue import ENGINE_SERIES
from monitoring.engine_series import missing_series
from monitoring.exposition import Format
from monitoring.merge import merge
from serving.engine.protocol import Endpoint, EngineRequest
from serving.engine.vllm import VllmEngine
from tests.expositions import families

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]

BODIES = {
    Endpoint.CHAT: {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 4},
    Endpoint.COMPLETIONS: {"prompt": "Hello", "max_tokens": 4},
}


async def test_vllm_has_every_metric_that_the_dashboards_read(vllm_engine: VllmEngine) -> None:
    assert missing_series(ENGINE_SERIES, vllm_engine.metrics_text()) == ()


@pytest.mark.parametrize("form", list(Format))
async def test_vllms_metrics_are_valid_in_either_format(vllm_engine: VllmEngine, form: Format) -> None:
    text = merge([("r", vllm_engine.metrics_text())], form)
    names = {family.name for family in families(text, form)}
    assert {"vllm:num_requests_running", "vllm:prompt_tokens", "vllm:iteration_tokens_total"} <= names
    assert b"_created" not in text


@pytest.mark.parametrize("endpoint", list(BODIES))
async def test_vllm_tells_how_long_a_request_was_queued(vllm_engine: VllmEngine, endpoint: Endpoint) -> None:
    whole, piecewise = (EngineRequest(endpoint, BODIES[endpoint], "queued") for _ in range(2))
    answer = await vllm_engine.complete(whole)
    async with aclosing(vllm_engine.stream(piecewise)) as pieces:
        given = [piece async for piece in pieces]
    for request in (whole, piecewise):
        assert request.timings.queue_s is not None
        assert 0 <= request.timings.queue_s < 60
    assert "metrics" not in answer
    assert not [piece for piece in given if "metrics" in piece]

"""Each contract test runs against every implementation."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from serving.engine.vllm import VllmEngine
from tests.conftest import AdapterFolder
from tests.contract.engines import EngineCase, fake_engine, http_engine


@pytest_asyncio.fixture(
    loop_scope="session",
    params=["fake", "http", pytest.param("vllm", marks=pytest.mark.engine)],
)
async def case(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[EngineCase]:
    """A started engine that holds no adapter."""
    if request.param == "fake":
        async with fake_engine(tmp_path) as given:
            yield given
    elif request.param == "http":
        async with http_engine(tmp_path) as given:
            yield given
    else:
        engine: VllmEngine = request.getfixturevalue("vllm_engine")
        folder: AdapterFolder = request.getfixturevalue("adapter_folder")
        yield EngineCase(engine, folder, lambda: _running(engine), lambda _: None, 2048)
        for adapter in await engine.resident():
            await engine.unload_adapter(adapter.name)


def _running(engine: VllmEngine) -> int:
    """Generations in progress by vLLM's own metrics."""
    lines = engine.metrics_text().decode().splitlines()
    waiting = ("vllm:num_requests_running{", "vllm:num_requests_waiting{")
    return int(sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(waiting)))

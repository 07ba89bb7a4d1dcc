"""Each contract test runs against every implementation."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from serving.engine.vllm import VllmEngine
from tests.conftest import AdapterFolder, unfinished
from tests.contract.engines import EngineCase, fake_engine, http_engine


@pytest.fixture(params=["fake", "http", pytest.param("vllm", marks=pytest.mark.engine)])
def implementation(request: pytest.FixtureRequest) -> EngineCase | str:
    """The name of an implementation, or the real engine, which only its own tests start."""
    if request.param != "vllm":
        return str(request.param)
    engine: VllmEngine = request.getfixturevalue("vllm_engine")
    folder: AdapterFolder = request.getfixturevalue("adapter_folder")
    return EngineCase(engine, folder, lambda: unfinished(engine), lambda _: None, 2048)


@pytest_asyncio.fixture(loop_scope="session")
async def case(implementation: EngineCase | str, tmp_path: Path) -> AsyncIterator[EngineCase]:
    """A started engine that holds no adapter."""
    if implementation == "fake":
        async with fake_engine(tmp_path) as given:
            yield given
    elif implementation == "http":
        async with http_engine(tmp_path) as given:
            yield given
    else:
        assert isinstance(implementation, EngineCase)
        yield implementation
        for adapter in await implementation.engine.resident():
            await implementation.engine.unload_adapter(adapter.name)

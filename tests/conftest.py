"""Fixtures that every kind of test shares: a real base checkpoint and one real engine for the whole session."""

import os
import warnings
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import pytest_asyncio

from adapters.base_model import BaseModelSpec
from examples.base_model import DEFAULT_FOLDER, build
from serving.config import AdapterSettings, ModelSettings, VllmEngineSettings
from serving.engine.vllm import VllmEngine
from tests.adapter_factory import make_adapter
from tests.milvus_server import milvus_server
from tests.postgres_server import postgres_server
from tests.s3_server import artifacts_url, s3_server
from tests.state_urls import empty_state_url, postgres_template, state_url

__all__ = [
    "artifacts_url",
    "empty_state_url",
    "milvus_server",
    "postgres_server",
    "postgres_template",
    "s3_server",
    "state_url",
]

# How long an example takes says more of the machine than of the code.
hypothesis.settings.register_profile("loraplex", deadline=None)
hypothesis.settings.load_profile("loraplex")

ENGINE_ARGS = {"max_model_len": 2048, "enforce_eager": True, "max_num_seqs": 16}
"""vLLM arguments that start fast on a processor."""

AdapterFolder = Callable[[int], Path]
"""Seed → the folder of a valid adapter whose effect is plain to see."""


_ORDER = ("meta", "unit", "api", "contract", "integration")


_REAL = (
    "tests/contract/test_engine",
    "tests/integration/test_engine_",
    "tests/integration/test_gateway",
    "tests/integration/test_kill",
    "tests/integration/test_ray_",
)
"""Files with tests that start the real engine or Ray begin like this: one process runs them all."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast tests first, then those that share the real engine, then those that start Ray.

    With several processes the one that has the engine begins with it at once.
    """
    items.sort(key=_rank, reverse="PYTEST_XDIST_WORKER" in os.environ)
    for item in items:
        if _is_real(item) and not item.nodeid.startswith(_REAL):
            raise pytest.UsageError(f"{item.nodeid} starts the engine or Ray: name its file like one of {_REAL}")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Of several processes (``-n 2``) one runs every file of ``_REAL``; the others share the rest, file by file.

    Two engines at once would be slow, and two Rays take each other's ports.
    """
    from xdist.scheduler import LoadScopeScheduling

    config.option.loadscopereorder = False
    scheduler = LoadScopeScheduling(config, log)
    # Its own groups (`--dist loadgroup`) are marks in node ids, which this pytest no longer lets it write.
    scheduler._split_scope = lambda nodeid: "engine" if nodeid.startswith(_REAL) else nodeid.partition("::")[0]
    return scheduler


def _is_real(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(name) is not None for name in ("engine", "cluster"))


def _rank(item: pytest.Item) -> tuple[int, int]:
    slow = 2 if item.get_closest_marker("cluster") else 1 if item.get_closest_marker("engine") else 0
    folder = item.path.relative_to(Path(__file__).parent).parts[0]
    return slow, _ORDER.index(folder) if folder in _ORDER else len(_ORDER)


@pytest.fixture(scope="session")
def base_checkpoint() -> Path:
    """A real chat model; ``LORAPLEX_TEST_MODEL`` names another checkpoint to use."""
    given = os.environ.get("LORAPLEX_TEST_MODEL")
    return Path(given) if given else build(DEFAULT_FOLDER.absolute())


@pytest.fixture(scope="session")
def adapter_folder(base_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> AdapterFolder:
    """Adapters for ``base_checkpoint``, made on demand."""
    root = tmp_path_factory.mktemp("adapters")
    spec = BaseModelSpec.from_checkpoint(base_checkpoint, base_checkpoint.name)

    def folder(seed: int) -> Path:
        path = root / str(seed)
        # The weights are far larger than trained ones, so that every seed speaks a gibberish of its own.
        return path if path.exists() else make_adapter(path, spec, rank=8, seed=seed, scale=0.5)

    return folder


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def vllm_engine(base_checkpoint: Path) -> AsyncIterator[VllmEngine]:
    """One vLLM for the whole session: tests that use it run in the session's event loop (``loop_scope="session"``).

    Four adapters can be loaded, two take part in one batch. Tests unload what they load.
    """
    engine = VllmEngine(
        ModelSettings(id=str(base_checkpoint), name="smollm2"),
        VllmEngineSettings(args=dict(ENGINE_ARGS)),
        AdapterSettings(slots=2, cpu_slots=4, max_rank=16),
    )
    with warnings.catch_warnings():
        # What vLLM and its dependencies warn of while they are imported is not ours to mend.
        warnings.simplefilter("ignore")
        await engine.start(lambda _: None)
    yield engine
    await engine.stop()


def unfinished(engine: VllmEngine) -> int:
    """How many generations vLLM's own metrics say it works on."""
    lines = engine.metrics_text().decode().splitlines()
    waiting = ("vllm:num_requests_running{", "vllm:num_requests_waiting{")
    return int(sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(waiting)))

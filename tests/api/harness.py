"""A gateway on loopback for tests: the real API under a real server, over the fake engine."""

import asyncio
import contextlib
import hashlib
import socket
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import openai
import uvicorn
from prometheus_client import CollectorRegistry
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from adapters.errors import PoolSaturated
from adapters.types import AdapterVersion, Alias, CatalogSnapshot, Tier
from monitoring.exposition import Format
from monitoring.metrics import GatewayMetrics
from monitoring.spans import Tracer, exemplar_trace_id
from serving.api.app import Apps, build_api
from serving.auth import Authenticator
from serving.config import GatewayConfig, parse_config
from serving.engine.fake import FakeEngine
from serving.engine.protocol import EngineRequest, JsonObject
from serving.errors import ReplicaNotFound
from serving.generate import Generator
from serving.knowledge.protocol import KnowledgeClient
from serving.loading import Load
from serving.objectives import objectives_of
from serving.observing.pipeline import Pipeline
from serving.observing.process import ObservingWorker

BASE = "fake-base"
STABLE = "triage@11111111"
CANARY = "triage@22222222"
SHADOW = "triage@33333333"
ANSWER_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"label": {"type": "string", "enum": ["billing", "outage"]}, "urgent": {"type": "boolean"}},
    "required": ["label", "urgent"],
    "additionalProperties": False,
}


def version(name: str) -> AdapterVersion:
    """A version that was never a file."""
    adapter = name.partition("@")[0]
    return AdapterVersion(
        name=name,
        adapter=adapter,
        digest=hashlib.sha256(name.encode()).hexdigest(),
        base_model=BASE,
        rank=8,
        alpha=16.0,
        target_modules=("q_proj",),
        size_bytes=1,
        source="test",
        created_at=datetime(2025, 1, 1, tzinfo=UTC),
    )


def snapshot(*aliases: Alias, extra: tuple[str, ...] = ()) -> CatalogSnapshot:
    """A catalog that knows the aliases, their versions and ``extra`` versions."""
    names = [name for alias in aliases for name in alias.versions] + list(extra)
    return CatalogSnapshot(
        revision=1,
        versions={name: version(name) for name in names},
        aliases={alias.name: alias for alias in aliases},
    )


class MemoryResidency:
    """Loads versions into the fake engine the first time they are asked for."""

    def __init__(self, engine: FakeEngine, folder: Path) -> None:
        self.snapshot = snapshot()
        self.held: Counter[str] = Counter()
        self.saturated: set[str] = set()
        """Versions for which there is never a place."""
        self._engine = engine
        self._folder = folder
        self._loaded: set[str] = set()
        self.loads: dict[str, Load] = {}

    async def acquire(self, version: str, timeout_s: float) -> None:
        """Raises PoolSaturated for what ``saturated`` names."""
        if version in self.saturated:
            raise PoolSaturated(f"no place for {version} within {timeout_s:g} s")
        if version not in self._loaded:
            self._loaded.add(version)
            began = time.perf_counter()
            await self._engine.load_adapter(version, self._folder)
            self.loads[version] = Load(began, time.perf_counter(), Tier.DISK)
        self.held[version] += 1

    def release(self, version: str) -> None:
        """Undo one ``acquire``."""
        self.held[version] -= 1
        assert self.held[version] >= 0

    def last_load(self, version: str) -> Load | None:
        """What ``acquire`` did for it first."""
        return self.loads.get(version)


class SteppedEngine(FakeEngine):
    """A fake engine that can be made to stop in the middle of an answer."""

    def __init__(self) -> None:
        super().__init__(BASE)
        self._hold_after: int | None = None
        self._hold_adapter: str | None = None

    def hold_after(self, pieces: int, adapter: str | None = None) -> None:
        """Close the gate once a stream (of ``adapter``) gave ``pieces``, and before a whole answer of ``adapter``."""
        self._hold_after, self._hold_adapter = pieces, adapter

    async def complete(self, request: EngineRequest) -> JsonObject:
        """Held before its first token where ``hold_after`` named its adapter."""
        if self._hold_adapter is not None and request.adapter == self._hold_adapter:
            self.gate.clear()
        return await super().complete(request)

    async def stream(self, request: EngineRequest) -> AsyncGenerator[JsonObject, None]:
        """Held after as many pieces as ``hold_after`` said."""
        given = 0
        async with contextlib.aclosing(super().stream(request)) as pieces:
            async for piece in pieces:
                yield piece
                given += 1
                if given == self._hold_after and self._hold_adapter in (None, request.adapter):
                    self.gate.clear()


class StubStatus:
    """A replica that is ready until a test says otherwise."""

    def __init__(self, metrics: GatewayMetrics) -> None:
        self.ready = True
        self.message = "ready"
        self.warnings: tuple[str, ...] = ()
        self._metrics = metrics

    async def metrics_text(self, form: Format = Format.TEXT, replica: str | None = None) -> bytes:
        """The gateway's own metrics. Raises ReplicaNotFound for any name but its own."""
        if replica not in (None, "self", "test"):
            raise ReplicaNotFound("No replica of that name reported lately.", param="replica")
        return self._metrics.render(form)

    async def replicas(self) -> list[str]:
        """Itself."""
        return ["test"]


async def control(scope: Scope, receive: Receive, send: Send) -> None:
    """Stands for the control plane: says what reached it."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    answer = {"path": scope["path"], "method": scope["method"], "bytes": len(body)}
    await JSONResponse(answer)(scope, receive, send)


@dataclass
class RunningGateway:
    """What a test drives and looks at."""

    url: str
    engine: SteppedEngine
    residency: MemoryResidency
    status: StubStatus
    metrics: GatewayMetrics
    generator: Generator
    http: httpx.AsyncClient
    pipeline: Pipeline | None = None

    def sdk(self, key: str = "none") -> openai.AsyncOpenAI:
        """The official client, without its retries."""
        return openai.AsyncOpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0)

    def sync_sdk(self, key: str = "none") -> openai.OpenAI:
        """The official synchronous client. Call it in a thread: the server runs in the test's own loop."""
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0)

    def samples(self) -> dict[str, float]:
        """Every sample by name and labels, the replica's label left out."""
        return dict(parse_samples(self.metrics.render().decode()))

    def total(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have ``labels``."""
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        return sum(
            value
            for sample, value in self.samples().items()
            if sample.partition("{")[0] == name and all(label in sample for label in wanted)
        )

    async def until_idle(self) -> None:
        """Wait until no generation is in progress."""
        await self.engine.until(lambda engine: not engine.running)
        async with asyncio.timeout(5):
            while self.generator.in_flight:
                await asyncio.get_running_loop().run_in_executor(None, int)


def parse_samples(text: str) -> Iterator[tuple[str, float]]:
    """The samples of an exposition."""
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            yield (
                name.replace('replica="test"', "").replace("{,", "{").replace(",,", ",").replace(",}", "}"),
                float(value),
            )


def config_of(**sections: Any) -> GatewayConfig:
    """A configuration with the tests' base model and tasks."""
    tasks: Mapping[str, Any] = {
        "support": {
            "adapter": "triage",
            "description": "Answers tickets",
            "system_prompt": "You sort tickets.",
            "sampling": {"max_tokens": 32, "temperature": 0},
        },
        "labels": {"adapter": "triage", "output": {"json_schema": ANSWER_SCHEMA}},
        "yesno": {"output": {"choice": ["yes", "no"]}},
        "code": {"output": {"regex": "[A-Z]{3}-[0-9]{2}"}},
        "grammar": {"output": {"grammar": 'root ::= "left" | "right"'}},
        "words": {"output": {"choice": ["several words", "more words"]}},
    }
    return parse_config({"model": {"id": BASE}, "tasks": tasks} | sections)


class _Server(uvicorn.Server):
    """Leaves signals to pytest."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def run_gateway(
    config: GatewayConfig,
    folder: Path,
    knowledge: KnowledgeClient | None = None,
    observing: ObservingWorker | None = None,
    tracer: Tracer | None = None,
) -> AsyncIterator[RunningGateway]:
    """Serve on a free port of loopback. ``observing``: where records of finished requests go, when they are flushed."""
    engine = SteppedEngine()
    await engine.start(lambda line: None)
    residency = MemoryResidency(engine, folder)
    residency.snapshot = snapshot(Alias("triage", stable=STABLE), extra=(CANARY, SHADOW))
    objectives = objectives_of(config)
    metrics = GatewayMetrics(CollectorRegistry(), replica="test", objectives=objectives, trace=exemplar_trace_id)
    pipeline = None
    if observing is not None and config.monitoring is not None:
        pipeline = Pipeline(config.monitoring, metrics, observing)
    generator = Generator(config, engine, residency, metrics, knowledge=knowledge, pipeline=pipeline)
    status = StubStatus(metrics)
    app = build_api(generator, config, Authenticator(config), metrics, status, Apps(control, None), None, tracer)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = _Server(uvicorn.Config(app, lifespan="off", http="httptools", log_level="critical"))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            async with httpx.AsyncClient(base_url=url, timeout=10) as http:
                yield RunningGateway(url, engine, residency, status, metrics, generator, http, pipeline)
        finally:
            engine.gate.set()
            await generator.drain(5)
            server.should_exit = True
            await serving


def with_alias(gateway: RunningGateway, **changes: Any) -> None:
    """Change what the alias ``triage`` points at."""
    alias = replace(gateway.residency.snapshot.aliases["triage"], **changes)
    gateway.residency.snapshot = snapshot(alias, extra=(STABLE, CANARY, SHADOW))

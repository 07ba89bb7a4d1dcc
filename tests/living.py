"""A whole gateway over a fake engine that some versions make worse: control plane, replica, HTTP, real state."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from adapters.base_model import BaseModelSpec
from serving.config import GatewayConfig, parse_config
from serving.control_plane import ControlPlane, open_catalog
from serving.engine.fake import FakeEngine
from serving.engine.protocol import Endpoint, EngineFailed, EngineRequest, JsonObject
from serving.gateway import Gateway, build_gateway
from serving.knowledge.endpoint import Knowledge
from serving.observing.process import ObservingWorker
from tests.adapter_factory import BASE_NAME, make_adapter, make_base
from tests.lifecycle import Passing
from tests.live import served

SCHEMA: JsonObject = {
    "type": "object",
    "properties": {"label": {"type": "string", "enum": ["billing", "outage"]}},
    "required": ["label"],
    "additionalProperties": False,
}
FAST: dict[str, Any] = {
    "check_interval_s": 0.02,
    "flush_interval_s": 0.02,
}
POLICY: dict[str, Any] = {"steps": [0.3, 0.6], "min_requests": 15, "latency_requests": 1_000_000}


class SpoiltEngine(FakeEngine):
    """Breaks an even share of some versions' answers: every tenth one for 0.1."""

    def __init__(self) -> None:
        super().__init__()
        self.broken: dict[str, float] = {}
        """Version → share of the answers that are not what was asked for."""
        self.failing: dict[str, float] = {}
        """Version → share of the requests that fail."""
        self._given: Counter[tuple[str, str]] = Counter()

    async def complete(self, request: EngineRequest) -> JsonObject:
        """Sometimes broken."""
        answer = await super().complete(request)
        if request.endpoint is not Endpoint.CHAT:  # a probe
            return answer
        if self._due(request, "failing", self.failing):
            raise EngineFailed("stumbled")
        if self._due(request, "broken", self.broken):
            answer["choices"][0]["message"]["content"] = "{not what was asked for"
        return answer

    def _due(self, request: EngineRequest, kind: str, shares: dict[str, float]) -> bool:
        version = request.adapter or ""
        share = shares.get(version, 0.0)
        self._given[(version, kind)] += 1
        count = self._given[(version, kind)]
        return int(count * share) > int((count - 1) * share)


@dataclass
class Living:
    """What a test drives and looks at."""

    config: GatewayConfig
    folder: Path
    gateway: Gateway
    engine: SpoiltEngine
    http: httpx.AsyncClient
    plane: ControlPlane
    examiner: Passing
    statuses: Counter[int] = field(default_factory=Counter)
    asked: int = 0

    async def add(self, seed: int, *, promote: bool = False) -> str:
        """Add a version of ``triage``; its name."""
        spec = BaseModelSpec.from_checkpoint(self.folder / BASE_NAME, BASE_NAME)
        source = make_adapter(self.folder / "sources" / f"triage-{seed}", spec, seed=seed)
        body = {"name": "triage", "source": str(source), "promote": promote}
        answer = await self.admin("POST", "/adapters", body)
        return str(answer["version"]["name"])

    async def admin(self, method: str, path: str, body: Any = None) -> Any:
        """Call the admin API. Raises AssertionError for an error."""
        answer = await self.http.request(method, f"/admin/v1{path}", json=body)
        assert answer.is_success, answer.text
        return answer.json()

    async def rollout(self) -> Any:
        """The last automatic rollout of ``triage``."""
        return await self.admin("GET", "/adapters/triage/rollout")

    async def alias(self) -> Any:
        """What ``triage`` points at."""
        return (await self.admin("GET", "/adapters/triage"))["alias"]

    async def ask(self, **extra: Any) -> httpx.Response:
        """One request of another caller than the one before."""
        self.asked += 1
        body = {"model": "labels", "messages": [{"role": "user", "content": f"ticket {self.asked}"}]} | extra
        answer = await self.http.post(
            "/v1/chat/completions", json=body, headers={"x-loraplex-caller-key": f"caller-{self.asked}"}
        )
        self.statuses[answer.status_code] += 1
        return answer

    async def traffic(self, *phases: str, judge: Any = None, most: int = 4000) -> Any:
        """Ask until the rollout is in one of ``phases``; the rollout. ``judge``: the feedback on an answer, if any."""
        while self.asked < most:
            answers = await asyncio.gather(*(self.ask() for _ in range(8)))
            for answer in answers if judge is not None else ():
                body = judge(answer)
                if body is not None:
                    given = await self.http.post("/v1/feedback", json=body | {"id": answer.json()["id"]})
                    assert given.status_code == 200, given.text
            now = await self.rollout()
            if now["phase"] in phases:
                return now
        raise AssertionError(f"after {self.asked} requests the rollout is {await self.rollout()}")

    async def restart_control(self) -> None:
        """End the control plane as a crash would leave it, and begin another one over the same state."""
        await self.plane.life.stop()
        plane = ControlPlane(
            self.config,
            self.plane.catalog,
            BaseModelSpec.from_checkpoint(self.folder / BASE_NAME, BASE_NAME),
            examiner=self.examiner,
        )
        self.plane = plane
        await plane.start(lambda line: None)

    async def control(self, scope: Any, receive: Any, send: Any) -> None:
        """The admin API of the present control plane."""
        await self.plane.app(scope, receive, send)


def _config(folder: Path, base: Path, policy: dict[str, Any] | None, sections: dict[str, Any]) -> GatewayConfig:
    return parse_config(
        {
            "model": {"id": str(base)},
            "state": {"url": f"sqlite:///{folder}/state.db"},
            "logging": {"audit": {"file": f"{folder}/audit.jsonl"}},
            "artifacts": {"url": str(folder / "artifacts")},
            "adapters": {
                "sync_interval_s": 0.02,
                "cache_dir": str(folder / "cache"),
                "rollouts": {"triage": POLICY | (policy or {})},
            },
            "life": FAST | {"folder": str(folder / "life")},
            "tasks": {"labels": {"adapter": "triage", "output": {"json_schema": SCHEMA}}},
        }
        | sections
    )


@asynccontextmanager
async def living(
    folder: Path,
    policy: dict[str, Any] | None = None,
    *,
    examines: bool = False,
    observing: Callable[[GatewayConfig], ObservingWorker] | None = None,
    searching: Knowledge | None = None,
    **sections: Any,
) -> AsyncIterator[Living]:
    """A gateway with a task ``labels`` under a schema, whose adapter ``triage`` follows ``policy``.

    Args:
        examines: whether candidates are really examined.
        observing: looks at finished requests; default: nobody, or the real process where the sections ask for it.
        searching: what tasks search; the configuration needs a section `knowledge` for it.
    """
    base = make_base(folder / BASE_NAME)
    config = _config(folder, base, policy, sections)
    engine, examiner = SpoiltEngine(), Passing()

    async def control(scope: Any, receive: Any, send: Any) -> None:
        await made[0].control(scope, receive, send)

    made: list[Living] = []
    worker = None if observing is None else observing(config)
    gateway = build_gateway(config, engine=engine, replica="r0", control=control, knowledge=searching, observing=worker)
    async with served(gateway.app) as url, httpx.AsyncClient(base_url=url, timeout=30) as http:
        life = config.life.model_copy(update={"gateway_url": url})
        config = config.model_copy(update={"life": life})
        spec = BaseModelSpec.from_checkpoint(base, BASE_NAME)
        plane = ControlPlane(config, open_catalog(config), spec, examiner=None if examines else examiner)
        made.append(Living(config, folder, gateway, engine, http, plane, examiner))
        await plane.start(lambda line: None)
        try:
            await gateway.start(lambda line: None)
            yield made[0]
        finally:
            await gateway.stop()
            await made[0].plane.stop()

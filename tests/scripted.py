"""A gateway under a workload that has something of everything; a real Prometheus scrapes it, with all our rules."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from adapters.base_model import BaseModelSpec
from monitoring.dashboards.build import BuildOptions, build
from monitoring.knowledge import KnowledgeMetrics
from serving.engine.protocol import EngineFailed
from serving.objectives import objectives_of
from tests.adapter_factory import BASE_NAME, make_adapter
from tests.api.knowledge import MemoryKnowledge
from tests.living import SCHEMA, Living, living
from tests.observing import in_process
from tests.prometheus_host import Prometheus, program, prometheus

SLO = {"availability": 0.99, "ttft": {"threshold_s": 1.0}, "duration": {"threshold_s": 5.0}}
TASKS: dict[str, Any] = {
    "labels": {"adapter": "triage", "output": {"json_schema": SCHEMA}, "slo": SLO},
    "help": {"adapter": "triage", "retrieval": {"knowledge": ["policies"]}, "slo": SLO},
    "lost": {"adapter": "triage", "retrieval": {"knowledge": ["empty"]}},
}
DRIFT: dict[str, Any] = {
    "check_interval_s": 1e-6,
    "per_minute": 100_000,
    "reference_requests": 200,
    "reference_hours": 0.0,
    "looks": [40],
    "window_hours": 1e-6,
    "false_alarms_per_day": 1e6,
}
"""Windows that are full within the test."""
REMOTE = {"kind": "openai", "url": "http://127.0.0.1:9/v1", "adapters": "vllm"}


class CountingKnowledge(MemoryKnowledge):
    """Tells of three documents besides."""

    def __init__(self) -> None:
        super().__init__()
        self._metrics = KnowledgeMetrics(CollectorRegistry())
        self._metrics.ingested(time.time() - 2)
        self._metrics.failed("unsupported_file")
        self._metrics.written(7)
        self._metrics.set_waiting(1)

    async def metrics_text(self) -> bytes:
        """What the process that owns the indexes would tell."""
        return self._metrics.render()

    def take_in(self) -> None:
        """One more document is searchable."""
        self._metrics.ingested(time.time() - 3)
        self._metrics.written(5)


@dataclass(frozen=True)
class Watched:
    """The gateway, what its tasks search, and the Prometheus."""

    living: Living
    knowledge: CountingKnowledge
    server: Prometheus

    async def set_up(self) -> None:
        """Two versions, the second one in a rollout; and an adapter that cannot be loaded."""
        it = self.living
        await it.add(1, promote=True)
        second = await it.add(2)
        await it.admin("POST", "/adapters/triage/rollout", {"version": second})
        it.engine.refuse_load["broken"] = "it does not fit"
        base = BaseModelSpec.from_checkpoint(it.folder / BASE_NAME, BASE_NAME)
        source = make_adapter(it.folder / "sources" / "broken", base, seed=3)
        body = {"name": "broken", "source": str(source), "promote": True}
        assert not (await it.http.post("/admin/v1/adapters", json=body)).is_success

    async def fill_reference(self) -> None:
        """So many requests that the windows of drift have begun."""
        for _ in range(30):
            await asyncio.gather(*(self.living.ask() for _ in range(8)))

    async def work(self) -> None:
        """Something of everything: good and bad answers, refusals, failures, retrieval with and without passages."""
        it, knowledge = self.living, self.knowledge
        it.engine.broken[(await it.alias())["stable"]] = 0.3
        for _ in range(8):
            answer = await it.ask()
            given = await it.http.post("/v1/feedback", json={"id": answer.json()["id"], "rating": "up"})
            assert given.status_code == 200, given.text
            await it.ask(stream=True)
        it.engine.fail_next(EngineFailed("stumbled"))
        assert (await it.ask()).status_code == 500
        it.engine.fail_next(EngineFailed("stumbled"), after=1)
        await it.ask(stream=True)
        assert (await it.ask(model="nobody")).status_code == 404
        it.engine.saying = "It takes 30 days [1], or 45 [7]."
        knowledge.expired, knowledge.error = 1, None
        for model in ("help", "lost", "help"):
            assert (await it.ask(model=model)).status_code == 200
            assert (await it.ask(model=model, stream=True)).status_code == 200
        knowledge.break_down()
        assert (await it.ask(model="help")).status_code == 200
        it.engine.saying = None


@asynccontextmanager
async def watched(folder: Path, beside: Mapping[str, str] | None = None) -> AsyncIterator[Watched]:
    """A gateway with a task of each kind, and a Prometheus with all the rules.

    Args:
        beside: other jobs for Prometheus, and their targets.
    """
    program("prometheus")
    knowledge = CountingKnowledge()
    sections: dict[str, Any] = {
        "tasks": TASKS,
        "engine": REMOTE,
        "knowledge": {},
        "training": {"folder": str(folder / "jobs")},
        "monitoring": {"drift": DRIFT, "quality": {"logprobs": 2}},
    }
    policy = {"min_requests": 1_000_000, "steps": [0.5]}
    async with living(folder, policy, searching=knowledge, observing=in_process([]), **sections) as it:
        rules = write_rules(folder / "rules", BuildOptions(objectives=objectives_of(it.config)))
        target = it.http.base_url.netloc.decode()
        async with prometheus(folder / "prometheus", target, rules, beside) as server:
            yield Watched(it, knowledge, server)


def write_rules(folder: Path, options: BuildOptions) -> list[Path]:
    """Every rule file of a build, evaluated each second."""
    folder.mkdir()
    for name, text in build(options).items():
        if name.startswith("prometheus/"):
            # Prometheus spreads the evaluation of a group over its interval: minutes are too long for a test.
            quick = re.sub(r"(?m)^  interval: .*$", "  interval: 1s", text)
            (folder / Path(name).name).write_text(quick, encoding="utf-8")
    return sorted(folder.iterdir())


def filled(text: str, window: str = "1m") -> str:
    """A dashboard's query with every choice made."""
    return re.sub(r"\$(job|task|adapter)\b", ".*", text.replace("$__rate_interval", window))

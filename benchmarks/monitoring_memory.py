"""``monitoring --part memory``: a gateway's memory over many requests, some of them from somebody who means harm.

The use case itself answers them, over the fake engine and without HTTP. In every ten requests, five are from one of
1,000 callers for one of 1,000 tasks; one asks for a model that does not exist, under a name that was never seen before;
and four are recorded under such names as if they had been let through. Half of the names that somebody makes up are fit
to be shown, so that the limits are met; the other half would spoil an exposition.

Answers are observed meanwhile, by a process of its own whose memory is told apart: its windows fill up to a limit that
this many requests do not reach.
"""

import argparse
import asyncio
import contextlib
import gc
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import psutil
from prometheus_client import CollectorRegistry

from adapters.catalog import Catalog
from adapters.types import CatalogSnapshot
from benchmarks.fleet import say
from benchmarks.monitoring_overhead import observations
from benchmarks.report import Target
from monitoring.exposition import Format
from monitoring.metrics import GatewayMetrics, RequestRecord
from monitoring.observer_metrics import OBSERVED
from serving.accounting import Call
from serving.auth import Caller
from serving.config import GatewayConfig, parse_config
from serving.engine.fake import FakeEngine
from serving.engine.protocol import Endpoint
from serving.errors import ModelNotFound
from serving.generate import Generator
from serving.observing.pipeline import Pipeline
from serving.observing.process import ObserverProcess, ObservingWorker

MODEL = "bench-model"
NAMES = 1_000
"""Callers, and tasks."""
MOST_GROWN_MIB = 8.0
"""Growth that counts as none, from when every caller and task was seen and every limit was met to the end."""
SETTLED = 0.5
"""Share of the requests after which everything that has a limit has met it."""
MONITORING = {"drift": {"check_interval_s": 5.0}, "quality": {"min_requests": 2}}
"""Every task has its gauges soon: what comes later would look like growth."""
_LOOKS = 20
_HOSTILE = ('"} 1 up ', "\n# EOF\n", "日本語 ", "\u2028", ' {le="+Inf"} ', "\ud800", "\\", "a" * 10_000)


class NoAdapters:
    """A replica that holds none: every task here is the base model's."""

    snapshot = CatalogSnapshot(revision=1, versions={}, aliases={})

    async def acquire(self, version: str, timeout_s: float) -> None:
        """Never asked for."""
        raise AssertionError(version)

    def release(self, version: str) -> None:
        """Never asked for."""
        raise AssertionError(version)

    def last_load(self, version: str) -> None:
        """Never asked for."""
        raise AssertionError(version)


@dataclass(slots=True)
class Run:
    """What became of the requests."""

    answered: int = 0
    refused: int = 0
    recorded: int = 0
    resident_mib: list[tuple[int, float]] = field(default_factory=list)
    """Requests so far, and the memory of the process then."""
    observing_mib: list[float] = field(default_factory=list)
    """That of the process that observes, at the same moments."""


async def measure(
    options: argparse.Namespace, *, worker: ObservingWorker | None = None
) -> tuple[dict[str, Any], list[Target], list[str]]:
    """Answer ``options.requests`` requests and look at the memory twenty times.

    Args:
        worker: observes; default: a process of its own, as a gateway has it.
    """
    with tempfile.TemporaryDirectory() as name:
        config = _config(Path(name))
        catalog = Catalog(config.state.url)
        await asyncio.to_thread(catalog.migrate)
        catalog.close()
        return await _measure(options.requests, config, worker or ObserverProcess(config, "replica-0"))


def _config(folder: Path) -> GatewayConfig:
    return parse_config(
        {
            "model": {"id": MODEL},
            "tasks": {f"task-{number}": {} for number in range(NAMES)},
            "monitoring": MONITORING,
            "state": {"url": f"sqlite:///{folder / 'state.db'}"},
            "artifacts": {"url": str(folder / "artifacts")},
            "adapters": {"cache_dir": str(folder / "cache")},
        }
    )


async def _measure(
    total: int, config: GatewayConfig, worker: ObservingWorker
) -> tuple[dict[str, Any], list[Target], list[str]]:
    engine, metrics = FakeEngine(MODEL), GatewayMetrics(CollectorRegistry(), replica="replica-0")
    await engine.start(lambda _: None)
    assert config.monitoring is not None
    # It starts with the first records, and a short run would be over before it is there.
    await worker.observe([])
    pipeline = Pipeline(config.monitoring, metrics, worker)
    pipeline.start()
    run = Run()
    try:
        await _ask(total, Generator(config, engine, NoAdapters(), metrics, pipeline=pipeline), engine, metrics, run)
    finally:
        await pipeline.stop()
    return _found(total, run, metrics)


async def _ask(total: int, generator: Generator, engine: FakeEngine, metrics: GatewayMetrics, run: Run) -> None:
    for number in range(total):
        await _one(number, generator, metrics, run)
        # The fake engine answers without a pause, and the pipeline needs its turns.
        await asyncio.sleep(0)
        if (number + 1) % max(total // _LOOKS, 1) == 0:
            # It remembers every request for the tests' sake.
            engine.requests.clear()
            engine.finished.clear()
            _look(run, number + 1, metrics)


def _found(total: int, run: Run, metrics: GatewayMetrics) -> tuple[dict[str, Any], list[Target], list[str]]:
    exposition = metrics.render(Format.OPENMETRICS)
    seen = observations(exposition)
    settled = [memory for requests, memory in run.resident_mib if requests >= SETTLED * total]
    grown = max(settled) - settled[0]
    results = {
        "requests": total,
        "answered": run.answered,
        "refused": run.refused,
        "recorded_under_made_up_names": run.recorded,
        "resident_mib": [{"requests": requests, "mib": round(memory, 1)} for requests, memory in run.resident_mib],
        "grown_mib": round(grown, 2),
        "observations": seen,
        "observing_process_mib": [round(memory, 1) for memory in run.observing_mib],
        "exposition_mib": round(len(exposition) / 2**20, 2),
        "series": sum(not line.startswith(b"#") for line in exposition.splitlines()),
    }
    problems = [] if exposition.endswith(b"# EOF\n") and exposition.count(b"# EOF") == 1 else ["a broken exposition"]
    if run.answered + run.refused + run.recorded != total:
        problems.append("requests are missing from the count")
    if not seen.get(OBSERVED):
        problems.append("no answer was observed")
    name = f"memory: growth in MiB over the last {1 - SETTLED:.0%} of {total} requests"
    return results, [Target(name, grown, MOST_GROWN_MIB, at_least=False)], problems


async def _one(number: int, generator: Generator, metrics: GatewayMetrics, run: Run) -> None:
    if number % 10 == 5:
        run.refused += await _refused(generator, number)
    elif number % 10 > 5:
        task, adapter, code = _made_up(number)
        metrics.request_started(task)
        metrics.request_finished(RequestRecord(task, adapter, "stable", duration_s=0.1, admission_s=0.001))
        metrics.request_refused(code)
        run.recorded += 1
    else:
        await generator.complete(_call(f"task-{run.answered % NAMES}", run.answered))
        run.answered += 1


async def _refused(generator: Generator, number: int) -> int:
    """1 where a name that nobody configured is refused."""
    try:
        await generator.complete(_call(next(_made_up(number)), number))
    except ModelNotFound:
        return 1
    return 0


def _made_up(number: int) -> Iterator[str]:
    """Names that were never seen before, without end in sight."""
    for _ in range(3):
        yield f"{_HOSTILE[number // 10 % len(_HOSTILE)]}{number}"
        number += 1_000_003


def _call(model: str, number: int) -> Call:
    name = f"caller-{number % NAMES}"
    body = {"model": model, "messages": [{"role": "user", "content": f"note {number}: one two three four"}]}
    caller = Caller(name, frozenset({"*"}))
    return Call(Endpoint.CHAT, body, caller, f"req-{number}", perf_counter(), name, {}, f"req-{number}")


def _look(run: Run, requests: int, metrics: GatewayMetrics) -> None:
    gc.collect()
    memory = psutil.Process().memory_info().rss / 2**20
    run.resident_mib.append((requests, memory))
    run.observing_mib.append(_of_children() / 2**20)
    say(f"{requests} requests: {memory:.1f} MiB, {metrics.label_sets} label sets")


def _of_children() -> int:
    """Bytes that the processes which this one started hold."""
    held = 0
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            held += child.memory_info().rss
    return held

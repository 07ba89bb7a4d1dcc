"""``monitoring --part recorder``: what the recorder itself takes of a request, and what a scrape takes."""

import argparse
import gc
import statistics
import time
from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry

from benchmarks.fleet import say
from benchmarks.report import Target
from monitoring.exposition import Format
from monitoring.merge import merge
from monitoring.metrics import GatewayMetrics, RequestRecord, RetrievalRecord

MOST_US = 50.0
BLOCK = 2_000
"""Requests that are timed together: a clock's own reading would cost as much as a metric."""
TASKS = 100
_GAPS = [0.01 + index / 10_000 for index in range(31)]
_STAGES = {"embed": 0.004, "dense": 0.01, "lexical": 0.006, "fuse": 0.0002, "rerank": 0.02, "total": 0.05}
_AGES = (60.0, 3600.0, 86400.0, 604800.0)
_TRACE = "0af7651916cd43dd8448eb211c80319c"

Step = Callable[[GatewayMetrics, int], None]


def plain(metrics: GatewayMetrics, number: int) -> None:
    """A whole answer of the base model."""
    task = f"task-{number % TASKS}"
    metrics.request_started(task)
    metrics.request_finished(
        RequestRecord(task, duration_s=0.2, engine_s=0.19, admission_s=0.0001, prompt_tokens=40, completion_tokens=32)
    )


def full(metrics: GatewayMetrics, number: int) -> None:
    """A stream of 32 tokens by an adapter, from passages, in a trace: all that one request can leave behind."""
    task, adapter = f"task-{number % TASKS}", f"adapter-{number % TASKS}@3f9a1c2e"
    metrics.request_started(task)
    metrics.retrieval_finished(RetrievalRecord(task, "found", _STAGES, _AGES, 1, 0.7))
    metrics.adapter_wait_started(task)
    metrics.adapter_wait_ended(task)
    metrics.request_finished(
        RequestRecord(
            task,
            adapter,
            "stable",
            duration_s=1.2,
            engine_s=1.0,
            retrieval_s=0.05,
            streamed=True,
            first_token_s=0.1,
            gaps_s=_GAPS,
            prompt_tokens=400,
            completion_tokens=32,
            admission_s=0.0001,
            engine_queue_s=0.01,
            trace_id=_TRACE,
        )
    )
    metrics.answer_grounded(task, 2, 0, 0)


async def measure(options: argparse.Namespace) -> tuple[dict[str, Any], list[Target], list[str]]:
    """Time both kinds of request, and a scrape of what they left."""
    costs = {name: _cost_us(step, options.rounds) for name, step in (("plain", plain), ("full", full))}
    for name, values in costs.items():
        say(f"recorder, {name} request: {statistics.median(values):.1f} µs")
    results: dict[str, Any] = {
        name: {"median_us": round(statistics.median(values), 2), "rounds_us": [round(value, 2) for value in values]}
        for name, values in costs.items()
    }
    results["scrape"] = _scrape_cost()
    full_us = statistics.median(costs["full"])
    return results, [Target("recorder: µs of a full request", full_us, MOST_US, at_least=False)], []


def _cost_us(step: Step, rounds: int) -> list[float]:
    metrics = GatewayMetrics(CollectorRegistry(), replica="replica-0")
    for number in range(BLOCK):
        step(metrics, number)
    values = []
    for _ in range(rounds):
        gc.collect()
        started = time.perf_counter()
        for number in range(BLOCK):
            step(metrics, number)
        values.append((time.perf_counter() - started) / BLOCK * 1e6)
    return values


def _scrape_cost() -> dict[str, Any]:
    """What it takes to write down the metrics of a hundred tasks, each with an adapter."""
    metrics = GatewayMetrics(CollectorRegistry(), replica="replica-0")
    for number in range(BLOCK):
        full(metrics, number)
    found: dict[str, Any] = {"tasks": TASKS}
    for form in Format:
        started = time.perf_counter()
        exposition = merge([("replica-0", metrics.render(form))], form)
        found[form.name.lower()] = {
            "ms": round((time.perf_counter() - started) * 1000, 2),
            "kib": round(len(exposition) / 1024, 1),
            "series": sum(not line.startswith(b"#") for line in exposition.splitlines()),
        }
    return found

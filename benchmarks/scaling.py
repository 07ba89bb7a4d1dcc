"""Autoscaling, rehearsed on a Ray head of this machine: load up, replicas up; load down, replicas drain.

Serve scales the gateways by the requests in progress. No request may fail, no stream may be cut, and a new replica must
hold the adapter of its traffic before it answers. A real Prometheus scrapes the gateway meanwhile, and the expressions
by which the chart's KEDA or HPA would scale are evaluated over the run.

    python -m benchmarks.scaling
    helm template ... | python -m benchmarks.scaling --rendered -   # the chart's Serve configuration
    python -m benchmarks.scaling --triggers rendered.yaml           # expressions out of a rendered ScaledObject
"""

import argparse
import asyncio
import itertools
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import gateway
from benchmarks.admin import Admin
from benchmarks.fleet import Fleet, ServerFailed, say
from benchmarks.load import Call, LoadResult, chat_body, run_load
from benchmarks.random_adapters import make_adapters
from benchmarks.ray_cluster import RayCluster, gateways
from benchmarks.report import Target, add_common_options, finish
from benchmarks.scaling_timeline import Moment, changes, first_seen, read_metrics, unprepared, wanted
from benchmarks.serve_files import NoServeConfig, ServeFile, localise, trigger_queries
from benchmarks.swap_check import Timeline
from benchmarks.upgrade import PROMPT, places, serve_file
from benchmarks.upgrade_steps import wrong_versions
from benchmarks.wire import ExchangeFailed, fetch
from monitoring.dashboards.promql import Scope, equals
from monitoring.dashboards.scaling import measures
from serving.config import parse_config
from tests.prometheus_host import Prometheus, prometheus

ALIAS = "rehearsed"
JOB = "loraplex"
LOOK_EVERY_S = 0.5
LIMIT_S = 240.0
TARGETS = {"inFlight": 4.0, "queue": 4.0, "ttft": 2.0}
"""What one replica is to have, where no chart says it: requests, requests, seconds."""
AUTOSCALING = {
    "target_ongoing_requests": 4,
    "upscale_delay_s": 3,
    "downscale_delay_s": 10,
    "metrics_interval_s": 1,
    "look_back_period_s": 5,
}


class Rehearsal:
    """One run: an installation, its callers, and somebody who looks."""

    def __init__(self, options: argparse.Namespace, fleet: Fleet, file: ServeFile, adapter: Path) -> None:
        self._options = options
        self._folder = fleet.folder
        self._file = file
        self._adapter = adapter
        self._cluster = RayCluster(fleet, parse_config(file.config, origin="the configuration"), cpus=8)
        self._admin = Admin(self._cluster.address)
        self._began = time.monotonic()
        self.timeline = Timeline()
        self.version = ""
        self.moments: list[Moment] = []
        self.phases: list[dict[str, Any]] = []
        self.loads: list[LoadResult] = []
        self.wanted: dict[str, dict[str, int | None]] = {}

    async def run(self, triggers: dict[str, tuple[str, float]]) -> None:
        """Everything. Raises ServerFailed."""
        try:
            await self._begin()
            address = self._cluster.address
            async with prometheus(self._folder / "prometheus", str(address), []) as server:
                looking = asyncio.create_task(self._look())
                try:
                    await self._phases(server, triggers)
                finally:
                    looking.cancel()
                    await asyncio.gather(looking, return_exceptions=True)
        finally:
            await self._cluster.close(self._options.logs)

    async def _begin(self) -> None:
        await self._cluster.wait_up()
        asked = time.time()
        await self._cluster.deploy(self._file.write(self._folder, revision="1"))
        await self._cluster.wait_settled(1, LIMIT_S, deployed_at=asked - 1)
        await self._cluster.server.wait_ready(gateway.READY, LIMIT_S)
        self.version = await self._admin.add(ALIAS, str(self._adapter), promote=True)
        self.timeline.enter(0.0, {self.version})
        self._began = time.monotonic()

    async def _phases(self, server: Prometheus, triggers: dict[str, tuple[str, float]]) -> None:
        most = self._options.most
        await self._phase("one caller", 1, 1, server, triggers)
        await self._phase("load up", self._options.callers, most, server, triggers)
        await self._phase("load down", 1, 1, server, triggers)

    async def _phase(
        self, name: str, callers: int, replicas: int, server: Prometheus, triggers: dict[str, tuple[str, float]]
    ) -> None:
        """Load by that many callers until Serve has made that many replicas of it, and a while longer."""
        say(f"{name}: {callers} callers")
        began, stop = time.monotonic(), asyncio.Event()
        load = asyncio.create_task(
            run_load(
                self._cluster.address,
                self._calls(stop),
                concurrency=callers,
                keep_answers=True,
                pause_after_failure_s=0.5,
            )
        )
        try:
            took = await self._cluster.wait_settled(replicas, LIMIT_S)
            await asyncio.sleep(self._options.pause_s)
            self.wanted[name] = {key: await _wanted(server, *trigger) for key, trigger in triggers.items()}
        finally:
            stop.set()
            result = await load
        self.loads.append(result)
        span = {"from_s": round(began - self._began, 1), "to_s": round(time.monotonic() - self._began, 1)}
        report = result.report()
        self.phases.append({"phase": name, "callers": callers, "settled_after_s": round(took, 1), **span, **report})

    async def _look(self) -> None:
        while True:
            try:
                reply = await fetch(self._cluster.address, "/metrics", timeout_s=10)
                answered, held = read_metrics(reply.body.decode())
                status = await self._cluster.status()
            except (ExchangeFailed, ServerFailed) as error:
                say(f"a look failed: {error}")
            else:
                states = {replica["replica_id"]: replica["state"] for replica in gateways(status)}
                self.moments.append(Moment(time.monotonic() - self._began, states, answered, held))
            await asyncio.sleep(LOOK_EVERY_S)

    def _calls(self, stop: asyncio.Event) -> Iterator[Call]:
        for number in itertools.count():
            if stop.is_set():
                return
            body = chat_body(ALIAS, f"{number}: {PROMPT}", max_tokens=self._options.tokens, stream=number % 2 == 0)
            yield Call(body, tag=str(number))


async def _wanted(server: Prometheus, query: str, target: float) -> int | None:
    """How many replicas an autoscaler would want now; None where Prometheus has no value."""
    found = await server.query(query)
    return wanted(float(found[0]["value"][1]), target) if found else None


def expressions(options: argparse.Namespace) -> dict[str, tuple[str, float]]:
    """The scaling measures: name → expression and target; the chart's where it was rendered, else the product's."""
    if options.triggers is None:
        scope = Scope(equals(JOB), "5m")
        return {one.name: (one.query.text, TARGETS[one.name]) for one in measures(scope)}
    found = {name: (query, target) for name, query, target in trigger_queries(options.triggers.read_text())}
    if not found:
        raise NoServeConfig(f"{options.triggers} holds no ScaledObject with Prometheus triggers")
    return {name: (_of_this_job(query), target) for name, (query, target) in found.items()}


def _of_this_job(query: str) -> str:
    """The expression with this run's job in place of a release's."""
    before, _, rest = query.partition('job="')
    release = rest.partition('"')[0]
    return query.replace(f'job="{release}"', f'job="{JOB}"') if before != query else query


async def measure(options: argparse.Namespace) -> tuple[dict[str, Any], list[Target], list[str]]:
    """Deploy, load up and down, judge."""
    model = (options.model or gateway.demo_checkpoint()).resolve()
    file, triggers = serve_file(options), expressions(options)
    with Fleet(logs=options.logs) as fleet:
        localise(file, places(fleet, model, token_s=options.token_ms / 1000))
        before = file.gateway().get("autoscaling_config")
        file.set_autoscaling(**AUTOSCALING, min_replicas=1, max_replicas=options.most)
        if before is not None:
            file.replaced.append(f"Gateway.autoscaling_config: {before} -> {file.gateway()['autoscaling_config']}")
        (adapter,) = make_adapters(model, fleet.folder / "adapters", 1, rank=4, targets=("q_proj", "v_proj"))
        rehearsal = Rehearsal(options, fleet, file, adapter)
        await rehearsal.run(triggers)
        results, problems = _results(rehearsal, file)
    problems += [f"left behind: {process}" for process in fleet.left_behind]
    results["expressions"] = {name: {"query": query, "target": target} for name, (query, target) in triggers.items()}
    return results, _targets(results, options.most), problems


def _results(rehearsal: Rehearsal, file: ServeFile) -> tuple[dict[str, Any], list[str]]:
    samples = [sample for load in rehearsal.loads for sample in load.samples]
    wrong = wrong_versions(samples, rehearsal.timeline)
    cold = unprepared(rehearsal.moments, rehearsal.version)
    results = {
        "phases": rehearsal.phases,
        "wanted_by_prometheus": rehearsal.wanted,
        "replicas": changes(rehearsal.moments),
        "first_seen": first_seen(rehearsal.moments, rehearsal.version),
        "looks": len(rehearsal.moments),
        "failures": sum(phase["failures"] for phase in rehearsal.phases),
        "wrong_versions": len(wrong),
        "answers_without_adapter": len(cold),
        "replaced": file.replaced,
    }
    return results, [*wrong[:10], *cold[:10]]


def _targets(results: dict[str, Any], most: int) -> list[Target]:
    def by_measures(phase: str) -> int:
        values = [value for value in results["wanted_by_prometheus"].get(phase, {}).values() if value is not None]
        return max(values, default=0)

    return [
        Target("failed requests", results["failures"], 0, at_least=False),
        Target("answers of a wrong version", results["wrong_versions"], 0, at_least=False),
        Target("answers before the adapter was there", results["answers_without_adapter"], 0, at_least=False),
        Target("replicas that the expressions want under load", by_measures("load up"), most, at_least=True),
        Target("replicas that the expressions want after it", by_measures("load down"), 1, at_least=False),
    ]


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_common_options(made)
    source = made.add_mutually_exclusive_group()
    source.add_argument("--config", type=Path, help="a gateway's configuration to deploy")
    source.add_argument("--rendered", type=Path, help="output of `helm template` with a RayService; - reads stdin")
    made.add_argument("--triggers", type=Path, help="output of `helm template` with a ScaledObject")
    made.add_argument("--model", type=Path, help="checkpoint that the adapter is made for (default: the demo's)")
    made.add_argument("--most", type=int, default=3, help="largest number of gateways (default: 3)")
    made.add_argument("--callers", type=int, default=14, help="requests under way under load (default: 14)")
    made.add_argument("--tokens", type=int, default=24, help="tokens of an answer (default: 24)")
    made.add_argument("--token-ms", type=float, default=60, help="time that a token takes (default: 60)")
    # The expressions look at the last minute.
    made.add_argument("--pause-s", type=float, default=65, help="seconds of load after each change (default: 65)")
    return made


def main() -> int:
    """Run it. Returns the exit status."""
    options = parser().parse_args()
    try:
        results, targets, problems = uvloop.run(measure(options))
    except (NoServeConfig, ServerFailed) as error:
        say(f"error: {error}")
        return 2
    return finish("scaling", options, results, targets, problems)


if __name__ == "__main__":
    sys.exit(main())

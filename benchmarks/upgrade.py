"""Upgrades of a RayService, rehearsed on a Ray head of this machine, under load.

A Serve configuration is deployed as KubeRay deploys it (`serve deploy`, over Ray's API), and then, while streaming and
plain requests run without a pause: more replicas, another adapter promoted, another version of the code, another
configuration, fewer replicas. No request may fail, no stream may be cut, and no answer may be of a version that was
not in its role then.

    python -m benchmarks.upgrade                                    # a configuration of its own
    python -m benchmarks.upgrade --config gateway.yaml              # of a gateway
    helm template ... | python -m benchmarks.upgrade --rendered -   # the chart's
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
import yaml
from prometheus_client.parser import text_string_to_metric_families

from benchmarks import gateway
from benchmarks.admin import Admin
from benchmarks.code_copy import copy_code
from benchmarks.fleet import Fleet, ServerFailed, free_port, say
from benchmarks.load import Call, LoadResult, chat_body, run_load
from benchmarks.random_adapters import make_adapters
from benchmarks.ray_cluster import RayCluster, gateways
from benchmarks.report import Target, add_common_options, finish
from benchmarks.scaling_timeline import Moment, changes
from benchmarks.serve_files import NoServeConfig, ServeFile, localise, own, rendered
from benchmarks.swap_check import VERSION_HEADER, Timeline, count_by_version
from benchmarks.upgrade_steps import Step, rows, wrong_versions
from benchmarks.wire import fetch
from serving.config import parse_config

ALIAS = "rehearsed"
SETTLE_LIMIT_S = 300.0
_LOOK_EVERY_S = 0.5
_AFTER_FAILURE_S = 0.5
"""The shortest that OpenAI's SDK waits before it tries again."""
PROMPT = "Say in a few words why a rehearsal is worth its while, and then say it once more in other words, please."


class Rehearsal:
    """The steps, and the requests that run through all of them."""

    def __init__(self, options: argparse.Namespace, fleet: Fleet, file: ServeFile, adapters: list[Path]) -> None:
        self._options = options
        self._folder = fleet.folder
        self._fleet = fleet
        self._file = file
        self._sources = iter(adapters)
        self._cluster = RayCluster(fleet, parse_config(file.config, origin="the configuration"), cpus=8)
        self._admin = Admin(self._cluster.address)
        self._revision = 1
        self._environment: dict[str, str] = {}
        self._stop = False
        self._current: set[str] = set()
        self.timeline = Timeline()
        self.steps: list[Step] = []
        self.moments: list[Moment] = []
        self._began = 0.0

    async def run(self) -> LoadResult:
        """Everything, from the first deployment on. Raises ServerFailed."""
        try:
            await self._cluster.wait_up()
            await self._deploy(self._options.replicas)
            await self._promote()
            load = asyncio.create_task(
                run_load(self._cluster.address, self._calls(), concurrency=self._options.callers, keep_answers=True)
            )
            self._began = time.perf_counter()
            watch = asyncio.create_task(self._watch())
            try:
                await self._all_steps()
            finally:
                self._stop = True
                watch.cancel()
                result = await load
            return result
        finally:
            await self._cluster.close(self._options.logs)

    async def _watch(self) -> None:
        """Note the states of the gateways, as Ray tells them, until cancelled."""
        while True:
            now = time.perf_counter()
            states = {replica["replica_id"]: replica["state"] for replica in gateways(await self._cluster.status())}
            self.moments.append(Moment(now - self._began, states, {}, {}))
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _all_steps(self) -> None:
        more = self._options.replicas + 1
        await self._step("nothing changes", asyncio.sleep(self._options.pause_s))
        await self._step(f"{self._options.replicas} -> {more} replicas", self._deploy(more))
        await self._step("another adapter version promoted", self._promote())
        await self._step("another version of the code", self._new_code(more))
        await self._step("another configuration", self._new_configuration(more))
        await self._step(f"{more} -> {self._options.replicas} replicas", self._deploy(self._options.replicas))

    async def _step(self, name: str, change: Any) -> None:
        say(name)
        began = time.perf_counter()
        await change
        ended = time.perf_counter()
        await asyncio.sleep(self._options.pause_s)
        status = await self._cluster.status()
        facts = {
            "began_s": round(began - self._began, 1),
            "gateway": sorted((await self._versions()).items()),
            "application": status.get("status"),
        }
        self.steps.append(Step(name, began, ended, facts))
        say(f"{name}: {ended - began:.1f} s")

    async def _deploy(self, replicas: int) -> None:
        self._file.set_replicas(replicas)
        path = self._file.write(self._folder, revision=str(self._revision), environment=self._environment)
        asked = time.time()
        await self._cluster.deploy(path)
        await self._cluster.wait_settled(replicas, SETTLE_LIMIT_S, deployed_at=asked - 1)
        await self._cluster.server.wait_ready(gateway.READY, SETTLE_LIMIT_S)

    async def _promote(self) -> None:
        version = await self._admin.add(ALIAS, str(next(self._sources)))
        before = self._current
        self.timeline.enter(time.perf_counter(), {version, *before})
        await self._admin.promote(ALIAS, version)
        self.timeline.enter(time.perf_counter(), {version})
        self._current = {version}

    async def _new_code(self, replicas: int) -> None:
        place, named = copy_code(self._folder / "code", "upgraded")
        self._environment = {"PYTHONPATH": str(place)}
        self._revision += 1
        await self._deploy(replicas)
        versions = await self._versions()
        if set(versions) != {named}:
            raise ServerFailed(f"after the upgrade replicas run {versions}, not {named} alone")

    async def _new_configuration(self, replicas: int) -> None:
        """A task more, which every replica must then know."""
        self._file.config["tasks"] = {**self._file.config.get("tasks", {}), "rehearsal": {"adapter": ALIAS}}
        self._revision += 1
        await self._deploy(replicas)

    async def _versions(self) -> dict[str, int]:
        """Version of the code → how many replicas say that they run it."""
        text = (await fetch(self._cluster.address, "/metrics")).body.decode()
        counts: dict[str, int] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == "loraplex_build_info":
                    named = sample.labels["version"]
                    counts[named] = counts.get(named, 0) + 1
        return counts

    def _calls(self) -> Iterator[Call]:
        for number in itertools.count():
            if self._stop:
                return
            body = chat_body(ALIAS, f"{number}: {PROMPT}", max_tokens=self._options.tokens, stream=number % 2 == 0)
            yield Call(body, tag=str(number))


def places(fleet: Fleet, model: Path, *, token_s: float) -> dict[str, Any]:
    """The settings that name places, for this machine: everything below the fleet's folder, and no real engine."""
    folder = fleet.folder
    return {
        "server.host": "127.0.0.1",
        "server.port": free_port(),
        "server.authentication": "off",
        "api_keys": None,
        "model.id": str(model),
        "model.revision": None,
        "engine": {"kind": "fake", "token_s": token_s},
        "cpus_per_replica": 1,
        "gpus_per_replica": 0,
        "state.url": f"sqlite:///{folder / 'state.db'}",
        "artifacts.url": str(folder / "artifacts"),
        "artifacts.options": None,
        "adapters.cache_dir": str(folder / "cache"),
        "adapters.preload": None,
        "adapters.enabled": True,
        "logging.audit.file": str(folder / "audit.jsonl"),
        "life.folder": str(folder / "life"),
        "knowledge": None,
        "training": None,
        "tasks": None,
        "metrics.token_env": None,
        "services": None,
    }


def serve_file(options: argparse.Namespace) -> ServeFile:
    """The Serve configuration that the options name. Raises NoServeConfig."""
    if options.rendered is not None:
        text = sys.stdin.read() if str(options.rendered) == "-" else options.rendered.read_text(encoding="utf-8")
        return rendered(text)
    if options.config is not None:
        return own({"server": {"host": "127.0.0.1", "port": 8000}, **yaml.safe_load(options.config.read_text())})
    return own({"server": {"host": "127.0.0.1", "port": 8000}, "model": {"id": "base", "name": "base"}})


async def measure(options: argparse.Namespace) -> tuple[dict[str, Any], list[Target], list[str]]:
    """Deploy, load, upgrade, judge."""
    model = (options.model or gateway.demo_checkpoint()).resolve()
    file = serve_file(options)
    with Fleet(logs=options.logs) as fleet:
        localise(file, places(fleet, model, token_s=options.token_ms / 1000))
        adapters = make_adapters(model, fleet.folder / "adapters", 2, rank=4, targets=("q_proj", "v_proj"))
        rehearsal = Rehearsal(options, fleet, file, adapters)
        load = await rehearsal.run()
        results, problems = _results(rehearsal, load, file)
    problems += [f"left behind: {process}" for process in fleet.left_behind]
    return results, _targets(results), problems


def _results(rehearsal: Rehearsal, load: LoadResult, file: ServeFile) -> tuple[dict[str, Any], list[str]]:
    wrong = wrong_versions(load.samples, rehearsal.timeline)
    results = {
        "steps": rows(rehearsal.steps, load.samples, time.perf_counter()),
        "replicas": changes(rehearsal.moments),
        "all": load.report(),
        "by_version": count_by_version(load.samples),
        "wrong_versions": len(wrong),
        "replaced": file.replaced,
        "version_header": VERSION_HEADER,
    }
    return results, wrong[:20]


def _targets(results: dict[str, Any]) -> list[Target]:
    return [
        Target("failed requests", results["all"]["failures"], 0, at_least=False),
        Target("answers of a wrong version", results["wrong_versions"], 0, at_least=False),
    ]


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_common_options(made)
    source = made.add_mutually_exclusive_group()
    source.add_argument("--config", type=Path, help="a gateway's configuration to deploy")
    source.add_argument(
        "--rendered", type=Path, help="output of `helm template` to take the Serve configuration from; - reads stdin"
    )
    made.add_argument("--model", type=Path, help="checkpoint that adapters are made for (default: the demo's)")
    made.add_argument("--replicas", type=int, default=2, help="gateways before and after (default: 2)")
    made.add_argument("--callers", type=int, default=8, help="requests under way at any time (default: 8)")
    made.add_argument("--tokens", type=int, default=24, help="tokens of an answer (default: 24)")
    made.add_argument("--token-ms", type=float, default=40, help="time that a token takes (default: 40)")
    made.add_argument("--pause-s", type=float, default=10, help="seconds of load after each step (default: 10)")
    return made


def main() -> int:
    """Run it. Returns the exit status."""
    options = parser().parse_args()
    if options.quick:
        options.pause_s = min(options.pause_s, 3)
    try:
        results, targets, problems = uvloop.run(measure(options))
    except NoServeConfig as error:
        say(f"error: {error}")
        return 2
    except ServerFailed as error:
        say(f"error: {error}")
        return 2
    return finish("upgrade", options, results, targets, problems)


if __name__ == "__main__":
    sys.exit(main())

"""Swapping adapters under load, on real vLLM.

Adapters that are known by their output are promoted, given a share of the callers and rolled back while requests run.
No request may fail, every answer must be of the version that it reports and of one that could answer then, a caller
may not move between versions while nothing changes, and afterwards no engine may hold an old version.

    python -m benchmarks.swap                  # loraplex serve, one replica
    python -m benchmarks.swap --replicas 2
    python -m benchmarks.swap --local
"""

import argparse
import asyncio
import itertools
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import uvloop

from benchmarks import gateway
from benchmarks.admin import Admin, requests_by_replica
from benchmarks.fleet import REPOSITORY, Fleet, Server, ServerFailed, free_port, say
from benchmarks.load import Call, LoadResult, chat_body, run_load
from benchmarks.report import Target, add_common_options, finish
from benchmarks.stats import quantiles_ms
from benchmarks.swap_check import Judge, Sent, Timeline, Violation, count_by_version
from benchmarks.swap_plan import Swap, plan

NAME = "SmolLM2-135M-Instruct"
ALIAS = "marker"
CALLER_KEY = "x-loraplex-caller-key"
CALLERS = 40
START_TIMEOUT_S = 400.0
GONE_WITHIN_S = 120.0
"""How long a version that was addressed by its full name may stay idle before it leaves, with room to spare."""


class Traffic:
    """Requests of every kind, until enough were sent and the swaps are done."""

    def __init__(self, options: argparse.Namespace, stable: str) -> None:
        self.sent: list[Sent] = []
        self.current = [stable]
        """Versions in a role now, for requests that address one by its full name."""
        self.swaps_done = False
        self._milestone = (0, asyncio.Event())
        self._options = options
        self._random = random.Random(1)
        self._prefix = " ".join(f"Rule {number}: be brief and kind." for number in range(15))

    def calls(self) -> Iterator[Call]:
        """Endless until both conditions hold."""
        while len(self.sent) < self._options.requests or not self.swaps_done:
            yield self._next()

    async def until_sent(self, count: int) -> None:
        """Wait until that many requests have been sent."""
        self._milestone = (count, asyncio.Event())
        if len(self.sent) < count:
            await self._milestone[1].wait()

    def _next(self) -> Call:
        number = len(self.sent)
        kind = self._random.choices(("keyed", "anonymous", "exact", "base"), (50, 35, 10, 5))[0]
        model = {"exact": self._random.choice(self.current), "base": NAME}.get(kind, ALIAS)
        key = f"caller-{self._random.randrange(CALLERS)}" if kind == "keyed" else None
        self.sent.append(Sent(model, kind, key))
        milestone, reached = self._milestone
        if len(self.sent) >= milestone:
            reached.set()
        body = chat_body(model, self._prompt(number), max_tokens=self._options.tokens, stream=number % 2 == 0)
        body["temperature"] = 0
        headers = {CALLER_KEY: key} if key is not None else {}
        return Call(body, headers=headers, tag=str(number))

    def _prompt(self, number: int) -> str:
        """Half are word for word the same and some share a long prefix: cached keys and values must not cross over."""
        match number % 4:
            case 0 | 1:
                return f"{self._prefix} What do you say?"
            case 2:
                return f"{self._prefix} What do you say to caller {number}?"
            case _:
                return f"What do you say to caller {number}?"


async def _swap(admin: Admin, swaps: list[Swap], traffic: Traffic, timeline: Timeline, total: int) -> list[float]:
    """Make the swaps, spread over the requests; returns how long each took, in seconds."""
    took = []
    allowed = set(traffic.current)
    for number, swap in enumerate(swaps, start=1):
        await traffic.until_sent(total * number // (len(swaps) + 1))
        began = time.perf_counter()
        answer = await _apply(admin, swap)
        ended = time.perf_counter()
        alias = answer["alias"]
        after = {version for version in (alias["stable"], alias["canary"]) if version}
        timeline.enter(began, allowed | after)
        timeline.enter(ended, after)
        allowed, traffic.current = after, sorted(after)
        took.append(ended - began)
        say(f"swap {number}/{len(swaps)}: {swap} in {ended - began:.2f} s, {len(traffic.sent)} requests sent")
    traffic.swaps_done = True
    return took


async def _apply(admin: Admin, swap: Swap) -> dict[str, Any]:
    match swap.action, swap.version:
        case "promote", str(version):
            return await admin.promote(ALIAS, version)
        case "canary", str(version):
            return await admin.canary(ALIAS, version, swap.share)
        case _:
            return await admin.rollback(ALIAS)


async def measure(options: argparse.Namespace) -> tuple[dict[str, Any], list[Target], list[str]]:
    """Start the gateway, load it, swap, judge."""
    model = (options.model or gateway.demo_checkpoint()).resolve()
    with Fleet(logs=options.logs) as fleet:
        markers = make_markers(fleet, options, model)
        settings = gateway.vllm_settings(fleet.folder, free_port(), model, NAME, gateway.ARGUMENTS, gateway.ENVIRONMENT)
        settings["replicas"] = options.replicas
        settings["adapters"] |= {"slots": 4, "cpu_slots": 8, "max_rank": 16}
        server = gateway.loraplex(fleet, settings, local=options.local)
        took = await server.wait_ready(gateway.READY, START_TIMEOUT_S)
        say(f"ready after {took:.0f} s")
        results, problems = await _run(server, options, markers)
    problems += [f"left behind: {process}" for process in fleet.left_behind]
    return results, _targets(results), problems


async def _run(
    server: Server, options: argparse.Namespace, markers: dict[Path, str]
) -> tuple[dict[str, Any], list[str]]:
    admin = Admin(server.address)
    versions = {await admin.add(ALIAS, str(folder)): marker for folder, marker in markers.items()}
    stable = next(iter(versions))
    await admin.promote(ALIAS, stable)
    timeline = Timeline()
    timeline.enter(time.perf_counter(), {stable})
    traffic = Traffic(options, stable)
    swaps = plan(stable, list(versions), options.swaps)
    load = asyncio.create_task(
        run_load(server.address, traffic.calls(), concurrency=options.concurrency, keep_answers=True)
    )
    try:
        swap_seconds = await _swap(admin, swaps, traffic, timeline, options.requests)
    finally:
        traffic.swaps_done = True
        result = await load
    violations = Judge(NAME, versions, timeline).violations(traffic.sent, result.samples)
    loaded = await admin.wait_loaded_only(set(traffic.current), GONE_WITHIN_S)
    old = {replica: sorted(held - set(traffic.current)) for replica, held in loaded.items()}
    results = _report(result, traffic, swaps, swap_seconds, violations) | {
        "requests_by_replica": await requests_by_replica(server.address),
        "versions": versions,
        "in_role_at_the_end": traffic.current,
        "held_by_each_engine_at_the_end": {replica: sorted(held) for replica, held in loaded.items()},
        "old_versions_in_engines": sum(len(held) for held in old.values()),
    }
    problems = [f"{cause}: {count} requests" for cause, count in result.errors.items()]
    if len(loaded) != options.replicas:
        problems.append(f"{len(loaded)} replicas reported, not {options.replicas}")
    return results, problems


def _report(
    result: LoadResult, traffic: Traffic, swaps: list[Swap], swap_seconds: list[float], violations: list[Violation]
) -> dict[str, Any]:
    for violation in violations[:10]:
        say(f"{violation.cause}: {violation.detail}")
    return {
        "load": result.report(),
        "requests_by_kind": dict(Counter(sent.kind for sent in traffic.sent)),
        "requests_by_version": count_by_version(result.samples),
        "swaps": dict(Counter(swap.action for swap in swaps)),
        "swap_ms": quantiles_ms(swap_seconds),
        "violations": dict(Counter(violation.cause for violation in violations)),
        "violation_examples": [f"{violation.cause}: {violation.detail}" for violation in violations[:10]],
    }


def _targets(results: dict[str, Any]) -> list[Target]:
    swaps = sum(results["swaps"].values())
    return [
        Target("requests", results["load"]["requests"], 2000, at_least=True),
        Target("swaps", swaps, 20, at_least=True),
        Target("failed requests", results["load"]["failures"], 0, at_least=False),
        Target("answers that should not have been", sum(results["violations"].values()), 0, at_least=False),
        Target("old versions left in engines", results["old_versions_in_engines"], 0, at_least=False),
    ]


def make_markers(fleet: Fleet, options: argparse.Namespace, model: Path) -> dict[Path, str]:
    """Folder → marker of the adapters that ``examples.marker_adapters`` trains."""
    out: Path = (options.adapters or fleet.folder / "markers").resolve()
    manifest = out / "markers.json"
    if not manifest.exists():
        say(f"training {options.versions} marker adapters into {out}")
        command = [sys.executable, "-m", "examples.marker_adapters", "--out", str(out), "--count"]
        done = subprocess.run(
            [*command, str(options.versions), "--base", str(model)], cwd=REPOSITORY, stdout=sys.stderr, check=False
        )
        if done.returncode != 0:
            raise ServerFailed("the marker adapters could not be trained")
    markers: dict[str, str] = orjson.loads(manifest.read_bytes())
    return {out / folder: marker for folder, marker in itertools.islice(markers.items(), options.versions)}


def main() -> int:
    """Run and print the verdict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_common_options(parser)
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--local", action="store_true", help="`loraplex serve --local`, without Ray")
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--swaps", type=int, default=24)
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=5, help="output tokens per answer")
    parser.add_argument("--versions", type=int, default=6, help="marker adapters to swap between")
    parser.add_argument("--model", type=Path, help="the base checkpoint's folder (default: the demo's)")
    parser.add_argument("--adapters", type=Path, help="keep the marker adapters here, and use them again")
    options = parser.parse_args()
    if options.quick:
        options.requests, options.swaps = 200, 7
    try:
        results, targets, problems = uvloop.run(measure(options))
    except ServerFailed as error:
        say(str(error))
        return 2
    return finish("swap", options, results, targets, problems)


if __name__ == "__main__":
    sys.exit(main())

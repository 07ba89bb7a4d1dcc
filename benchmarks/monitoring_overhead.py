"""``monitoring --part overhead``: a gateway that measures and one that does not, over the same fake engine."""

import argparse
import asyncio
import itertools
import re
import sys
from typing import Any

import yaml

from benchmarks.fleet import Fleet, Server, ServerFailed, free_port
from benchmarks.gateway import READY, proxy_settings
from benchmarks.load import Call, chat_body, run_load
from benchmarks.report import Target
from benchmarks.rounds import CallsFor, Contender, Series, added_ms, failures, interleave, throughput_ratio
from benchmarks.wire import fetch
from monitoring.observer_metrics import OBSERVED

MODEL = "bench-model"
ON, OFF, AGAIN = "measuring", "silent", "silent-again"
MODES = ("unary", "streaming")
MOST_ADDED_MS = 0.3
_PROMPT = " ".join(f"word{number}" for number in range(32))
_START_TIMEOUT_S = 60.0
_LOOK_S = 3.0
_IDLE_CORES = 0.1
_LONGEST_REST_S = 90.0
_OBSERVATIONS = re.compile(rb'^loraplex_observations_total\{[^}]*result="(\w+)"[^}]*\} (\S+)', re.MULTILINE)


def _calls(mode: str) -> CallsFor:
    body = chat_body(MODEL, _PROMPT, max_tokens=32, stream=mode == "streaming")
    return lambda number, concurrency: itertools.repeat(Call(body))


async def measure(options: argparse.Namespace) -> tuple[dict[str, Any], list[Target], list[str]]:
    """Start both gateways, take the rounds, work out the ratios."""
    with Fleet(logs=options.logs) as fleet:
        servers = {name: _start(fleet, name, options.scrape_every) for name in (ON, OFF)}
        for server in servers.values():
            await server.wait_ready(READY, _START_TIMEOUT_S)
        cells: dict[tuple[str, int], dict[str, Series]] = {}
        for mode in MODES:
            calls = _calls(mode)
            contenders = {name: Contender(server.address, calls) for name, server in servers.items()}
            # The noise: how much one gateway differs from itself.
            contenders[AGAIN] = contenders[OFF]
            for contender in contenders.values():
                await run_load(contender.address, calls(0, 8), concurrency=8, seconds=1.0)
            for server in servers.values():
                await _rest(server)
            for level in options.concurrency:
                cells[mode, level] = await interleave(
                    contenders, rounds=options.rounds, concurrency=level, seconds=options.seconds, label=mode
                )
        memory = {name: round(server.resident_bytes() / 2**20, 1) for name, server in servers.items()}
        observed = await seen(servers[ON])
    results: dict[str, Any] = {"memory_mib": memory, "observations": observed}
    results |= {f"{mode} c={level}": cell(series) for (mode, level), series in cells.items()}
    problems = [line for (mode, level), series in cells.items() for line in failures(f"{mode} c={level}", series)]
    if not observed.get(OBSERVED):
        problems.append("no answer was observed: what was measured is not what monitoring costs")
    return results, _targets(cells), problems + [f"left behind: {line}" for line in fleet.left_behind]


def _start(fleet: Fleet, name: str, scrape_every_s: float) -> Server:
    folder = fleet.folder / name
    folder.mkdir()
    settings = proxy_settings(folder, free_port(), "http://127.0.0.1:9/v1", MODEL)
    settings["metrics"] = {"enabled": name == ON}
    if name == ON:
        settings["monitoring"] = {}
    path = folder / "gateway.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    command = [sys.executable, "-m", "benchmarks.monitoring_server", "--config", str(path)]
    return fleet.start(name, [*command, "--scrape-every", str(scrape_every_s)], settings["server"]["port"])


async def _rest(server: Server) -> None:
    """Wait until it does nothing: the first requests have the observing process load its embedding model."""
    spent = server.cpu_s()
    for _ in range(int(_LONGEST_REST_S / _LOOK_S)):
        await asyncio.sleep(_LOOK_S)
        before, spent = spent, server.cpu_s()
        if spent - before <= _IDLE_CORES * _LOOK_S:
            return


async def seen(server: Server) -> dict[str, int]:
    """What became of the finished requests of a gateway. Raises ServerFailed where its scrape fails."""
    reply = await fetch(server.address, "/metrics")
    if reply.status != 200:
        raise ServerFailed(f"{server.name} answered its scrape with {reply.status}")
    return observations(reply.body)


def observations(exposition: bytes) -> dict[str, int]:
    """How many finished requests were observed, how many dropped."""
    return {result.decode(): int(float(value)) for result, value in _OBSERVATIONS.findall(exposition)}


def cell(series: dict[str, Series]) -> dict[str, Any]:
    """All contenders at one concurrency, and how they differ from the one that does not measure."""
    found: dict[str, Any] = {name: one.report() for name, one in series.items()}
    for name in (ON, AGAIN):
        found[name]["throughput_ratio"] = throughput_ratio(series[name], series[OFF]).report()
        found[name]["added_p50_ms"] = added_ms(series[name], series[OFF]).report()
    return found


def _targets(cells: dict[tuple[str, int], dict[str, Series]]) -> list[Target]:
    """Of the time added where nothing waits: how fast an engine without work is asked is nobody's throughput."""
    return [
        Target(
            f"{mode} c=1: p50 added by measuring, ms",
            added_ms(series[ON], series[OFF]).median,
            MOST_ADDED_MS,
            at_least=False,
        )
        for (mode, level), series in cells.items()
        if level == 1
    ]

"""``overhead --part gateway``: the gateway alone and LiteLLM's proxy before a mock server that answers at once."""

import argparse
import itertools
from typing import Any

from benchmarks import gateway, peers
from benchmarks.fleet import Fleet, Server, free_port, idle_cores, say
from benchmarks.load import Call, chat_body, run_load
from benchmarks.report import Target
from benchmarks.rounds import CallsFor, Contender, Series, added_ms, failures, interleave
from benchmarks.stats import ratios

MODEL = "bench-model"
MODES = ("unary", "streaming")


def _calls(mode: str) -> CallsFor:
    body = chat_body(MODEL, "Say something short about tea.", max_tokens=16, stream=mode == "streaming")
    return lambda number, concurrency: itertools.repeat(Call(body))


async def measure(options: argparse.Namespace) -> tuple[dict[str, Any], list[Target], list[str]]:
    """Start the servers, take the rounds, work out the ratios."""
    levels = options.concurrency or [1, 16]
    with Fleet(logs=options.logs) as fleet:
        servers = await _start(fleet, options.without)
        results: dict[str, Any] = {"idle_cores": await idle_cores(servers)}
        cells: dict[tuple[str, int], dict[str, Series]] = {}
        for mode in MODES:
            contenders = {server.name: Contender(server.address, _calls(mode)) for server in servers}
            await _warm_up(contenders, mode)
            for level in levels:
                cells[mode, level] = await interleave(
                    contenders,
                    rounds=options.rounds,
                    concurrency=level,
                    seconds=options.seconds,
                    label=mode,
                )
    results |= {f"{mode} c={level}": _cell(series) for (mode, level), series in cells.items()}
    return results, _targets(cells), _problems(cells, fleet)


async def _start(fleet: Fleet, without: list[str]) -> list[Server]:
    mock = peers.mock(fleet, free_port(), MODEL)
    await mock.wait_ready("/v1/models", 20)
    upstream = f"http://{mock.address}/v1"
    servers = [mock]
    if "loraplex" not in without:
        settings = gateway.proxy_settings(fleet.folder, free_port(), upstream, MODEL)
        servers.append(gateway.loraplex(fleet, settings, local=True))
        await servers[-1].wait_ready(gateway.READY, 60)
    if "litellm" not in without:
        servers.append(peers.litellm(fleet, free_port(), upstream, MODEL))
        await servers[-1].wait_ready("/health/readiness", 180)
    return servers


async def _warm_up(contenders: dict[str, Contender], mode: str) -> None:
    for name, contender in contenders.items():
        say(f"warming up {name}, {mode}")
        await run_load(contender.address, contender.calls(0, 8), concurrency=8, seconds=1.0)


def _cell(series: dict[str, Series]) -> dict[str, Any]:
    mock = series["mock"]
    cell: dict[str, Any] = {name: one.report() for name, one in series.items()}
    for name in series.keys() - {"mock"}:
        cell[name]["added_p50_ms"] = added_ms(series[name], mock).report()
    if {"loraplex", "litellm"} <= series.keys():
        against = ratios(series["loraplex"].requests_per_s(), series["litellm"].requests_per_s())
        cell["loraplex"]["requests_per_s_against_litellm"] = against.report()
    return cell


def _targets(cells: dict[tuple[str, int], dict[str, Series]]) -> list[Target]:
    targets = []
    for (mode, level), series in cells.items():
        if level == 1 and "loraplex" in series:
            added = added_ms(series["loraplex"], series["mock"]).median
            targets.append(Target(f"{mode} c=1: p50 added by the gateway, ms", added, 1.5, at_least=False))
        if level == 16 and {"loraplex", "litellm"} <= series.keys():
            against = ratios(series["loraplex"].requests_per_s(), series["litellm"].requests_per_s()).median
            targets.append(Target(f"{mode} c=16: requests/s against LiteLLM", against, 10, at_least=True))
    return targets


def _problems(cells: dict[tuple[str, int], dict[str, Series]], fleet: Fleet) -> list[str]:
    problems = [line for (mode, level), series in cells.items() for line in failures(f"{mode} c={level}", series)]
    return problems + [f"left behind: {process}" for process in fleet.left_behind]

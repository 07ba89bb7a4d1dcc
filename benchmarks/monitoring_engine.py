"""``monitoring --part engine``: a gateway that measures and one that does not, each with real vLLM."""

import argparse
from collections.abc import Iterable
from typing import Any

from benchmarks import gateway
from benchmarks.fleet import Fleet, Server, ServerFailed, free_port, idle_cores, say, settle
from benchmarks.load import Call, chat_body, run_load
from benchmarks.monitoring_overhead import AGAIN, OFF, ON, cell, seen
from benchmarks.overhead_engine import NAME, SPIN_S, START_TIMEOUT_S, TOPICS
from benchmarks.report import Target
from benchmarks.rounds import CallsFor, Contender, Series, added_ttft_ms, failures, interleave, throughput_ratio
from monitoring.observer_metrics import OBSERVED

MOST_SLOWER = 0.02
"""Share of the throughput that measuring may cost."""
LEVELS = (1, 8)
TOKENS = 32


def _calls(seed: int) -> CallsFor:
    def calls(number: int, concurrency: int) -> Iterable[Call]:
        for index in range(max(concurrency * 3, 6)):
            prompt = (
                f"Note {seed}-{number}-{concurrency}-{index}: tell me something about {TOPICS[index % len(TOPICS)]}."
            )
            body = chat_body(NAME, prompt, max_tokens=TOKENS, stream=True, ignore_eos=True, temperature=0)
            yield Call(body)

    return calls


async def measure(options: argparse.Namespace) -> tuple[dict[str, Any], list[Target], list[str]]:
    """Start both, load one at a time in turns, work out the ratios."""
    with Fleet(logs=options.logs) as fleet:
        servers = {name: _start(fleet, name, options) for name in (ON, OFF)}
        for name, server in servers.items():
            say(f"{name}: ready after {await server.wait_ready(gateway.READY, START_TIMEOUT_S):.0f} s")
        # The noise: how much one gateway differs from itself, asked other prompts than those that it knows.
        contenders = {name: Contender(server.address, _calls(0)) for name, server in servers.items()}
        contenders[AGAIN] = Contender(servers[OFF].address, _calls(1))
        for name, contender in contenders.items():
            warm = await run_load(contender.address, contender.calls(-1, 8), concurrency=8, timeout_s=START_TIMEOUT_S)
            if warm.errors:
                raise ServerFailed(f"{name} does not answer: {warm.errors}")
        await settle(list(servers.values()), cores=0.15, patience_s=90)
        results: dict[str, Any] = {"idle_cores": await idle_cores(list(servers.values()), seconds=10)}
        cells = {
            level: await interleave(contenders, rounds=options.rounds, concurrency=level, rest_s=SPIN_S, label="engine")
            for level in LEVELS
        }
        results["observations"] = await seen(servers[ON])
    results |= {f"c={level}": _with_ttft(series) for level, series in cells.items()}
    problems = [line for level, series in cells.items() for line in failures(f"c={level}", series)]
    if not results["observations"].get(OBSERVED):
        problems.append("no answer was observed: what was measured is not what monitoring costs")
    return results, _targets(cells), problems + [f"left behind: {line}" for line in fleet.left_behind]


def _start(fleet: Fleet, name: str, options: argparse.Namespace) -> Server:
    folder = fleet.folder / f"engine-{name}"
    folder.mkdir()
    model = (options.model or gateway.demo_checkpoint()).resolve()
    settings = gateway.vllm_settings(folder, free_port(), model, NAME, gateway.ARGUMENTS, gateway.ENVIRONMENT)
    settings["metrics"] = {"enabled": name == ON}
    if name == ON:
        settings["monitoring"] = {}
    return gateway.loraplex(fleet, settings, local=True, name=f"engine-{name}")


def _with_ttft(series: dict[str, Series]) -> dict[str, Any]:
    found = cell(series)
    for name in (ON, AGAIN):
        found[name]["added_ttft_p50_ms"] = added_ttft_ms(series[name], series[OFF]).report(2)
    return found


def _targets(cells: dict[int, dict[str, Series]]) -> list[Target]:
    """Of the throughput: what is added to a request is lost in an engine's noise, and measured over the fake one."""
    return [
        Target(
            f"vLLM, c={level}: throughput while measuring",
            throughput_ratio(series[ON], series[OFF]).median,
            1 - MOST_SLOWER,
            at_least=True,
        )
        for level, series in cells.items()
    ]

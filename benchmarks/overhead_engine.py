"""``overhead --part engine``: real vLLM behind the gateway, bare, and behind Ray's own OpenAI app."""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks import gateway, peers
from benchmarks.fleet import Fleet, Server, ServerFailed, free_port, idle_cores, say, settle
from benchmarks.load import Call, chat_body, run_load
from benchmarks.report import Target
from benchmarks.rounds import CallsFor, Contender, Series, added_ttft_ms, failures, interleave, throughput_ratio

NAME = "SmolLM2-135M-Instruct"
BARE, AGAIN, LORAPLEX, RAY_LLM = "bare-vllm", "bare-vllm-again", "loraplex", "ray-llm"
LORA: dict[str, Any] = {"enable_lora": True, "max_loras": 4, "max_cpu_loras": 8, "max_lora_rank": 16}
START_TIMEOUT_S = 400.0
TOPICS = ("tea", "rivers", "paper", "night trains", "bread", "maps", "glass", "wool")
"""What prompts ask for, so that they differ."""
SPIN_S = 1.5
"""vLLM's worker waits for its next step in a loop that keeps a core busy for a second before it sleeps."""


def _calls(options: argparse.Namespace) -> CallsFor:
    def calls(number: int, concurrency: int) -> Iterable[Call]:
        # Fewer requests at low concurrency, so that every turn takes about as long.
        count = max(concurrency * 2, options.requests * concurrency // 16, 12)
        for index in range(count):
            prompt = f"Note {number}-{concurrency}-{index}: tell me something about {TOPICS[index % len(TOPICS)]}."
            body = chat_body(NAME, prompt, max_tokens=options.tokens, stream=True, ignore_eos=True, temperature=0)
            yield Call(body)

    return calls


async def measure(options: argparse.Namespace) -> tuple[dict[str, Any], list[Target], list[str]]:
    """Start all servers, take the rounds with one of them under load at a time, work out the ratios."""
    levels = options.concurrency or [1, 8, 16]
    calls = _calls(options)
    with Fleet(logs=options.logs) as fleet:
        servers = await _start(fleet, options)
        contenders = {server.name: Contender(server.address, calls) for server, _ in servers}
        for name, contender in contenders.items():
            say(f"warming up {name}")
            for level in (16, 1):
                warm = await run_load(contender.address, calls(-1, level), concurrency=level, timeout_s=START_TIMEOUT_S)
                if warm.errors:
                    raise ServerFailed(f"{name} does not answer: {warm.errors}")
        # A newly started Ray keeps a core busy for a while, which the others' turns must not pay for.
        await settle([server for server, _ in servers], cores=0.15, patience_s=90)
        results: dict[str, Any] = {
            "start_s": {server.name: round(seconds, 1) for server, seconds in servers},
            "idle_cores": (idle := await idle_cores([server for server, _ in servers], seconds=15)),
            "memory_mib": {server.name: server.resident_bytes() // 2**20 for server, _ in servers},
        }
        # Prompts of its own: the server may have kept what it computed for those of the same round.
        contenders[AGAIN] = Contender(contenders[BARE].address, lambda number, level: calls(number + 1000, level))
        cells = {
            level: await interleave(contenders, rounds=options.rounds, concurrency=level, rest_s=SPIN_S, label="engine")
            for level in levels
        }
    results |= {f"c={level}": _cell(series) for level, series in cells.items()}
    problems = [line for level, series in cells.items() for line in failures(f"c={level}", series)]
    # Ray's own OpenAI app is known to leave its engine behind; that is told, and is not ours to fail for.
    results["left_behind"] = fleet.left_behind
    problems += [f"left behind: {line}" for line in fleet.left_behind if not line.startswith(RAY_LLM)]
    targets = _targets(cells)
    if LORAPLEX in idle:
        targets.append(
            Target("cores kept busy by the gateway and its engine while idle", idle[LORAPLEX], 0.2, at_least=False)
        )
    return results, targets, problems


async def _start(fleet: Fleet, options: argparse.Namespace) -> list[tuple[Server, float]]:
    model: Path = (options.model or gateway.demo_checkpoint()).resolve()
    arguments = {**gateway.ARGUMENTS, **LORA}
    started: list[tuple[Server, float]] = []

    async def ready(server: Server, path: str) -> None:
        started.append((server, await server.wait_ready(path, START_TIMEOUT_S)))

    await ready(peers.bare_vllm(fleet, free_port(), model, NAME, arguments, gateway.ENVIRONMENT), "/v1/models")
    if LORAPLEX not in options.without:
        settings = gateway.vllm_settings(fleet.folder, free_port(), model, NAME, gateway.ARGUMENTS, gateway.ENVIRONMENT)
        settings["adapters"] |= {"slots": 4, "cpu_slots": 8, "max_rank": 16}
        await ready(gateway.loraplex(fleet, settings, local=options.local), gateway.READY)
    if RAY_LLM not in options.without:
        await ready(peers.ray_llm(fleet, free_port(), model, NAME, arguments, gateway.ENVIRONMENT), "/v1/models")
    return started


def _cell(series: dict[str, Series]) -> dict[str, Any]:
    cell: dict[str, Any] = {name: one.report() for name, one in series.items()}
    for name in series.keys() - {BARE}:
        cell[name]["throughput_ratio"] = throughput_ratio(series[name], series[BARE]).report()
        cell[name]["ttft_p50_added_ms"] = added_ttft_ms(series[name], series[BARE]).report(2)
    return cell


def _targets(cells: dict[int, dict[str, Series]]) -> list[Target]:
    targets = []
    for level, series in cells.items():
        if LORAPLEX not in series:
            continue
        ratio = throughput_ratio(series[LORAPLEX], series[BARE]).median
        targets.append(Target(f"c={level}: throughput against bare vLLM", ratio, 0.97, at_least=True))
        if level == 1:
            added = added_ttft_ms(series[LORAPLEX], series[BARE]).median
            targets.append(Target("c=1: TTFT p50 added, ms", added, 5, at_least=False))
    return targets

"""``adapters --part tiers`` and ``--part slots``: where an adapter comes from, and what many over few slots cost."""

import argparse
import itertools
import random
from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks import gateway
from benchmarks.admin import Admin
from benchmarks.fleet import Fleet, Server, free_port, say
from benchmarks.load import Call, chat_body, run_load
from benchmarks.random_adapters import make_adapters
from benchmarks.report import Target
from benchmarks.rounds import CallsFor, Contender, Series, failures, interleave, throughput_ratio
from benchmarks.stats import quantiles_ms
from benchmarks.wire import Address

NAME = "SmolLM2-135M-Instruct"
SLOTS, CPU_SLOTS = 4, 16
ADAPTERS = 20
RANK = 16
START_TIMEOUT_S = 400.0


async def measure(options: argparse.Namespace) -> tuple[dict[str, Any], list[Target], list[str]]:
    """One gateway with real vLLM; both parts, one after the other."""
    model = (options.model or gateway.demo_checkpoint()).resolve()
    with Fleet(logs=options.logs) as fleet:
        settings = gateway.vllm_settings(fleet.folder, free_port(), model, NAME, gateway.ARGUMENTS, gateway.ENVIRONMENT)
        settings["adapters"] |= {"slots": SLOTS, "cpu_slots": CPU_SLOTS, "max_rank": RANK}
        server = gateway.loraplex(fleet, settings, local=options.local)
        say(f"making {ADAPTERS} adapters of rank {RANK}")
        sources = make_adapters(model, fleet.folder / "sources", ADAPTERS, rank=RANK)
        await server.wait_ready(gateway.READY, START_TIMEOUT_S)
        admin = Admin(server.address)
        versions = [await admin.add(f"adapter-{number}", str(path)) for number, path in enumerate(sources)]
        results: dict[str, Any] = {}
        problems: list[str] = []
        if options.part in ("tiers", "all"):
            tiers, found = await _tiers(server, versions, options)
            results["tiers"], problems = tiers, problems + found
        if options.part in ("slots", "all"):
            slots, found = await _slots(server, versions, options)
            results["slots"], problems = slots, problems + found
    problems += [f"left behind: {process}" for process in fleet.left_behind]
    return results, [], problems


async def _tiers(
    server: Server, versions: Sequence[str], options: argparse.Namespace
) -> tuple[dict[str, Any], list[str]]:
    """Time to the first token by the place that the adapter comes from.

    Going round a ring makes the least recently used policy miss every time: over all adapters, more than the engine
    holds, each comes from disk; over as many as the engine holds, from its memory; over the slots, from a slot.
    """
    rounds = 2 if options.quick else options.rounds
    rings = {
        "from the store (first use, probed)": (versions, 1, False),
        "from disk": (versions, rounds, False),
        "from the CPU cache": (versions[:CPU_SLOTS], rounds, True),
        "warm, in a slot": (versions[:SLOTS], rounds * CPU_SLOTS // SLOTS, True),
        "the base model": ([NAME], rounds * CPU_SLOTS, True),
    }
    report: dict[str, Any] = {}
    problems: list[str] = []
    for label, (ring, times, prime) in rings.items():
        if prime:
            await _ask(server.address, ring)
        samples = await _ask(server.address, [version for _ in range(times) for version in ring])
        report[label] = {"requests": len(samples.samples), "failures": len(samples.samples) - len(samples.good)}
        report[label]["ttft_ms"] = quantiles_ms([one.ttft_s for one in samples.good if one.ttft_s is not None])
        if samples.errors:
            problems.append(f"{label}: {samples.errors}")
        say(f"{label}: {report[label]}")
    warm = report["warm, in a slot"]["ttft_ms"].get("p50")
    for label in rings:
        cold = report[label]["ttft_ms"].get("p50")
        if warm is not None and cold is not None:
            report[label]["ttft_p50_over_warm_ms"] = round(cold - warm, 2)
    return report, problems


async def _ask(address: Address, ring: Sequence[str]) -> Any:
    def calls() -> Iterable[Call]:
        for number, version in enumerate(ring):
            prompt = f"Question {number}: what is a good name for a boat?"
            yield Call(chat_body(version, prompt, max_tokens=4, stream=True, ignore_eos=True, temperature=0))

    return await run_load(address, calls(), concurrency=1)


async def _slots(
    server: Server, versions: Sequence[str], options: argparse.Namespace
) -> tuple[dict[str, Any], list[str]]:
    """Sixteen adapters over four slots against four adapters over four slots, in turns."""
    contenders = {
        "4 over 4": Contender(server.address, _mixed(versions[:SLOTS], options)),
        "16 over 4": Contender(server.address, _mixed(versions[:CPU_SLOTS], options)),
        "4 over 4, again": Contender(server.address, _mixed(versions[:SLOTS], options)),
        "base model": Contender(server.address, _mixed([NAME], options)),
    }
    await _ask(server.address, versions[:CPU_SLOTS])
    report: dict[str, Any] = {}
    problems: list[str] = []
    for level in options.concurrency:
        series = await interleave(contenders, rounds=options.rounds, concurrency=level, label="slots")
        report[f"c={level}"] = _compare(series)
        problems += failures(f"c={level}", series)
    return report, problems


def _mixed(names: Sequence[str], options: argparse.Namespace) -> CallsFor:
    def calls(number: int, concurrency: int) -> Iterable[Call]:
        # Every adapter is asked equally often, in an order that no cache can guess.
        count = max(options.requests, concurrency * 2)
        order = list(itertools.islice(itertools.cycle(names), count))
        random.Random(number).shuffle(order)
        for index, name in enumerate(order):
            prompt = f"Turn {number}-{concurrency}-{index}: describe a garden."
            yield Call(chat_body(name, prompt, max_tokens=options.tokens, stream=True, ignore_eos=True, temperature=0))

    return calls


def _compare(series: dict[str, Series]) -> dict[str, Any]:
    reference = series["4 over 4"]
    report: dict[str, Any] = {}
    for name, one in series.items():
        report[name] = one.report()
        if one is not reference:
            report[name]["throughput_against_4_over_4"] = throughput_ratio(one, reference).report()
    return report

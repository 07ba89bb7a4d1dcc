"""``adapters --part versions``: does a catalog of a thousand versions make requests slower?

Measured on the gateway alone, before a mock server, where a microsecond shows.
"""

import argparse
import itertools
from collections.abc import Iterable
from typing import Any

from benchmarks import gateway, peers
from benchmarks.admin import Admin
from benchmarks.fleet import Fleet, Server, free_port, idle_cores, say
from benchmarks.load import Call, chat_body
from benchmarks.random_adapters import make_adapters
from benchmarks.report import Target
from benchmarks.rounds import CallsFor, Contender, Series, added_ms, failures, interleave
from benchmarks.stats import Paired, ratios

MODEL = "bench-model"
HOT = 4
MANY = 1000
FEW_NAME, MANY_NAME, AGAIN, MOCK = "4 versions", "1000 versions", "4 versions, again", "mock"


async def measure(options: argparse.Namespace) -> tuple[dict[str, Any], list[Target], list[str]]:
    """Two gateways that differ in the size of their catalogs, in turns."""
    many = 50 if options.quick else MANY
    checkpoint = (options.model or gateway.demo_checkpoint()).resolve()
    with Fleet(logs=options.logs) as fleet:
        say(f"making {many} small adapters")
        sources = [
            str(path) for path in make_adapters(checkpoint, fleet.folder / "a", many, rank=1, targets=("q_proj",))
        ]
        few_server, hot = await _gateway(fleet, "few", str(checkpoint), sources[:HOT])
        many_server, _ = await _gateway(fleet, "many", str(checkpoint), sources)
        mock = next(server for server in fleet.servers if server.name == "mock-few")
        contenders = {
            MOCK: Contender(mock.address, _calls([MODEL])),
            FEW_NAME: Contender(few_server.address, _calls(hot)),
            MANY_NAME: Contender(many_server.address, _calls(hot)),
            AGAIN: Contender(few_server.address, _calls(hot)),
        }
        results: dict[str, Any] = {"versions": many}
        for server in (few_server, many_server):
            results[f"{server.name}: memory_mib"] = server.resident_bytes() // 2**20
        results["idle_cores"] = await idle_cores([few_server, many_server], seconds=10)
        await interleave(contenders, rounds=1, concurrency=8, seconds=1.0, label="warming up")
        rounds = options.rounds if options.quick else options.rounds * 4
        one = await interleave(contenders, rounds=rounds, concurrency=1, seconds=options.seconds, label="versions")
        many_at_once = await interleave(
            contenders, rounds=options.rounds, concurrency=16, seconds=options.seconds, label="versions"
        )
    results |= {"c=1": _overheads(one), "c=16": _throughputs(many_at_once)}
    added = _change(one, MANY_NAME).median - 1
    targets = [Target("c=1: share that 1,000 versions add to the overhead's p50", added, 0.05, at_least=False)]
    problems = failures("c=1", one) + failures("c=16", many_at_once)
    return results, targets, problems + [f"left behind: {process}" for process in fleet.left_behind]


async def _gateway(fleet: Fleet, label: str, checkpoint: str, sources: list[str]) -> tuple[Server, list[str]]:
    """A gateway before a mock of its own, with ``sources`` in its catalog and the first ones serving."""
    mock = peers.mock(fleet, free_port(), MODEL, name=f"mock-{label}")
    await mock.wait_ready("/v1/models", 20)
    folder = fleet.folder / label
    folder.mkdir()
    settings = gateway.proxy_settings(folder, free_port(), f"http://{mock.address}/v1", MODEL)
    settings["model"]["id"] = checkpoint
    settings["engine"]["adapters"] = "vllm"
    settings["adapters"] |= {"enabled": True, "slots": HOT, "cpu_slots": 2 * HOT}
    server = gateway.loraplex(fleet, settings, local=True, name=f"loraplex-{label}")
    await server.wait_ready(gateway.READY, 60)
    admin = Admin(server.address)
    say(f"adding {len(sources)} versions")
    hot = [f"adapter-{number}" for number in range(HOT)]
    for number, source in enumerate(sources):
        await admin.add(f"adapter-{number}", source, promote=number < HOT)
    return server, hot


def _calls(names: list[str]) -> CallsFor:
    bodies = [chat_body(name, "Say something short about tea.", max_tokens=16, stream=False) for name in names]

    def calls(number: int, concurrency: int) -> Iterable[Call]:
        return map(Call, itertools.cycle(bodies))

    return calls


def _change(series: dict[str, Series], name: str) -> Paired:
    """The overhead of ``name`` over that of the small catalog, round by round."""
    mock = series[MOCK]
    return ratios(added_ms(series[name], mock).values, added_ms(series[FEW_NAME], mock).values)


def _overheads(series: dict[str, Series]) -> dict[str, Any]:
    report = {name: one.report() for name, one in series.items()}
    for name in (FEW_NAME, MANY_NAME, AGAIN):
        report[name]["added_p50_ms"] = added_ms(series[name], series[MOCK]).report()
    for name in (MANY_NAME, AGAIN):
        report[name]["overhead_against_4_versions"] = _change(series, name).report()
    return report


def _throughputs(series: dict[str, Series]) -> dict[str, Any]:
    report = {name: one.report() for name, one in series.items()}
    for name in (MANY_NAME, AGAIN):
        against = ratios(series[name].requests_per_s(), series[FEW_NAME].requests_per_s())
        report[name]["requests_per_s_against_4_versions"] = against.report()
    return report

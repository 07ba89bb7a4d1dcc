"""What measuring costs.

``--part engine``: two gateways with real vLLM, one that measures and one that does not, loaded in turns. ``--part
overhead``: the same over the fake engine, which answers at once, so that every microsecond shows. ``--part recorder``:
the recorder alone, per request, and a scrape of it. ``--part memory``: a gateway's memory over many requests of many
callers for many tasks, with names that somebody makes up among them.

    python -m benchmarks.monitoring --part all
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import monitoring_engine, monitoring_memory, monitoring_overhead, monitoring_recorder
from benchmarks.fleet import ServerFailed, say
from benchmarks.report import Target, add_common_options, finish, parse, part_options

Found = tuple[dict[str, Any], list[Target], list[str]]


async def _measure(options: argparse.Namespace) -> Found:
    results: dict[str, Any] = {}
    targets: list[Target] = []
    problems: list[str] = []
    # Memory last: what it leaves in this process would be in the way of the others.
    for name, part in (
        ("recorder", monitoring_recorder),
        ("engine", monitoring_engine),
        ("overhead", monitoring_overhead),
        ("memory", monitoring_memory),
    ):
        if options.part in (name, "all"):
            results[name], more, others = await part.measure(options)
            targets, problems = targets + more, problems + others
    return results, targets, problems


def main() -> int:
    """Run the parts that were asked for and print one report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("engine", "overhead", "recorder", "memory", "all"), default="all")
    add_common_options(parser)
    parser.add_argument("--rounds", type=int, default=9, help="interleaved rounds (default %(default)s)")
    part_options(parser, "engine")("--model", type=Path, help="the base checkpoint's folder (default: the demo's)")
    overhead = part_options(parser, "overhead")
    overhead("--seconds", type=float, default=2.0, help="length of one turn")
    overhead("--concurrency", type=int, nargs="+", default=[1, 16], help="requests at a time")
    overhead("--scrape-every", type=float, default=1.0, help="seconds between two scrapes of a gateway that is loaded")
    part_options(parser, "memory")("--requests", type=int, default=100_000, help="requests in all")
    options = parse(parser)
    if options.quick:
        options.rounds, options.seconds, options.requests = 2, 0.5, 5_000
    try:
        results, targets, problems = uvloop.run(_measure(options))
    except ServerFailed as error:
        say(str(error))
        return 2
    return finish("monitoring", options, results, targets, problems)


if __name__ == "__main__":
    sys.exit(main())

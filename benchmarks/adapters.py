"""What adapters cost.

``--part tiers``: time to the first token when the adapter comes from the store, from disk, from the engine's CPU
cache, and when it is in a slot. ``--part slots``: 16 adapters over 4 slots against 4 over 4. Both with real vLLM.
``--part versions``: a catalog of 1,000 versions against one of 4, the gateway alone before a mock server.

    python -m benchmarks.adapters --part all
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import adapters_engine, adapters_versions
from benchmarks.fleet import ServerFailed, say
from benchmarks.report import Target, add_common_options, finish, parse, part_options


async def _measure(options: argparse.Namespace) -> tuple[dict[str, Any], list[Target], list[str]]:
    results: dict[str, Any] = {}
    targets: list[Target] = []
    problems: list[str] = []
    if options.part in ("versions", "all"):
        results["versions"], targets, problems = await adapters_versions.measure(options)
    if options.part != "versions":
        found, more, others = await adapters_engine.measure(options)
        results |= found
        targets, problems = targets + more, problems + others
    return results, targets, problems


def main() -> int:
    """Run the parts that were asked for and print one report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("tiers", "slots", "versions", "all"), default="all")
    add_common_options(parser)
    parser.add_argument("--rounds", type=int, default=5, help="rounds (default %(default)s)")
    parser.add_argument("--model", type=Path, help="the base checkpoint's folder (default: the demo's)")
    engine = part_options(parser, "tiers and slots")
    engine("--local", action="store_true", default=False, help="`loraplex serve --local`, without Ray")
    slots = part_options(parser, "slots")
    slots("--tokens", type=int, default=16, help="output tokens per answer")
    slots("--requests", type=int, default=64, help="requests per turn")
    slots("--concurrency", type=int, nargs="+", default=[4, 16], help="requests at a time")
    part_options(parser, "versions")("--seconds", type=float, default=1.0, help="length of one turn")
    options = parse(parser)
    if options.quick:
        options.rounds, options.requests, options.seconds = 2, 16, 0.5
    try:
        results, targets, problems = uvloop.run(_measure(options))
    except ServerFailed as error:
        say(str(error))
        return 2
    return finish("adapters", options, results, targets, problems)


if __name__ == "__main__":
    sys.exit(main())

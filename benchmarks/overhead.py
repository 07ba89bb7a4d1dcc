"""What the gateway costs.

``--part gateway``: the gateway alone (OpenAI-URL engine) and LiteLLM's proxy, both in front of a zero-latency mock
server, against the mock itself. ``--part engine``: ``loraplex serve`` with real vLLM, against vLLM's own OpenAI
server and ``ray.serve.llm.build_openai_app`` with the same engine arguments.

    python -m benchmarks.overhead --part gateway
    python -m benchmarks.overhead --part engine --model PATH
"""

import argparse
import sys
from pathlib import Path

import uvloop

from benchmarks import overhead_engine, overhead_gateway
from benchmarks.fleet import ServerFailed, say
from benchmarks.report import add_common_options, finish, parse, part_options

SERVERS = ("litellm", "ray-llm", "loraplex")


def main() -> int:
    """Run one part and print its report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("gateway", "engine"), required=True)
    add_common_options(parser)
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default %(default)s)")
    parser.add_argument("--concurrency", type=int, nargs="+", help="default: 1 16 (gateway), 1 8 16 (engine)")
    parser.add_argument("--without", nargs="*", default=[], choices=SERVERS, help="servers to leave out")
    part_options(parser, "gateway")("--seconds", type=float, default=2.0, help="length of one turn")
    engine = part_options(parser, "engine")
    engine("--model", type=Path, help="the base checkpoint's folder; default: the demo's")
    engine("--local", action="store_true", default=False, help="`loraplex serve --local`, without Ray")
    engine("--tokens", type=int, default=32, help="output tokens per answer")
    engine("--requests", type=int, default=48, help="requests per turn at c=16; fewer below")
    options = parse(parser)
    if options.quick:
        options.rounds, options.seconds, options.requests = 2, 0.5, 16
    part = overhead_gateway if options.part == "gateway" else overhead_engine
    try:
        results, targets, problems = uvloop.run(part.measure(options))
    except ServerFailed as error:
        say(str(error))
        return 2
    return finish("overhead", options, results, targets, problems)


if __name__ == "__main__":
    sys.exit(main())

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
from benchmarks.report import add_common_options, finish


def main() -> int:
    """Run one part and print its report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("gateway", "engine"), required=True)
    add_common_options(parser, rounds=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="gateway: length of one turn (default %(default)s)")
    parser.add_argument("--without", nargs="*", default=[], help="servers to leave out: litellm, ray-llm, loraplex")
    parser.add_argument("--model", type=Path, help="engine: the base checkpoint's folder (default: the demo's)")
    parser.add_argument("--local", action="store_true", help="engine: `loraplex serve --local`, without Ray")
    parser.add_argument("--tokens", type=int, default=32, help="engine: output tokens per answer")
    parser.add_argument("--requests", type=int, default=48, help="engine: requests per turn at c=16; fewer below")
    parser.add_argument("--concurrency", type=int, nargs="+", help="default: 1 16 (gateway), 1 8 16 (engine)")
    options = parser.parse_args()
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

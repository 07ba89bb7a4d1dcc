"""The gate and the sequential test on simulated truths.

python -m benchmarks.gate --part all
python -m benchmarks.gate --part paired --quick
"""

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor

from benchmarks import gate_paired, gate_sequential
from benchmarks.report import Target, add_common_options, finish, parse, part_options

PARTS = {"paired": gate_paired, "sequential": gate_sequential}


def main() -> int:
    """Run the parts and print one report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=(*PARTS, "all"), default="all")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    add_common_options(parser)
    part_options(parser, "paired")("--pairs", type=int, default=1_000, help="simulated pairs of runs per truth")
    sequential = part_options(parser, "sequential")
    sequential("--streams", type=int, default=1_000, help="simulated streams per truth")
    sequential("--horizon", type=int, default=10_000, help="requests of a stream without a difference")
    options = parse(parser)
    results, targets, problems = {}, list[Target](), list[str]()
    with ProcessPoolExecutor(options.processes) as pool:
        for name in PARTS if options.part == "all" else (options.part,):
            results[name], met, wrong = PARTS[name].measure(options, pool)
            targets += met
            problems += wrong
    return finish("gate", options, results, targets, problems)


if __name__ == "__main__":
    sys.exit(main())

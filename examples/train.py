"""Make the example adapters again, from data to metrics.

    python -m examples.train                      # all, into .loraplex/trained
    python -m examples.train ticket-triage-v2     # one

Data, recipes and seeds are in the repository; the same machine gives the same bytes, another one gives adapters that
answer alike.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from examples.base_model import BaseModelUnavailable, build
from examples.datasets.rows import EXAMPLES
from examples.evaluate import evaluate, record
from training.errors import RecipeInvalid, TrainingError
from training.tuning.memory import keep_freed_memory
from training.tuning.recipe import SftRecipe
from training.tuning.sft import train

ADAPTERS = ("ticket-triage-v1", "ticket-triage-v2", "release-notes-v1", "cited-answers-v1")


def make(adapter: str, base: Path, out: Path) -> None:
    """Train and measure one adapter. Raises TrainingError."""
    task, version = adapter.rsplit("-", 1)
    recipe = SftRecipe.load(EXAMPLES / task / f"{version}.yaml")
    if recipe.heldout is None:
        raise RecipeInvalid(f"{task}/{version}.yaml names no held-out rows to measure on", param="heldout")
    schema_file = EXAMPLES / task / "output.schema.json"
    schema = json.loads(schema_file.read_text(encoding="utf-8")) if schema_file.exists() else None
    train(recipe, base, out, _say)
    record(out, evaluate(out, base, recipe.heldout, schema, _say))


def _say(line: str) -> None:
    print(line, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m examples.train", description="Make the example adapters again.")
    parser.add_argument("adapters", nargs="*", metavar="ADAPTER", help=f"{', '.join(ADAPTERS)} (default: all)")
    parser.add_argument("--base", type=Path, help="folder of the base checkpoint (default: the demo's)")
    parser.add_argument("--out", type=Path, default=Path(".loraplex/trained"), help="folder for the adapters' folders")
    options = parser.parse_args(arguments)
    unknown = set(options.adapters) - set(ADAPTERS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(ADAPTERS)}")
    keep_freed_memory()
    try:
        base = options.base or build()
        for adapter in options.adapters or ADAPTERS:
            make(adapter, base, options.out / adapter)
    except (TrainingError, BaseModelUnavailable) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

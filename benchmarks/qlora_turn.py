"""One training in a process of its own, for :mod:`benchmarks.qlora`. Prints one JSON object as its last line.

python -m benchmarks.qlora_turn RECIPE MODEL OUT
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path


def main() -> int:
    """The command line. Returns the exit status."""
    recipe_path, model, out = (Path(argument) for argument in sys.argv[1:])
    from training.tuning.base import load_base
    from training.tuning.memory import keep_freed_memory, peak_memory_bytes
    from training.tuning.recipe import SftRecipe
    from training.tuning.sft import train

    keep_freed_memory()
    imports = peak_memory_bytes()
    recipe = SftRecipe.load(recipe_path)
    report = train(recipe, model, out, lambda line: print(line, file=sys.stderr, flush=True))
    # After the training, whose peak is noted already.
    weights = int(load_base(model, recipe.quantization).get_memory_footprint())
    print(json.dumps({**asdict(report), "imports_bytes": imports, "weights_bytes": weights}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

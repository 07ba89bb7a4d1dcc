"""BANKING77 as a task of a benchmark: rows of some or all of its intents, the example's recipe and its suite."""

import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.fleet import REPOSITORY
from examples.banking77.rows import Question, read_questions, split, write_rows
from training.data.check import check_file
from training.evaluation.suite import Suite, load_suite
from training.tuning.recipe import SftRecipe

EXAMPLE = REPOSITORY / "examples" / "banking77"
DEFAULT_CSV = Path("../shared/data/banking77/train.csv")
INTENTS = 77


@dataclass(frozen=True, slots=True)
class Task:
    """What is trained on and what is asked."""

    recipe: SftRecipe
    suite: Suite
    data: Mapping[str, Any]
    """Rows of both sides, and what the checks say of them."""


def prepare(csv: Path, folder: Path, *, intents: int = INTENTS, per_intent: int | None = None, **changes: Any) -> Task:
    """Write rows, recipe and suite into ``folder``.

    Args:
        intents: how many of the intents, the first by name.
        per_intent: training questions of each, at most.
        changes: fields of the recipe that are to differ.

    Raises:
        OSError: the data set is not there.
    """
    train, development = split(some_intents(read_questions(csv), intents))
    train = at_most(train, per_intent)
    (folder / "data").mkdir(parents=True)
    write_rows(folder / "data" / "train.jsonl", train)
    write_rows(folder / "data" / "development.jsonl", development)
    for name in ("recipe.yaml", "suite.yaml"):
        shutil.copyfile(EXAMPLE / name, folder / name)
    recipe = SftRecipe.load(folder / "recipe.yaml").model_copy(update=changes)
    report = check_file(recipe.train, kind="chat", heldout=recipe.heldout)
    return Task(
        recipe=recipe,
        suite=load_suite(folder / "suite.yaml"),
        data={
            "intents": len({intent for _, intent in train}),
            "rows": len(train),
            "development_rows": len(development),
            "lines_with_findings": {code: len(lines) for code, lines in report.lines.items()},
        },
    )


def some_intents(questions: Iterable[Question], count: int) -> list[Question]:
    """The questions of the first intents by name."""
    everything = list(questions)
    kept = set(sorted({intent for _, intent in everything})[:count])
    return [question for question in everything if question[1] in kept]


def at_most(questions: Sequence[Question], per_intent: int | None) -> list[Question]:
    """The first questions of every intent."""
    seen: Counter[str] = Counter()
    kept = []
    for question in questions:
        seen[question[1]] += 1
        if per_intent is None or seen[question[1]] <= per_intent:
            kept.append(question)
    return kept

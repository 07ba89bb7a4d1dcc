"""Run a recipe of any method: what command lines and jobs call."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from training.tuning.events import Progress
from training.tuning.recipe import DpoRecipe, SftRecipe, load_recipe
from training.tuning.session import Session, guarded, local_session

if TYPE_CHECKING:
    from training.tuning.dpo import DpoReport
    from training.tuning.sft import SftReport


def run_recipe(recipe: SftRecipe | DpoRecipe, session: Session) -> "SftReport | DpoReport":
    """Train in ``session``. Raises TrainingClientError and TrainingStopped."""
    # Each method takes seconds to import, and only one is needed.
    if isinstance(recipe, DpoRecipe):
        from training.tuning import dpo

        return dpo.run(recipe, session)
    from training.tuning import sft

    return sft.run(recipe, session)


def run_file(recipe: Path, base: Path, out: Path, progress: Progress, *, allow: Collection[str] = ()) -> int:
    """Train what the recipe file says, into ``out``; for command lines.

    SIGTERM and SIGINT have it write a checkpoint into ``OUT.work`` and end; called again it goes on from there.

    Returns the exit status: 0, 2 for a mistake of the caller (told on standard error), 75 after a stop.
    """
    session = local_session(base, out, progress, allow)
    return guarded(lambda: run_recipe(load_recipe(recipe), session), session)

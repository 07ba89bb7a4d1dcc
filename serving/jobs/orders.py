"""From what a caller asks for to what the trainer is told. Pure."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ValidationError

from serving.errors import InvalidRequest
from serving.jobs.folder import HELDOUT, TRAIN
from serving.jobs.types import Json
from training.tuning.recipe import DpoRecipe, SftRecipe

METHODS = {"supervised": "sft", "dpo": "dpo"}
"""OpenAI's names, and the trainer's."""
RECIPES: Mapping[str, type[BaseModel]] = {"supervised": SftRecipe, "dpo": DpoRecipe}
"""What the recipe of a method is checked against before a job is taken."""

_OURS = {
    "name": "loraplex.adapter",
    "base_model": "model",
    "train": "training_file",
    "heldout": "validation_file",
    "seed": "seed",
}
_SAME = {"epochs": "n_epochs", "batch_size": "batch_size", "learning_rate": "learning_rate_multiplier", "beta": "beta"}
"""Fields of a recipe that a hyperparameter of OpenAI's decides."""
MOST = {"n_epochs": 50, "batch_size": 256, "beta": 2}
"""The largest values of hyperparameters, and of the recipe's fields that they decide."""
_LONGEST_RECIPE = 64 * 1024
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class JobRequest:
    """What a caller asks for, its shape already checked."""

    model: str
    training_file: str
    method: str
    hyperparameters: Json
    validation_file: str | None = None
    suffix: str | None = None
    seed: int | None = None
    metadata: Mapping[str, str] | None = None
    adapter: str | None = None
    recipe: Json = field(default_factory=dict)
    allow: tuple[str, ...] = ()
    integrations: int = 0
    """How many were asked for; none is used."""


def adapter_name(request: JobRequest, job_id: str) -> str:
    """The adapter that the result is a version of: the one that was named, or made of the suffix, or of the job.

    Raises:
        InvalidRequest: adapter and suffix are both given, or nothing of the suffix can be in a name.
    """
    if request.adapter is not None:
        if request.suffix is not None:
            raise InvalidRequest(
                "`suffix` names the adapter where `loraplex.adapter` does not: give one.", param="suffix"
            )
        return request.adapter
    if request.suffix is None:
        return f"ft-{job_id.rpartition('-')[2][:12]}"
    name = _NOT_IN_A_NAME.sub("-", request.suffix).strip("-._")[:63]
    if not name:
        raise InvalidRequest("`suffix` has no letter or digit that an adapter's name could have.", param="suffix")
    return name


def check_recipe(request: JobRequest, max_rank: int) -> None:
    """Refuse a recipe that could not be trained or served. Raises InvalidRequest."""
    for key in request.recipe:
        if key in _OURS:
            raise _refused(key, f"is decided by `{_OURS[key]}`")
        if key in _SAME and request.hyperparameters.get(_SAME[key], "auto") != "auto":
            raise _refused(key, f"is decided by the hyperparameter `{_SAME[key]}` already")
    if len(json.dumps(request.recipe)) > _LONGEST_RECIPE:
        raise InvalidRequest(f"`loraplex.recipe` is longer than {_LONGEST_RECIPE} bytes.", param="loraplex.recipe")
    for key, name in _SAME.items():
        if name in MOST and _number(request.recipe.get(key)) > MOST[name]:
            raise _refused(key, f"is more than {MOST[name]}")
    _check_fields(request)
    rank = request.recipe.get("rank")
    if rank is not None and type(rank) is not int:
        raise _refused("rank", "must be a whole number")
    if rank is not None and rank > max_rank:
        raise _refused("rank", f"is {rank}, and this gateway serves ranks up to {max_rank} (`adapters.max_rank`)")


def _number(value: object) -> float:
    """``value`` as a recipe reads it; 0 for what is no number, which the recipe itself refuses."""
    try:
        return float(value) if isinstance(value, int | float | str) else 0.0
    except (ValueError, OverflowError):
        return math.inf if isinstance(value, int) else 0.0


def _check_fields(request: JobRequest) -> None:
    kind = RECIPES[request.method]
    ours = {"name": "adapter", "base_model": "base", "train": TRAIN}
    if request.validation_file is not None:
        ours["heldout"] = HELDOUT
    try:
        kind.model_validate({**request.recipe, **ours})
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        # A recipe refuses what serving would refuse as a whole, before it looks at its fields.
        unserved = next((key for key in request.recipe if key not in kind.model_fields), "")
        place = ".".join(map(str, problem["loc"])) or unserved
        unknown = problem["type"] == "extra_forbidden"
        what = problem["msg"].removeprefix("Value error, ").removeprefix(f"`{place}`: ")
        raise _refused(place, "is no field of a recipe" if unknown else f"is refused: {what.rstrip('.')}") from None


def full_recipe(request: JobRequest, *, adapter: str, base_model: str, seed: int, max_rank: int) -> dict[str, Any]:
    """The recipe that the trainer gets: what the caller chose, and nothing for what is left to it."""
    recipe: dict[str, Any] = {"name": adapter, "base_model": base_model, "train": TRAIN, "seed": seed}
    if request.validation_file is not None:
        recipe["heldout"] = HELDOUT
    chosen = {name: value for name, value in request.hyperparameters.items() if value != "auto"}
    for key, name in _SAME.items():
        if name in chosen:
            value = chosen[name]
            recipe[key] = _learning_rate(request.method) * value if key == "learning_rate" else value
    recipe |= request.recipe
    default = SftRecipe.model_fields["rank"].default
    if "rank" not in recipe and default > max_rank:
        recipe["rank"] = max_rank
    return recipe


def _learning_rate(method: str) -> float:
    return float(RECIPES[method].model_fields["learning_rate"].default)


def _refused(key: str, why: str) -> InvalidRequest:
    place = f"loraplex.recipe.{key[:80]}"
    return InvalidRequest(f"`{place}` {why}.", param=place)

"""``SftRecipe``: all that decides what a supervised fine-tuning makes, in one frozen, recordable object."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from training.errors import RecipeInvalid

ModuleName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.]+$")]


class SftRecipe(BaseModel):
    """One LoRA supervised fine-tuning: the same recipe, base and machine give the same adapter."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="Name of the adapter.", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")
    base_model: str = Field(
        description="Public name or hub id of the base model, recorded in the adapter. Where the checkpoint lies "
        "on this machine is not part of a recipe.",
        min_length=1,
    )
    train: Path = Field(description="Training rows, OpenAI chat JSONL. A relative path starts at the recipe's folder.")
    heldout: Path = Field(description="Rows that are only ever measured on, in the same format.")
    rank: int = Field(default=16, ge=1, le=512, description="LoRA rank.")
    alpha: float = Field(default=32.0, gt=0, description="LoRA alpha; the update is scaled by alpha / rank.")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Dropout on the input of the LoRA layers.")
    target_modules: Literal["all-linear"] | tuple[ModuleName, ...] = Field(
        default="all-linear", description="Names of the linear layers to adapt; `all-linear` for all but the head."
    )
    learning_rate: float = Field(default=2e-4, gt=0, description="Peak learning rate of AdamW.")
    warmup_share: float = Field(default=0.05, ge=0, lt=1, description="Share of the steps that warm up.")
    epochs: float = Field(default=2.0, gt=0, description="Passes over the training rows.")
    batch_size: int = Field(default=16, ge=1, description="Rows per optimiser step.")
    max_length: int = Field(default=1024, ge=8, description="Longest row, in tokens; longer ones lose their end.")
    seed: int = Field(default=0, ge=0, lt=2**32, description="Seed of the initial weights, dropout and row order.")

    @field_validator("base_model")
    @classmethod
    def _no_path_of_one_machine(cls, value: str) -> str:
        if value.startswith(("/", ".", "~")) or "\\" in value:
            raise ValueError("must be a public name or hub id, not a path: adapters travel between machines")
        return value

    @field_validator("target_modules")
    @classmethod
    def _some_target(cls, value: Any) -> Any:
        if not value:
            raise ValueError("needs at least one module")
        return value

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a recipe from YAML; its data paths come back absolute.

        Raises:
            RecipeInvalid: with one line for each problem.
        """
        try:
            data = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise RecipeInvalid(f"cannot read the recipe {path}: {error}") from error
        if not isinstance(data, dict):
            raise RecipeInvalid(f"the recipe {path} must be a mapping")
        try:
            recipe = cls.model_validate(data)
        except ValidationError as error:
            problems = [_describe(problem) for problem in error.errors(include_url=False)]
            raise RecipeInvalid(f"the recipe {path} is not valid:\n" + "\n".join(problems)) from error
        folder = path.resolve().parent
        return recipe.model_copy(update={"train": folder / recipe.train, "heldout": folder / recipe.heldout})

    def record(self, folder: Path) -> str:
        """The recipe as YAML, with every default spelt out and data paths relative to ``folder``."""
        data = self.model_dump(mode="json")
        for key in ("train", "heldout"):
            data[key] = Path(os.path.relpath(data[key], folder)).as_posix()
        return yaml.safe_dump(data, sort_keys=False)


def _describe(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    what = "unknown key" if problem["type"] == "extra_forbidden" else problem["msg"].removeprefix("Value error, ")
    return f"  - `{where}`: {what}"

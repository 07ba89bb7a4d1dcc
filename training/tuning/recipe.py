"""``SftRecipe`` and ``DpoRecipe``: all that decides what a fine-tuning makes, in one frozen, recordable object."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from adapters.errors import AdapterRejected
from adapters.lora_config import parse_lora_config
from training.errors import RecipeInvalid

ModuleName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.]+$")]

MAX_RANK = 512
"""The largest LoRA rank that the engine can be started with."""


class Recipe(BaseModel):
    """What every fine-tuning is told. The same recipe, base and machine give the same adapter."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(description="Name of the adapter.", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")
    base_model: str = Field(
        description="Public name or hub id of the base model, recorded in the adapter. Where the checkpoint lies "
        "on this machine is not part of a recipe.",
        min_length=1,
    )
    train: Path = Field(description="Training rows, JSONL. A relative path starts at the recipe's folder.")
    heldout: Path | None = Field(
        default=None, description="Rows that are only ever measured on, in the same format. Needed to stop early."
    )
    rank: int = Field(default=16, ge=1, le=MAX_RANK, description="LoRA rank.")
    alpha: float = Field(
        default=32.0, gt=0, description="LoRA alpha; the update is scaled by alpha / rank, or alpha / sqrt(rank)."
    )
    use_rslora: bool = Field(
        default=False, description="Scale by alpha / sqrt(rank) (rank-stabilised LoRA, arXiv 2312.03732)."
    )
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Dropout on the input of the LoRA layers.")
    target_modules: Literal["all-linear"] | tuple[ModuleName, ...] = Field(
        default="all-linear", description="Names of the linear layers to adapt; `all-linear` for all but the head."
    )
    quantization: Literal["none", "nf4"] = Field(
        default="none",
        description="`nf4` trains on the base in 4 bits (QLoRA, arXiv 2305.14314); served is always the full base.",
    )
    learning_rate: float = Field(default=2e-4, gt=0, description="Peak learning rate of AdamW.")
    warmup_share: float = Field(default=0.05, ge=0, lt=1, description="Share of the steps that warm up.")
    epochs: float = Field(default=2.0, gt=0, description="Passes over the training rows.")
    batch_size: int = Field(default=16, ge=1, description="Rows per optimiser step, over all devices.")
    micro_batch_size: int | None = Field(
        default=None,
        ge=1,
        description="Rows at once on a device; fewer need less memory. SFT learns the same but for rounding; in DPO, "
        "where an epoch ends with fewer rows than a batch, those in its last, smaller part weigh more.",
    )
    max_length: int = Field(default=1024, ge=8, description="Longest row, in tokens; longer ones lose their end.")
    checkpoint_every: int | None = Field(
        default=None, ge=1, description="Steps between checkpoints; a tenth of the training by default."
    )
    evaluate_every: int | None = Field(
        default=None, ge=1, description="Steps between held-out losses, each with a checkpoint; a quarter by default."
    )
    patience: int | None = Field(
        default=None, ge=1, description="Stop after so many held-out losses in a row without a new best."
    )
    keep: Literal["best", "last"] = Field(
        default="best",
        description="Whose weights are the adapter: `best`, the lowest held-out loss, where there are held-out rows; "
        "`last`, the last step.",
    )
    keep_checkpoints: int = Field(default=3, ge=1, description="Checkpoints that are kept, the best one besides.")
    seed: int = Field(default=0, ge=0, lt=2**32, description="Seed of the initial weights, dropout and row order.")

    @model_validator(mode="before")
    @classmethod
    def _only_what_is_served(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            for key in data.keys() - cls.model_fields.keys():
                _refuse_unserved(str(key), data[key])
        return data

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

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.heldout is None:
            for key in ("patience", "evaluate_every"):
                if getattr(self, key) is not None:
                    raise ValueError(f"`{key}` needs held-out rows; name their file in `heldout`")
        if self.micro_batch_size is not None and self.batch_size % self.micro_batch_size:
            raise ValueError("`batch_size` must be a multiple of `micro_batch_size`")
        return self

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a recipe from YAML; its data paths come back absolute.

        Raises:
            RecipeInvalid: with one line for each problem.
        """
        return cls.parse(read_recipe(path), path.resolve().parent, f"the recipe {path}")

    @classmethod
    def parse(cls, data: Mapping[str, Any], folder: Path, what: str = "the recipe") -> Self:
        """A recipe from its fields; relative data paths start at ``folder``. Raises RecipeInvalid."""
        try:
            recipe = cls.model_validate(data)
        except ValidationError as error:
            problems = error.errors(include_url=False)
            text = "\n".join(_describe(problem) for problem in problems)
            raise RecipeInvalid(f"{what} is not valid:\n{text}", param=_where(problems[0]) or None) from error
        paths = {"train": folder / recipe.train}
        if recipe.heldout is not None:
            paths["heldout"] = folder / recipe.heldout
        return recipe.model_copy(update=paths)

    def record(self, folder: Path) -> str:
        """The recipe as YAML, with every default spelt out and data paths relative to ``folder``."""
        data = self.model_dump(mode="json")
        for key in ("train", "heldout"):
            if data[key] is not None:
                data[key] = Path(os.path.relpath(data[key], folder)).as_posix()
        return yaml.safe_dump(data, sort_keys=False)


class SftRecipe(Recipe):
    """One supervised fine-tuning on OpenAI chat JSONL."""

    method: Literal["sft"] = "sft"
    packing: bool = Field(
        default=True,
        description="Lay several short rows of a batch into one sequence; they cannot see each other. Changes speed "
        "and memory, never what is learnt.",
    )


class DpoRecipe(Recipe):
    """One direct preference optimisation (arXiv 2305.18290) on OpenAI preference JSONL."""

    method: Literal["dpo"] = "dpo"
    learning_rate: float = Field(default=2e-5, gt=0, description="Peak learning rate of AdamW.")
    beta: float = Field(default=0.1, gt=0, description="How dear it is to move away from the base model.")


RECIPES: Mapping[str, type[SftRecipe] | type[DpoRecipe]] = {"sft": SftRecipe, "dpo": DpoRecipe}


def read_recipe(path: Path) -> dict[str, Any]:
    """The fields of a recipe file, not validated. Raises RecipeInvalid."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeInvalid(f"cannot read the recipe {path}: {error}") from error
    if not isinstance(data, dict):
        raise RecipeInvalid(f"the recipe {path} must be a mapping")
    return data


def load_recipe(path: Path) -> SftRecipe | DpoRecipe:
    """Read a recipe of the method that its field `method` names, `sft` by default. Raises RecipeInvalid."""
    method = read_recipe(path).get("method", "sft")
    if method not in RECIPES:
        raise RecipeInvalid(f"the recipe {path} has the method {method!r}; there are sft and dpo", param="method")
    return RECIPES[method].load(path)


def _refuse_unserved(key: str, value: Any) -> None:
    """Settings of PEFT that recipes do not have; those that serving refuses are refused in serving's words."""
    try:
        parse_lora_config({"r": 1, "lora_alpha": 1, "target_modules": ["q_proj"], key: value}, MAX_RANK)
    except AdapterRejected as refused:
        if refused.code != "unknown_setting":
            raise ValueError(f"`{key}`: {refused}") from refused


def _where(problem: Any) -> str:
    return ".".join(str(part) for part in problem["loc"])


def _describe(problem: Any) -> str:
    where = _where(problem)
    what = "unknown key" if problem["type"] == "extra_forbidden" else problem["msg"].removeprefix("Value error, ")
    return f"  - `{where}`: {what}" if where else f"  - {what}"

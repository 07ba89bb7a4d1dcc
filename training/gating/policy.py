"""``GatePolicy``: what a candidate must show before it may go on, in one frozen, recordable object."""

from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from training.errors import PolicyInvalid

_ASSUMED_GAIN = 0.05


class MetricRule(BaseModel):
    """What one metric must show."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["non_inferiority", "improvement"] = Field(
        default="non_inferiority",
        description="`non_inferiority`: worse by less than the margin. `improvement`: better by more than the margin.",
    )
    margin: float = Field(default=0.05, ge=0, lt=1, description="As a difference of means in [0, 1].")
    assumed: float | None = Field(
        default=None,
        gt=-1,
        lt=1,
        description="The true difference that the number of cases should be able to show. By default 0 for "
        "non-inferiority, the margin plus 0.05 for an improvement.",
    )

    @model_validator(mode="after")
    def _can_be_shown(self) -> Self:
        if self.kind == "non_inferiority" and self.margin == 0:
            raise ValueError("non-inferiority needs a margin above 0; without one, ask for an improvement")
        if self.assumed is not None and self.assumed <= self.threshold:
            raise ValueError(f"no number of cases shows an assumed difference of {self.assumed:g} at this margin")
        return self

    @property
    def threshold(self) -> float:
        """The difference, candidate minus current, that must be exceeded."""
        return -self.margin if self.kind == "non_inferiority" else self.margin

    @property
    def truth(self) -> float:
        """The assumed difference, the default filled in."""
        if self.assumed is not None:
            return self.assumed
        return 0.0 if self.kind == "non_inferiority" else self.margin + _ASSUMED_GAIN


class GatePolicy(BaseModel):
    """Every metric must show what its rule asks for; one that does not stops the candidate."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metrics: dict[str, MetricRule] = Field(
        default_factory=dict,
        description="By metric. Without any, the suite's primary metric must not be inferior by 0.05.",
    )
    alpha: float = Field(default=0.05, gt=0, lt=0.5, description="Probability that an unfit candidate passes, at most.")
    power: float = Field(
        default=0.8,
        ge=0.5,
        lt=1,
        description="With a smaller chance of passing a candidate that is as good as assumed, a run that does not pass "
        "is undecided, not failed.",
    )
    min_cases: int = Field(default=30, ge=2, description="With fewer cases nothing passes.")
    max_errors: float = Field(
        default=0.02, ge=0, lt=1, description="Share of requests without an answer above which a run is not judged."
    )
    resamples: int = Field(default=10_000, ge=1_000, le=1_000_000, description="Of the bootstrap, for graded metrics.")
    seed: int = Field(default=0, ge=0, lt=2**32, description="Of the bootstrap.")

    def rules(self, primary: str) -> dict[str, MetricRule]:
        """The rules by metric; ``primary`` is the suite's own choice."""
        return self.metrics or {primary: MetricRule()}

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a policy from YAML.

        Raises:
            PolicyInvalid: with one line for each problem.
        """
        try:
            data = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise PolicyInvalid(f"cannot read the policy {path}: {error}") from error
        if not isinstance(data, dict):
            raise PolicyInvalid(f"the policy {path} must be a mapping")
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            problems = [_describe(problem) for problem in error.errors(include_url=False)]
            raise PolicyInvalid(f"the policy {path} is not valid:\n" + "\n".join(problems)) from error


def _describe(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"]) or "policy"
    what = "unknown key" if problem["type"] == "extra_forbidden" else problem["msg"].removeprefix("Value error, ")
    return f"  - `{where}`: {what}"

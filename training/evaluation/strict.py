"""Settings that refuse what they do not know, and say in one line each what is wrong with them."""

import difflib
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator


class Strict(BaseModel):
    """A part of a suite or of a case."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, data: Any) -> Any:
        if isinstance(data, dict):
            known = {field.alias or name for name, field in cls.model_fields.items()}
            unknown = [_unknown(str(key), sorted(known)) for key in data if key not in known]
            if unknown:
                raise ValueError("; ".join(unknown))
        return data


def describe(error: ValidationError) -> list[str]:
    """One line for each problem."""
    return [_line(problem) for problem in error.errors(include_url=False)]


def _unknown(key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean `{close[0]}`?" if close else f"there are {', '.join(known)}"
    return f"unknown key `{key}`: {hint}"


def _line(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    what = problem["msg"].removeprefix("Value error, ")
    return f"`{where}`: {what}" if where else what

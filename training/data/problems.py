"""Pydantic's errors, with a stable code and in our words."""

from typing import NoReturn

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from training.errors import RowInvalid

_CODES = {
    "missing": "missing_key",
    "extra_forbidden": "unknown_key",
    "too_short": "too_few_items",
    "string_too_short": "empty_string",
    "string_pattern_mismatch": "invalid_name",
}


def refuse(code: str, message: str) -> NoReturn:
    """Refuse from inside a pydantic validator; the code reaches :func:`row_invalid`."""
    # Without a context pydantic formats nothing: braces in the message stay what they are.
    raise PydanticCustomError(code, message)


def row_invalid(error: ValidationError) -> RowInvalid:
    """The first problem that pydantic found, with the place in the row: ``messages[2].content``."""
    problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"]).lstrip(".")
    kind = problem["type"]
    what = problem["msg"]
    if kind == "extra_forbidden":
        what = "unknown key; remove it"
    elif kind == "missing":
        what = "this key is missing"
    code = _CODES.get(kind, "wrong_type" if kind.endswith(("_type", "_parsing", "literal_error")) else kind)
    return RowInvalid(code, f"`{where}`: {what}" if where else what)

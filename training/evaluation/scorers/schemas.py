"""Values against a JSON Schema: whatever an answer holds, the check ends and says what is wrong."""

from collections.abc import Iterator
from typing import Any

import referencing
import regex
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend

from training.evaluation.scorers.protocol import shorten
from training.evaluation.scorers.text import REGEX_TIMEOUT_S
from training.evaluation.types import Json
from training.schemas import of_one_dialect

_ADDITIONAL = Draft202012Validator.VALIDATORS["additionalProperties"]


class SchemaCheck:
    """One schema (draft 2020-12). Nothing is fetched for a ``$ref``; expressions are searched for within a limit."""

    def __init__(self, schema: Json) -> None:
        keywords = {
            "pattern": _pattern,
            "patternProperties": _pattern_properties,
            "additionalProperties": _additional_properties,
        }
        kind = extend(Draft202012Validator, keywords)  # type: ignore[no-untyped-call]
        self._validator = kind(of_one_dialect(schema), registry=referencing.Registry())

    def problem(self, value: Any) -> str | None:
        """Why a value does not satisfy the schema, in words; None where it does."""
        try:
            error = next(self._validator.iter_errors(value), None)
        except TimeoutError:
            return f"an expression of the schema took longer than {REGEX_TIMEOUT_S:g} s"
        except Exception as error:  # of numbers that no float holds, and of schemas that refer to themselves
            return f"it cannot be checked: {shorten(repr(error))}"
        return None if error is None else f"`{error.json_path}`: {shorten(error.message)}"


def _found(expression: str, text: str) -> bool:
    return regex.search(expression, text, timeout=REGEX_TIMEOUT_S) is not None


def _pattern(validator: Any, expression: str, value: Any, schema: Json) -> Iterator[ValidationError]:
    if isinstance(value, str) and not _found(expression, value):
        yield ValidationError(f"{value!r} does not match {expression!r}")


def _pattern_properties(validator: Any, schemas: Json, value: Any, schema: Json) -> Iterator[ValidationError]:
    for expression, inner in schemas.items() if isinstance(value, dict) else ():
        for name, one in value.items():
            if _found(expression, name):
                yield from validator.descend(one, inner, path=name, schema_path=expression)


def _additional_properties(validator: Any, allowed: Any, value: Any, schema: Json) -> Iterator[ValidationError]:
    if isinstance(value, dict):
        expressions = schema.get("patternProperties", {})
        rest = {name: one for name, one in value.items() if not any(_found(each, name) for each in expressions)}
        plain = {name: one for name, one in schema.items() if name != "patternProperties"}
        yield from _ADDITIONAL(validator, allowed, rest, plain) or ()

"""Values against JSON Schemas (draft 2020-12), neither of which is to be trusted: a check ends, and fetches nothing."""

import threading
from collections.abc import Callable, Iterator, Mapping
from time import monotonic
from typing import Any

import referencing
import regex
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend

from monitoring.json_text import canonical

_LONGEST_EXPRESSION = 2000
_UNBOUNDED = frozenset({"unevaluatedProperties", "unevaluatedItems"})
"""Their evaluation looks into subschemas by itself, past every keyword that could look at the clock."""
_ADDITIONAL = Draft202012Validator.VALIDATORS["additionalProperties"]
_Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]


class Uncheckable(Exception):
    """Whether a value satisfies a schema cannot be said: the check takes too long, or the schema is none."""


class BoundedSchema:
    """One schema, made ready once; may be used by several threads.

    Args:
        schema: nothing is fetched for a ``$ref`` in it; an inner ``$schema`` changes nothing.
        trusted: whether somebody answers for it. Else ``unevaluatedProperties`` and ``unevaluatedItems`` are refused,
            whose cost cannot be bounded.

    Raises:
        Uncheckable: it is no schema, or has a refused keyword.
    """

    def __init__(self, schema: Any, *, trusted: bool = False) -> None:
        if not trusted and _names(schema) & _UNBOUNDED:
            raise Uncheckable("it has `unevaluated` keywords")
        try:
            self._validator = _VALIDATOR(of_one_dialect(schema), registry=referencing.Registry())
        except Exception as error:  # of what is no schema, or nested too deeply
            raise Uncheckable(f"it is no schema: {error!r}") from error

    def first_error(self, value: Any, seconds: float) -> ValidationError | None:
        """What is wrong with a value; None where it satisfies the schema.

        Args:
            value: of ``parse_json``, which bounds its depth.
            seconds: how long the whole check may take, regular expressions included.

        Raises:
            Uncheckable: it takes longer, or the schema cannot be evaluated for this value.
        """
        _CLOCK.deadline = monotonic() + seconds
        try:
            error: ValidationError | None = next(self._validator.iter_errors(value), None)
        except TimeoutError as late:
            raise Uncheckable(f"it takes longer than {seconds:g} s") from late
        except Uncheckable:
            raise
        except Exception as broken:  # of numbers that no float holds, and of schemas that refer to themselves
            raise Uncheckable(f"it cannot be evaluated: {broken!r}") from broken
        return error


class _Clock(threading.local):
    """When the check that this thread makes has to be over."""

    deadline = 0.0

    def left(self) -> float:
        """Seconds. Raises TimeoutError where there are none."""
        seconds = self.deadline - monotonic()
        if seconds <= 0:
            raise TimeoutError
        return seconds


_CLOCK = _Clock()


def _timed(keyword: _Keyword) -> _Keyword:
    """Every repetition that a schema can cause goes through its keywords; each looks at the clock."""

    def evaluate(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
        _CLOCK.left()
        yield from keyword(validator, wanted, value, schema) or ()

    return evaluate


def _found(expression: str, text: str) -> bool:
    if len(expression) > _LONGEST_EXPRESSION:
        raise Uncheckable("a regular expression of it is too long")
    return regex.search(expression, text, timeout=_CLOCK.left()) is not None


def _pattern(validator: Any, expression: str, value: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(value, str) and not _found(expression, value):
        yield ValidationError(f"{value!r} does not match {expression!r}")


def _pattern_properties(
    validator: Any, schemas: Mapping[str, Any], value: Any, schema: Any
) -> Iterator[ValidationError]:
    for expression, inner in schemas.items() if isinstance(value, dict) else ():
        for name, one in value.items():
            if _found(expression, name):
                yield from validator.descend(one, inner, path=name, schema_path=expression)


def _additional_properties(validator: Any, allowed: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(value, dict):
        expressions = schema.get("patternProperties", {})
        rest = {name: one for name, one in value.items() if not any(_found(each, name) for each in expressions)}
        plain = {name: one for name, one in schema.items() if name != "patternProperties"}
        yield from _ADDITIONAL(validator, allowed, rest, plain) or ()


def _unique_items(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
    # jsonschema compares each item with each where they cannot be sorted.
    if wanted and isinstance(value, list) and len({canonical(one) for one in value}) < len(value):
        yield ValidationError("the items are not unique")


_OWN: Mapping[str, _Keyword] = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "uniqueItems": _unique_items,
}
_VALIDATOR: Any = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    {name: _timed(_OWN.get(name, one)) for name, one in Draft202012Validator.VALIDATORS.items()},
)


def of_one_dialect(schema: Any) -> Any:
    """A schema without ``$schema``: jsonschema evaluates what has one by that draft's own class, not by ours.

    A property of that name has a schema for its value and stays.
    """
    if isinstance(schema, dict):
        return {
            name: of_one_dialect(inner)
            for name, inner in schema.items()
            if name != "$schema" or not isinstance(inner, str)
        }
    return [of_one_dialect(inner) for inner in schema] if isinstance(schema, list) else schema


def _names(schema: Any) -> set[str]:
    """Every name of every object in it."""
    found: set[str] = set()
    ahead = [schema]
    while ahead:
        one = ahead.pop()
        if isinstance(one, dict):
            found |= one.keys()
            ahead += one.values()
        elif isinstance(one, list):
            ahead += one
    return found

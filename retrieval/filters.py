"""Metadata filters in OpenAI's form (`ComparisonFilter`, `CompoundFilter`): read once, evaluated by us. Pure.

An index may narrow a search with its own means, but what leaves the retriever has passed :func:`matches`.
"""

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from retrieval.errors import AttributesInvalid, FilterInvalid
from retrieval.types import Attributes, AttributeValue

MAX_DEPTH = 8
MAX_COMPARISONS = 64
MAX_LIST = 256
MAX_VALUES = 512
"""In all comparisons of a filter together: each is held against every distinct set of attributes of a store."""
MAX_KEY = 64
MAX_STRING = 512
MAX_ATTRIBUTES = 16
"""The last three are OpenAI's limits for attributes."""


class Operator(StrEnum):
    """How an attribute is compared."""

    EQ = "eq"
    NE = "ne"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    IN = "in"
    NIN = "nin"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One attribute against one value, or against several for ``in`` and ``nin``.

    A document without the attribute, or with one of another type, is unlike every value: ``ne`` and ``nin`` hold, all
    others do not.
    """

    operator: Operator
    key: str
    values: tuple[AttributeValue, ...]


@dataclass(frozen=True, slots=True)
class Compound:
    """All of the filters, or at least one of them."""

    all_of: bool
    filters: tuple["Filter", ...]


Filter = Comparison | Compound

_OPERATORS = frozenset(operator.value for operator in Operator)


def parse_filter(data: object) -> Filter:
    """A filter out of JSON. Raises FilterInvalid, naming the place."""
    return _Reader().read(data, "filters", 0)


def parse_attributes(data: object) -> Attributes:
    """A document's attributes out of JSON. Raises AttributesInvalid."""
    if not isinstance(data, Mapping):
        raise AttributesInvalid("attributes must be an object of strings, numbers and booleans")
    if len(data) > MAX_ATTRIBUTES:
        raise AttributesInvalid(f"{len(data)} attributes; at most {MAX_ATTRIBUTES} are allowed")
    for key, value in data.items():
        if not isinstance(key, str) or not 0 < len(key) <= MAX_KEY:
            raise AttributesInvalid(f"attribute names have 1 to {MAX_KEY} characters")
        if problem := _text_problem(key) or _value_problem(value) or _text_problem(value):
            raise AttributesInvalid(f"the attribute {key!r} {problem}")
    return {key: value if isinstance(value, str | bool) else float(value) for key, value in data.items()}


def matches(condition: Filter | None, attributes: Attributes) -> bool:
    """Whether a document with ``attributes`` satisfies the filter; no filter is satisfied by all."""
    if condition is None:
        return True
    if isinstance(condition, Compound):
        combine: Callable[[Any], bool] = all if condition.all_of else any
        return combine(matches(one, attributes) for one in condition.filters)
    return _compare(condition, attributes.get(condition.key))


def _compare(comparison: Comparison, actual: AttributeValue | None) -> bool:
    alike = [value for value in comparison.values if _same_type(actual, value)]
    match comparison.operator:
        case Operator.EQ | Operator.IN:
            return actual in alike
        case Operator.NE | Operator.NIN:
            return actual not in alike
    return actual is not None and bool(alike) and _ORDER[comparison.operator](actual, alike[0])


_ORDER: dict[Operator, Callable[[Any, Any], bool]] = {
    Operator.GT: lambda actual, value: actual > value,
    Operator.GTE: lambda actual, value: actual >= value,
    Operator.LT: lambda actual, value: actual < value,
    Operator.LTE: lambda actual, value: actual <= value,
}


def _same_type(actual: object, value: object) -> bool:
    """Python calls True equal to 1; a filter does not."""
    return kind_of(actual) == kind_of(value)


def kind_of(value: object) -> str:
    """``boolean``, ``number``, ``string`` or ``none``."""
    if value is None:
        return "none"
    return "boolean" if isinstance(value, bool) else "string" if isinstance(value, str) else "number"


class _Reader:
    def __init__(self) -> None:
        self._comparisons = 0
        self._values = 0

    def read(self, data: object, place: str, depth: int) -> Filter:
        if not isinstance(data, Mapping):
            raise FilterInvalid("must be an object", param=place)
        kind = data.get("type", "eq")
        if kind in ("and", "or"):
            return self._compound(data, kind == "and", place, depth)
        if not isinstance(kind, str) or kind not in _OPERATORS:
            raise FilterInvalid(f"`type` must be one of and, or, {', '.join(Operator)}", param=place)
        return self._comparison(data, Operator(kind), place)

    def _compound(self, data: Mapping[Any, Any], all_of: bool, place: str, depth: int) -> Compound:  # noqa: FBT001
        _only(data, {"type", "filters"}, place)
        parts = data.get("filters")
        if not isinstance(parts, list) or not parts:
            raise FilterInvalid("`filters` must be a list with at least one filter", param=place)
        if depth + 1 >= MAX_DEPTH:
            raise FilterInvalid(f"filters may be nested {MAX_DEPTH} deep", param=place)
        read = (self.read(part, f"{place}.filters[{number}]", depth + 1) for number, part in enumerate(parts))
        return Compound(all_of, tuple(read))

    def _comparison(self, data: Mapping[Any, Any], operator: Operator, place: str) -> Comparison:
        self._comparisons += 1
        if self._comparisons > MAX_COMPARISONS:
            raise FilterInvalid(f"a filter may hold {MAX_COMPARISONS} comparisons", param=place)
        _only(data, {"type", "key", "value"}, place)
        key = data.get("key")
        if not isinstance(key, str) or not 0 < len(key) <= MAX_KEY:
            raise FilterInvalid(f"`key` must be a string of 1 to {MAX_KEY} characters", param=place)
        given = data.get("value")
        several = operator in (Operator.IN, Operator.NIN)
        if several and (not isinstance(given, list) or not given or len(given) > MAX_LIST):
            raise FilterInvalid(f"`value` must be a list of 1 to {MAX_LIST} values for `{operator}`", param=place)
        values: list[Any] = given if several and isinstance(given, list) else [given]
        self._values += len(values)
        if self._values > MAX_VALUES:
            raise FilterInvalid(f"a filter may hold {MAX_VALUES} values", param=place)
        for value in values:
            if problem := _value_problem(value):
                raise FilterInvalid(f"`value` {problem}", param=place)
        if operator in _ORDER and isinstance(values[0], bool):
            raise FilterInvalid(f"booleans have no order; `{operator}` needs a number or a string", param=place)
        return Comparison(operator, key, tuple(one if isinstance(one, str | bool) else float(one) for one in values))


def _only(data: Mapping[Any, Any], known: set[str], place: str) -> None:
    if unknown := [str(key) for key in data if key not in known]:
        raise FilterInvalid(f"unknown field `{unknown[0]}`", param=place)


def _value_problem(value: object) -> str | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        return None if len(value) <= MAX_STRING else f"is longer than {MAX_STRING} characters"
    if isinstance(value, int | float):
        # A larger int does not fit a float.
        fits = math.isfinite(value) if isinstance(value, float) else abs(value) <= sys.float_info.max
        return None if fits else "must be a finite number"
    return "must be a string, a number or a boolean"


def _text_problem(value: object) -> str | None:
    """Attributes are kept and told again: JSON can hold what neither UTF-8 nor every database can."""
    if not isinstance(value, str):
        return None
    try:
        value.encode()
    except UnicodeEncodeError:
        return "holds half of a surrogate pair"
    return "holds a NUL character" if "\0" in value else None

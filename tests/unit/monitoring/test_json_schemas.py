"""Schemas and values that nobody answers for."""

import json
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Any

import pytest

from monitoring.json_schemas import BoundedSchema, Uncheckable

_SLOW = r"(?:(?:x+x+)+y|(?:x|xx)+\d)"
_LIMIT_S = 0.2
_SOON_S = 5.0
"""Far more than the limit, far less than what the schemas below would take."""


def _doubling(levels: int) -> dict[str, Any]:
    """A schema of a few kilobytes that asks for two to the power of ``levels`` evaluations."""
    steps = {f"d{level}": {"allOf": [{"$ref": f"#/$defs/d{level - 1}"}] * 2} for level in range(1, levels + 1)}
    return {"$defs": {"d0": {"type": "object"}, **steps}, "$ref": f"#/$defs/d{levels}"}


def test_a_value_that_fits_has_no_error_and_one_that_does_not_names_the_keyword() -> None:
    schema = BoundedSchema({"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}})
    assert schema.first_error({"a": 1}, _LIMIT_S) is None
    wrong = schema.first_error({"a": "x"}, _LIMIT_S)
    missing = schema.first_error({}, _LIMIT_S)
    assert wrong is not None
    assert missing is not None
    assert (wrong.validator, missing.validator) == ("type", "required")


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (_doubling(40), {}),
        ({"pattern": _SLOW}, "x" * 5000),
        ({"patternProperties": {_SLOW: {}}}, {"x" * 5000: 1}),
        ({"additionalProperties": False, "patternProperties": {_SLOW: {}}}, {"x" * 5000: 1}),
        ({"$ref": "#"}, 1),
        ({"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}, 1),
        ({"pattern": "x" * 5000}, "x"),
        ({"$ref": "https://example.org/schema.json"}, 1),
        ({"minimum": "three"}, 1),
        ({"type": "text"}, 1),
        ({"multipleOf": 0.01}, 10**400),
    ],
)
def test_what_cannot_be_checked_is_said_to_be_so_and_soon(schema: Any, value: Any) -> None:
    began = perf_counter()
    with pytest.raises(Uncheckable):
        BoundedSchema(schema).first_error(value, _LIMIT_S)
    assert perf_counter() - began < _SOON_S


@pytest.mark.parametrize("schema", ["text", 3, [1], {"properties": {"a": {"unevaluatedProperties": False}}}])
def test_what_is_no_schema_or_cannot_be_bounded_is_refused(schema: Any) -> None:
    with pytest.raises(Uncheckable):
        BoundedSchema(schema)


def test_a_trusted_schema_may_have_unevaluated_keywords() -> None:
    schema = BoundedSchema({"properties": {"a": {}}, "unevaluatedProperties": False}, trusted=True)
    assert schema.first_error({"a": 1}, _LIMIT_S) is None
    assert schema.first_error({"b": 1}, _LIMIT_S) is not None


def test_items_are_compared_in_linear_time_and_by_value() -> None:
    schema = BoundedSchema({"uniqueItems": True})
    mixed = [item for number in range(10_000) for item in (number, str(number))]
    began = perf_counter()
    assert schema.first_error(mixed, _SOON_S) is None
    assert perf_counter() - began < _SOON_S
    assert schema.first_error([*mixed, 3.0], _SOON_S) is not None
    assert schema.first_error([1, True], _LIMIT_S) is None


def test_threads_do_not_share_their_deadlines() -> None:
    quick, slow = BoundedSchema({"type": "object"}), BoundedSchema(_doubling(40))

    def is_uncheckable() -> bool:
        try:
            slow.first_error({}, _LIMIT_S)
        except Uncheckable:
            return True
        return False

    with ThreadPoolExecutor(2) as threads:
        held_up = threads.submit(is_uncheckable)
        assert all(quick.first_error({}, _SOON_S) is None for _ in range(200))
        assert held_up.result(_SOON_S)


def test_an_inner_dialect_changes_nothing() -> None:
    draft_4 = "http://json-schema.org/draft-04/schema#"
    schema = BoundedSchema({"$schema": draft_4, "exclusiveMinimum": 3, "properties": {"$schema": {"type": "string"}}})
    assert schema.first_error(3, _LIMIT_S) is not None
    assert schema.first_error(json.loads('{"$schema": 1}'), _LIMIT_S) is not None

"""Metadata filters: what they mean, and what is not one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.errors import AttributesInvalid, FilterInvalid
from retrieval.filters import MAX_COMPARISONS, matches, parse_attributes, parse_filter
from retrieval.types import Attributes

DOCUMENT: Attributes = {"region": "eu", "year": 2026.0, "draft": False}


def compare(kind: str, key: str, value: Any) -> dict[str, Any]:
    return {"type": kind, "key": key, "value": value}


@pytest.mark.parametrize(
    ("kind", "key", "value", "holds"),
    [
        ("eq", "region", "eu", True),
        ("eq", "region", "us", False),
        ("ne", "region", "us", True),
        ("ne", "missing", "us", True),
        ("eq", "missing", "us", False),
        ("gt", "year", 2025, True),
        ("gt", "year", 2026, False),
        ("gte", "year", 2026, True),
        ("lt", "year", 2027, True),
        ("lte", "year", 2025, False),
        ("lt", "missing", 5, False),
        ("gt", "region", "aa", True),
        ("gt", "region", 5, False),
        ("in", "region", ["us", "eu"], True),
        ("nin", "region", ["us"], True),
        ("nin", "missing", ["us"], True),
        ("eq", "draft", False, True),
        ("eq", "draft", 0, False),
        ("in", "year", [True, 2026], True),
        ("eq", "year", "2026", False),
    ],
)
def test_a_comparison_means_what_it_says(kind: str, key: str, value: Any, holds: bool) -> None:  # noqa: FBT001
    assert matches(parse_filter(compare(kind, key, value)), DOCUMENT) is holds


def test_compounds_combine() -> None:
    eu, old = compare("eq", "region", "eu"), compare("lt", "year", 2000)
    assert matches(parse_filter({"type": "or", "filters": [old, eu]}), DOCUMENT)
    assert not matches(parse_filter({"type": "and", "filters": [old, eu]}), DOCUMENT)


def test_no_filter_admits_everything() -> None:
    assert matches(None, {})


def nested(depth: int) -> dict[str, Any]:
    return compare("eq", "a", 1) if depth == 0 else {"type": "and", "filters": [nested(depth - 1)]}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("region = 'eu'", "must be an object"),
        ({"type": "like", "key": "a", "value": "b"}, "must be one of"),
        ({"type": ["eq"], "key": "a", "value": "b"}, "must be one of"),
        ({"type": "eq", "key": "", "value": 1}, "1 to 64 characters"),
        ({"type": "eq", "key": 5, "value": 1}, "1 to 64 characters"),
        ({"type": "eq", "key": "a"}, "must be a string, a number or a boolean"),
        ({"type": "eq", "key": "a", "value": {"$gt": ""}}, "must be a string"),
        ({"type": "eq", "key": "a", "value": ["x"]}, "must be a string"),
        ({"type": "eq", "key": "a", "value": float("nan")}, "finite"),
        ({"type": "eq", "key": "a", "value": 10**400}, "finite"),
        ({"type": "eq", "key": "a", "value": "x" * 513}, "longer than 512"),
        ({"type": "in", "key": "a", "value": []}, "list of 1 to 256"),
        ({"type": "in", "key": "a", "value": "abc"}, "list of 1 to 256"),
        ({"type": "gt", "key": "a", "value": True}, "no order"),
        ({"type": "eq", "key": "a", "value": 1, "expr": "1 == 1"}, "unknown field `expr`"),
        ({"type": "and", "filters": []}, "at least one"),
        ({"type": "and", "filters": {"type": "eq"}}, "at least one"),
        (nested(9), "nested 8 deep"),
        ({"type": "or", "filters": [compare("eq", "a", 1)] * (MAX_COMPARISONS + 1)}, "64 comparisons"),
        (
            {
                "type": "and",
                "filters": [compare("in", "a", [1] * 256), compare("nin", "b", [1] * 256), compare("eq", "c", 1)],
            },
            "512 values",
        ),
    ],
)
def test_what_is_no_filter_is_refused_with_its_place(data: Any, message: str) -> None:
    with pytest.raises(FilterInvalid, match=message) as raised:
        parse_filter(data)
    assert raised.value.param.startswith("filters")


def test_the_place_of_a_nested_problem_is_named() -> None:
    data = {"type": "and", "filters": [compare("eq", "a", 1), {"type": "or", "filters": [compare("eq", "", 1)]}]}
    with pytest.raises(FilterInvalid) as raised:
        parse_filter(data)
    assert raised.value.param == "filters.filters[1].filters[0]"


texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
values = texts | st.floats(allow_nan=False, allow_infinity=False) | st.booleans() | st.integers(-9, 9)
json = st.recursive(
    st.none() | values,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=9,
)


@given(json)
def test_whatever_is_sent_is_a_filter_or_refused(data: Any) -> None:
    try:
        condition = parse_filter(data)
    except FilterInvalid:
        return
    assert matches(condition, DOCUMENT) in (True, False)


@given(st.sampled_from(["a", "b"]), values, st.dictionaries(st.sampled_from(["a", "b"]), values))
def test_eq_and_ne_are_opposites(key: str, value: Any, attributes: dict[str, Any]) -> None:
    document = parse_attributes(attributes)
    equal, unequal = (parse_filter(compare(kind, key, value)) for kind in ("eq", "ne"))
    assert matches(equal, document) is not matches(unequal, document)


@pytest.mark.parametrize(
    "data",
    [
        ["a"],
        {f"k{number}": 1 for number in range(17)},
        {"": 1},
        {"k" * 65: 1},
        {"k": "v" * 513},
        {"k": None},
        {"k": ["v"]},
        {"k": float("inf")},
        {"k": "\ud800"},
        {"\udfff": 1},
        {"k": "a\0b"},
        {"\0": 1},
    ],
)
def test_attributes_outside_the_limits_are_refused(data: Any) -> None:
    with pytest.raises(AttributesInvalid):
        parse_attributes(data)

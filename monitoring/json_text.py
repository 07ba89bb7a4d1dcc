"""JSON as evaluation and monitoring both judge it: strictly parsed, equal by value. Pure."""

import json
import math
from typing import Any

_FENCE = "```"

MOST_DEPTH = 64
"""Deeper nesting is refused: schemas and comparisons recurse."""


def parse_json(text: str) -> Any:
    """The value of a JSON text (RFC 8259). Raises ValueError.

    Refused besides what is not JSON: ``NaN``, ``Infinity`` and numbers that are as large to a float, a name that
    stands twice in an object, and more than 64 levels.
    """
    try:
        value = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite, object_pairs_hook=_unique)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if _depth(value) > MOST_DEPTH:
        raise ValueError("it is nested too deeply")
    return value


def unfenced(text: str) -> str:
    """What stands in a Markdown fence that is the whole text; the text itself where there is none.

    A regular expression would take time quadratic in the white space.
    """
    head, _, rest = text.strip().partition("\n")
    inside = rest.endswith(_FENCE) and head.rstrip() in (_FENCE, f"{_FENCE}json")
    return rest.removesuffix(_FENCE) if inside else text


def canonical(value: Any) -> str:
    """The same text for values that are equal as JSON: names sorted, ``1`` and ``1.0`` one number, true no number."""
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"))


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text[:20]} is too large for a number")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return made


def _depth(value: Any) -> int:
    deepest, ahead = 0, [(value, 1)]
    while ahead:
        one, depth = ahead.pop()
        deepest = max(deepest, depth)
        if depth > MOST_DEPTH:
            break
        inner = one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        ahead += [(child, depth + 1) for child in inner]
    return deepest


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return int(value)
    return value

"""JSON as RFC 8259 has it and as every reader understands it: what Python's reader lets through is refused here."""

import json
from typing import Any, NoReturn

from training.errors import RowInvalid

DEEPEST = 64
"""Objects and arrays inside one another."""


def parse_json(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        RowInvalid: it is not JSON, or it is JSON that two readers may understand differently: a key twice in one
            object, NaN or Infinity, numbers or nesting without bounds, NUL characters, halves of surrogate pairs.
    """
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise _not_json(text, error) from error
    except RecursionError as error:
        raise RowInvalid("too_deep", f"nested deeper than {DEEPEST}; flatten it") from error
    except ValueError as error:  # an integer of thousands of digits
        raise RowInvalid("huge_number", "a number has too many digits; write it as a string") from error
    _check_depth(value)
    # What cannot hold them needs no second look, and most texts cannot: both are only written as escapes.
    if "\\u" in text:
        _check_strings(value)
    return value


def _not_json(text: str, error: json.JSONDecodeError) -> RowInvalid:
    if "\0" in text:
        return RowInvalid("nul_bytes", f"a NUL byte at column {text.index(chr(0)) + 1}; the file is damaged or binary")
    if error.msg.startswith("Extra data"):
        return RowInvalid(
            "several_values", f"something follows the row at column {error.colno}; put each row on a line of its own"
        )
    if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string"):
        return RowInvalid(
            "truncated_json",
            f"Invalid JSON: the line ends inside the row ({error.msg}, column {error.colno}); "
            "a row is one whole line, and line breaks inside strings are written \\n",
        )
    return RowInvalid("invalid_json", f"Invalid JSON: {error.msg} at column {error.colno}")


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise RowInvalid("duplicate_key", f"the key `{_shown(twice)}` stands twice in one object; keep one")
    return found


def _constant(name: str) -> NoReturn:
    raise RowInvalid("not_a_number", f"{name} is not JSON; write null, or a string")


def _float(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise RowInvalid("huge_number", f"{text[:20]} is too large for a number; write it as a string")
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant, parse_float=_float)


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(DEEPEST + 1):
        level = [inner for outer in level for inner in _children(outer) if isinstance(inner, dict | list)]
        if not level:
            return
    raise RowInvalid("too_deep", f"nested deeper than {DEEPEST}; flatten it")


def _children(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []


def _check_strings(value: Any) -> None:
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            _check_string(one)
        elif isinstance(one, dict):
            waiting += [*one, *one.values()]
        elif isinstance(one, list):
            waiting += one


def _check_string(text: str) -> None:
    if "\0" in text:
        raise RowInvalid("nul_character", "a string holds the character \\u0000, which no tokenizer takes; remove it")
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise RowInvalid(
            "lone_surrogate",
            "a string holds half of a surrogate pair (\\ud800 to \\udfff), which is no character; "
            "the text was cut inside an emoji or written in the wrong encoding",
        )


def _shown(name: str) -> str:
    return name.encode("utf-8", "replace").decode()[:60]

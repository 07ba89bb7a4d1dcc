"""Text that satisfies a constraint, for the fake engine: the smallest honest instance, chosen by a key."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from re import _constants as sre  # type: ignore[attr-defined,unused-ignore]
from re import _parser as sre_parser  # type: ignore[attr-defined,unused-ignore]
from typing import Any

import orjson

_CATEGORY_SAMPLES = {
    sre.CATEGORY_DIGIT: "7",
    sre.CATEGORY_NOT_DIGIT: "a",
    sre.CATEGORY_SPACE: " ",
    sre.CATEGORY_NOT_SPACE: "a",
    sre.CATEGORY_WORD: "a",
    sre.CATEGORY_NOT_WORD: "-",
}
_FORMAT_SAMPLES = {
    "date": "2024-01-31",
    "date-time": "2024-01-31T12:00:00Z",
    "time": "12:00:00Z",
    "email": "someone@example.com",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "uri": "https://example.com/",
    "ipv4": "192.0.2.1",
}


class Unsatisfiable(Exception):
    """The fake engine cannot write a text for this constraint."""


def fraction(key: str) -> float:
    """Map ``key`` onto [0, 1), the same in every process."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=4).digest(), "big") / (1 << 32)


def pick(options: Sequence[Any], key: str) -> Any:
    """One of ``options``, chosen by ``key``."""
    return options[int(fraction(key) * len(options))]


def json_text(schema: Mapping[str, Any], key: str, word: str) -> str:
    """A JSON document that satisfies ``schema``; free strings say ``word``. Raises Unsatisfiable."""
    return orjson.dumps(_instance(schema, schema, key, word)).decode()


def regex_text(pattern: str) -> str:
    """A string that the whole of ``pattern`` matches. Raises Unsatisfiable."""
    try:
        text = _from_parsed(sre_parser.parse(pattern))
    except re.error as error:
        raise Unsatisfiable(f"the pattern does not compile: {error}") from error
    if re.fullmatch(pattern, text) is None:
        raise Unsatisfiable(f"no text found for the pattern {pattern!r}")
    return text


def grammar_text(grammar: str, key: str) -> str:
    """A string of an EBNF grammar whose root is a choice between quoted strings. Raises Unsatisfiable."""
    root = re.search(r"root\s*::=\s*(.+)", grammar)
    literals = re.findall(r'"((?:[^"\\]|\\.)*)"', root.group(1)) if root else []
    if not literals:
        raise Unsatisfiable("the fake engine understands only grammars whose root is a choice of strings")
    chosen: str = pick(literals, key)
    return chosen


def _resolve(schema: Any, root: Mapping[str, Any]) -> Mapping[str, Any]:
    if schema is True:
        return {}
    if not isinstance(schema, Mapping):
        raise Unsatisfiable(f"not a schema: {schema!r}")
    reference = schema.get("$ref")
    if reference is None:
        return schema
    found: Any = root
    for part in str(reference).removeprefix("#").strip("/").split("/"):
        if part:
            found = found.get(part) if isinstance(found, Mapping) else None
    return _resolve(found, root)


def _instance(schema: Any, root: Mapping[str, Any], key: str, word: str) -> Any:
    schema = _resolve(schema, root)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return pick(schema["enum"], key)
    for combiner in ("anyOf", "oneOf"):
        if combiner in schema:
            return _instance(schema[combiner][0], root, key, word)
    if "allOf" in schema:
        merged = {name: value for name, value in schema.items() if name != "allOf"}
        for part in schema["allOf"]:
            merged.update(_resolve(part, root))
        return _instance(merged, root, key, word)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = kind[0] if isinstance(kind, list) else kind
    return _of_type(kind, schema, root, key, word)


def _of_type(kind: str, schema: Mapping[str, Any], root: Mapping[str, Any], key: str, word: str) -> Any:
    match kind:
        case "object":
            properties = schema.get("properties", {})
            return {name: _instance(inner, root, f"{key}.{name}", word) for name, inner in properties.items()}
        case "array":
            items = [_instance(inner, root, key, word) for inner in schema.get("prefixItems", ())]
            while len(items) < schema.get("minItems", 1):
                items.append(_instance(schema.get("items", {}), root, f"{key}[{len(items)}]", word))
            return items
        case "integer":
            return int(_number(schema))
        case "number":
            return _number(schema)
        case "boolean":
            return pick((True, False), key)
        case "null":
            return None
        case _:
            return _string(schema, word)


def _number(schema: Mapping[str, Any]) -> float:
    step = schema.get("multipleOf", 1)
    low = schema.get("minimum", schema.get("exclusiveMinimum", 0))
    value = -(-low // step) * step
    if value == schema.get("exclusiveMinimum"):
        value += step
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    if high is not None and value > high:
        value = (low + high) / 2
    return float(value)


def _string(schema: Mapping[str, Any], word: str) -> str:
    if "pattern" in schema:
        return regex_text(schema["pattern"])
    if "format" in schema:
        return _FORMAT_SAMPLES.get(str(schema["format"]), word)
    text = word.ljust(schema.get("minLength", 0), "x")
    return text[: int(schema.get("maxLength", len(text)))]


def _from_parsed(parsed: Any) -> str:
    return "".join(_from_node(operation, argument) for operation, argument in parsed)


def _from_node(operation: Any, argument: Any) -> str:
    if operation is sre.LITERAL:
        return chr(argument)
    if operation is sre.NOT_LITERAL:
        return "a" if argument != ord("a") else "b"
    if operation is sre.ANY:
        return "a"
    if operation is sre.IN:
        return _from_set(argument)
    if operation is sre.BRANCH:
        return _from_parsed(argument[1][0])
    if operation is sre.SUBPATTERN:
        return _from_parsed(argument[3])
    if operation in (sre.MAX_REPEAT, sre.MIN_REPEAT):
        least, most, inner = argument
        return _from_parsed(inner) * int(max(least, min(1, most)))
    if operation is sre.AT:
        return ""
    raise Unsatisfiable("the fake engine understands only plain regular expressions")


def _from_set(members: Any) -> str:
    operation, argument = members[0]
    if operation is sre.NEGATE:
        taken = _characters(members[1:])
        return next(character for character in "ab0_- xyz" if character not in taken)
    if operation is sre.RANGE:
        return chr(argument[0])
    if operation is sre.CATEGORY:
        return str(_CATEGORY_SAMPLES[argument])
    return chr(argument)


def _characters(members: Any) -> set[str]:
    taken: set[str] = set()
    for operation, argument in members:
        if operation is sre.LITERAL:
            taken.add(chr(argument))
        elif operation is sre.RANGE:
            taken.update(chr(code) for code in range(argument[0], argument[1] + 1))
        elif operation is sre.CATEGORY:
            taken.update(c for c in "ab0_- xyz" if re.fullmatch(_CATEGORY_CLASSES[argument], c))
    return taken


_CATEGORY_CLASSES = {
    sre.CATEGORY_DIGIT: r"\d",
    sre.CATEGORY_NOT_DIGIT: r"\D",
    sre.CATEGORY_SPACE: r"\s",
    sre.CATEGORY_NOT_SPACE: r"\S",
    sre.CATEGORY_WORD: r"\w",
    sre.CATEGORY_NOT_WORD: r"\W",
}

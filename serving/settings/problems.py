"""What is wrong with a configuration, in words: the place, the rule, and the nearest valid key."""

import re
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, Discriminator

from serving.settings.base import PATTERN_HINTS, Settings

Place = tuple[str | int, ...]

_OWN_PLACE = re.compile(r"^`([^`]+)`: ")
_PLACE_PART = re.compile(r"\[(\d+)\]|([^.\[\]]+)")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to mend."""

    place: Place
    message: str

    def __str__(self) -> str:
        return f"`{show_place(self.place)}`: {self.message}" if self.place else self.message


def show_place(place: Place) -> str:
    """``("api_keys", 0, "hash")`` as ``api_keys[0].hash``."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def describe(error: Mapping[str, Any], root: type[Settings]) -> Iterator[Problem]:
    """The problems in one of pydantic's error records for ``root``."""
    place, level = _locate(error["loc"], root)
    if error["type"] == "extra_forbidden":
        yield Problem(place, unknown_key(str(place[-1]), level, root))
        return
    if error["type"] == "union_tag_invalid":
        place += ("kind",)
    for line in phrase(error).split("\n"):
        own = _OWN_PLACE.match(line)
        if own is None:
            yield Problem(place, line)
        else:
            yield Problem(place + _parse_place(own[1]), line.removeprefix(own[0]))


def _parse_place(text: str) -> Place:
    return tuple(int(index) if index else name for index, name in _PLACE_PART.findall(text))


def phrase(error: Mapping[str, Any]) -> str:
    """One of pydantic's error records in words, without its place."""
    context = error.get("ctx", {})
    match error["type"]:
        case "missing":
            return "is required"
        case "string_type":
            quoted = "; write it in quotes" if isinstance(error.get("input"), bool | int | float) else ""
            return f"must be text{quoted}"
        case "string_pattern_mismatch":
            return PATTERN_HINTS.get(context["pattern"], f"must match {context['pattern']}")
        case "literal_error":
            return _one_of(str(error.get("input")), context["expected"])
        case "union_tag_invalid":
            return _one_of(context["tag"], context["expected_tags"])
        case "model_type" | "union_tag_not_found" | "dict_type" if error.get("input") is None:
            return "is empty; give it keys or remove it"
        case "value_error":
            return str(context["error"])
        case other:
            return _PHRASES[other].format_map(context) if other in _PHRASES else str(error["msg"])


_PHRASES = {
    "string_too_short": "must not be empty",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "finite_number": "must be a finite number",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "union_tag_not_found": "must be a mapping",
    "path_type": "must be a path",
}


def _one_of(given: str, expected: str) -> str:
    near = get_close_matches(given, re.findall(r"'([^']*)'", expected), n=1)
    return f"must be one of {expected.replace(' or ', ', ')}" + (f"; did you mean `{near[0]}`?" if near else "")


def unknown_key(key: str, level: "Level | None", root: type[Settings]) -> str:
    """What to say of ``key``, which ``level`` does not have: the likeliest thing that was meant."""
    valid = sorted(level.fields) if level else []
    for kind, sibling in (level.siblings if level else {}).items():
        if key in sibling.model_fields:
            return f"unknown key here; it belongs to `kind: {kind}`"
    if near := get_close_matches(key, valid, n=1, cutoff=0.5):
        return f"unknown key; did you mean `{near[0]}`?"
    elsewhere = [place for place in _all_places(root) if place.rpartition(".")[2] == key]
    if elsewhere:
        return f"unknown key here; did you mean `{elsewhere[0]}`?"
    return f"unknown key; valid keys: {', '.join(valid)}"


@dataclass(frozen=True, slots=True)
class Level:
    """The keys that are valid at one place."""

    fields: Mapping[str, Any]
    siblings: Mapping[str, type[Settings]]
    """The other variants of a tagged union, by tag."""


def _locate(location: tuple[Any, ...], root: type[Settings]) -> tuple[Place, Level | None]:
    """The place in the file, without pydantic's own markers, and the level that holds its last key."""
    place: list[str | int] = []
    holder: Any = None
    current: Any = root
    for part in location:
        if part == "[key]":
            continue
        variants = _variants(current)
        if variants and part in variants:  # the tag of a union, not a key of the file
            others = {kind: cls for kind, cls in variants.items() if kind != part}
            current = Level(variants[part].model_fields, others)
            continue
        holder, current = current, _step(current, part)
        place.append(part if isinstance(part, int) else str(part))
    level = holder if isinstance(holder, Level) else None
    if level is None and _is_settings(holder):
        level = Level(holder.model_fields, {})
    return tuple(place), level


def _step(current: Any, part: Any) -> Any:
    """What stands under key or index ``part`` of ``current``."""
    if isinstance(current, Level):
        return _inside(current.fields[part]) if part in current.fields else None
    if _is_settings(current):
        return _inside(current.model_fields[part]) if part in current.model_fields else None
    origin, arguments = typing.get_origin(current), typing.get_args(current)
    if origin is tuple:
        return _bare(arguments[0])
    return _bare(arguments[1]) if origin is dict else None


def _inside(field: Any) -> Any:
    """A field's type; a tagged union keeps the mark that pydantic took off it."""
    if isinstance(field.discriminator, Discriminator):
        return typing.Annotated[field.annotation, field.discriminator]
    return _bare(field.annotation)


def _bare(annotation: Any) -> Any:
    """``annotation`` without ``Annotated`` and ``None``."""
    while typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        some = [item for item in typing.get_args(annotation) if item is not type(None)]
        return _bare(some[0]) if len(some) == 1 else annotation
    return annotation


def _variants(annotation: Any) -> dict[str, type[Settings]]:
    """The variants of a tagged union by the default or only value of their ``kind``; empty for anything else."""
    if typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    if typing.get_origin(annotation) not in (types.UnionType, typing.Union):
        return {}
    classes = [_bare(item) for item in typing.get_args(annotation)]
    return {typing.get_args(cls.model_fields["kind"].annotation)[0]: cls for cls in classes if _is_settings(cls)}


def _is_settings(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseModel)


def _all_places(root: type[Settings], prefix: str = "") -> Iterator[str]:
    """Every setting that has one fixed place, dotted."""
    for name, field in root.model_fields.items():
        yield f"{prefix}{name}"
        inside = _inside(field)
        if _is_settings(inside):
            yield from _all_places(inside, f"{prefix}{name}.")

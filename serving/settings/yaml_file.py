"""Reading the file: YAML 1.2 scalars, no duplicate keys, nothing but plain data, and the line of every key."""

import math
import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from serving.settings.problems import Place, Problem

_MAX_DEPTH = 64


class UnreadableYaml(Exception):
    """The text is not YAML that a configuration may use."""


class _Loader(yaml.SafeLoader):
    """Safe YAML with the scalars of YAML 1.2: `off` and `no` are text, `010` is ten, `1e-4` is a number."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    problem = f"key `{key.value}` appears twice"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen.add(key.value)
        return node


def _construct_int(_: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    return int(node.value, 0) if node.value.startswith(("0x", "0o")) else int(node.value)


_Loader.yaml_implicit_resolvers = {}  # none of the inherited ones, which are YAML 1.1's
_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)
for _tag, _pattern, _first in (
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", list("-+0123456789")),
    (
        "float",
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        list("-+.0123456789"),
    ),
    ("merge", r"^(?:<<)$", ["<"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)


class Lines:
    """Where each key of a YAML text stands."""

    def __init__(self, root: yaml.Node | None) -> None:
        self._root = root

    def line_of(self, place: Place) -> int | None:
        """The line, from 1, of the last part of ``place`` that the file has; None where it has none of it."""
        node, line = self._root, None
        for part in place:
            found = _child(node, part)
            if found is None:
                break
            node, line = found
        return line


def _child(node: yaml.Node | None, part: str | int) -> tuple[yaml.Node, int] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value == str(part):
                return value, key.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part].start_mark.line + 1
    return None


def read_yaml(text: str) -> tuple[Any, Lines]:
    """The data in ``text``, and where its keys stand.

    Raises:
        UnreadableYaml: it is not YAML, has a key twice, or is nested too deeply.
    """
    loader = None
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        data = loader.construct_document(root) if root is not None else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise UnreadableYaml(f"{place}{error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise UnreadableYaml(" ".join(str(error).split())) from error
    except RecursionError as error:
        raise UnreadableYaml("it is nested too deeply") from error
    finally:
        if loader is not None:
            loader.dispose()
    return data, Lines(root)


def plain_data_problems(data: Any) -> list[Problem]:
    """What in ``data`` is not text, a finite number, true, false, null, a list or a mapping with text for keys."""
    problems: list[Problem] = []
    _walk(data, (), set(), problems)
    return problems


def _walk(value: Any, place: Place, above: set[int], problems: list[Problem]) -> None:
    if isinstance(value, dict | list | tuple):
        if id(value) in above or len(above) >= _MAX_DEPTH:
            problems.append(Problem(place, "is nested too deeply, or holds itself"))
            return
        above.add(id(value))
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            if isinstance(key, str) or not isinstance(value, dict):
                _walk(item, (*place, key), above, problems)
            else:
                problems.append(Problem((*place, str(key)), f"the key {key!r} must be text; write it in quotes"))
        above.discard(id(value))
        return
    if (fault := _scalar_fault(value)) is not None:
        problems.append(Problem(place, fault))


def _scalar_fault(value: Any) -> str | None:
    match value:
        case None | bool() | Path() | BaseModel():
            return None
        case int():
            return None if -(2**63) <= value < 2**64 else "is too large a number"
        case float():
            return None if math.isfinite(value) else "must be a finite number"
        case str():
            if "\0" in value:
                return "holds a NUL character"
            return None if _is_unicode(value) else "holds half of a character"
        case _:
            return f"is a {type(value).__name__}; write it in quotes if text is meant"


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True

"""values.schema.json of the chart: values.yaml, helm/schema, and the gateway's own settings put together.

values.yaml says what there is, what it is by default, and what it means. helm/schema/*.json add what a default cannot
say, by place (`gateway.gpus`, `*.resources`): limits, choices, and what is in maps and lists. Helm's validator knows
draft 7 and reports every branch of an `anyOf` that failed, so that choices are turned into `if` and `else`.
"""

import fnmatch
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from serving.config import GatewayConfig

ROOT = Path(__file__).parents[1]
VALUES = ROOT / "helm" / "loraplex" / "values.yaml"
PARTS = ROOT / "helm" / "schema"

_KEY = re.compile(r"^(?P<indent> *)(?P<key>[A-Za-z_][\w.]*):(?: |$)")
_TYPES: dict[type, str] = {bool: "boolean", int: "integer", float: "number", str: "string"}
_Schema = dict[str, Any]


class SchemaIncomplete(Exception):
    """values.yaml holds something that nothing describes; the message names each place."""


def chart_schema() -> str:
    """The text of values.schema.json. Raises SchemaIncomplete."""
    return json.dumps(make_schema(VALUES.read_text(encoding="utf-8")), indent=1, sort_keys=True) + "\n"


def make_schema(text: str) -> dict[str, Any]:
    """The schema for the values.yaml with this ``text``. Raises SchemaIncomplete."""
    refinements, definitions = _parts()
    maker = _Maker(comments(text), refinements)
    schema = maker.section("", yaml.safe_load(text))
    if maker.problems:
        raise SchemaIncomplete("\n".join(maker.problems))
    gateway = GatewayConfig.model_json_schema()
    schema["properties"]["config"] = {
        "description": schema["properties"]["config"]["description"],
        **_readable(_without(gateway, "$defs", "description", "title")),
    }
    # Helm adds `global` to the values of every chart.
    schema["properties"]["global"] = {"type": "object", "description": "Taken by Helm; the chart does not read it."}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of the chart loraplex",
        **schema,
        "$defs": {**definitions, **_readable(gateway["$defs"])},
    }


def comments(text: str) -> dict[str, str]:
    """What the comment above each key says, by the key's place, such as `gateway.gpus`."""
    found: dict[str, str] = {}
    above: list[str] = []
    places: list[tuple[int, str]] = []
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            above.append(line.strip().lstrip("#").strip())
            continue
        if match := _KEY.match(line):
            indent = len(match["indent"])
            places = [place for place in places if place[0] < indent] + [(indent, match["key"])]
            found[".".join(key for _, key in places)] = " ".join(above)
        above = []
    return found


def _parts() -> tuple[dict[str, _Schema], dict[str, _Schema]]:
    """What helm/schema says: by place, and definitions."""
    places: dict[str, _Schema] = {}
    definitions: dict[str, _Schema] = {}
    for path in sorted(PARTS.glob("*.json")):
        part = json.loads(path.read_text(encoding="utf-8"))
        places.update(part["places"])
        definitions.update(part.get("definitions", {}))
    return places, definitions


class _Maker:
    def __init__(self, described: dict[str, str], refinements: dict[str, _Schema]) -> None:
        self._described = described
        self._refinements = refinements
        self.problems: list[str] = []

    def section(self, place: str, values: dict[str, Any]) -> _Schema:
        """Schema of one map of values.yaml, closed to everything else."""
        properties = {key: self._one(f"{place}.{key}".lstrip("."), value) for key, value in values.items()}
        return {"type": "object", "additionalProperties": False, "properties": properties}

    def _one(self, place: str, value: object) -> _Schema:
        described = {"description": self._described[place]} if self._described.get(place) else {}
        if place == "config":
            return described
        refined = self._refinement(place)
        if refined is not None and ("type" in refined or "$ref" in refined):
            return {**described, **refined}
        if isinstance(value, dict) and value:
            return {**described, **self.section(place, value), **(refined or {})}
        kind = _TYPES.get(type(value))
        if kind is None:
            self.problems.append(f"{place}: values.yaml does not tell its type; describe it in helm/schema")
            return described
        if not described:
            self.problems.append(f"{place}: has no comment in values.yaml")
        return {**described, "type": kind, **(refined or {})}

    def _refinement(self, place: str) -> _Schema | None:
        if place in self._refinements:
            return self._refinements[place]
        fitting = [pattern for pattern in self._refinements if fnmatch.fnmatchcase(place, pattern)]
        return self._refinements[max(fitting, key=len)] if fitting else None


def _readable(schema: Any) -> Any:
    """The same in draft 7, with one message for each mistake."""
    if isinstance(schema, list):
        return [_readable(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: _readable(value) for key, value in schema.items() if key not in ("title", "default", "format")}
    if branches := result.pop("oneOf", None):
        return {**result, **_by_kind(branches)}
    branches = result.get("anyOf")
    if branches and len(branches) == 2 and {"type": "null"} in branches:
        del result["anyOf"]
        (other,) = [branch for branch in branches if branch != {"type": "null"}]
        return {**result, **_or_null(other)}
    return result


def _or_null(schema: _Schema) -> _Schema:
    if isinstance(schema.get("type"), str) and "enum" not in schema:
        return {**schema, "type": [schema["type"], "null"]}
    return {"if": {"type": "null"}, "else": schema}


def _by_kind(references: list[_Schema]) -> _Schema:
    """The engines: the first is meant where `kind` is absent."""
    definitions = GatewayConfig.model_json_schema()["$defs"]
    kinds = [
        definitions[reference["$ref"].rpartition("/")[2]]["properties"]["kind"]["const"] for reference in references
    ]
    cases = [
        {"if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]}, "then": reference}
        for kind, reference in zip(kinds[1:], references[1:], strict=True)
    ]
    first: _Schema = {"if": {"properties": {"kind": {"const": kinds[0]}}}, "then": references[0]}
    return {"type": "object", "properties": {"kind": {"enum": kinds}}, "allOf": [first, *cases]}


def _without(schema: _Schema, *keys: str) -> _Schema:
    return {key: value for key, value in schema.items() if key not in keys}


def places(values: dict[str, Any], place: str = "") -> Iterator[str]:
    """Every key of values.yaml, by its place; what is in lists and in the configuration has none of its own."""
    for key, value in values.items():
        here = f"{place}.{key}".lstrip(".")
        yield here
        if isinstance(value, dict) and here != "config":
            yield from places(value, here)

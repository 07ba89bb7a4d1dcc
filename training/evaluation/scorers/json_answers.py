"""Answers as JSON: whether they parse, satisfy a schema, and hold the right values."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import referencing
import referencing.exceptions
import referencing.jsonschema
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from pydantic import field_validator

from monitoring.json_text import canonical, parse_json, unfenced
from training.errors import SuiteInvalid
from training.evaluation.json_values import MISSING, Missing, at, join_pointer, split_pointer
from training.evaluation.scorers.protocol import Materials, Named, Score, Scores, shorten
from training.evaluation.scorers.schemas import SchemaCheck
from training.evaluation.types import Answer, Case, Json


class JsonSettings(Named):
    """The answer is JSON, of a schema, with the reference's values."""

    kind: Literal["json"]
    json_schema: Path | Json | None = None
    """A JSON Schema (draft 2020-12), or a file that holds one."""
    fields: tuple[str, ...] | None = None
    """JSON pointers to compare with the reference; its top-level names unless they are given."""
    compare: bool = True
    """Whether there is a reference to compare with."""
    allow_fence: bool = False
    """Whether a Markdown fence around the JSON is no mistake."""

    @field_validator("fields")
    @classmethod
    def _are_pointers(cls, fields: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for pointer in fields or ():
            split_pointer(pointer)
        if fields is not None and len(set(fields)) < len(fields):
            raise ValueError("a pointer stands twice")
        return fields

    def build(self, materials: Materials) -> "JsonAnswers":
        """Raises SuiteInvalid for a schema that is none, and for a reference that is no JSON or breaks it."""
        if self.fields is not None and not self.compare:
            raise SuiteInvalid("json: `fields` are compared with the reference, and `compare` is false")
        schema = load_schema(self.json_schema, materials.folder)
        check = None if schema is None else SchemaCheck(schema)
        found: dict[str, None] = {}
        for case in materials.cases if self.compare else ():
            try:
                wanted = parse_json(case.expected or "")
            except ValueError as error:
                materials.demand(False, case, f"has an `expected` that is no JSON: {error}")
            problem = None if check is None else check.problem(wanted)
            materials.demand(problem is None, case, f"has an `expected` that breaks the schema: {problem}")
            found |= dict.fromkeys(join_pointer([name]) for name in wanted) if isinstance(wanted, dict) else {}
        fields = () if not self.compare else tuple(found) if self.fields is None else self.fields
        return JsonAnswers(schema, check, fields, self.compare, self.allow_fence)


@dataclass(frozen=True, slots=True)
class JsonAnswers:
    """Scores ``json_match`` (equal to the reference), ``fields`` (of the fields that the answer or the reference has,
    the share that is right), a metric ``field:POINTER`` for each, ``schema_valid`` and ``json_valid``.

    A field is right where it equals the reference's, or where both lack it. Numbers are compared by value, the order
    of names never counts, that of arrays does.
    """

    schema: Json | None
    _check: SchemaCheck | None
    fields: tuple[str, ...]
    _compares: bool
    _allow_fence: bool

    def without_reference(self) -> "JsonAnswers":
        """The same, of validity alone."""
        return replace(self, fields=(), _compares=False)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Without a reference only the validity; without a schema only whether it parses."""
        compared = ("json_match",) if self._compares else ()
        fields = ("fields", *(f"field:{pointer}" for pointer in self.fields)) if self.fields else ()
        return (*compared, *fields, *(("schema_valid",) if self._check else ()), "json_valid")

    def score(self, case: Case, answer: Answer) -> Scores:
        """Text that is no JSON scores 0 everywhere."""
        try:
            value = parse_json(unfenced(answer.text) if self._allow_fence else answer.text)
        except ValueError as error:
            note = f"no JSON: {error}: {shorten(answer.text)!r}"
            return dict.fromkeys(self.metrics, Score(0.0, note))
        scores = {"json_valid": Score(1.0)}
        if self._check is not None:
            problem = self._check.problem(value)
            scores["schema_valid"] = Score(1.0) if problem is None else Score(0.0, problem)
        return scores | self._compared(case, value) if self._compares else scores

    def _compared(self, case: Case, value: Any) -> dict[str, Score]:
        wanted = parse_json(case.expected or "")
        same = canonical(wanted) == canonical(value)
        note = "" if same else f"wanted {shorten(canonical(wanted))}, got {shorten(canonical(value))}"
        scores = {"json_match": Score(float(same), note)}
        fields = {pointer: _field(at(wanted, pointer), at(value, pointer)) for pointer in self.fields}
        if fields:
            counted = [one.value for pointer, one in fields.items() if _is_somewhere(pointer, wanted, value)]
            share = sum(counted) / len(counted) if counted else float(same)
            wrong = ", ".join(pointer for pointer, one in fields.items() if not one.value)
            scores["fields"] = Score(share, f"wrong: {wrong}" if wrong else "")
        return scores | {f"field:{pointer}": one for pointer, one in fields.items()}


def load_schema(schema: Path | Json | None, folder: Path) -> Json | None:
    """The schema itself. Raises SuiteInvalid for one that is none, or that points outside of itself."""
    if schema is None:
        return None
    where = "the schema"
    if isinstance(schema, Path):
        where = str(folder / schema)
        try:
            schema = parse_json((folder / schema).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise SuiteInvalid(f"cannot read {where}: {error}") from error
    if not isinstance(schema, dict):
        raise SuiteInvalid(f"{where} must be an object")
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise SuiteInvalid(f"{where} is no JSON Schema: {error.message}") from error
    _check_references(schema, where)
    return schema


def _check_references(schema: Json, where: str) -> None:
    """Every reference must lead to a place in the schema itself: nothing is fetched."""
    resource = referencing.Resource.from_contents(schema, default_specification=referencing.jsonschema.DRAFT202012)
    registry = referencing.Registry().with_resource(schema.get("$id", ""), resource).crawl()
    resolver = registry.resolver(schema.get("$id", ""))
    ahead: list[Any] = [schema]
    while ahead:
        one = ahead.pop()
        if isinstance(one, dict) and isinstance(target := one.get("$ref"), str):
            try:
                resolver.lookup(target)
            except referencing.exceptions.Unresolvable as error:
                raise SuiteInvalid(f"{where} refers to `{target}`, which is nowhere in it") from error
        ahead += one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()


def _is_somewhere(pointer: str, wanted: Any, got: Any) -> bool:
    return not (at(wanted, pointer) is MISSING and at(got, pointer) is MISSING)


def _field(wanted: Any, got: Any) -> Score:
    if isinstance(wanted, Missing) or isinstance(got, Missing):
        if wanted is MISSING and got is MISSING:
            return Score(1.0)
        return Score(0.0, "should not be there" if wanted is MISSING else "is missing")
    same = canonical(wanted) == canonical(got)
    return Score(1.0) if same else Score(0.0, f"wanted {shorten(canonical(wanted))}, got {shorten(canonical(got))}")

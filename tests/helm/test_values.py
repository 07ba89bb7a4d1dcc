"""values.yaml and its schema: everything has a comment, and the schema knows everything."""

import json
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from docs.chart_schema import VALUES, SchemaIncomplete, chart_schema, comments, make_schema, places
from tests.helm.charts import CHART, run_helm

_TEXT = VALUES.read_text(encoding="utf-8")
_VALUES: dict[str, Any] = yaml.safe_load(_TEXT)


def test_every_value_has_a_comment_above_it() -> None:
    said = comments(_TEXT)
    leaves = {place for place in places(_VALUES) if not any(other.startswith(f"{place}.") for other in said)}

    assert sorted(place for place in leaves if not said.get(place)) == []


def test_comments_are_read_whole_and_from_the_right_place() -> None:
    said = comments("# One.\n# Two.\na:\n  # Of b.\n  b: 1\n\n  # Of c.\n  c: {}\nd: x\n")

    assert said == {"a": "One. Two.", "a.b": "Of b.", "a.c": "Of c.", "d": ""}


def test_the_schema_is_a_schema_of_the_draft_that_helm_knows() -> None:
    Draft7Validator.check_schema(json.loads(chart_schema()))


def test_every_map_of_the_schema_is_closed_or_says_what_is_in_it() -> None:
    def open_maps(schema: Any, place: str) -> list[str]:
        if isinstance(schema, list):
            return [found for index, item in enumerate(schema) for found in open_maps(item, f"{place}/{index}")]
        if not isinstance(schema, dict):
            return []
        unsaid = schema.get("type") == "object" and "properties" in schema and "additionalProperties" not in schema
        own = [place] if unsaid and "allOf" not in schema else []
        return own + [found for key, value in schema.items() for found in open_maps(value, f"{place}/{key}")]

    assert open_maps(json.loads(chart_schema()), "") == []


def test_every_setting_of_the_gateway_is_in_the_schema_with_its_description() -> None:
    schema = json.loads(chart_schema())
    config, definitions = schema["properties"]["config"], schema["$defs"]

    assert config["additionalProperties"] is False
    assert {"model", "engine", "tasks", "knowledge", "services"} <= config["properties"].keys()
    assert all(field["description"] for field in definitions["AdapterSettings"]["properties"].values())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("config: {}\n# Of a.\na: {}\n", "a: values.yaml does not tell its type; describe it in helm/schema"),
        ("config: {}\na: 1\n", "a: has no comment in values.yaml"),
    ],
)
def test_a_value_that_nothing_describes_is_refused(text: str, problem: str) -> None:
    with pytest.raises(SchemaIncomplete, match=problem):
        make_schema(text)


def test_helm_shows_the_values_with_their_comments() -> None:
    shown = run_helm("show", "values", str(CHART))

    assert shown.returncode == 0
    assert shown.stdout.strip() == _TEXT.strip()

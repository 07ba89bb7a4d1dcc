"""docs/evaluation.md says what suites take."""

import json
import re
from typing import get_args

import pytest
import yaml

from tests.meta.sources import ROOT
from training.evaluation.scorers import ScorerSettings
from training.evaluation.suite import SuiteFile

PAGE = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
SETTINGS = get_args(get_args(ScorerSettings)[0])


@pytest.mark.parametrize("text", re.findall(r"^```yml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
def test_an_example_suite_is_valid(text: str) -> None:
    SuiteFile.model_validate(yaml.safe_load(text))


@pytest.mark.parametrize("settings", SETTINGS)
def test_every_setting_of_every_scorer_is_documented(settings: type) -> None:
    fields = settings.model_fields  # type: ignore[attr-defined]
    (kind,) = get_args(fields["kind"].annotation)
    (row,) = re.findall(rf"^\| `{kind}` \|.*$", PAGE, re.MULTILINE)
    assert [name for name in fields if name not in ("kind", "name") and f"`{name}" not in row] == []


def test_an_example_case_is_json() -> None:
    (block,) = re.findall(r"^```json\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert all(json.loads(line) for line in block.splitlines())

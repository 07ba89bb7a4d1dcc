"""What a suite says of answers whose right answer nobody knows."""

from pathlib import Path
from typing import Any

import pytest

from tests.suite_factory import ask, make_suite
from training.errors import SuiteInvalid
from training.evaluation.types import Answer, Case
from training.evaluation.unreferenced import checks, mean_score

SCHEMA = {"type": "object", "properties": {"label": {"enum": ["a", "b"]}}, "required": ["label"]}


def score(
    folder: Path, case: dict[str, Any], *scorers: dict[str, Any], text: str, context: tuple[str, ...] = ()
) -> float | None:
    suite = make_suite(folder, [case, case | {"prompt": "and this?", "expected": '{"label": "b"}'}], *scorers)
    asked = Case("sample", ({"role": "user", "content": "?"},), context=context)
    return mean_score(checks(suite), asked, Answer(text))


@pytest.mark.parametrize(
    ("scorer", "text", "expected"),
    [
        ({"kind": "json", "json_schema": SCHEMA}, '{"label": "b"}', 1.0),
        ({"kind": "json", "json_schema": SCHEMA}, '{"label": "c"}', 0.0),
        ({"kind": "json"}, '{"anything": 1}', 1.0),
        ({"kind": "json"}, "{", 0.0),
        ({"kind": "regex", "pattern": "[0-9]+"}, "it is 7", 1.0),
        ({"kind": "regex", "pattern": "[0-9]+"}, "it is many", 0.0),
        ({"kind": "classification", "pointer": "/label"}, '{"label": "B"}', 1.0),
        ({"kind": "classification", "pointer": "/label"}, '{"label": "c"}', 0.0),
        ({"kind": "classification", "pointer": "/label"}, "b", 0.0),
    ],
)
def test_validity_needs_no_reference(tmp_path: Path, scorer: dict[str, Any], text: str, expected: float) -> None:
    assert score(tmp_path, ask("which?", '{"label": "a"}'), scorer, text=text) == expected


def test_several_checks_count_the_same(tmp_path: Path) -> None:
    scorers = ({"kind": "json", "json_schema": SCHEMA}, {"kind": "regex", "pattern": "zzz"})
    assert score(tmp_path, ask("which?", '{"label": "a"}'), *scorers, text='{"label": "a"}') == 0.5


@pytest.mark.parametrize("kind", ["groundedness", "citations"])
def test_what_is_checked_against_passages_needs_some(tmp_path: Path, kind: str) -> None:
    case = ask("how much?", "It costs 79 EUR. [1]", context=["The Team plan costs 79 EUR."])
    text = "The Team plan costs 79 EUR. [1]"
    assert score(tmp_path, case, {"kind": kind}, text=text) is None
    assert score(tmp_path, case, {"kind": kind}, text=text, context=("The Team plan costs 79 EUR.",)) == 1.0
    assert score(tmp_path, case, {"kind": kind}, text="It costs 12 EUR. [4]", context=("Nothing here.",)) == 0.0


def test_a_suite_that_compares_alone_has_nothing_to_say(tmp_path: Path) -> None:
    judge = {"kind": "judge", "url": "http://127.0.0.1:9/v1", "model": "m", "rubric": "Be right."}
    suite = make_suite(tmp_path, [ask("which?", "a")], {"kind": "exact"}, judge)
    with pytest.raises(SuiteInvalid, match="every scorer needs a reference, or is a judge"):
        checks(suite)

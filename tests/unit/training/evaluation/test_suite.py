"""Suites and cases: what is read, and what is refused with its place."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.suite_factory import ask, make_suite, write_suite
from training.errors import SuiteInvalid
from training.evaluation.cases import read_cases
from training.evaluation.suite import load_suite

EXACT = {"kind": "exact"}
USER = {"role": "user", "content": "Hi"}
SAID = {"role": "assistant", "content": "Hello"}


def _rows(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_a_suite_says_what_it_measures(tmp_path: Path) -> None:
    suite = make_suite(
        tmp_path,
        [ask("1", "one", tags=["short"]), ask("2", "two")],
        EXACT,
        {"kind": "regex", "pattern": "o", "name": "has_o"},
        {"kind": "regex", "pattern": "w", "name": "has_w"},
        primary="has_o.regex",
        parameters={"max_tokens": 9},
        repeats=3,
    )
    assert suite.metrics == ("exact", "has_o.regex", "has_w.regex")
    assert (suite.primary, suite.repeats) == ("has_o.regex", 3)
    assert suite.parameters == {"temperature": 0.0, "seed": 0, "max_tokens": 9}
    assert suite.cases[0].tags == ("short",)


def test_none_leaves_a_parameter_to_the_endpoint(tmp_path: Path) -> None:
    suite = make_suite(tmp_path, [ask("1", "a")], parameters={"temperature": None, "seed": None})
    assert suite.parameters == {}


def test_the_digest_is_of_what_is_measured(tmp_path: Path) -> None:
    def digest(folder: str, rows: Any = None, *scorers: Any, **settings: Any) -> str:
        return make_suite(tmp_path / folder, rows or [ask("1", "a")], *(scorers or (EXACT,)), **settings).digest

    same = digest("a")
    assert digest("b") == same
    assert digest("c", description="words") == same
    others = [
        digest("d", [ask("1", "b")]),
        digest("e", [ask("1", "a", context=["x"])]),
        digest("f", None, {"kind": "normalised"}),
        digest("g", parameters={"max_tokens": 5}),
        digest("h", repeats=2),
    ]
    assert len({same, *others}) == 6


def test_a_schema_file_belongs_to_the_digest(tmp_path: Path) -> None:
    found = []
    for kind in ("object", "array"):
        (tmp_path / "schema.json").write_text(json.dumps({"type": kind}), encoding="utf-8")
        scorer = {"kind": "json", "json_schema": "schema.json", "compare": False}
        found.append(make_suite(tmp_path, [ask("1")], scorer).digest)
    assert found[0] != found[1]


def test_other_cases_make_another_digest(tmp_path: Path) -> None:
    suite = make_suite(tmp_path, [ask("1", "a"), ask("2", "b")])
    part = suite.with_cases(suite.cases[:1])
    assert part.digest not in (suite.digest, suite.with_cases(suite.cases[1:]).digest)
    assert part.digest == suite.with_cases(suite.cases[:1]).digest


def test_structured_outputs_send_the_scorers_schema(tmp_path: Path) -> None:
    scorer = {"kind": "json", "json_schema": {"type": "object"}, "compare": False}
    suite = make_suite(tmp_path, [ask("1")], scorer, structured=True)
    assert suite.parameters["response_format"]["json_schema"]["schema"] == {"type": "object"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"scorer": []}, "unknown key `scorer`: did you mean `scorers`\\?"),
        ({"parameters": {"temprature": 1}}, "`parameters`: unknown key `temprature`: did you mean `temperature`"),
        ({"scorers": [{"kind": "exakt"}]}, "exakt"),
        ({"scorers": [{"kind": "exact", "strip": True}]}, "unknown key `strip`: there are kind, name"),
        ({"scorers": []}, "scorers"),
        ({"scorers": [EXACT, EXACT]}, "two scorers measure `exact`; give one of them a `name`"),
        ({"primary": "accuracy"}, "no scorer measures `accuracy`; there are exact"),
        ({"repeats": 0}, "repeats"),
        ({"name": "a b"}, "name"),
        ({"structured": True}, "exactly one json scorer"),
        ({"baseline": {"train": "x.jsonl"}}, "is for suites with a classification scorer"),
        ({"cases": "nowhere.jsonl"}, "cannot read the cases"),
        ({"scorers": [{"kind": "regex", "pattern": "("}]}, "not a regular expression"),
        ({"scorers": [{"kind": "judge", "url": "ftp://x", "model": "m", "rubric": "r"}]}, "url"),
    ],
)
def test_a_suite_that_cannot_be_is_refused_with_its_place(tmp_path: Path, settings: Any, words: str) -> None:
    scorers = settings.pop("scorers", [EXACT])
    with pytest.raises(SuiteInvalid, match=words):
        load_suite(write_suite(tmp_path, [ask("1", "a")], **{"scorers": scorers, **settings}))


@pytest.mark.parametrize("text", ["", "- a", "a: [", "\x00", "name: a\nname: b", "a: {b: 1, b: 2}"])
def test_a_file_that_is_no_suite_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SuiteInvalid, match=r"suite\.yaml"):
        load_suite(path)


def test_baseline_rows_that_are_missing_are_refused(tmp_path: Path) -> None:
    rows = [ask("1", "a"), ask("2", "b")]
    with pytest.raises(SuiteInvalid, match="cannot read the baseline's rows"):
        make_suite(tmp_path, rows, {"kind": "classification"}, baseline={"train": "nowhere.jsonl"})


# Cases


def test_the_last_message_of_a_chat_row_is_the_reference(tmp_path: Path) -> None:
    system = {"role": "system", "content": "Be kind."}
    row = {"messages": [system, USER, SAID | {"weight": 1}]}
    (case,) = read_cases(_rows(tmp_path, json.dumps(row)))
    assert case.messages == (system, USER)
    assert case.expected == "Hello"


def test_an_earlier_assistant_message_is_part_of_the_question(tmp_path: Path) -> None:
    row = {"messages": [USER, SAID | {"weight": 0}, USER], "expected": "Bye"}
    (case,) = read_cases(_rows(tmp_path, json.dumps(row)))
    assert case.messages == (USER, SAID, USER)
    assert case.expected == "Bye"


def test_a_reference_that_is_no_text_stands_for_its_json(tmp_path: Path) -> None:
    cases = read_cases(_rows(tmp_path, json.dumps(ask("1", {"a": "ä"})), json.dumps(ask("2", 3))))
    assert [case.expected for case in cases] == ['{"a": "ä"}', "3"]


def test_a_name_stays_when_lines_move(tmp_path: Path) -> None:
    first, second = json.dumps(ask("1", "a")), json.dumps(ask("2", "b"))
    before = {case.id: case.expected for case in read_cases(_rows(tmp_path, first, second))}
    after = {case.id: case.expected for case in read_cases(_rows(tmp_path, "", second, first))}
    assert before == after


def test_the_same_question_twice_gets_two_names(tmp_path: Path) -> None:
    one, two, three = read_cases(_rows(tmp_path, *[json.dumps(ask("1", "a"))] * 3))
    assert (two.id, three.id) == (f"{one.id}-2", f"{one.id}-3")


def test_lines_count_from_one_and_blank_ones_too(tmp_path: Path) -> None:
    path = _rows(tmp_path, "\ufeff" + json.dumps(ask("1", "a")), "", json.dumps(ask("2", "b")))
    assert [case.line for case in read_cases(path)] == [1, 3]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "Expecting"),
        ("[]", "dict|mapping|valid"),
        ("3", "valid"),
        ('{"prompt": "a", "prompt": "b"}', "twice"),
        ('{"prompt": NaN}', "NaN"),
        ('{"prompt": ""}', "prompt"),
        ("{}", "either `prompt` or `messages`"),
        (json.dumps({"prompt": "a", "messages": [USER]}), "either `prompt` or `messages`"),
        (json.dumps({"messages": []}), "messages"),
        (json.dumps({"messages": [SAID]}), "no message is the user's"),
        (json.dumps({"messages": [USER, SAID], "expected": "x"}), "leave out `expected`"),
        (json.dumps({"messages": [USER, {"role": "assistant"}]}), "needs `content`"),
        (json.dumps({"messages": [{"role": "user", "content": ""}]}), "needs `content`"),
        (json.dumps({"messages": [{"role": "robot", "content": "x"}]}), "role"),
        (json.dumps({"messages": [USER | {"text": "x"}]}), "unknown key `text`"),
        (json.dumps({"messages": [USER, {"role": "assistant", "content": [{"type": "text"}]}]}), "must be one text"),
        (json.dumps(ask("a", expect="b")), "unknown key `expect`: did you mean `expected`"),
        (json.dumps(ask("a", tags="b")), "tags"),
        (json.dumps(ask("a", tools=[{"type": "web"}])), "tools.0"),
        (json.dumps(ask("a", context="text")), "context"),
        ("[" * 5000, "deeply|Expecting"),
    ],
)
def test_a_line_that_is_no_case_is_refused_with_its_number(tmp_path: Path, line: str, words: str) -> None:
    path = _rows(tmp_path, json.dumps(ask("1", "a")), line)
    with pytest.raises(SuiteInvalid, match=rf"rows\.jsonl:2: .*({words})"):
        read_cases(path)


def test_every_problem_is_told_up_to_twenty(tmp_path: Path) -> None:
    with pytest.raises(SuiteInvalid) as caught:
        read_cases(_rows(tmp_path, *["{"] * 25))
    lines = str(caught.value).splitlines()
    assert lines[19].split(": ")[0].endswith(":20")
    assert lines[20] == "… and 5 more"


def test_an_id_that_stands_twice_is_refused_with_both_lines(tmp_path: Path) -> None:
    rows = [json.dumps(ask(prompt, "a", id="same")) for prompt in "12"]
    with pytest.raises(SuiteInvalid, match=r"rows\.jsonl:2: the id `same` stands on line 1 too"):
        read_cases(_rows(tmp_path, *rows))


def test_text_in_another_encoding_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"prompt": "a"}\n{"prompt": "\xe4"}\n')
    with pytest.raises(SuiteInvalid, match=r"rows\.jsonl:2: .*utf-8"):
        read_cases(path)


def test_a_file_without_cases_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SuiteInvalid, match="has no cases"):
        read_cases(_rows(tmp_path, "", " "))


def test_an_exact_match_needs_references(tmp_path: Path) -> None:
    for kind in ("exact", "normalised"):
        with pytest.raises(SuiteInvalid, match=r"cases\.jsonl:2: .* has no `expected`"):
            make_suite(tmp_path, [ask("1", "a"), ask("2")], {"kind": kind})

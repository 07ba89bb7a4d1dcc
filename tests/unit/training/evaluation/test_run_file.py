"""Run files and journals."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from training.errors import RunInvalid, RunRefused
from training.evaluation.journal import Journal
from training.evaluation.run_file import read_run, write_run
from training.evaluation.types import Answer, CaseResult, SuiteRun

ANSWER = Answer(
    "Grüße \ud800",
    tool_calls=({"function": {"name": "f", "arguments": "{}"}},),
    finish_reason="stop",
    version="a@1",
    prompt_tokens=3,
    seconds=0.25,
    citations=({"type": "url_citation"},),
)
RUN = SuiteRun(
    "s",
    "0" * 64,
    "m",
    None,
    "exact",
    (
        CaseResult("a", 0, ANSWER, {"exact": 1.0}),
        CaseResult("b", 1, Answer("", error="500"), {"exact": 0.0}, {"exact": "why"}, ({"metric": "judge"},)),
    ),
    {"endpoint": "http://x/v1", "seeds": [0, 1]},
)
HEAD = {"suite_digest": "0", "model": "m"}


def test_a_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "run.json"
    write_run(path, RUN)
    assert read_run(path) == RUN
    write_run(path, replace(RUN, results=()))
    assert read_run(path).results == ()
    assert [one.name for one in path.parent.iterdir()] == ["run.json"]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"format": 2}', '{"format": 1}', '{"format": 1, "results": 3}', "[" * 9999]
)
def test_a_file_that_is_no_run_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RunInvalid, match=r"run\.json"):
        read_run(path)


def test_a_run_with_an_unknown_field_in_an_answer_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write_run(path, RUN)
    path.write_text(path.read_text(encoding="utf-8").replace('"finish_reason"', '"reason"'), encoding="utf-8")
    with pytest.raises(RunInvalid, match="damaged"):
        read_run(path)


def test_a_missing_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunInvalid, match="cannot read"):
        read_run(tmp_path / "run.json")


async def _filled(path: Path, *keys: tuple[str, int]) -> None:
    with Journal(path, HEAD) as journal:
        for key in keys:
            await journal.add_answer(key, ANSWER)


async def test_a_journal_gives_its_answers_back(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    await _filled(path, ("a", 0), ("a", 1))
    with Journal(path, HEAD) as journal:
        assert journal.answers == {("a", 0): ANSWER, ("a", 1): ANSWER}
        await journal.add_verdicts(("a", 0), ({"value": 1.0},))
    with Journal(path, HEAD) as journal:
        assert journal.verdicts == {("a", 0): ({"value": 1.0},)}


async def test_an_answer_that_failed_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    with Journal(path, HEAD) as journal:
        await journal.add_answer(("a", 0), Answer("", error="500"))
    with Journal(path, HEAD) as journal:
        assert journal.answers == {}


async def test_verdicts_on_an_answer_that_was_asked_again_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    with Journal(path, HEAD) as journal:
        await journal.add_verdicts(("a", 0), ({"value": 1.0},))
        await journal.add_answer(("a", 0), ANSWER)
    with Journal(path, HEAD) as journal:
        assert journal.verdicts == {}


async def test_every_cut_of_a_journal_loses_at_most_the_line_that_it_cuts(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    await _filled(path, ("a", 0), ("b", 0))
    whole = path.read_bytes()
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        with Journal(path, HEAD) as journal:
            assert len(journal.answers) == max(0, whole[:size].count(b"\n") - 1)
            await journal.add_answer(("c", 0), ANSWER)
        with Journal(path, HEAD) as journal:
            assert ("c", 0) in journal.answers


async def test_a_journal_of_another_run_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    await _filled(path, ("a", 0))
    before = path.read_bytes()
    with pytest.raises(RunRefused, match="another run \\(model differ\\)"):
        Journal(path, HEAD | {"model": "other"})
    assert path.read_bytes() == before


def test_a_journal_that_is_open_elsewhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    with Journal(path, HEAD), pytest.raises(RunRefused, match="another process"):
        Journal(path, HEAD)


@pytest.mark.parametrize(
    "line", ["{", "[]", "3", '{"case_id": "a"}', '{"case_id": "a", "repeat": 0, "answer": {"x": 1}}']
)
def test_a_damaged_line_is_refused_with_its_number(tmp_path: Path, line: str) -> None:
    path = tmp_path / "j.jsonl"
    path.write_text(f"{json.dumps(HEAD)}\n{line}\n", encoding="utf-8")
    with pytest.raises(RunRefused, match=r"j\.jsonl:2: damaged"):
        Journal(path, HEAD)


@pytest.mark.parametrize("line", ["null", "[]", '"x"'])
def test_a_head_that_is_none_is_refused(tmp_path: Path, line: Any) -> None:
    path = tmp_path / "j.jsonl"
    path.write_text(f"{line}\n", encoding="utf-8")
    with pytest.raises(RunRefused, match=r"j\.jsonl:1: damaged"):
        Journal(path, HEAD)

"""What a run comes to, for machines and as Markdown; and the classical baseline."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from tests.suite_factory import ask, make_suite
from training.errors import SuiteInvalid
from training.evaluation.baseline import classical_baseline
from training.evaluation.markdown import escaped, notes, render_markdown
from training.evaluation.scorers.classification import Classification
from training.evaluation.scoring import score
from training.evaluation.suite import Suite
from training.evaluation.summary import Summary, summarise
from training.evaluation.types import Answer, Json, SuiteRun

LABELS = {"kind": "classification"}
FRUIT = [
    ask("a red apple", "apple", tags=["red"]),
    ask("a yellow banana", "banana"),
    ask("a green apple", "apple", tags=["green"]),
    ask("bananas, many", "banana", tags=["green", "red"]),
]


def _run(suite: Suite, *repeats: list[str | None], record: Json | None = None, verdicts: Any = ()) -> SuiteRun:
    """A run whose answers are given, for each repeat one for each case; None is an answer that failed."""
    results = tuple(
        score(suite, case, Answer("", error="500") if text is None else Answer(text), repeat, verdicts)
        for place, case in enumerate(suite.cases)
        for repeat, texts in enumerate(repeats)
        for text in [texts[place]]
    )
    return SuiteRun(suite.name, suite.digest, "m", "a@1", suite.primary, results, record or {})


def _summary(tmp_path: Path, *repeats: list[str | None]) -> Summary:
    suite = make_suite(tmp_path, FRUIT, LABELS)
    return summarise(suite, _run(suite, *repeats))


def test_metrics_have_means_and_intervals(tmp_path: Path) -> None:
    found = _summary(tmp_path, ["apple", "banana", "banana", "a story"])
    accuracy, valid = found.metrics
    assert (accuracy.name, accuracy.mean, accuracy.cases) == ("accuracy", 0.5, 4)
    assert accuracy.interval.low < 0.5 < accuracy.interval.high
    assert valid.mean == 0.75
    assert found.primary_metric == accuracy


def test_labels_are_summed_up(tmp_path: Path) -> None:
    (labels,) = _summary(tmp_path, ["apple", "banana", "banana", "a story"]).classifications
    assert labels.outside == 1
    assert labels.confused == (("apple", "banana", 1), ("banana", None, 1))
    assert sum(count for *_, count in labels.confusion) == 4
    assert labels.macro_f1 == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert labels.macro_f1_interval.low <= labels.macro_f1 <= labels.macro_f1_interval.high


def test_slices_are_by_tag_and_a_case_may_be_in_several(tmp_path: Path) -> None:
    found = _summary(tmp_path, ["apple", "banana", "banana", "banana"])
    assert {tag: (metric.mean, metric.cases) for tag, metric in found.slices.items()} == {
        "green": (0.5, 2),
        "red": (1, 2),
    }


def test_the_worst_cases_come_first_and_say_why(tmp_path: Path) -> None:
    found = _summary(tmp_path, ["apple", "apple", None, "a story"])
    assert [one.line for one in found.worst] == [3, 4, 2]
    assert found.worst[0].answer == "500"
    assert found.worst[1].notes["accuracy"] == "no label: 'a story'"
    assert found.errors == {"500": 1}


def test_a_case_counts_once_and_repeats_tell_the_noise(tmp_path: Path) -> None:
    one: list[str | None] = ["apple", "banana", "apple", "apple"]
    found = _summary(tmp_path, one, ["apple", "banana", "banana", "apple!"])
    accuracy = found.metrics[0]
    assert (accuracy.mean, accuracy.cases, found.repeats) == (0.625, 4, 2)
    assert accuracy.noise is not None
    assert accuracy.noise.agreement == 0.75
    assert found.same_text == 0.5
    assert any("Repeats agree on accuracy for 75.0%" in note for note in notes(found))


def test_without_repeats_there_is_no_noise(tmp_path: Path) -> None:
    found = _summary(tmp_path, ["apple"] * 4)
    assert found.same_text is None
    assert found.metrics[0].noise is None


def test_a_run_of_another_suite_is_refused(tmp_path: Path) -> None:
    suite = make_suite(tmp_path, FRUIT, LABELS)
    run = _run(suite, ["apple"] * 4)
    with pytest.raises(ValueError, match="another suite"):
        summarise(suite.with_cases(suite.cases[:2]), run)


def test_a_run_without_any_answer_is_summed_up(tmp_path: Path) -> None:
    found = _summary(tmp_path, [None] * 4)
    assert (found.metrics[0].mean, found.seconds_median) == (0, None)
    assert "4 answers are missing and score 0: 500" in list(notes(found))


def test_missing_verdicts_are_counted_and_left_out(tmp_path: Path) -> None:
    judge = {"kind": "judge", "url": "http://j", "model": "m", "rubric": "r"}
    suite = make_suite(tmp_path, FRUIT[:2], {"kind": "exact"}, judge)
    lost = {"metric": "judge", "order": "", "value": None, "reason": "no", "replies": ["x", "y"], "seconds": 1.0}
    run = _run(suite, ["apple", "banana"], verdicts=[lost])
    (result, _) = run.results
    given = dataclasses.replace(result, scores={**result.scores, "judge": 0.5}, verdicts=({**lost, "value": 0.5},))
    found = summarise(suite, dataclasses.replace(run, results=(given, run.results[1])))
    judged = found.metrics[1]
    assert (judged.name, judged.cases, judged.missing, judged.mean) == ("judge", 1, 1, 0.5)
    assert found.judging == {
        "verdicts": 2,
        "unreadable_replies": 3,
        "without_verdict": 1,
        "contradictions": 0,
        "seconds": 2.0,
    }
    assert "judge: 1 answers have no verdict and are left out." in list(notes(found))


def test_a_judges_metric_that_no_case_has_is_left_out(tmp_path: Path) -> None:
    judge = {"kind": "judge", "url": "http://j", "model": "m", "rubric": "r"}
    suite = make_suite(tmp_path, FRUIT[:2], judge)
    found = summarise(suite, _run(suite, ["apple", "banana"]))
    assert (found.metrics, found.primary_metric) == ((), None)


def test_a_summary_is_json(tmp_path: Path) -> None:
    found = _summary(tmp_path, ["apple", "banana", "\ud800", None])
    assert json.loads(json.dumps(found.to_json()))["metrics"][0]["name"] == "accuracy"


# Markdown


def test_the_markdown_has_every_number(tmp_path: Path) -> None:
    page = render_markdown(_summary(tmp_path, ["apple", "banana", "banana", "a story"]))
    assert "| **accuracy** | 0.500 | 0.150 to 0.850 |" in page
    assert "| macro\\_f1 | 0.583 |" in page
    assert "| banana | *no label* | 1 |" in page
    assert "| green |" in page
    assert "1 answers are none of the labels; they count as wrong." in page


def test_what_a_model_says_cannot_break_the_page(tmp_path: Path) -> None:
    hostile = "| x |\n# Title\n<script>alert(1)</script> [a](http://x) `b` **c** \ud800"
    page = render_markdown(_summary(tmp_path, [hostile] * 4))
    rows = [line for line in page.splitlines() if "Title" in line]
    assert rows
    assert all(line.startswith("| ") and line.replace("\\|", "").count("|") == 7 for line in rows)
    assert "<script>" not in page
    assert "[a](http" not in page
    assert "\\[a\\](http" in page
    page.encode()


def test_long_texts_are_cut() -> None:
    assert len(escaped("x" * 1000)) == 160


# The baseline


def _baseline(tmp_path: Path, rows: list[Json]) -> Any:
    suite = make_suite(tmp_path, FRUIT, LABELS)
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    scorer = suite.scorers[0].scorer
    assert isinstance(scorer, Classification)
    return classical_baseline(scorer, suite.cases, path), suite


ROWS = [
    ask(f"{word} {fruit} number {number}", fruit)
    for number, word in enumerate(("a", "one", "my"))
    for fruit in ("apple", "banana")
]


def test_the_baseline_learns_from_its_rows_and_is_always_the_same(tmp_path: Path) -> None:
    found, suite = _baseline(tmp_path, [*ROWS, ask("a red apple", "apple")])
    again, _ = _baseline(tmp_path, [*ROWS, ask("a red apple", "apple")])
    assert found.accuracy == found.macro_f1 == 1.0
    assert found.predictions == again.predictions == {case.id: case.expected for case in suite.cases}
    assert (found.rows, found.overlap) == (7, 1)


def test_a_baseline_may_know_labels_that_the_suite_does_not(tmp_path: Path) -> None:
    found, _ = _baseline(tmp_path, [*ROWS, ask("a cherry", "cherry")])
    assert found.accuracy == 1.0


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([*ROWS, ask("no label")], r"train\.jsonl:7: the row has no label"),
        ([ask("one", "apple"), ask("two", "apple")], "at least two labels"),
    ],
)
def test_rows_that_teach_nothing_are_refused(tmp_path: Path, rows: list[Json], words: str) -> None:
    with pytest.raises(SuiteInvalid, match=words):
        _baseline(tmp_path, rows)


def test_the_baseline_stands_beside_the_model(tmp_path: Path) -> None:
    found, suite = _baseline(tmp_path, ROWS)
    summary = summarise(suite, _run(suite, ["apple"] * 4, record={"baseline": found.to_json()}))
    assert summary.baseline is not None
    assert summary.baseline["interval"]["high"] == 1.0
    assert "| baseline: accuracy | 1.000 |" in render_markdown(summary)
    assert any("from 6 rows." in note for note in notes(summary))

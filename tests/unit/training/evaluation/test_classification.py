"""Labels: what an answer says, and how labels fare."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, precision_recall_fscore_support

from tests.suite_factory import ask, case_of, make_suite
from training.errors import SuiteInvalid
from training.evaluation.scorers.classification import Classification, ClassificationSettings, confusion
from training.evaluation.scorers.protocol import Materials
from training.evaluation.types import Answer, Case

LABELS = ("card_arrival", "Lost Card", "top-up")


def _classification(**settings: object) -> Classification:
    data = {"kind": "classification", "labels": LABELS, **settings}
    return ClassificationSettings.model_validate(data).build(Materials(Path(), (), Path("cases.jsonl")))


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("card_arrival", "card_arrival"),
        (" lost card.\n", "Lost Card"),
        ("TOP UP", "top-up"),
        ("I think it is top-up", None),
        ("", None),
        ("card_arrival card_arrival", None),
    ],
)
def test_an_answer_is_a_label_under_any_writing_and_nothing_else(text: str, label: str | None) -> None:
    assert _classification().predicted(Answer(text)) == label


def test_an_exact_label_must_be_written_as_it_is() -> None:
    strict = _classification(match="exact", labels=("card", "lost"))
    assert strict.predicted(Answer(" card ")) == "card"
    assert strict.predicted(Answer("Card!")) is None


def test_labels_that_only_punctuation_tells_apart_are_compared_as_they_are() -> None:
    scorer = _classification(labels=("top-up", "top_up"))
    assert scorer.predicted(Answer("top_up")) == "top_up"
    assert scorer.predicted(Answer("TOP UP")) is None


def test_an_answer_outside_the_labels_is_wrong_and_told() -> None:
    scores = _classification().score(case_of("top-up"), Answer("a story"))
    assert (scores["accuracy"].value, scores["valid_label"].value) == (0, 0)
    assert scores["accuracy"].note == "no label: 'a story'"
    wrong = _classification().score(case_of("top-up"), Answer("lost card"))
    assert (wrong["accuracy"].value, wrong["valid_label"].value) == (0, 1)


@pytest.mark.parametrize("text", ['{"label": "top-up"}', '{"label": " TOP UP "}'])
def test_a_label_stands_at_a_pointer(text: str) -> None:
    scorer = _classification(pointer="/label")
    assert scorer.predicted(Answer(text)) == "top-up"


@pytest.mark.parametrize("text", ["top-up", "{}", '{"label": 3}', '{"label": null}', "[" * 10_000, '{"label": "x"'])
def test_an_answer_without_a_label_at_its_pointer_has_none(text: str) -> None:
    assert _classification(pointer="/label").predicted(Answer(text)) is None


def test_labels_are_those_of_the_references_unless_they_are_given(tmp_path: Path) -> None:
    suite = make_suite(tmp_path, [ask("1", "b"), ask("2", "a"), ask("3", "b")], {"kind": "classification"})
    assert suite.scorers[0].scorer.labels == ("a", "b")  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("rows", "settings", "words"),
    [
        ([ask("1", "a"), ask("2")], {}, r"cases.jsonl:2: .* has no label"),
        ([ask("1", "a"), ask("2", "c")], {"labels": ["a", "b"]}, r"cases.jsonl:2: .* wants `c`, which is none of"),
        ([ask("1", "a"), ask("2", "a")], {}, "at least two labels"),
        ([ask("1", "a"), ask("2", "b")], {"labels": ["a", "a", "b"]}, "stands twice: a"),
        ([ask("1", "a"), ask("2", "b")], {"pointer": "label"}, "starts with `/`"),
        ([ask("1", {"l": "a"}), ask("2", {"x": "b"})], {"pointer": "/l"}, r"cases.jsonl:2: .* no label at `/l`"),
    ],
)
def test_labels_that_cannot_be_are_refused(
    tmp_path: Path, rows: list[dict[str, object]], settings: dict[str, object], words: str
) -> None:
    with pytest.raises(SuiteInvalid, match=words):
        make_suite(tmp_path, rows, {"kind": "classification", **settings})


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["a", "b", "c", "d", None])), min_size=1))
def test_label_scores_are_those_of_scikit_learn(pairs: list[tuple[str, str | None]]) -> None:
    table = confusion(pairs)
    wanted = [pair[0] for pair in pairs]
    said = [pair[1] or "none" for pair in pairs]
    labels = sorted(set(wanted))
    expected = f1_score(wanted, said, labels=labels, average="macro", zero_division=0)
    assert table.macro_f1 == pytest.approx(expected)
    each = precision_recall_fscore_support(wanted, said, labels=labels, zero_division=0)
    for place, one in enumerate(table.per_label):
        assert (one.precision, one.recall, one.f1, one.support) == pytest.approx([column[place] for column in each])
    assert table.outside == said.count("none")


def test_a_case_without_an_answer_has_no_label() -> None:
    assert _classification().predicted(Answer("top-up", error="500")) is None


def test_a_reference_in_json_gives_the_label() -> None:
    case = Case("c", (), expected=json.dumps({"label": "top-up"}))
    assert _classification(pointer="/label").wanted(case) == "top-up"

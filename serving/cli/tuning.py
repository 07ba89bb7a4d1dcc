"""Judged questions, put to a live store, to the fusion weights that suit it."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from retrieval.ir_metrics import Measure, Qrels, mean_over
from retrieval.tuning import split, tune_fusion
from serving.cli.client import REFUSED, Failed
from serving.cli.stores import View

FEWEST = 10
"""Judged questions: with fewer, the weights would say nothing of the next question."""

_UNKNOWN_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Question:
    """A question and what answers it."""

    text: str
    grades: Mapping[str, int]
    """By source, file name or file id; 0 or less is not relevant."""


def read_questions(path: Path) -> list[Question]:
    """The judged questions of a file of JSON lines. Raises Failed, with the number of the line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise Failed(REFUSED, "qrels_unreadable", f"{path} cannot be read: {why}.") from error
    questions: dict[str, Question] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            question = _question(json.loads(line))
            if question.text in questions:
                raise ValueError("the same question as in a line before")
        except (ValueError, RecursionError) as error:
            raise Failed(REFUSED, "qrels_invalid", f"{path}, line {number}: {error}.") from None
        questions[question.text] = question
    judged = [one for one in questions.values() if any(grade > 0 for grade in one.grades.values())]
    if len(judged) < FEWEST:
        raise Failed(
            REFUSED, "too_few_questions", f"{path} has {len(judged)} questions with an answer; {FEWEST} are needed."
        )
    return judged


def _question(data: Any) -> Question:
    if not isinstance(data, dict) or not isinstance(data.get("query"), str) or not data["query"].strip():
        raise ValueError('an object with "query" and "relevant" is needed')
    relevant = data.get("relevant")
    if isinstance(relevant, list):
        relevant = {name: 1 for name in relevant if _is_name(name, 1)}
    if not isinstance(relevant, dict) or not all(_is_name(name, grade) for name, grade in relevant.items()):
        raise ValueError('"relevant" must be a list of names, or an object of names and whole numbers')
    return Question(data["query"], relevant)


def _is_name(name: object, grade: object) -> bool:
    if not isinstance(name, str) or not isinstance(grade, int) or isinstance(grade, bool):
        raise ValueError('"relevant" must be a list of names, or an object of names and whole numbers')
    return True


def tuned(
    store: View, documents: Sequence[View], questions: Sequence[Question], measure: str, ask: Callable[[str], View]
) -> View:
    """The best setting for a store, and what it is worth.

    Args:
        ask: the explained answer to a question.

    Raises:
        Failed: nothing can be tuned, for instance because one arm is not searched; or asking failed.
    """
    try:
        measuring = Measure(measure)
    except ValueError as error:
        raise Failed(REFUSED, "unknown_measure", f"{error}.") from None
    qrels, unknown = _resolved(questions, documents)
    if len(qrels) < FEWEST:
        raise Failed(
            REFUSED,
            "too_few_questions",
            f"{len(qrels)} questions have an answer in this store; {FEWEST} are needed. Unknown here: "
            f"{', '.join(unknown[:_UNKNOWN_SHOWN])}.",
        )
    answers = {one: ask(one) for one in qrels}
    lists = {one: _arms(answer) for one, answer in answers.items()}
    try:
        best = tune_fusion(lists, qrels, measuring)
    except ValueError as error:
        raise Failed(REFUSED, "not_tunable", f"This cannot be tuned: {error}.") from None
    kept_back = {one: qrels[one] for one in split(qrels.keys())[1]}
    present = mean_over(kept_back, {one: _first_seen(_fused(answers[one])) for one in kept_back}, measuring)
    result = {
        "object": "knowledge.tuning",
        "store": {"id": store["id"], "name": store["name"]},
        "measure": measuring.name,
        "tuned_on": best.tuned_on,
        "reported_on": best.reported_on,
        "fusion": best.method.value,
        "weights": {name: round(weight, 2) for name, weight in best.weights.items()},
        "value": best.value,
        "arms": dict(best.arms),
        "present": present,
        "answered": None,
        "unknown": unknown,
    }
    if any("reranked" in one["scores"] for answer in answers.values() for one in answer["data"]):
        result["answered"] = mean_over(
            kept_back, {one: _first_seen(answers[one]["data"]) for one in kept_back}, measuring
        )
    return result | {"yaml": _yaml(result)}


def _resolved(questions: Iterable[Question], documents: Sequence[View]) -> tuple[Qrels, list[str]]:
    """The judgments by file id, of the questions that the store holds an answer to; and names that it lacks.

    A document that is not there stays among the judgments: it is one that no search finds.
    """
    places: dict[str, list[str]] = {}
    for naming in (_file_name, _source, _id):
        # What names a document more exactly replaces what names it less so.
        named: dict[str, list[str]] = {}
        for one in documents:
            named.setdefault(naming(one), []).append(one["id"])
        places |= named
    unknown = dict.fromkeys(name for one in questions for name in one.grades if name not in places)
    qrels = {
        one.text: {place: grade for name, grade in one.grades.items() for place in places.get(name, [name])}
        for one in questions
        if any(grade > 0 and name in places for name, grade in one.grades.items())
    }
    return qrels, list(unknown)


def _file_name(document: View) -> str:
    return str(document["filename"])


def _source(document: View) -> str:
    return str(document["attributes"].get("source", document["filename"]))


def _id(document: View) -> str:
    return str(document["id"])


def _arms(answer: View) -> dict[str, list[tuple[str, float]]]:
    """What each arm found. Raises Failed where the key is not told."""
    if "arms" not in answer:
        raise Failed(REFUSED, "permission_denied", "Tuning needs scores that only an administrator's key is told.")
    return {name: _documents(arm) for name, arm in answer["arms"][0].items()}


def _documents(arm: Sequence[tuple[str, int, float]]) -> list[tuple[str, float]]:
    """The best passage speaks for its document."""
    best: dict[str, float] = {}
    for file_id, _, score in arm:
        best.setdefault(file_id, score)
    return list(best.items())


def _fused(answer: View) -> list[View]:
    """The passages in the order of the fusion, before any reranker."""
    return sorted(answer["data"], key=lambda one: -one["scores"].get("fused", 0.0))


def _first_seen(passages: Iterable[View]) -> list[str]:
    return list(dict.fromkeys(one["file_id"] for one in passages))


def _yaml(result: View) -> str:
    weights = {f"{name}_weight": weight for name, weight in result["weights"].items()}
    search = {"fusion": result["fusion"], **weights}
    name = result["store"]["name"] or "NAME"
    return str(yaml.safe_dump({"knowledge": {"bases": {name: {"search": search}}}}, sort_keys=False))

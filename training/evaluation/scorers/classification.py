"""Answers as one label of several."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field, field_validator

from monitoring.json_text import parse_json
from training.errors import SuiteInvalid
from training.evaluation.json_values import at, split_pointer
from training.evaluation.scorers.protocol import Materials, Named, Score, Scores, shorten
from training.evaluation.scorers.text import normalise
from training.evaluation.types import Answer, Case


class ClassificationSettings(Named):
    """The answer is a label, or a JSON object that holds one."""

    kind: Literal["classification"]
    labels: tuple[str, ...] | None = Field(default=None, min_length=2)
    """The labels that there are; those of the cases' references unless they are given."""
    pointer: str | None = None
    """Where in a JSON answer, and in the reference, the label stands."""
    match: Literal["exact", "normalised"] = "normalised"

    @field_validator("pointer")
    @classmethod
    def _is_pointer(cls, pointer: str | None) -> str | None:
        if pointer is not None:
            split_pointer(pointer)
        return pointer

    @field_validator("labels")
    @classmethod
    def _differ(cls, labels: tuple[str, ...] | None) -> tuple[str, ...] | None:
        twice = sorted({label for label in labels or () if (labels or ()).count(label) > 1})
        if twice:
            raise ValueError(f"a label stands twice: {', '.join(twice)}")
        return labels

    def build(self, materials: Materials) -> "Classification":
        """Raises SuiteInvalid for a case without a label, or with one that ``labels`` lacks."""
        wanted = {}
        for case in materials.cases:
            label = raw_label(case.expected or "", self.pointer)
            place = f" at `{self.pointer}`" if self.pointer is not None else ""
            materials.demand(bool(label), case, f"has no label{place} in its `expected`")
            materials.demand(
                self.labels is None or label in self.labels, case, f"wants `{label}`, which is none of `labels`"
            )
            wanted[case.id] = str(label)
        labels = self.labels or tuple(sorted(set(wanted.values())))
        if len(labels) < 2:
            raise SuiteInvalid(f"{materials.cases_file}: classification needs cases of at least two labels")
        return Classification(labels, self.pointer, _by_normal(labels) if self.match == "normalised" else {})


@dataclass(frozen=True, slots=True)
class Classification:
    """Scores ``accuracy``, and ``valid_label``: whether the answer is any of the labels."""

    labels: tuple[str, ...]
    pointer: str | None
    _by_normal: Mapping[str, str]
    metrics = ("accuracy", "valid_label")

    def wanted(self, case: Case) -> str:
        """The label of a case's reference."""
        return raw_label(case.expected or "", self.pointer) or ""

    def predicted(self, answer: Answer) -> str | None:
        """The label that an answer says; None where it says none of the labels, or there is no answer."""
        return None if answer.error else self.label_of(answer.text)

    def label_of(self, text: str) -> str | None:
        """The label that a text says, under any of its writings; None for a text that is none of the labels."""
        raw = raw_label(text, self.pointer)
        if raw is None:
            return None
        return raw if raw in self.labels else self._by_normal.get(normalise(raw))

    def score(self, case: Case, answer: Answer) -> Scores:
        """An answer that is no label is wrong."""
        wanted, predicted = self.wanted(case), self.predicted(answer)
        if predicted is None:
            note = f"no label: {shorten(answer.text)!r}"
            return {"accuracy": Score(0.0, note), "valid_label": Score(0.0, note)}
        right = Score(1.0) if predicted == wanted else Score(0.0, f"wanted {wanted}, got {predicted}")
        return {"accuracy": right, "valid_label": Score(1.0)}


def raw_label(text: str, pointer: str | None) -> str | None:
    """The label as a text writes it; None where there is none at ``pointer``."""
    if pointer is None:
        return text.strip() or None
    try:
        value = at(parse_json(text), pointer)
    except ValueError:
        return None
    return value.strip() or None if isinstance(value, str) else None


@dataclass(frozen=True, slots=True)
class LabelScores:
    """How one label fares."""

    label: str
    support: int
    """Observations whose label it is."""
    precision: float
    """Of those said to be it; 0 where none is."""
    recall: float
    f1: float


@dataclass(frozen=True, slots=True)
class Confusion:
    """What was wanted against what was said, over observations."""

    counts: Mapping[tuple[str, str | None], int]
    """By wanted and predicted label; None is an answer outside the labels."""

    @property
    def outside(self) -> int:
        """Answers that are no label."""
        return sum(count for (_, predicted), count in self.counts.items() if predicted is None)

    @property
    def per_label(self) -> tuple[LabelScores, ...]:
        """Every label that was wanted at least once, by name."""
        return tuple(self._scores(label) for label in sorted({wanted for wanted, _ in self.counts}))

    @property
    def macro_f1(self) -> float:
        """The mean F1 of the labels that were wanted at least once; 0 without observations."""
        scores = self.per_label
        return sum(one.f1 for one in scores) / len(scores) if scores else 0.0

    def _scores(self, label: str) -> LabelScores:
        support = sum(count for (wanted, _), count in self.counts.items() if wanted == label)
        said = sum(count for (_, predicted), count in self.counts.items() if predicted == label)
        right = self.counts.get((label, label), 0)
        return LabelScores(label, support, right / said if said else 0.0, right / support, 2 * right / (said + support))


def confusion(pairs: Sequence[tuple[str, str | None]]) -> Confusion:
    """Count pairs of wanted and predicted label."""
    counts: dict[tuple[str, str | None], int] = {}
    for pair in pairs:
        counts[pair] = counts.get(pair, 0) + 1
    return Confusion(counts)


def _by_normal(labels: Sequence[str]) -> dict[str, str]:
    """Labels by what is left of them once normalised. What two labels share names neither."""
    normal = [normalise(label) for label in labels]
    return {one: label for one, label in zip(normal, labels, strict=True) if one and normal.count(one) == 1}

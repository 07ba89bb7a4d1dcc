"""Answers that are labels: how often each stands there, and which look like mistakes. Pure."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from training.data.examples import Example
from training.data.findings import Findings
from training.data.similarity import normalised

FEWEST_ROWS = 12
"""With fewer rows, few distinct answers mean nothing."""
ROWS_PER_LABEL = 4
"""Labels repeat: there are at least so many times more rows than distinct answers."""
RARE = 5
"""A label with fewer rows is hardly learnt."""
MAJORITY = 0.8
_MEDIAN_WORDS, _MOST_WORDS = 8, 20


@dataclass(frozen=True, slots=True)
class LabelSet:
    """The labels of all answers, or of one field where answers are JSON objects."""

    field: str | None
    by_line: Mapping[int, str]

    @property
    def counts(self) -> Counter[str]:
        """Rows of each label."""
        return Counter(self.by_line.values())

    @property
    def name(self) -> str:
        """For messages."""
        return "label" if self.field is None else f"value of `{self.field}`"


@dataclass(frozen=True, slots=True)
class Labels:
    """What the answers of a file have of labels."""

    sets: tuple[LabelSet, ...]
    complete: bool
    """Whether the answers are labels and nothing else, so that two different ones contradict each other."""


def find_labels(examples: Sequence[Example]) -> Labels:
    """The labels among the answers; none where answers are free text."""
    if len(examples) < FEWEST_ROWS or any(example.calls or example.rejected is not None for example in examples):
        return Labels((), complete=False)
    objects = [_flat_object(example.answer) for example in examples]
    if all(one is not None for one in objects):
        columns: dict[str, dict[int, str]] = defaultdict(dict)
        for example, values in zip(examples, objects, strict=True):
            for name, value in (values or {}).items():
                columns[name][example.line] = value if isinstance(value, str) else json.dumps(value)
        found = tuple(LabelSet(name, column) for name, column in columns.items() if _are_labels(column))
        return Labels(found, complete=bool(found) and len(found) == len(columns))
    column = {example.line: example.answer.strip() for example in examples}
    return Labels((LabelSet(None, column),), complete=True) if _are_labels(column) else Labels((), complete=False)


def check_labels(labels: Labels, findings: Findings, file: str) -> None:
    """Balance, rare labels, one label above all, labels that differ in spelling alone."""
    for one in labels.sets:
        _check_set(one, findings, file)


def check_unseen(train: Labels, heldout: Sequence[Example], findings: Findings, file: str) -> None:
    """Labels of the validation rows that nothing is trained on."""
    rows = []
    for one in train.sets:
        known = set(one.by_line.values())
        for example in heldout:
            label = _value(example, one.field)
            if label is not None and label not in known:
                rows.append(
                    (example.line, f"the {one.name} `{label[:60]}` is not in the training file; add rows with it")
                )
    findings.add_rows("unseen_labels", "warning", rows, file=file, summary="have a label that is never trained on")


def _check_set(labels: LabelSet, findings: Findings, file: str) -> None:
    ordered = labels.counts.most_common()
    total = sum(labels.counts.values())
    (most, most_rows), (least, least_rows) = ordered[0], ordered[-1]
    findings.add(
        "label_balance",
        "note",
        f"{len(ordered)} different {labels.name}s: `{most[:60]}` has {most_rows:,} rows ({most_rows / total:.1%}), "
        f"`{least[:60]}` {least_rows:,}",
        file=file,
    )
    if most_rows >= MAJORITY * total:
        findings.add(
            "majority_label",
            "warning",
            f"{most_rows / total:.0%} of the rows have the {labels.name} `{most[:60]}`: always saying it would be as "
            "often right; add rows of the others, and look at macro-F1 and not at accuracy",
            file=file,
        )
    first: dict[str, int] = {}
    for line, label in labels.by_line.items():
        first.setdefault(label, line)
    rare = [
        (first[label], f"the {labels.name} `{label[:60]}` has {rows} of {total:,} rows; add more, or merge it")
        for label, rows in ordered
        if rows < RARE
    ]
    findings.add_rows("rare_labels", "warning", rare, file=file, summary="begin a label that hardly any row has")
    spellings: dict[str, list[str]] = defaultdict(list)
    for label, _ in ordered:
        spellings[_skeleton(label)].append(label)
    variants = [
        (first[label], f"the {labels.name} `{label[:60]}` is also written `{group[0][:60]}`; write it in one way")
        for group in spellings.values()
        for label in group[1:]
    ]
    findings.add_rows("label_variants", "warning", variants, file=file, summary="begin another spelling of a label")


def _skeleton(label: str) -> str:
    return "".join(normalised(label).replace("_", " ").split()) or label


def _are_labels(column: Mapping[int, str]) -> bool:
    words = [len(label.split()) for label in column.values()]
    return (
        len(column) >= FEWEST_ROWS
        and len(set(column.values())) * ROWS_PER_LABEL <= len(column)
        and median(words) <= _MEDIAN_WORDS
        and max(words) <= _MOST_WORDS
    )


def _flat_object(answer: str) -> dict[str, Any] | None:
    """A JSON object without anything nested, the form of structured labels."""
    if not answer.lstrip().startswith("{"):
        return None
    try:
        value = json.loads(answer)
    except (ValueError, RecursionError):
        return None
    return value if not any(isinstance(inner, dict | list) for inner in value.values()) else None


def _value(example: Example, field: str | None) -> str | None:
    if field is None:
        return example.answer.strip()
    value = (_flat_object(example.answer) or {}).get(field)
    return value if isinstance(value, str) or value is None else json.dumps(value)

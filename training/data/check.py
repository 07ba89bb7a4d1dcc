"""Everything that is looked at before a file is trained on: its structure, then what its rows teach."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from training.data.chat import ChatRow
from training.data.checks.documents import check_documents
from training.data.checks.facts import check_facts
from training.data.checks.labels import check_labels, check_unseen, find_labels
from training.data.checks.leakage import check_leakage
from training.data.checks.lengths import check_lengths
from training.data.checks.repetition import check_repetition
from training.data.encoding import ChatTokenizer
from training.data.examples import Example, example_of
from training.data.findings import CheckReport, Findings
from training.data.lines import LIMITS, Limits, LineReader
from training.data.preferences import PreferenceRow
from training.data.reading import parsed_lines
from training.errors import DataInvalid, RowInvalid

__all__ = ["KINDS", "Kind", "check_file"]

Kind = Literal["chat", "preference"]
KINDS: tuple[Kind, ...] = ("chat", "preference")
FEW_ROWS = 10
"""OpenAI's own minimum."""
MOST_MISTAKES = 1_000
"""Rows with mistakes in structure after which reading stops."""

_MODELS: dict[Kind, type[ChatRow] | type[PreferenceRow]] = {"chat": ChatRow, "preference": PreferenceRow}


@dataclass(frozen=True, slots=True)
class _Rows:
    """The sound rows of one file."""

    file: str
    rows: tuple[ChatRow | PreferenceRow, ...]
    lines: tuple[int, ...]
    sha256: str

    @property
    def examples(self) -> list[Example]:
        return [example_of(row, line) for row, line in zip(self.rows, self.lines, strict=True)]


def check_file(
    path: Path,
    *,
    kind: Kind,
    heldout: Path | None = None,
    tokenizer: ChatTokenizer | None = None,
    max_length: int | None = None,
    tokens_per_second: float | None = None,
    limits: Limits = LIMITS,
) -> CheckReport:
    """Check a file of training rows. What is wrong with the data is in the report, never raised.

    Rows with mistakes in structure are left out of the judgments on the others.

    Args:
        heldout: the validation file, of the same kind.
        tokenizer: the base model's; without one nothing is said about lengths in tokens.
        max_length: tokens after which rows are cut.
        tokens_per_second: the speed of training, to say how long an epoch takes.

    Raises:
        BaseModelInvalid: the tokenizer's chat template cannot be used for training, or not with tools.
    """
    findings = Findings()
    train = _read(path, kind, findings, limits)
    held = None if heldout is None else _read(heldout, kind, findings, limits)
    examples = train.examples
    labels = find_labels(examples)
    if 0 < len(examples) < FEW_ROWS:
        findings.add(
            "few_rows",
            "warning",
            f"{len(examples)} rows are hardly enough to learn from; OpenAI asks for {FEW_ROWS}, tasks take hundreds",
            file=train.file,
        )
    check_repetition(examples, findings, train.file, are_labels=labels.complete)
    check_labels(labels, findings, train.file)
    check_documents(examples, findings, train.file)
    check_facts(examples, findings, train.file)
    if held is not None:
        held_examples = held.examples
        check_leakage(examples, held_examples, findings, held.file)
        check_unseen(labels, held_examples, findings, held.file)
    lengths = None
    if tokenizer is not None:
        for one in (train,) if held is None else (held, train):
            lengths = check_lengths(
                one.rows,
                one.lines,
                tokenizer,
                findings,
                one.file,
                max_length=max_length,
                tokens_per_second=tokens_per_second,
            )
    whole = next((one for one in labels.sets if one.field is None), None)
    return CheckReport(
        file=train.file,
        kind=kind,
        rows=len(train.rows),
        sha256=train.sha256,
        findings=findings.all(),
        heldout_rows=None if held is None else len(held.rows),
        lines=findings.lines(),
        lengths=lengths,
        labels=None if whole is None else dict(whole.counts.most_common()),
    )


def _read(path: Path, kind: Kind, findings: Findings, limits: Limits) -> _Rows:
    """The sound rows; what is wrong with the others becomes findings."""
    reader = LineReader(path, limits)
    file = str(path)
    rows: list[ChatRow | PreferenceRow] = []
    lines: list[int] = []
    mistakes: dict[str, list[tuple[int, str]]] = defaultdict(list)
    count = 0
    try:
        for number, row in parsed_lines(reader, _MODELS[kind], limits):
            if not isinstance(row, RowInvalid):
                rows.append(row)
                lines.append(number)
                continue
            mistakes[row.code].append((number, str(row)))
            count += 1
            if count >= MOST_MISTAKES:
                message = f"{count:,} rows have mistakes in structure; the rest of the file was not read"
                findings.add("too_many_mistakes", "error", message, file=file)
                break
    except DataInvalid as error:
        findings.add(error.code, "error", error.reason, file=file, line=error.line)
    for code, problems in mistakes.items():
        findings.add_rows(code, "error", problems, file=file, summary="have this mistake")
    return _Rows(file, tuple(rows), tuple(lines), reader.sha256)

"""What the checks say."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]

JUDGMENTS: Mapping[str, str] = {
    "few_rows": "fewer rows than a training usually needs",
    "duplicates": "rows that repeat another one",
    "near_duplicates": "rows that nearly repeat another one",
    "contradiction": "the same prompt with different answers",
    "near_contradiction": "nearly the same prompt with different labels",
    "leakage": "validation prompts that are also trained on",
    "near_leakage": "validation prompts that are nearly trained on",
    "answer_truncated": "answers that lose their end at the maximum length",
    "rare_labels": "labels with hardly any rows",
    "majority_label": "one label that outweighs all others",
    "label_variants": "labels that differ in spelling alone",
    "unseen_labels": "labels of the validation rows that are never trained on",
    "documents_as_examples": "raw documents instead of examples of a task",
    "changing_facts": "answers with facts that change and do not stand in the prompt",
}
"""Codes that can be allowed. Everything else of severity "error" is a mistake in structure and cannot."""

LISTED = 20
"""Findings of one code that are listed; all of their lines are in ``CheckReport.lines``."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a check says."""

    code: str
    severity: Severity
    line: int | None
    """From 1; None where it is about the whole file."""
    message: str
    """What is there, and what to do."""
    file: str


@dataclass(frozen=True, slots=True)
class TokenLengths:
    """How long the rows are, in tokens before truncation, and what an epoch costs."""

    rows: int
    p50: int
    p90: int
    p99: int
    longest: int
    epoch_tokens: int
    """Tokens of one epoch at the maximum length, where there is one."""
    supervised_tokens: int
    """Those of them that are learnt."""
    epoch_seconds: float | None = None
    """At the given tokens per second."""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """Everything that was found in a file, and in its validation file."""

    file: str
    kind: str
    rows: int
    sha256: str
    findings: tuple[Finding, ...]
    heldout_rows: int | None = None
    lines: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """By code, every line that it concerns: those of the validation file for leakage and unseen labels, and also for
    structure where only that file has such mistakes."""
    lengths: TokenLengths | None = None
    labels: Mapping[str, int] | None = None
    """Rows of each label, most frequent first; None where the answers do not look like labels."""

    def refused(self, allow: Collection[str] = ()) -> tuple[Finding, ...]:
        """The findings that forbid training. Mistakes in structure cannot be allowed, whatever ``allow`` names."""
        return tuple(
            finding
            for finding in self.findings
            if finding.severity == "error" and not (finding.code in JUDGMENTS and finding.code in allow)
        )

    def to_json(self) -> dict[str, Any]:
        """The same as plain data."""
        return asdict(self) | {"lines": {code: list(lines) for code, lines in self.lines.items()}}


class Findings:
    """Collects what the checks of one run say."""

    def __init__(self) -> None:
        self._found: list[Finding] = []
        self._lines: dict[str, tuple[int, ...]] = {}

    def add(self, code: str, severity: Severity, message: str, *, file: str, line: int | None = None) -> None:
        """One finding."""
        self._found.append(Finding(code, severity, line, message, file))
        if line is not None:
            self._lines[code] = (*self._lines.get(code, ()), line)

    def add_rows(
        self, code: str, severity: Severity, rows: Collection[tuple[int, str]], *, file: str, summary: str
    ) -> None:
        """One finding for each of the first LISTED rows; where there are more, a last one that counts them all.

        Args:
            rows: line and message.
            summary: what the last one says after the number of rows.
        """
        ordered = sorted(rows)
        self._found += [Finding(code, severity, line, message, file) for line, message in ordered[:LISTED]]
        if len(ordered) > LISTED:
            message = f"{len(ordered):,} rows {summary}; the first {LISTED} are listed"
            self._found.append(Finding(code, severity, None, message, file))
        self._lines[code] = (*self._lines.get(code, ()), *(line for line, _ in ordered))

    def all(self) -> tuple[Finding, ...]:
        """Errors first, then warnings, then notes; each as they were found."""
        order = {"error": 0, "warning": 1, "note": 2}
        return tuple(sorted(self._found, key=lambda finding: order[finding.severity]))

    def lines(self) -> dict[str, tuple[int, ...]]:
        """Every line concerned, by code."""
        return dict(self._lines)

"""The grid of a diagnosis: every case under three contexts, answered by two models. Pure data."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from training.errors import DiagnosisInvalid
from training.evaluation.types import Case, CaseResult


class Context(StrEnum):
    """What stands before the question."""

    NONE = "none"
    RETRIEVED = "retrieved"
    """The passages that a vector store finds for it."""
    ORACLE = "oracle"
    """The case's own passages, which hold the answer."""


class Subject(StrEnum):
    """Who answers."""

    BASE = "base"
    ADAPTER = "adapter"


@dataclass(frozen=True, slots=True)
class Cell:
    """One field of the grid."""

    context: Context
    subject: Subject

    def __str__(self) -> str:
        return f"{self.context}/{self.subject}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The cell that ``context/subject`` names. Raises DiagnosisInvalid."""
        context, _, subject = text.partition("/")
        try:
            return cls(Context(context), Subject(subject))
        except ValueError:
            raise DiagnosisInvalid(
                f"{text!r} is no field of the grid: none, retrieved or oracle, a slash, base or adapter"
            ) from None

    def under(self, context: Context) -> "Cell":
        """The same model under another context."""
        return Cell(context, self.subject)


@dataclass(frozen=True, slots=True)
class Retrieval:
    """What a vector store found for one question."""

    passages: tuple[str, ...]
    """Best first."""
    seconds: float
    """From the request to the whole answer."""


@dataclass(frozen=True, slots=True)
class CaseGrid:
    """One case and all its answers."""

    case: Case
    results: Mapping[Cell, tuple[CaseResult, ...]]
    """By cell, one for each repeat."""
    retrieved: Retrieval | None = None
    """None where the grid has no retrieved context."""

    def passages(self, context: Context) -> tuple[str, ...]:
        """What stood before the question."""
        if context is Context.ORACLE:
            return self.case.context
        return self.retrieved.passages if context is Context.RETRIEVED and self.retrieved is not None else ()


@dataclass(frozen=True, slots=True)
class Grid:
    """A whole suite, in the order of its cases."""

    suite: str
    suite_digest: str
    primary: str
    """The metric that says whether an answer is right, unless others are named."""
    models: Mapping[Subject, str]
    cases: tuple[CaseGrid, ...]
    record: Mapping[str, Any] = field(default_factory=dict)
    """Address, vector store, parameters, repeats: to run it again."""

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The fields that were asked, contexts first."""
        return tuple(self.cases[0].results) if self.cases else ()


def cells_for(*, retrieval: bool) -> tuple[Cell, ...]:
    """All fields of a grid; without retrieval, four instead of six."""
    contexts: Iterable[Context] = Context if retrieval else (Context.NONE, Context.ORACLE)
    return tuple(Cell(context, subject) for context in contexts for subject in Subject)

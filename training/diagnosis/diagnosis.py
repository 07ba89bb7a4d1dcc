"""From a grid to a diagnosis. Pure."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from training.diagnosis.attribution import MEANING, Attribution, Cause, attribute
from training.diagnosis.costs import Cost, cost_of
from training.diagnosis.estimates import Estimate, share
from training.diagnosis.findings import NEAR_AT, NEIGHBOURS, RIGHT_AT, Findings, measured_noise, survey
from training.diagnosis.neighbours import Neighbours
from training.diagnosis.prompt import question_of
from training.diagnosis.recommendation import Policy, Recommendation, accuracy, recommend
from training.diagnosis.types import Cell, Context, Grid, Subject


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Why a suite's cases fail in production, and what to do."""

    grid: Grid
    production: Cell
    findings: tuple[Findings, ...]
    attributions: tuple[Attribution, ...]
    """Of the failed cases, in their order."""
    recommendation: Recommendation
    noise: float | None
    """How often a single answer's verdict strays from what its cell mostly gives; None where nothing was repeated."""

    def accuracies(self) -> dict[Cell, Estimate]:
        """The share of right cases in each cell."""
        return {cell: accuracy(self.findings, cell) for cell in self.grid.cells}

    def costs(self) -> dict[Cell, Cost | None]:
        """What a request costs in each cell."""
        return {cell: cost_of(self.grid, cell) for cell in self.grid.cells}

    def causes(self) -> dict[Cause, Estimate]:
        """The share of the failures that have each cause."""
        counts = Counter(one.cause for one in self.attributions)
        return {cause: share(counts[cause], len(self.attributions)) for cause in Cause}

    def count(self, cause: Cause) -> int:
        """The failures that have a cause."""
        return sum(one.cause is cause for one in self.attributions)

    def to_json(self) -> dict[str, Any]:
        """Everything but the answers' texts."""
        return {
            "object": "diagnosis",
            "suite": self.grid.suite,
            "suite_digest": self.grid.suite_digest,
            "models": {str(subject): model for subject, model in self.grid.models.items()},
            "production": str(self.production),
            "cases": len(self.findings),
            "failures": len(self.attributions),
            "noise": None if self.noise is None else round(self.noise, 4),
            "accuracy": {str(cell): one.to_json() for cell, one in self.accuracies().items()},
            "cost": {str(cell): None if one is None else one.to_json() for cell, one in self.costs().items()},
            "causes": {
                str(cause): {"meaning": MEANING[cause], "failures": self.count(cause), "share": one.to_json()}
                for cause, one in self.causes().items()
            },
            "recommendation": self.recommendation.to_json(),
            "attributions": [
                {
                    "case": one.case_id,
                    "cause": str(one.cause),
                    "confidence": round(one.confidence, 4),
                    "because": one.because,
                    "read_from": str(one.cell),
                }
                for one in self.attributions
            ],
            "record": dict(self.grid.record),
        }


def default_production(grid: Grid) -> Cell:
    """The adapter with retrieved passages; without passages where the grid has no retrieval."""
    wanted = Cell(Context.RETRIEVED, Subject.ADAPTER)
    return wanted if wanted in grid.cells else wanted.under(Context.NONE)


def diagnose(
    grid: Grid,
    production: Cell | None = None,
    *,
    metrics: Collection[str] = (),
    right_at: float = RIGHT_AT,
    policy: Policy | None = None,
) -> Diagnosis:
    """Attribute every failure of ``production`` to a cause, and say what would mend how many.

    Args:
        production: the cell that serves; None: :func:`default_production`.
        metrics: all must reach ``right_at`` for an answer to be right; none: the suite's primary metric.

    Raises:
        DiagnosisInvalid: the grid lacks the cell, or its results a metric.
    """
    cell = production or default_production(grid)
    findings = survey(grid, cell, metrics, right_at)
    attributions = attribute(findings, _near(grid, [one.case_id for one in findings if one.failed]))
    return Diagnosis(
        grid,
        cell,
        tuple(findings),
        tuple(attributions),
        recommend(grid, findings, attributions, policy),
        measured_noise(findings),
    )


def _near(grid: Grid, failed: Collection[str]) -> Mapping[str, list[str]]:
    """For each failed case, its nearest neighbours that failed as well."""
    ids = [one.case.id for one in grid.cases if one.case.id in set(failed)]
    texts = [question_of(one.case) for one in grid.cases if one.case.id in set(failed)]
    neighbours = Neighbours(texts)
    return {
        case_id: [ids[one.index] for one in neighbours.nearest(index, count=NEIGHBOURS, least=NEAR_AT)]
        for index, case_id in enumerate(ids)
    }

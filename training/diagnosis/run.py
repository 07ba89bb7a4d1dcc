"""Runs a whole diagnosis of a suite: asks the grid, judges it."""

from collections.abc import Collection
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from training.diagnosis.diagnosis import Diagnosis, diagnose
from training.diagnosis.grid import GridPlan, Progress, run_grid
from training.diagnosis.recommendation import Policy
from training.diagnosis.search import VectorStoreSearcher
from training.diagnosis.types import Cell, Subject, cells_for
from training.errors import DiagnosisInvalid
from training.evaluation.endpoint import Endpoint, public_url
from training.evaluation.judging import Judges
from training.evaluation.scoring import score
from training.evaluation.suite import Suite
from training.evaluation.types import Answer, Case, CaseResult


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is diagnosed, and against which gateway."""

    base: str
    adapter: str
    url: str
    """With ``/v1``, or without any path."""
    api_key: str = ""
    store: str | None = None
    """A vector store by name or id; None: the grid has no retrieved context."""
    top: int = 3
    """The most passages that a question gets, as production gives."""
    threshold: float | None = None
    """The least cosine of a passage; None: the store's own."""
    repeats: int | None = None
    """None: as the suite says."""
    concurrency: int = 4
    production: Cell | None = None
    metrics: Collection[str] = ()
    right_at: float = 1.0
    policy: Policy | None = None


async def diagnose_suite(
    suite: Suite, wanted: Wanted, *, out: Path | None = None, progress: Progress = lambda done, total: None
) -> Diagnosis:
    """Ask what ``out`` does not hold yet, and say why cases fail.

    Raises:
        DiagnosisInvalid: the suite has no case with passages or lacks a metric, the grid lacks the production cell, or
            ``out`` belongs to something else.
        EndpointUnreachable: nothing answers at the address.
        SearchFailed: the vector store is not there or does not answer.
        SuiteInvalid: a judge's key is not in the environment.
    """
    _require_known(suite, wanted)
    plan = GridPlan(
        {Subject.BASE: wanted.base, Subject.ADAPTER: wanted.adapter},
        wanted.repeats or suite.repeats,
        wanted.concurrency,
        {"store": wanted.store, "top": wanted.top, "threshold": wanted.threshold},
        public_url(wanted.url),
    )
    async with Endpoint(wanted.url, wanted.api_key) as endpoint, Judges(suite) as judges:

        async def scorer(case: Case, answer: Answer, repeat: int) -> CaseResult:
            return score(suite, case, answer, repeat, await judges.verdicts(case, answer))

        await endpoint.reach()
        async with _searcher(wanted, endpoint.url) as searcher:
            grid = await run_grid(
                suite, plan, asker=endpoint, scorer=scorer, searcher=searcher, out=out, progress=progress
            )
    return diagnose(grid, wanted.production, metrics=wanted.metrics, right_at=wanted.right_at, policy=wanted.policy)


def _require_known(suite: Suite, wanted: Wanted) -> None:
    """Before anything is asked: a slip should not cost a grid."""
    cells = cells_for(retrieval=wanted.store is not None)
    if wanted.production is not None and wanted.production not in cells:
        raise DiagnosisInvalid(f"without a vector store the grid has no cell {wanted.production}: name the store")
    unknown = [name for name in wanted.metrics if name not in suite.metrics]
    if unknown:
        raise DiagnosisInvalid(f"the suite has no metric {unknown[0]}: {', '.join(suite.metrics)}")


def _searcher(wanted: Wanted, url: str) -> AbstractAsyncContextManager[VectorStoreSearcher | None]:
    if wanted.store is None:
        return nullcontext()
    return VectorStoreSearcher(url, wanted.api_key or None, wanted.store, top=wanted.top, threshold=wanted.threshold)

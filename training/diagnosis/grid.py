"""Asks every case in every field of the grid: concurrently, resumably, the fields of one case side by side.

The cells of a case are asked next to each other in time, so that a server that grows slower or changes does so for
all of them: their differences in seconds are those of the contexts and models.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from training.diagnosis.journal import Journal
from training.diagnosis.prompt import question_of, with_passages
from training.diagnosis.search import Searcher
from training.diagnosis.types import CaseGrid, Cell, Grid, Subject, cells_for
from training.errors import DiagnosisInvalid
from training.evaluation.types import Answer, Case, CaseResult, Json

Progress = Callable[[int, int], None]
"""Told the answers so far and all that there will be."""


class Asker(Protocol):
    """Puts a case to a model."""

    async def ask(self, case: Case, *, model: str, parameters: Json) -> Answer:
        """Its answer; one with ``error`` where there is none."""
        ...


class Scorer(Protocol):
    """Scores an answer by the suite."""

    async def __call__(self, case: Case, answer: Answer, repeat: int) -> CaseResult:
        """The result; an answer with an error scores 0."""
        ...


class CaseSource(Protocol):
    """What a diagnosis needs of a suite."""

    @property
    def name(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def cases(self) -> tuple[Case, ...]: ...
    @property
    def primary(self) -> str: ...
    @property
    def parameters(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True)
class GridPlan:
    """How a suite is asked."""

    models: Mapping[Subject, str]
    repeats: int = 1
    """Each case in each cell; where the parameters hold a seed, every repeat has its own."""
    concurrency: int = 4
    """Requests at a time."""
    record: Mapping[str, Any] = field(default_factory=dict)
    """Written down with the answers, and compared when a diagnosis goes on: vector store, number of passages."""
    address: str = ""
    """Written down with the grid alone: a gateway may come back elsewhere."""


async def run_grid(
    suite: CaseSource,
    plan: GridPlan,
    *,
    asker: Asker,
    scorer: Scorer,
    searcher: Searcher | None,
    out: Path | None = None,
    progress: Progress = lambda done, total: None,
) -> Grid:
    """All answers of a suite.

    Args:
        searcher: finds the retrieved context; without one the grid has no such cells.
        out: a folder to keep answers in and to go on from.

    Raises:
        DiagnosisInvalid: nothing can be asked, ``out`` holds answers to something else, or another version of a model
            answers than before.
        SearchFailed: the vector store does not answer; what was asked so far is kept in ``out``.
    """
    if plan.repeats < 1 or plan.concurrency < 1:
        raise DiagnosisInvalid("repeats and concurrency are at least 1")
    if not any(case.context for case in suite.cases):
        raise DiagnosisInvalid(
            f"no case of the suite {suite.name} has `context`: without the passages that hold the answer there is no "
            "oracle to tell a retrieval that missed from a judgment that is wrong"
        )
    record = {
        "suite_digest": suite.digest,
        "models": {str(subject): model for subject, model in plan.models.items()},
        "parameters": dict(suite.parameters),
        **plan.record,
    }
    with Journal(out, record) as journal:
        run = _Run(suite, plan, asker, scorer, searcher, journal, progress)
        await run.all()
        cases = tuple(run.case_grid(case) for case in suite.cases)
    versions = {str(subject): version for subject, version in run.versions.items()}
    return Grid(
        suite.name,
        suite.digest,
        suite.primary,
        plan.models,
        cases,
        {**record, "repeats": plan.repeats, "address": plan.address, "versions": versions},
    )


class _Run:
    def __init__(
        self,
        suite: CaseSource,
        plan: GridPlan,
        asker: Asker,
        scorer: Scorer,
        searcher: Searcher | None,
        journal: Journal,
        progress: Progress,
    ) -> None:
        self._suite = suite
        self._plan = plan
        self._asker = asker
        self._scorer = scorer
        self._searcher = searcher
        self._journal = journal
        self._progress = progress
        self._cells = cells_for(retrieval=searcher is not None)
        self._total = len(suite.cases) * len(self._cells) * plan.repeats
        self._done = 0
        self.versions: dict[Subject, str | None] = {}
        """Which version answers as each model; None where the gateway names none."""
        for (_, cell, _), result in journal.answers.items():
            self._require_same_version(cell.subject, result.answer)

    async def all(self) -> None:
        """Search and ask what the journal does not hold."""
        await self._each([case for case in self._suite.cases if case.id not in self._journal.searches], self._search)
        missing = [key for key in self._keys() if (key[0].id, key[1], key[2]) not in self._journal.answers]
        self._done = self._total - len(missing)
        self._progress(self._done, self._total)
        await self._each(missing, self._ask)

    def case_grid(self, case: Case) -> CaseGrid:
        """Everything known of a case."""
        repeats = range(self._plan.repeats)
        results = {cell: tuple(self._journal.answers[case.id, cell, one] for one in repeats) for cell in self._cells}
        return CaseGrid(case, results, self._journal.searches.get(case.id))

    def _keys(self) -> Iterator[tuple[Case, Cell, int]]:
        for repeat in range(self._plan.repeats):
            for case in self._suite.cases:
                for cell in self._cells:
                    yield case, cell, repeat

    async def _each(self, work: Sequence[Any], do: Callable[[Any], Any]) -> None:
        """``do`` all the work, a few at a time; the first failure ends it."""
        ahead = iter(work)

        async def worker() -> None:
            for one in ahead:
                await do(one)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self._plan.concurrency, len(work))):
                    group.create_task(worker())
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _search(self, case: Case) -> None:
        if self._searcher is not None:
            self._journal.found(case.id, await self._searcher.search(question_of(case)))

    async def _ask(self, key: tuple[Case, Cell, int]) -> None:
        case, cell, repeat = key
        passages = CaseGrid(case, {}, self._journal.searches.get(case.id)).passages(cell.context)
        parameters = dict(self._suite.parameters)
        if isinstance(seed := parameters.get("seed"), int):
            parameters["seed"] = seed + repeat
        answer = await self._asker.ask(
            with_passages(case, passages), model=self._plan.models[cell.subject], parameters=parameters
        )
        self._require_same_version(cell.subject, answer)
        self._journal.answered(cell, await self._scorer(case, answer, repeat))
        self._done += 1
        self._progress(self._done, self._total)

    def _require_same_version(self, subject: Subject, answer: Answer) -> None:
        """An alias may be moved, or split between two versions, while a grid is asked."""
        if answer.error is not None:
            return
        before = self.versions.setdefault(subject, answer.version)
        if answer.version != before:
            raise DiagnosisInvalid(
                f"the {subject}, `{self._plan.models[subject]}`, was answered by {before or 'no version'} and now by "
                f"{answer.version or 'none'}: name one version, and give another folder"
            )

"""Runs a suite against an endpoint: many cases at once, resumable, with everything recorded to run it again."""

import asyncio
import contextlib
import platform
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from training.evaluation.baseline import classical_baseline
from training.evaluation.endpoint import Endpoint, public_url
from training.evaluation.journal import Journal, Key, journal_path
from training.evaluation.judging import Judges
from training.evaluation.run_file import write_run
from training.evaluation.scorers.classification import Classification
from training.evaluation.scorers.judge import JudgeScorer
from training.evaluation.scoring import score
from training.evaluation.suite import Suite
from training.evaluation.types import Answer, Case, Json, SuiteRun

_PACKAGES = ("loraplex", "openai", "jsonschema", "regex", "scikit-learn", "numpy")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is."""

    done: int
    """Answers that are there, earlier ones included."""
    total: int
    failed: int
    """Cases that got no answer."""
    earlier: int
    """Answers that an interrupted run had left."""


def no_progress(progress: Progress) -> None:
    """Tells nobody."""


async def run_suite(
    suite: Suite,
    endpoint: Endpoint,
    *,
    model: str,
    concurrency: int = 8,
    out: Path | None = None,
    progress: Callable[[Progress], None] = no_progress,
) -> SuiteRun:
    """Ask every case as often as the suite repeats it, and score the answers.

    A case that fails is recorded and stops no other. With ``out``, every answer is on disk beside it before it counts;
    after a kill the same call asks only what is missing, and cases that failed. The run is written to ``out``, and once
    every case has its answer and its verdicts, the journal goes.

    Args:
        concurrency: cases under way at once, at most.

    Raises:
        RunRefused: answers of another run, or of one that is still running, lie beside ``out``.
        SuiteInvalid: a judge's key is missing, or the baseline's rows cannot be used.
    """
    if concurrency < 1:
        raise ValueError("concurrency must be at least 1")
    head = _head(suite, endpoint, model)
    started = datetime.now(UTC)
    # First: rows that cannot be used should not cost a run.
    baseline = await asyncio.to_thread(_baseline, suite)
    with contextlib.ExitStack() as stack:
        journal = stack.enter_context(Journal(journal_path(out), head)) if out else None
        async with Judges(suite) as judges:
            asking = _Asking(suite, endpoint, model, judges, journal, progress)
            await asking.run(concurrency)
        record = head | _circumstances(suite, asking, started) | {"concurrency": concurrency, "baseline": baseline}
        run = _finished(suite, asking, record)
        if out is not None and journal is not None:
            await asyncio.to_thread(write_run, out, run)
            if asking.complete:
                journal.discard()
    return run


class _Asking:
    """The answers and verdicts of a run, as they come."""

    def __init__(
        self,
        suite: Suite,
        endpoint: Endpoint,
        model: str,
        judges: Judges,
        journal: Journal | None,
        progress: Callable[[Progress], None],
    ) -> None:
        self._suite = suite
        self._endpoint = endpoint
        self.model = model
        self._judges = judges
        self._journal = journal
        self._progress = progress
        self.answers: dict[Key, Answer] = dict(journal.answers) if journal else {}
        self.verdicts: dict[Key, tuple[Json, ...]] = dict(journal.verdicts) if journal else {}
        self.earlier = len(self.answers)
        self.failed = 0
        self._done = 0

    async def run(self, concurrency: int) -> None:
        """Until every case has its answer, or its error."""
        ahead = self._ahead()
        self._tell()
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(concurrency):
                    group.create_task(self._work(ahead))
        except ExceptionGroup as group_error:
            # Cases never raise: this is the disk, or the progress, and one of them says it.
            raise group_error.exceptions[0] from None

    @property
    def complete(self) -> bool:
        """Whether nothing is left to ask."""
        return not self.failed and all(one["value"] is not None for each in self.verdicts.values() for one in each)

    def _ahead(self) -> Iterator[tuple[Case, int]]:
        """Every case before any is repeated: a run that is cut short has seen them all."""
        for repeat in range(self._suite.repeats):
            for case in self._suite.cases:
                yield case, repeat

    async def _work(self, ahead: Iterator[tuple[Case, int]]) -> None:
        for case, repeat in ahead:
            key = (case.id, repeat)
            if key not in self.answers:
                await self._ask(case, key)
            await self._judge(case, key)
            self._done += 1
            self._tell()

    async def _ask(self, case: Case, key: Key) -> None:
        parameters = _parameters(self._suite, key[1])
        answer = await self._endpoint.ask(case, model=self.model, parameters=parameters)
        self.answers[key] = answer
        self.failed += answer.error is not None
        if self._journal is not None:
            await self._journal.add_answer(key, answer)

    async def _judge(self, case: Case, key: Key) -> None:
        known = self.verdicts.get(key, ())
        if not self._judges or (known and all(one["value"] is not None for one in known)):
            return
        self.verdicts[key] = await self._judges.verdicts(case, self.answers[key])
        if self._journal is not None and self.verdicts[key]:
            await self._journal.add_verdicts(key, self.verdicts[key])

    def _tell(self) -> None:
        total = len(self._suite.cases) * self._suite.repeats
        self._progress(Progress(self._done, total, self.failed, self.earlier))


def _finished(suite: Suite, asking: _Asking, record: Json) -> SuiteRun:
    results = tuple(
        score(suite, case, asking.answers[case.id, repeat], repeat, asking.verdicts.get((case.id, repeat), ()))
        for case in suite.cases
        for repeat in range(suite.repeats)
    )
    names = list(record["versions"])
    version_of_all = (names[0] or None) if len(names) == 1 else None
    return SuiteRun(suite.name, suite.digest, asking.model, version_of_all, suite.primary, results, record)


def _circumstances(suite: Suite, asking: _Asking, started: datetime) -> Json:
    """When and by what it was run."""
    versions = Counter(answer.version or "" for answer in asking.answers.values() if answer.error is None)
    return {
        "seeds": [_parameters(suite, repeat).get("seed") for repeat in range(suite.repeats)],
        "started_at": started.isoformat(timespec="milliseconds"),
        "finished_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "resumed_answers": asking.earlier,
        "versions": dict(sorted(versions.items())),
        "packages": {"python": platform.python_version()} | _packages(),
    }


def _head(suite: Suite, endpoint: Endpoint, model: str) -> Json:
    """What all answers of a run have in common."""
    judges = [one.scorer.settings for one in suite.scorers if isinstance(one.scorer, JudgeScorer)]
    return {
        "suite": suite.name,
        "suite_digest": suite.digest,
        "cases": len(suite.cases),
        "repeats": suite.repeats,
        "model": model,
        "endpoint": public_url(endpoint.url),
        "parameters": suite.parameters,
        "judges": [{"url": public_url(judge.url), "model": judge.model} for judge in judges],
    }


def _parameters(suite: Suite, repeat: int) -> Json:
    """What is sent with one repeat: its own seed, where seeds are sent."""
    seed = suite.parameters.get("seed")
    return suite.parameters if seed is None else suite.parameters | {"seed": seed + repeat}


def _baseline(suite: Suite) -> Json | None:
    classification = next((one.scorer for one in suite.scorers if isinstance(one.scorer, Classification)), None)
    if suite.baseline_rows is None or classification is None:
        return None
    return classical_baseline(classification, suite.cases, suite.baseline_rows).to_json()


def _packages() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found

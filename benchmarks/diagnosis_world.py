"""A world whose every failure has a known cause: documents, cases, and the flaw that is planted in each. Pure.

Four kinds of case, a quarter each: a fact as a short text, a fact as JSON, a ticket to label, and a decision by a
policy
that must be read. Each case has at most one flaw, in the model that serves (the adapter), in retrieval, or in its
label.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from benchmarks.diagnosis_families import Family
from training.diagnosis.attribution import Cause
from training.evaluation.types import Case

SHARES = {
    Cause.RETRIEVAL: 0.14,
    Cause.CONTEXT: 0.12,
    Cause.FORMAT: 0.12,
    Cause.JUDGMENT: 0.12,
    Cause.LABEL: 0.07,
}
"""How many of the cases that can have a flaw have it."""
_SYLLABLES = (
    "ba",
    "co",
    "di",
    "fe",
    "go",
    "ha",
    "ki",
    "lu",
    "mo",
    "ne",
    "pi",
    "ra",
    "so",
    "tu",
    "ve",
    "zi",
    "lor",
    "mar",
)
_STALE_SHARE = 0.5


class Task(StrEnum):
    """What a case asks for."""

    FACT = "fact"
    RECORD = "record"
    TRIAGE = "triage"
    DECISION = "decision"


_POSSIBLE = {
    Task.FACT: (Cause.RETRIEVAL, Cause.CONTEXT, Cause.FORMAT, Cause.LABEL),
    Task.RECORD: (Cause.RETRIEVAL, Cause.CONTEXT, Cause.FORMAT, Cause.LABEL),
    Task.TRIAGE: (Cause.FORMAT, Cause.JUDGMENT, Cause.LABEL),
    Task.DECISION: (Cause.RETRIEVAL, Cause.CONTEXT, Cause.FORMAT, Cause.JUDGMENT, Cause.LABEL),
}


@dataclass(frozen=True, slots=True)
class Planted:
    """A case and the truth about it."""

    case: Case
    task: Task
    flaw: Cause | None
    truth: str
    """The answer that is right; the case's reference says another where its label is the flaw."""
    wrong: tuple[str, ...]
    """Answers of the same form that are not."""
    evidence: str
    """The sentence that decides; empty for tickets."""
    stale: str
    """What an outdated document says instead; empty where there is none."""


@dataclass(frozen=True, slots=True)
class World:
    """Cases and the documents behind them."""

    family: Family
    cases: tuple[Planted, ...]
    passages: tuple[str, ...]
    """What can be retrieved."""


def build_world(family: Family, seed: int, count: int) -> World:
    """The same family, seed and count give the same world."""
    return _Builder(family, random.Random(seed)).build(count)


class _Builder:
    def __init__(self, family: Family, rng: random.Random) -> None:
        self._family = family
        self._rng = rng
        self._passages: list[str] = []
        self._names: set[str] = set()

    def build(self, count: int) -> World:
        tasks = list(Task)
        makers = {
            Task.FACT: self._fact,
            Task.RECORD: self._fact,
            Task.TRIAGE: self._triage,
            Task.DECISION: self._decision,
        }
        cases = []
        for number in range(count):
            task = tasks[number % len(tasks)]
            cases.append(makers[task](f"{task}-{number:04d}", task, self._flaw(task)))
        self._rng.shuffle(self._passages)
        return World(self._family, tuple(cases), tuple(self._passages))

    def _flaw(self, task: Task) -> Cause | None:
        drawn = self._rng.random()
        for cause in _POSSIBLE[task]:
            drawn -= SHARES[cause]
            if drawn < 0:
                return cause
        return None

    def _name(self) -> str:
        while True:
            name = "".join(self._rng.choices(_SYLLABLES, k=3)).capitalize()
            if name not in self._names:
                self._names.add(name)
                return name

    def _fact(self, case_id: str, task: Task, flaw: Cause | None) -> Planted:
        form, name = self._rng.choice(self._family.facts), self._name()
        values = self._rng.sample(range(form.low, form.high), 4)

        def written(value: int) -> str:
            if task is Task.RECORD:
                return json.dumps({"value": value, "unit": form.unit})
            return f"{value} {form.unit}"

        evidence = form.statement.format(name=name, value=f"{values[0]} {form.unit}")
        stale = form.statement.format(name=name, value=f"{values[1]} {form.unit}")
        has_stale = self._document(name, evidence, stale)
        truth, *wrong = (written(value) for value in values)
        asked = self._family.short if task is Task.FACT else self._family.as_json
        question = f"{form.question.format(name=name)} {asked}"
        return self._planted(
            case_id, task, flaw, question, truth, tuple(wrong), evidence, wrong[0] if has_stale else ""
        )

    def _triage(self, case_id: str, task: Task, flaw: Cause | None) -> Planted:
        label = self._rng.choice(sorted(self._family.tickets))
        problems = self._rng.sample(list(self._family.tickets[label]), 2)
        ticket = " ".join(
            [self._rng.choice(self._family.openings), *(one.format(name=self._name()) for one in problems)]
        )
        others = [one for one in sorted(self._family.tickets) if one != label]
        self._rng.shuffle(others)
        return self._planted(
            case_id, task, flaw, self._family.triage.format(ticket=ticket), label, tuple(others), "", ""
        )

    def _decision(self, case_id: str, task: Task, flaw: Cause | None) -> Planted:
        family, name = self._family, self._name()
        limit, old_limit, days = self._rng.sample(range(10, 120), 3)
        answers = (family.within, family.beyond)
        truth, wrong = answers if days <= limit else answers[::-1]
        evidence = family.policy.format(name=name, limit=limit)
        has_stale = self._document(name, evidence, family.policy.format(name=name, limit=old_limit))
        stale = (family.within if days <= old_limit else family.beyond) if has_stale else ""
        question = family.request.format(name=name, days=days)
        return self._planted(case_id, task, flaw, question, truth, (wrong,), evidence, stale)

    def _document(self, name: str, evidence: str, stale: str) -> bool:
        """Put evidence into a passage between other sentences, and often an outdated one into another."""
        filler = [one.format(name=name) for one in self._rng.sample(list(self._family.filler), 3)]
        place = self._rng.randrange(3)
        self._passages.append(" ".join([*filler[:place], evidence, *filler[place:2]]))
        if self._rng.random() >= _STALE_SHARE:
            return False
        self._passages.append(f"{self._family.archive}{stale} {filler[2]}")
        return True

    def _planted(
        self,
        case_id: str,
        task: Task,
        flaw: Cause | None,
        question: str,
        truth: str,
        wrong: Sequence[str],
        evidence: str,
        stale: str,
    ) -> Planted:
        expected = wrong[-1] if flaw is Cause.LABEL else truth
        case = Case(
            case_id,
            ({"role": "user", "content": question},),
            expected=expected,
            context=(evidence,) if evidence else (),
            tags=(str(task),),
        )
        return Planted(case, task, flaw, truth, tuple(wrong), evidence, stale)

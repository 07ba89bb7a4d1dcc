"""The decision procedure: one cause for each failed case. Pure.

The rules are asked in this order, and the first that holds names the cause. "Mostly" is more than half of the repeats.

1. **unanswered** — production mostly gave no answer at all.
2. **label**: the case's passages do not state its reference, and under them the model mostly gives one other answer,
   which they do state.
3. **label**: most near-duplicates of the case have one other reference, and that is what production mostly answers.
4. **label**: all answers that can be right agree on one other answer, and the neighbours' references do not speak for
   the case's own (a consensus filter: Brodley & Friedl, "Identifying Mislabeled Training Data", 1999); or those of
   production's model alone agree, and three neighbours or more, and three times as many as speak for the case's own,
   have its answer as reference (edited nearest neighbours: Wilson, 1972). Answers can be right in every cell where the
   case has no passages; where it has, in those that showed them, if a model answers otherwise without. Not where the
   passages state the reference: that is a model which does not read.
5. **format** — what production mostly says is right, and its scorers refuse the form.
6. **retrieval** — the evidence did not stand before production's question, and with the oracle's passages the same
   model is mostly right.
7. From here on the answers are read where the evidence was there: in production, or else under the oracle.
   **format**, as in 5; or nothing of the kind that is wanted can be read out of the answer.
8. **context** — the evidence was there and was ignored: it states the reference, and the answer is another; or it does
   not state it, but turns wrong answers into right ones for one of the models, here or for most neighbours, while this
   answer is the same as without any.
9. **judgment** — everything else: the form is fine, the context was there or plays no part, and the answer is wrong.

**Confidence.** A verdict over n repeats of which k agree is believed with odds (1 - e)^k e^(n-k) : e^k (1 - e)^(n-k),
where e is how often a single answer strays from what its cell mostly gives: two states, each as likely before, and
independent repeats. e is measured where cases are repeated, and taken as 0.1 where not. A rule's confidence is the
product over the verdicts that it rests on. Then the failed neighbours are heard: with a of them given the same cause
and d another, the odds are multiplied by sqrt((a + 1) / (d + 1)), as weaknesses come in clusters.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from training.diagnosis.evidence import FOUND_AT
from training.diagnosis.findings import ASSUMED_NOISE, Findings, Trial, measured_noise
from training.diagnosis.reading import Kind
from training.diagnosis.types import Cell, Context, Subject

CONSENSUS_AT = 0.8
"""Share of answers from which on they agree: noise is no dissent."""
_FEWEST_NEIGHBOURS = 3
_LEAST, _MOST = 0.02, 0.99


class Cause(StrEnum):
    """Why a case failed."""

    RETRIEVAL = "retrieval"
    CONTEXT = "context"
    FORMAT = "format"
    JUDGMENT = "judgment"
    LABEL = "label"
    UNANSWERED = "unanswered"


MEANING: Mapping[Cause, str] = {
    Cause.RETRIEVAL: "retrieval missed the passages that hold the answer",
    Cause.CONTEXT: "the passages were there and were ignored",
    Cause.FORMAT: "the content is right and its format is broken",
    Cause.JUDGMENT: "the judgment is wrong",
    Cause.LABEL: "the label is doubtful",
    Cause.UNANSWERED: "the endpoint gave no answer",
}


@dataclass(frozen=True, slots=True)
class Attribution:
    """The cause of one failure."""

    case_id: str
    cause: Cause
    confidence: float
    """How likely it is that this is the cause, in [0, 1]."""
    because: str
    """What it was seen by, in words."""
    cell: Cell
    """Whose answers it was read from."""


@dataclass(frozen=True, slots=True)
class _Verdict:
    belief: float
    because: str
    cell: Cell


@dataclass(frozen=True, slots=True)
class _Scene:
    """The findings of a case, with the noise to judge them by."""

    case: Findings
    noise: float

    def mostly(self, cell: Cell, what: Callable[[Trial], bool]) -> bool:
        """Whether more than half of a cell's answers are so."""
        trials = self.case.trials[cell]
        return 2 * sum(map(what, trials)) > len(trials)

    def belief(self, what: Callable[[Trial], bool], *cells: Cell) -> float:
        """How sure it is that the answers of some cells are so."""
        trials = [one for cell in cells for one in self.case.trials[cell]]
        hits = sum(map(what, trials))
        return believed(hits, len(trials), self.noise)

    def says(self, cell: Cell) -> str:
        """What a cell mostly says; empty where that is nothing."""
        return agreed(self.case.trials[cell], 0.5)

    @property
    def found(self) -> bool:
        """Whether the evidence stood before production's question; yes where there is none to find."""
        return not self.case.has_context or self.case.coverage >= FOUND_AT

    @property
    def found_belief(self) -> float:
        """How sure that is: the farther from the threshold, the surer."""
        if not self.case.has_context:
            return 1.0
        reach = (1 - FOUND_AT) if self.found else FOUND_AT
        return 0.7 + 0.29 * min(1.0, abs(self.case.coverage - FOUND_AT) / reach)

    def informed(self) -> list[Cell]:
        """The cells whose answers can be right; none where neither model reads the case's passages."""
        if not self.case.has_context:
            return list(self.case.trials)
        if not any(map(self._reads, Subject)):
            return []
        cells = [Cell(Context.ORACLE, subject) for subject in Subject]
        return [*cells, self.case.production] if self.found and self.case.production not in cells else cells

    def _reads(self, subject: Subject) -> bool:
        """Whether a model mostly says something else under the oracle than without passages."""
        return self.says(Cell(Context.ORACLE, subject)) != self.says(Cell(Context.NONE, subject))

    @property
    def judged(self) -> Cell:
        """Where the evidence was there: production, or the same model under the oracle."""
        production = self.case.production
        return production if self.found else production.under(Context.ORACLE)


def attribute(findings: Sequence[Findings], near: Mapping[str, Sequence[str]] | None = None) -> list[Attribution]:
    """The cause of every case that failed in production, in their order.

    Args:
        findings: of all cases, the right ones too: they show the noise.
        near: for a case, the ids of its neighbours; without it they are not heard.
    """
    noise = measured_noise(findings)
    first = [attribute_case(case, ASSUMED_NOISE if noise is None else noise) for case in findings if case.failed]
    return first if near is None else _with_neighbours(first, near)


def attribute_case(case: Findings, noise: float) -> Attribution:
    """The cause of one failure, by the rules in this module's head."""
    scene = _Scene(case, noise)
    for cause, rule in _RULES:
        if (verdict := rule(scene)) is not None:
            return Attribution(case.case_id, cause, _kept(verdict.belief), verdict.because, verdict.cell)
    raise AssertionError("the last rule always holds")


def believed(hits: int, count: int, noise: float) -> float:
    """The probability that the truth is yes after ``hits`` of ``count`` answers said so."""
    return 1 / (1 + (noise / (1 - noise)) ** (2 * hits - count))


def agreed(trials: Iterable[Trial], share: float) -> str:
    """What more than ``share`` of the answers say; empty where there is no such thing."""
    said = [one.said for one in trials]
    best = max(sorted(set(said)), key=said.count, default="")
    return best if said.count(best) > share * len(said) else ""


def _unanswered(scene: _Scene) -> _Verdict | None:
    production = scene.case.production
    if not scene.mostly(production, lambda one: one.error):
        return None
    return _Verdict(0.99, "production gave no answer", production)


def _contradicts_context(scene: _Scene) -> _Verdict | None:
    case = scene.case
    if not case.has_context or case.stated or case.kind not in (Kind.TEXT, Kind.JSON):
        return None
    oracle = case.production.under(Context.ORACLE)
    other = scene.says(oracle)
    if (
        not other
        or other == case.reference
        or not scene.mostly(oracle, lambda one: one.said == other and one.in_context)
    ):
        return None
    both = [Cell(Context.ORACLE, subject) for subject in Subject]
    belief = scene.belief(lambda one: one.said == other, oracle) * (
        0.97 if all(scene.says(cell) == other for cell in both) else 0.8
    )
    return _Verdict(
        belief, "the case's passages do not state the reference, and state the answer that was given", oracle
    )


def _twins_disagree(scene: _Scene) -> _Verdict | None:
    case = scene.case
    said = scene.says(case.production)
    votes = case.twins.get(said, 0)
    if case.stated or not said or said == case.reference or 2 * votes <= sum(case.twins.values()):
        return None
    belief = scene.belief(lambda one: one.said == said, case.production)
    return _Verdict(
        belief * (votes + 1) / (sum(case.twins.values()) + 1.2),
        f"{votes} near-duplicate{'s have' if votes > 1 else ' has'} the given answer as reference",
        case.production,
    )


def _all_agree(scene: _Scene) -> _Verdict | None:
    case = scene.case
    cells = scene.informed()
    other = agreed([one for cell in cells for one in case.trials[cell]], CONSENSUS_AT - 1e-9)
    if case.stated or not other or other == case.reference:
        return None
    if case.production in cells and scene.says(case.production) != other:
        return None
    backed, opposed = case.near.get(other, 0), case.near.get(case.reference, 0)
    if opposed > backed:
        return None
    return _Verdict(
        0.7 + 0.25 * (backed / (backed + opposed + 1)),
        f"all answers that could be right agree on another one, which {backed} of {sum(case.near.values())} neighbours "
        "have as well",
        case.production,
    )


def _neighbours_disagree(scene: _Scene) -> _Verdict | None:
    case = scene.case
    own = [cell for cell in scene.informed() if cell.subject is case.production.subject]
    other = agreed([one for cell in own for one in case.trials[cell]], CONSENSUS_AT - 1e-9)
    backed, opposed = case.near.get(other, 0), case.near.get(case.reference, 0)
    if case.stated or not other or other == case.reference or backed < max(_FEWEST_NEIGHBOURS, 3 * opposed):
        return None
    return _Verdict(
        0.6 + 0.35 * backed / (backed + opposed + 1),
        f"the model always gives one other answer, and so do {backed} of {sum(case.near.values())} neighbours",
        case.production,
    )


def _content_right(scene: _Scene) -> _Verdict | None:
    return _right_inside(scene, scene.case.production)


def _missed(scene: _Scene) -> _Verdict | None:
    case = scene.case
    oracle = case.production.under(Context.ORACLE)
    if scene.found or not scene.mostly(oracle, lambda one: one.right):
        return None
    belief = (
        scene.found_belief
        * scene.belief(lambda one: one.right, oracle)
        * scene.belief(lambda one: not one.right, case.production)
    )
    where = "no passages were given" if case.production.context is Context.NONE else "the evidence was not retrieved"
    return _Verdict(belief, f"{where}, and with it the answer is right", case.production)


def _broken_where_evidence_was(scene: _Scene) -> _Verdict | None:
    if (verdict := _right_inside(scene, scene.judged)) is not None:
        return verdict
    if scene.case.kind in (Kind.TEXT, Kind.NOTHING):
        return None
    if not scene.mostly(scene.judged, lambda one: not one.said):
        return None
    belief = 0.7 * scene.belief(lambda one: not one.said, scene.judged)
    return _Verdict(belief, f"nothing that is a {scene.case.kind} can be read out of the answer", scene.judged)


def _ignored(scene: _Scene) -> _Verdict | None:
    case = scene.case
    if not case.has_context:
        return None
    cell = scene.judged
    surely = scene.belief(lambda one: not one.content, cell) * (scene.found_belief if scene.found else 1.0)
    if case.stated:
        return _Verdict(surely, "the passages state the reference, and the answer is another", cell)
    helped = [subject for subject in Subject if case.helped(subject)]
    near, all_near = case.helped_near
    if not helped and (all_near < _FEWEST_NEIGHBOURS or 2 * near <= all_near):
        return None
    alone = cell.under(Context.NONE)
    if alone == cell or not (said := scene.says(cell)) or said != scene.says(alone):
        return None
    belief = scene.belief(lambda one: one.right, Cell(Context.ORACLE, helped[0])) if helped else near / all_near
    who = f"this case for the {helped[0]}" if helped else f"{near} of {all_near} like it"
    return _Verdict(surely * belief, f"the passages decide {who}, and this answer is the same as without any", cell)


def _wrong(scene: _Scene) -> _Verdict | None:
    because = "form and context are fine" if scene.case.has_context else "the form is fine, and no context is needed"
    belief = scene.belief(lambda one: not one.content, scene.judged) * (1 if not scene.case.has_context else 0.9)
    return _Verdict(belief, f"{because}, and the answer is wrong", scene.judged)


def _right_inside(scene: _Scene, cell: Cell) -> _Verdict | None:
    def inside(one: Trial) -> bool:
        return one.content and not one.right

    if not scene.mostly(cell, inside):
        return None
    return _Verdict(scene.belief(inside, cell), "what the answer says is right, and its form is not", cell)


_RULES: tuple[tuple[Cause, Callable[[_Scene], _Verdict | None]], ...] = (
    (Cause.UNANSWERED, _unanswered),
    (Cause.LABEL, _contradicts_context),
    (Cause.LABEL, _twins_disagree),
    (Cause.LABEL, _all_agree),
    (Cause.LABEL, _neighbours_disagree),
    (Cause.FORMAT, _content_right),
    (Cause.RETRIEVAL, _missed),
    (Cause.FORMAT, _broken_where_evidence_was),
    (Cause.CONTEXT, _ignored),
    (Cause.JUDGMENT, _wrong),
)


def _with_neighbours(attributions: Sequence[Attribution], near: Mapping[str, Sequence[str]]) -> list[Attribution]:
    causes = {one.case_id: one.cause for one in attributions}
    heard = []
    for one in attributions:
        around = [causes[other] for other in near.get(one.case_id, ()) if other in causes]
        same = around.count(one.cause)
        odds = one.confidence / (1 - one.confidence) * math.sqrt((same + 1) / (len(around) - same + 1))
        heard.append(replace(one, confidence=_kept(odds / (1 + odds))))
    return heard


def _kept(confidence: float) -> float:
    return min(max(confidence, _LEAST), _MOST)

"""Fusion weights for one knowledge base, found on judged questions and reported on others. Pure."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from retrieval.fusion import FusionMethod, fuse
from retrieval.ir_metrics import Measure, Qrels, mean_over

ArmLists = Mapping[str, Sequence[tuple[str, float]]]
"""By arm: (document, score), the best first."""

STEPS = 20
"""Weights are tried in twentieths: finer differences are noise on any set of questions that people judge."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """The best setting, and what it is worth on questions that it has not seen."""

    method: FusionMethod
    weights: Mapping[str, float]
    tuned_on: int
    reported_on: int
    value: float
    """On the questions kept back."""
    arms: Mapping[str, float]
    """Each arm alone, on the same."""


def split(questions: Collection[str], share: float = 0.5) -> tuple[list[str], list[str]]:
    """Questions to tune on, and questions to report on. A question is always on the same side, whatever the others.

    Args:
        share: the part to tune on.
    """
    tune: list[str] = []
    report: list[str] = []
    for question in sorted(questions):
        place = int.from_bytes(hashlib.sha256(question.encode()).digest()[:4], "big") / 2**32
        (tune if place < share else report).append(question)
    return tune, report


def tune_fusion(lists: Mapping[str, ArmLists], qrels: Qrels, measure: Measure, share: float = 0.5) -> Tuned:
    """The weights of two arms that give the best mean on one part of the questions, valued on the other part.

    Raises:
        ValueError: fewer than two arms, or one of the parts has no judged question.
    """
    arms = sorted({arm for one in lists.values() for arm in one})
    if len(arms) != 2:
        raise ValueError(f"there are two arms to weigh; these have lists: {', '.join(arms) or 'none'}")
    tune, report = split(qrels.keys() & lists.keys(), share)
    seen, unseen = ({question: qrels[question] for question in part} for part in (tune, report))

    def value(method: FusionMethod, weights: Mapping[str, float], judged: Qrels) -> float:
        run = {one: [document for document, _ in fuse(method, lists[one], weights)] for one in judged}
        return mean_over(judged, run, measure)

    settings = [
        (method, {arms[0]: step / STEPS, arms[1]: 1 - step / STEPS})
        for method in FusionMethod
        for step in range(STEPS + 1)
    ]
    method, weights = max(settings, key=lambda setting: value(setting[0], setting[1], seen))
    alone = {arm: value(FusionMethod.MIN_MAX, {one: float(one == arm) for one in arms}, unseen) for arm in arms}
    return Tuned(method, weights, len(tune), len(report), value(method, weights, unseen), alone)

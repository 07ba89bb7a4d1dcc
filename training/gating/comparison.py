"""One metric of two runs of the same cases: how they differ, how sure that is, and whether it is enough."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Literal

import numpy as np

from training.gating import paired
from training.gating.bootstrap import bootstrap
from training.gating.policy import GatePolicy, MetricRule
from training.gating.power import Truth, cases_needed, power
from training.shares import wilson


class Outcome(StrEnum):
    """What a gate can say."""

    PASSED = "passed"
    FAILED = "failed"
    UNDECIDED = "undecided"
    """Too few cases to tell. Never passes."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over cases, with limits."""

    mean: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """What one metric showed."""

    metric: str
    rule: Literal["non_inferiority", "improvement"]
    threshold: float
    """The difference, candidate minus current, that had to be exceeded."""
    method: Literal["exact", "bootstrap"]
    """``exact`` where every case is right or wrong in both runs."""
    cases: int
    candidate: Estimate
    current: Estimate
    difference: Estimate
    """Candidate minus current; each limit is wrong with probability ``alpha`` at most."""
    alpha: float
    p_value: float
    """Of "the true difference does not exceed the threshold"."""
    wins: int
    """Cases that the candidate does better."""
    losses: int
    mcnemar: float | None
    """Exact two-sided p-value of "no difference at all"; None for graded metrics."""
    assumed: float
    """The true difference for which the two numbers below hold."""
    power: float
    """The probability that these cases let such a candidate pass."""
    cases_needed: int | None
    """How many give the policy's power."""
    outcome: Outcome
    reason: str

    def to_json(self) -> dict[str, Any]:
        """For a report."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Evidence:
    """What either method finds."""

    candidate: Estimate
    current: Estimate
    difference: Estimate
    p_value: float
    mcnemar: float | None
    truth: Truth


def compare(
    metric: str, rule: MetricRule, candidate: Mapping[str, float], current: Mapping[str, float], policy: GatePolicy
) -> Comparison:
    """Hold ``rule`` against the metric's values of the same cases, each in [0, 1]."""
    ids = list(current)
    ours, theirs = (np.array([values[one] for one in ids], dtype=np.float64) for values in (candidate, current))
    graded = not all(np.isin(values, (0.0, 1.0)).all() for values in (ours, theirs))
    wins, losses = int((ours > theirs).sum()), int((ours < theirs).sum())
    found = _graded(ours, theirs, rule, policy) if graded else _binary(ours, theirs, rule, policy)
    needed = cases_needed(found.truth, rule.threshold, policy.alpha, policy.power)
    chance = power(found.truth, len(ids), rule.threshold, policy.alpha)
    outcome, reason = _judge(found, len(ids), chance, needed, rule, policy)
    return Comparison(
        metric=metric,
        rule=rule.kind,
        threshold=rule.threshold,
        method="bootstrap" if graded else "exact",
        cases=len(ids),
        candidate=found.candidate,
        current=found.current,
        difference=found.difference,
        alpha=policy.alpha,
        p_value=found.p_value,
        wins=wins,
        losses=losses,
        mcnemar=found.mcnemar,
        assumed=rule.truth,
        power=chance,
        cases_needed=needed,
        outcome=outcome,
        reason=reason,
    )


def _binary(ours: paired.FloatArray, theirs: paired.FloatArray, rule: MetricRule, policy: GatePolicy) -> _Evidence:
    n, wins, losses = len(ours), int((ours > theirs).sum()), int((ours < theirs).sum())
    # One case more of either kind: no run shows that two versions never differ.
    discordant = (wins + losses + 1) / (n + 2)
    return _Evidence(
        candidate=_share(ours, policy.alpha),
        current=_share(theirs, policy.alpha),
        difference=Estimate((wins - losses) / n, *paired.interval(wins, losses, n, policy.alpha)),
        p_value=paired.p_value(wins, losses, n, rule.threshold),
        mcnemar=paired.mcnemar(wins, losses),
        truth=Truth.of_shares(rule.truth, discordant, rule.threshold),
    )


def _graded(ours: paired.FloatArray, theirs: paired.FloatArray, rule: MetricRule, policy: GatePolicy) -> _Evidence:
    difference = bootstrap(ours - theirs, resamples=policy.resamples, seed=policy.seed)
    return _Evidence(
        candidate=_mean(ours, policy),
        current=_mean(theirs, policy),
        difference=Estimate(difference.mean, difference.lower(policy.alpha), difference.upper(policy.alpha)),
        p_value=difference.p_value(rule.threshold),
        mcnemar=None,
        truth=Truth.of_scores(rule.truth, float((ours - theirs).std(ddof=1))),
    )


def _share(values: paired.FloatArray, alpha: float) -> Estimate:
    share = float(values.mean())
    return Estimate(share, *wilson(share, len(values), 2 * alpha))


def _mean(values: paired.FloatArray, policy: GatePolicy) -> Estimate:
    found = bootstrap(values, resamples=policy.resamples, seed=policy.seed)
    lower, upper = found.lower(policy.alpha), found.upper(policy.alpha)
    return Estimate(found.mean, max(0.0, lower), min(1.0, upper))


def _judge(
    found: _Evidence, cases: int, chance: float, needed: int | None, rule: MetricRule, policy: GatePolicy
) -> tuple[Outcome, str]:
    """The outcome, and the sentence that says why."""
    wish = (
        f"worse by less than {rule.margin:g}"
        if rule.kind == "non_inferiority"
        else f"better by more than {rule.margin:g}"
    )
    seen = f"difference {found.difference.mean:+.3f} [{found.difference.lower:+.3f}, {found.difference.upper:+.3f}]"
    if found.difference.upper <= rule.threshold:
        return Outcome.FAILED, f"{seen}: shown not to be {wish}"
    if cases < policy.min_cases:
        return Outcome.UNDECIDED, f"{seen}: {cases} cases are too few, the policy asks for {policy.min_cases}"
    if found.p_value <= policy.alpha:
        return Outcome.PASSED, f"{seen}: {wish} (p = {found.p_value:.2g})"
    if chance < policy.power:
        return Outcome.UNDECIDED, (
            f"{seen}: not shown to be {wish}, and {cases} cases are too few to tell: a candidate with a true "
            f"difference of {rule.truth:+g} would pass with probability {chance:.2f}; about {needed} cases make it "
            f"{policy.power:g}"
        )
    return Outcome.FAILED, (
        f"{seen}: not shown to be {wish}, although a candidate with a true difference of {rule.truth:+g} "
        f"would have passed with probability {chance:.2f}"
    )

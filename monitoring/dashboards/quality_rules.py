"""When the output of a version got worse: its bad checks against what is usual for its task.

Of n checks of half an hour, bad are bad; usual is the bad share of what answered the task on the day before: its stable
versions, or the base model. The alert fires where ``(bad - n * usual) / sqrt(n * usual * (1 - usual) + 1)`` is above
a threshold: the normal deviate of a binomial count, with one check's variance added for what the day before does not
know.

Only answers that callers got through a task count: nobody is woken for a shadow's, nor for those of an examination that
asks a version by its full name.
"""

from monitoring.catalogue_observing import QUALITY_CHECKS
from monitoring.dashboards.promql import Match, Query, Scope, equals, one_of
from monitoring.dashboards.recorded import (
    QUALITY_BAD,
    QUALITY_COUNT,
    QUALITY_EXCESS,
    QUALITY_EXPECTED,
    QUALITY_USUAL,
)
from monitoring.dashboards.rules import Group, Recording
from monitoring.quality.excess import LEAST_USUAL, THRESHOLD
from monitoring.spec import BASE

_WINDOW = "30m"
_HISTORY = "1d"
_BY_VERSION = ("job", "task", "adapter", "check")
_BY_TASK = ("job", "task", "check")
_USUAL = one_of("stable", BASE)
_ANSWERED = one_of("stable", "canary", BASE)


def quality_recordings(scope: Scope) -> Group:
    """How many checks of a version were bad, how many would usually be, and how far apart the two are."""
    answered = _of(scope, _ANSWERED)
    count = answered.increase(QUALITY_CHECKS, *_BY_VERSION, over=_WINDOW)
    bad = answered.increase(QUALITY_CHECKS, *_BY_VERSION, over=_WINDOW, result=equals("bad")).or_zero_of(count)
    return Group(
        "loraplex-quality",
        (
            Recording(QUALITY_COUNT, count),
            Recording(QUALITY_BAD, bad),
            Recording(QUALITY_USUAL, _usual(scope)),
            Recording(QUALITY_EXPECTED, scope.series(QUALITY_COUNT).times(scope.series(QUALITY_USUAL), on=_BY_TASK)),
            Recording(QUALITY_EXCESS, _excess(scope)),
        ),
    )


def quality_fell(scope: Scope) -> Query:
    """The bad share of a version's checks, where it is above the usual by more than chance would have it."""
    share = scope.series(QUALITY_BAD).over(scope.series(QUALITY_COUNT))
    return share.and_(scope.series(QUALITY_EXCESS).above(THRESHOLD))


def _usual(scope: Scope) -> Query:
    """The bad share of what answered the task on the day before; the least where it has no such day."""
    history = _of(scope, _USUAL).share(QUALITY_CHECKS, *_BY_TASK, over=_HISTORY, offset=_WINDOW, result=equals("bad"))
    # A day without requests is 0 / 0, which no comparison holds for: that is a task without history too.
    known = history.at_least(0).or_zero_of(_of(scope, _ANSWERED).rate(QUALITY_CHECKS, *_BY_TASK, over=_WINDOW))
    return known.through("clamp_min", LEAST_USUAL)


def _of(scope: Scope, roles: Match) -> Scope:
    return Scope(scope.job, scope.window, {**scope.fixed, "role": roles})


def _excess(scope: Scope) -> Query:
    expected = scope.series(QUALITY_EXPECTED)
    good = scope.series(QUALITY_USUAL).times(-1).plus(1)
    deviation = expected.times(good, on=_BY_TASK).plus(1).through("sqrt")
    return scope.series(QUALITY_BAD).minus(expected).over(deviation)

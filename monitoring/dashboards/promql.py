"""PromQL, written from the catalogue: a query names ``MetricSpec`` objects and only labels that they have.

So a metric that is renamed is a type error, and a label that is gone raises where the query is built; neither is a
panel that stays empty.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from monitoring.spec import MetricSpec

_SCRAPED = ("job", "instance", "replica")
"""Labels that every series has besides its metric's own."""

Fold = Literal["sum", "max", "min", "avg", "count", "group"]


class UnknownLabel(ValueError):
    """A query uses a label that its metric does not have."""


class WrongKind(ValueError):
    """A function does not fit the kind of the metric: a rate of a gauge, a quantile of a counter."""


@dataclass(frozen=True, slots=True)
class Match:
    """What a label's value must be."""

    op: Literal["=", "!=", "=~", "!~"]
    value: str


def equals(value: str) -> Match:
    """This value."""
    return Match("=", value)


def differs(value: str) -> Match:
    """Any value but this one."""
    return Match("!=", value)


def one_of(*values: str) -> Match:
    """One of these values. They are plain words: nothing in them is special in a regular expression."""
    return Match("=~", "|".join(values))


def chosen(variable: str) -> Match:
    """What the reader of a dashboard chose for ``variable``."""
    return Match("=~", f"${variable}")


@dataclass(frozen=True, slots=True)
class Query:
    """An expression, and what it reads."""

    text: str
    metrics: frozenset[MetricSpec]
    joined: bool = False
    """Whether an operator holds it together: it goes into parentheses inside another one."""

    def above(self, bound: "Query | float") -> "Query":
        """Where it is more than ``bound``."""
        return _join(self, ">", bound)

    def at_least(self, bound: "Query | float") -> "Query":
        """Where it is ``bound`` or more."""
        return _join(self, ">=", bound)

    def equal_to(self, value: float) -> "Query":
        """Where it is ``value``."""
        return _join(self, "==", value)

    def over(self, other: "Query | float") -> "Query":
        """Divided by ``other``."""
        return _join(self, "/", other)

    def times(self, factor: "Query | float", *, on: tuple[str, ...] = ()) -> "Query":
        """Multiplied by ``factor``; ``on``: each of its series is that of all with the same values of these labels."""
        return _join(self, f"*{_matching(on)}{' group_left ()' if on else ''}", factor)

    def plus(self, other: "Query | float") -> "Query":
        """With ``other`` added."""
        return _join(self, "+", other)

    def minus(self, other: "Query | float") -> "Query":
        """Without ``other``."""
        return _join(self, "-", other)

    def and_(self, other: "Query") -> "Query":
        """Where ``other`` has a series too."""
        return _join(self, "and", other, line=True)

    def or_(self, other: "Query") -> "Query":
        """And the series of ``other`` that this one lacks."""
        return _join(self, "or", other, line=True)

    def unless(self, other: "Query", *, on: tuple[str, ...] = ()) -> "Query":
        """Where ``other`` has no series."""
        return _join(self, f"unless{_matching(on)}", other, line=True)

    def or_zero_of(self, total: "Query") -> "Query":
        """0 for the series of ``total`` that this one lacks: a counter is absent until it first counts."""
        zero = Query(f"0 * {_operand(total)}", total.metrics, joined=True)
        return Query(f"({self.text} or {zero.text})", self.metrics | total.metrics)

    def through(self, function: str, *arguments: float) -> "Query":
        """What a PromQL function makes of it: ``absent``, ``sqrt``, ``clamp_min``."""
        inside = ", ".join((self.text, *map(_number, arguments)))
        return Query(f"{function}({inside})", self.metrics)

    def folded(self, how: Fold, *by: str) -> "Query":
        """Aggregated over everything but the labels ``by``."""
        return Query(f"{_fold(how, by)} ({self.text})", self.metrics)


@dataclass(frozen=True, slots=True)
class Scope:
    """What all queries of one output keep to."""

    job: Match
    """The scrape job."""
    window: str
    """Over which rates are taken where a query does not say."""
    fixed: Mapping[str, Match] = field(default_factory=dict)
    """Matched wherever a metric has the label."""

    def series(self, spec: MetricSpec, /, **where: Match) -> Query:
        """The series themselves, by their last values. Raises UnknownLabel."""
        return Query(self._selector(spec, "", where), frozenset((spec,)))

    def window_of(self, spec: MetricSpec, function: str, window: str, /, **where: Match) -> Query:
        """What ``function`` (``deriv``, ``min_over_time``) makes of each gauge over ``window``.

        Raises:
            UnknownLabel, WrongKind.
        """
        _require(spec, "gauge")
        return Query(f"{function}({self._selector(spec, '', where)}[{window}])", frozenset((spec,)))

    def now(self, spec: MetricSpec, *by: str, how: Fold = "sum", **where: Match) -> Query:
        """The last values of a gauge, aggregated over everything but ``by``. Raises UnknownLabel, WrongKind."""
        _require(spec, "gauge")
        _check(spec, by)
        return self.series(spec, **where).folded(how, *by)

    def rate(self, spec: MetricSpec, *by: str, over: str = "", offset: str = "", **where: Match) -> Query:
        """Counts per second; of a histogram, observations per second. Raises UnknownLabel, WrongKind."""
        return self._counted("rate", spec, by, _part(spec), (over, offset), where)

    def increase(self, spec: MetricSpec, *by: str, over: str = "", offset: str = "", **where: Match) -> Query:
        """Counts in the window; of a histogram, observations. Raises UnknownLabel, WrongKind."""
        return self._counted("increase", spec, by, _part(spec), (over, offset), where)

    def share(self, spec: MetricSpec, *by: str, over: str = "", offset: str = "", **where: Match) -> Query:
        """Which part of what is counted has the labels ``where``; 0 where nothing of it has.

        Raises:
            UnknownLabel, WrongKind.
        """
        part = self.rate(spec, *by, over=over, offset=offset, **where)
        total = self.rate(spec, *by, over=over, offset=offset)
        return part.or_zero_of(total).over(total)

    def mean(self, spec: MetricSpec, *by: str, over: str = "", **where: Match) -> Query:
        """The mean observation of a histogram. Raises UnknownLabel, WrongKind."""
        _require(spec, "histogram")
        total = self._counted("rate", spec, by, "_sum", (over, ""), where)
        return total.over(self._counted("rate", spec, by, "_count", (over, ""), where))

    def quantile(self, q: float, spec: MetricSpec, *by: str, over: str = "", **where: Match) -> Query:
        """A quantile of a histogram's observations, as its buckets tell it. Raises UnknownLabel, WrongKind."""
        _require(spec, "histogram")
        _check(spec, by)
        buckets = self._counted("rate", spec, ("le", *by), "_bucket", (over, ""), where)
        return Query(f"histogram_quantile({_number(q)}, {buckets.text})", buckets.metrics)

    def _counted(
        self,
        function: str,
        spec: MetricSpec,
        by: tuple[str, ...],
        part: str,
        when: tuple[str, str],
        where: Mapping[str, Match],
    ) -> Query:
        _check(spec, tuple(label for label in by if label != "le"))
        over, offset = when
        moved = f" offset {offset}" if offset else ""
        inner = f"{function}({self._selector(spec, part, where)}[{over or self.window}]{moved})"
        return Query(inner, frozenset((spec,))).folded("sum", *by)

    def _selector(self, spec: MetricSpec, part: str, where: Mapping[str, Match]) -> str:
        _check(spec, tuple(where))
        fixed = {label: match for label, match in self.fixed.items() if label in (*spec.labels, *_SCRAPED)}
        matches = {"job": self.job, **fixed, **where}
        inside = ",".join(f'{label}{match.op}"{_escaped(match.value)}"' for label, match in matches.items())
        return f"{spec.name}{part}{{{inside}}}"


def _part(spec: MetricSpec) -> str:
    if spec.kind == "gauge":
        raise WrongKind(f"{spec.name} is a gauge, and has no rate")
    return "_count" if spec.kind == "histogram" else ""


def _require(spec: MetricSpec, kind: str) -> None:
    if spec.kind != kind:
        raise WrongKind(f"{spec.name} is a {spec.kind}, not a {kind}")


def _check(spec: MetricSpec, labels: tuple[str, ...]) -> None:
    for label in labels:
        if label not in (*spec.labels, *_SCRAPED):
            raise UnknownLabel(f"{spec.name} has no label `{label}`; it has {', '.join(spec.labels) or 'none'}")


def _fold(how: str, by: tuple[str, ...]) -> str:
    return f"{how} by ({', '.join(by)})" if by else how


def _matching(on: tuple[str, ...]) -> str:
    return f" on ({', '.join(on)})" if on else ""


def _join(left: Query, operator: str, right: "Query | float", *, line: bool = False) -> Query:
    space = "\n" if line else " "
    if isinstance(right, Query):
        text = f"{_operand(left)}{space}{operator}{space}{_operand(right)}"
        return Query(text, left.metrics | right.metrics, joined=True)
    return Query(f"{_operand(left)}{space}{operator}{space}{_number(right)}", left.metrics, joined=True)


def _operand(query: Query) -> str:
    return f"({query.text})" if query.joined else query.text


def _number(value: float) -> str:
    # Twelve digits hide what binary fractions add to 0.001.
    return f"{value:.12g}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')

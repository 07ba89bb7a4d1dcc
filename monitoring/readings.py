"""Reading what ``/metrics`` answers: samples, what counters grew by between two scrapes, quantiles of histograms. Pure.

Growth is counted as Prometheus' ``increase`` does without its extrapolation, and quantiles as its
``histogram_quantile`` does for classic histograms (Prometheus documentation, "Query functions").
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

Labels = tuple[tuple[str, str], ...]
"""Names and values of a series, sorted by name."""

PREFIX = "loraplex_"

_SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[^"{}]|"(?:[^"\\]|\\.)*")*\})?[ \t]+(\S+)')
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")
_PLAIN = {"n": "\n"}


@dataclass(frozen=True)
class Exposition:
    """What one scrape said."""

    at: float
    """When it was made, in seconds of any clock that runs evenly."""
    series: Mapping[str, Mapping[Labels, float]]
    """Values by the sample's name, then by labels."""

    @cached_property
    def replicas(self) -> frozenset[str]:
        """Every value of the label ``replica``."""
        return frozenset(
            value for found in self.series.values() for labels in found for name, value in labels if name == "replica"
        )

    def values(self, name: str) -> Mapping[Labels, float]:
        """The series of one sample name; empty where there is none."""
        return self.series.get(name, {})


def read_exposition(text: str, at: float, *, prefix: str = PREFIX) -> Exposition:
    """The samples whose names begin with ``prefix``. What is no sample is passed over, and so is NaN."""
    series: dict[str, dict[Labels, float]] = {}
    for line in text.split("\n"):
        if not line.startswith(prefix) or (match := _SAMPLE.match(line)) is None:
            continue
        name, labels, number = match.groups()
        value = _number(number)
        if value is not None:
            series.setdefault(name, {})[_labels(labels or "")] = value
    return Exposition(at, series)


def increases(before: Exposition, after: Exposition, name: str) -> dict[Labels, float]:
    """What each series of the counter ``name`` grew by from one scrape to a later one.

    A series that fell was reset, and counts from 0. One that is new counts whole where its replica was there before;
    where it was not, nobody knows since when it counted, and it is left out.
    """
    old = before.values(name)
    found: dict[Labels, float] = {}
    for labels, value in after.values(name).items():
        if labels in old:
            found[labels] = value - old[labels] if value >= old[labels] else value
        elif dict(labels).get("replica", "") in before.replicas or not before.replicas:
            found[labels] = value
    return found


def grouped(values: Mapping[Labels, float], by: Sequence[str]) -> dict[tuple[str, ...], float]:
    """Sums over all labels but ``by``; a label that a series lacks is empty."""
    found: dict[tuple[str, ...], float] = {}
    for labels, value in values.items():
        key = _key(labels, by)
        found[key] = found.get(key, 0.0) + value
    return found


def spread(values: Mapping[Labels, float], by: Sequence[str]) -> dict[tuple[str, ...], tuple[float, float]]:
    """Smallest and largest value over all labels but ``by``; a label that a series lacks is empty."""
    found: dict[tuple[str, ...], tuple[float, float]] = {}
    for labels, value in values.items():
        key = _key(labels, by)
        low, high = found.get(key, (value, value))
        found[key] = (min(low, value), max(high, value))
    return found


def histograms(values: Mapping[Labels, float], by: Sequence[str]) -> dict[tuple[str, ...], dict[float, float]]:
    """Cumulative counts by upper bound, summed over all labels but ``by``.

    Args:
        values: series of a ``_bucket`` sample, or what they grew by.
    """
    found: dict[tuple[str, ...], dict[float, float]] = {}
    for labels, value in values.items():
        bound = _number(dict(labels).get("le", ""))
        if bound is not None:
            counts = found.setdefault(_key(labels, by), {})
            counts[bound] = counts.get(bound, 0.0) + value
    return found


def quantile(q: float, buckets: Mapping[float, float]) -> float | None:
    """The value below which the share ``q``, in (0, 1], of the observations lies, linear within its bucket.

    Above the highest finite bound it is that bound. None where nothing was observed or the bound +Inf is missing.

    Args:
        buckets: cumulative counts by upper bound.
    """
    bounds = sorted(buckets)
    if len(bounds) < 2 or not math.isinf(bounds[-1]):
        return None
    # Buckets of replicas of two releases may differ, and then their sums fall here and there.
    counts = list(accumulate((buckets[bound] for bound in bounds), max))
    if counts[-1] <= 0:
        return None
    rank = q * counts[-1]
    place = next(index for index, count in enumerate(counts) if count >= rank)
    if place == len(bounds) - 1:
        return bounds[-2]
    below, start = (counts[place - 1], bounds[place - 1]) if place else (0.0, min(0.0, bounds[0]))
    if counts[place] == below:
        return bounds[place]
    return start + (bounds[place] - start) * (rank - below) / (counts[place] - below)


def _key(labels: Iterable[tuple[str, str]], by: Sequence[str]) -> tuple[str, ...]:
    known = dict(labels)
    return tuple(known.get(label, "") for label in by)


def _labels(text: str) -> Labels:
    return tuple(sorted((name, _unescaped(value)) for name, value in _LABEL.findall(text)))


def _unescaped(value: str) -> str:
    return _ESCAPED.sub(lambda match: _PLAIN.get(match[1], match[1]), value) if "\\" in value else value


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return None if math.isnan(value) else value

"""What a swap run may not show. Pure: judged after the run, from the samples and from what was asked for when."""

import bisect
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.load import Sample

VERSION_HEADER = "x-loraplex-adapter"
BASE = "base"


@dataclass(slots=True)
class Timeline:
    """Which versions an alias may answer with, and from when on."""

    _times: list[float] = field(default_factory=list)
    _allowed: list[frozenset[str]] = field(default_factory=list)

    def enter(self, at: float, allowed: Iterable[str]) -> None:
        """From ``at`` on (in seconds, never before the last one) these may answer."""
        self._times.append(at)
        self._allowed.append(frozenset(allowed))

    def between(self, start: float, end: float) -> frozenset[str]:
        """Everything that may answer a request sent at ``start`` and answered by ``end``."""
        first = max(bisect.bisect_right(self._times, start) - 1, 0)
        last = bisect.bisect_right(self._times, end)
        return frozenset().union(*self._allowed[first:last])

    def period(self, start: float, end: float) -> int | None:
        """The number of the one period that holds all of [start, end]; None where it crosses from one to another."""
        first, last = bisect.bisect_right(self._times, start) - 1, bisect.bisect_right(self._times, end) - 1
        return first if first == last and first >= 0 else None


@dataclass(frozen=True, slots=True)
class Sent:
    """What a request asked for; its number is the tag of its sample."""

    model: str
    kind: str
    """``keyed``, ``anonymous``, ``exact`` or ``base``."""
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Violation:
    """One answer that must not have been given."""

    cause: str
    detail: str


class Judge:
    """Judges the answers of one run."""

    def __init__(self, base: str, markers: Mapping[str, str], timeline: Timeline) -> None:
        self._base = base
        self._markers = dict(markers)
        """Version → the text by which its answers are known."""
        self._timeline = timeline

    def violations(self, sent: Sequence[Sent], samples: Sequence[Sample]) -> list[Violation]:
        """Everything wrong with the good samples, failures aside."""
        found = [
            violation
            for sample in samples
            if sample.error is None
            for violation in self._judge(sent[int(sample.tag)], sample)
        ]
        return found + self._unsteady(sent, samples)

    def _judge(self, sent: Sent, sample: Sample) -> Iterable[Violation]:
        reported = sample.headers.get(VERSION_HEADER)
        named = self._base if reported == BASE else reported
        where = f"request {sample.tag} ({sent.kind}), reported {reported}, text {sample.text!r}"
        if sample.fingerprint != named:
            yield Violation("header and fingerprint differ", f"{where}, fingerprint {sample.fingerprint}")
        shown = {version for version, marker in self._markers.items() if marker in sample.text}
        expected = set() if reported == BASE else {reported}
        if shown != expected:
            yield Violation("the answer is not of the version reported", f"{where}, markers of {sorted(shown)}")
        allowed = self._allowed(sent, sample)
        if reported not in allowed:
            yield Violation("a version that should not answer then", f"{where}, allowed {sorted(allowed)}")

    def _allowed(self, sent: Sent, sample: Sample) -> frozenset[str]:
        if sent.kind == "base":
            return frozenset({BASE})
        if sent.kind == "exact":
            return frozenset({sent.model})
        return self._timeline.between(sample.started_at, sample.started_at + sample.e2e_s)

    def _unsteady(self, sent: Sequence[Sent], samples: Sequence[Sample]) -> list[Violation]:
        """Callers that got two versions although nothing had changed in between."""
        seen: dict[tuple[int, str], set[str]] = {}
        for sample in samples:
            key = sent[int(sample.tag)].key
            period = self._timeline.period(sample.started_at, sample.started_at + sample.e2e_s)
            # Odd periods are transitions: replicas may change over at different moments.
            if sample.error is None and key is not None and period is not None and period % 2 == 0:
                seen.setdefault((period, key), set()).add(sample.headers.get(VERSION_HEADER, ""))
        return [
            Violation("a caller moved between versions", f"{key} in period {period}: {sorted(versions)}")
            for (period, key), versions in seen.items()
            if len(versions) > 1
        ]


def count_by_version(samples: Sequence[Sample]) -> dict[str, int]:
    """Good answers by the version that they report."""
    return dict(Counter(sample.headers.get(VERSION_HEADER, "") for sample in samples if sample.error is None))

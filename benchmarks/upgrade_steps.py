"""What an upgrade's traffic must look like, step by step. Pure: judged after the run."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.load import Sample
from benchmarks.stats import quantiles_ms
from benchmarks.swap_check import VERSION_HEADER, Timeline


@dataclass(frozen=True, slots=True)
class Step:
    """One change, and how long it took. Times are of ``time.perf_counter``, in seconds."""

    name: str
    began: float
    ended: float
    facts: Mapping[str, Any]
    """What was so when it was done."""


def wrong_versions(samples: Sequence[Sample], timeline: Timeline) -> list[str]:
    """Good answers of a version that could not answer then, or whose header, fingerprint and text disagree.

    The fake engine's texts begin with the version's name in brackets.
    """
    found = []
    for sample in samples:
        if sample.error is not None:
            continue
        said = sample.headers.get(VERSION_HEADER, "")
        allowed = timeline.between(sample.started_at, sample.started_at + sample.e2e_s)
        where = f"request {sample.tag}: {said or 'no version'}, fingerprint {sample.fingerprint}"
        if said not in allowed:
            found.append(f"{where}, allowed {sorted(allowed)}")
        elif sample.fingerprint != said or not sample.text.startswith(f"[{said}]"):
            found.append(f"{where}, text {sample.text[:60]!r}")
    return found


def rows(steps: Sequence[Step], samples: Sequence[Sample], until: float) -> list[dict[str, Any]]:
    """One row for each step, over the requests that were sent from its beginning to that of the next one."""
    ends = [step.began for step in steps[1:]] + [until]
    return [
        _row(step, [sample for sample in samples if step.began <= sample.started_at < end])
        for step, end in zip(steps, ends, strict=True)
    ]


def _row(step: Step, samples: Sequence[Sample]) -> dict[str, Any]:
    good = [sample for sample in samples if sample.error is None]
    streams = [sample.ttft_s for sample in good if sample.ttft_s is not None and sample.gaps_s]
    return {
        "step": step.name,
        "seconds": round(step.ended - step.began, 1),
        "requests": len(samples),
        "failed": len(samples) - len(good),
        "failed_s": _span([sample.started_at - step.began for sample in samples if sample.error is not None]),
        "causes": dict(Counter(sample.error for sample in samples if sample.error is not None)),
        "streams": len(streams),
        "ttft_ms": quantiles_ms(streams),
        "whole_answer_ms": quantiles_ms([sample.e2e_s for sample in good]),
        **step.facts,
    }


def _span(moments: Sequence[float]) -> list[float]:
    """The first and the last of them, in seconds after the step's beginning; empty where there is none."""
    return [round(min(moments), 1), round(max(moments), 1)] if moments else []

"""Suites as the benchmarks run them: who is asked, what came of it in short, and what a gate says."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from benchmarks.fleet import say
from benchmarks.wire import Address
from training.evaluation.endpoint import Endpoint
from training.evaluation.intervals import Interval
from training.evaluation.runner import run_suite
from training.evaluation.scoring import score
from training.evaluation.suite import Suite
from training.evaluation.summary import summarise
from training.evaluation.types import Answer, SuiteRun
from training.gating.gate import Verdict

CONCURRENCY = 16
Json = dict[str, Any]


async def ask(suite: Suite, address: Address, model: str, concurrency: int = CONCURRENCY) -> SuiteRun:
    """Every case of the suite, asked of one model of a gateway."""
    async with Endpoint(f"http://{address}/v1") as endpoint:
        run = await run_suite(suite, endpoint, model=model, concurrency=concurrency)
    values = run.values(run.primary).values()
    say(f"{suite.name}, {model}: {run.primary} {sum(values) / len(values):.4f} over {len(values)} cases")
    return run


def describe(suite: Suite, run: SuiteRun) -> Json:
    """Metrics with their 95 % intervals, macro-F1 where there are labels, what was cut off, errors and times."""
    summary = summarise(suite, run)
    metrics = {one.name: _estimate(one.mean, one.interval) for one in summary.metrics}
    for one in summary.classifications:
        metrics[f"{one.prefix}macro_f1"] = _estimate(one.macro_f1, one.macro_f1_interval)
    return {
        "model": run.model,
        "version": run.version,
        "cases": summary.cases,
        "metrics": metrics,
        "cut_off": cut_off(run),
        "errors": dict(summary.errors),
        "completion_tokens": summary.completion_tokens,
        "seconds_median": summary.seconds_median,
    }


def cut_off(run: SuiteRun) -> float:
    """Share of the answers that the token limit ended."""
    return sum(result.answer.finish_reason == "length" for result in run.results) / len(run.results)


def without_baseline(suite: Suite) -> Suite:
    """The same suite; running it does not train the classical baseline once more."""
    return replace(suite, baseline_rows=None)


def baseline_run(suite: Suite, run: SuiteRun) -> SuiteRun:
    """What the classical baseline that ``run`` recorded said to the same cases, as a run of its own."""
    recorded: Mapping[str, Any] = run.record["baseline"]
    results = tuple(score(suite, case, Answer(recorded["predictions"][case.id]), 0) for case in suite.cases)
    return replace(run, model=recorded["method"], version=None, results=results, record={})


def told(suite: Suite, text: str) -> Suite:
    """The suite with ``text`` as its system message. Its digest differs."""
    system = {"role": "system", "content": text}
    return suite.with_cases(
        [
            replace(case, messages=(system, *(one for one in case.messages if one["role"] != "system")))
            for case in suite.cases
        ]
    )


def describe_verdict(verdict: Verdict) -> Json:
    """What a gate says, without the cases that flipped."""
    return plain(
        {
            "outcome": verdict.outcome.value,
            "reason": verdict.reason,
            "candidate": verdict.candidate.name,
            "current": verdict.current.name,
            "flips": len(verdict.flips),
            "comparisons": [comparison.to_json() for comparison in verdict.comparisons],
        }
    )


def plain(value: Json) -> Json:
    """The same in the types of JSON alone: numbers of numpy come as Python's."""
    found: Json = json.loads(json.dumps(value))
    return found


def _estimate(mean: float, interval: Interval) -> Json:
    return {"mean": round(mean, 4), **dataclasses.asdict(interval)}

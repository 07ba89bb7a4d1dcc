"""Reports of versions: made from a suite's run or a gate's verdict, as their files hold them. Pure."""

import json
import math
from collections.abc import Mapping
from statistics import fmean
from typing import Any

from adapters.rollout_types import Report
from serving.errors import InvalidRequest
from serving.jobs.events_file import text_of

RUN = "run"
GATE = "gate"
ROLLOUT = "rollout"
PASSED = "passed"
FAILED = "failed"

MAX_SUMMARY_CHARS = 4000
_MOST_FLIPS = 20
_LONGEST_WORD = 32


def report_of(version: str, data: Mapping[str, Any]) -> Report:
    """The report that a file's content stands for: a run, a verdict, or a report as it is.

    Raises:
        InvalidRequest: it is none of them.
    """
    _check_json(data)
    if isinstance(data.get("results"), list):
        return run_report(version, data)
    if isinstance(data.get("passed"), bool) and isinstance(data.get("reason"), str):
        return gate_report(version, data)
    kind, summary = data.get("kind"), data.get("summary")
    verdict, body = data.get("verdict"), data.get("body", {})
    if (
        _is_word(kind)
        and isinstance(summary, str)
        and (verdict is None or _is_word(verdict))
        and isinstance(body, dict)
    ):
        return Report(version, str(kind), verdict, text_of(summary)[:MAX_SUMMARY_CHARS], body)
    raise InvalidRequest(
        "This is neither a suite's run (`results`), nor a gate's verdict (`passed`, `reason`), nor a report (`kind`, "
        f"`summary`), with kind and verdict of up to {_LONGEST_WORD} characters."
    )


def run_report(version: str, run: Mapping[str, Any]) -> Report:
    """A suite's run in short: its metrics' means over cases, not its answers. Raises InvalidRequest."""
    try:
        metrics = _means(run["results"])
        suite, primary = text_of(run["suite"]), text_of(run["primary"])
        cases = len({result["case_id"] for result in run["results"]})
        errors = sum(result["answer"].get("error") is not None for result in run["results"])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InvalidRequest(f"This is not a suite's run: {error}.") from None
    shown = {primary: metrics[primary]} if primary in metrics else metrics
    values = ", ".join(f"{name} {value:.4f}" for name, value in shown.items())
    body = {
        "suite": suite,
        "suite_digest": run.get("suite_digest"),
        "model": run.get("model"),
        "answered_by": run.get("version"),
        "primary": primary,
        "metrics": metrics,
        "cases": cases,
        "errors": errors,
        "record": run.get("record", {}),
    }
    failed = f", {errors} without an answer" if errors else ""
    summary = f"{suite}: {text_of(values)} over {cases} cases{failed}"
    return Report(version, RUN, None, summary[:MAX_SUMMARY_CHARS], body)


def gate_report(version: str, verdict: Mapping[str, Any]) -> Report:
    """A gate's verdict; of the cases that flipped, the first ones. Raises InvalidRequest."""
    flips = verdict.get("flips", [])
    if not isinstance(flips, list):
        raise InvalidRequest("This is not a gate's verdict: `flips` is no list.")
    body = dict(verdict) | {"flips": flips[:_MOST_FLIPS], "flips_in_all": len(flips)}
    outcome = PASSED if verdict["passed"] else text_of(verdict.get("outcome") or FAILED)[:_LONGEST_WORD]
    return Report(version, GATE, outcome, text_of(verdict["reason"])[:MAX_SUMMARY_CHARS], body)


def _check_json(data: Mapping[str, Any]) -> None:
    # Escapes such as \ud800 alone, and NaN, are read without complaint; but no database or client takes them.
    try:
        json.dumps(data, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"This could not be stored: {error}.") from None


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_WORD and value.isprintable()


def _means(results: list[Any]) -> dict[str, float]:
    """Each metric's mean over cases, each case the mean over its repeats."""
    values: dict[str, dict[str, list[float]]] = {}
    for result in results:
        for metric, score in result["scores"].items():
            values.setdefault(metric, {}).setdefault(result["case_id"], []).append(float(score))
    means = {metric: fmean(fmean(each) for each in cases.values()) for metric, cases in values.items()}
    if not all(map(math.isfinite, means.values())):
        raise ValueError("a score is not finite")
    return means

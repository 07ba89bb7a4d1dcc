"""Runs of suites as JSON files."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from training.errors import RunInvalid
from training.evaluation.types import Answer, CaseResult, Json, SuiteRun

FORMAT = 1
"""Of the files; others are refused."""
_ANSWER_TUPLES = ("tool_calls", "citations")


def write_run(path: Path, run: SuiteRun) -> None:
    """Write a run as a whole: a reader sees the old file or the new one."""
    text = json.dumps(run_json(run), indent=1, sort_keys=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with unfinished.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def read_run(path: Path) -> SuiteRun:
    """Read what ``write_run`` wrote. Raises RunInvalid."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RunInvalid(f"cannot read the run {path}: {error}") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise RunInvalid(f"{path} is no run of a suite, or of another version of this program")
    try:
        return run_from(data)
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise RunInvalid(f"{path} is a damaged run of a suite: {error!r}") from error


def run_json(run: SuiteRun) -> Json:
    """A run as JSON; ``run_from`` reads it."""
    return {
        "object": "suite.run",
        "format": FORMAT,
        "suite": run.suite,
        "suite_digest": run.suite_digest,
        "model": run.model,
        "version": run.version,
        "primary": run.primary,
        "record": dict(run.record),
        "results": [result_json(result) for result in run.results],
    }


def run_from(data: Json) -> SuiteRun:
    """The run in ``data``. Raises LookupError, TypeError, AttributeError or ValueError where there is none."""
    results = tuple(result_from(one) for one in data["results"])
    names = ("suite", "suite_digest", "model", "version", "primary")
    return SuiteRun(**{name: data[name] for name in names}, results=results, record=dict(data["record"]))


def result_json(result: CaseResult) -> Json:
    """One result; empty fields are left out."""
    return {
        "case_id": result.case_id,
        "repeat": result.repeat,
        "answer": answer_json(result.answer),
        "scores": dict(result.scores),
        **({"notes": dict(result.notes)} if result.notes else {}),
        **({"verdicts": list(result.verdicts)} if result.verdicts else {}),
    }


def result_from(data: Json) -> CaseResult:
    """The result in ``data``."""
    scores = {str(name): float(value) for name, value in data["scores"].items()}
    notes, verdicts = dict(data.get("notes", {})), tuple(data.get("verdicts", ()))
    return CaseResult(data["case_id"], int(data["repeat"]), answer_from(data["answer"]), scores, notes, verdicts)


def answer_json(answer: Answer) -> Json:
    """One answer; fields with their default are left out."""
    defaults: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(Answer)}
    return {name: value for name, value in dataclasses.asdict(answer).items() if value != defaults[name]}


def answer_from(data: Json) -> Answer:
    """The answer in ``data``. Raises TypeError for fields that answers do not have."""
    fields: Json = {name: tuple(value) if name in _ANSWER_TUPLES else value for name, value in data.items()}
    return Answer(**fields)

"""An examination in a process of its own: ``python -m serving.life.exam FOLDER``.

Reads FOLDER/exam.json, runs the suite against the candidate and the current version through the gateway, lets the gate
compare the two, and writes FOLDER/result.json: ``{"candidate": run, "current": run or null, "verdict": verdict or
null}``, or FOLDER/error.json: ``{"message"}`` with exit status 2. A first version is compared with nothing, but its run
must not have more errors than the gate's policy allows. What was asked before is not asked again. It ends when its
standard input closes: its parent has died.
"""

import asyncio
import json
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from training.evaluation.endpoint import Endpoint
    from training.evaluation.suite import Suite
    from training.evaluation.types import SuiteRun

EXIT_REFUSED = 2


async def examine(folder: Path, api_key: str) -> dict[str, Any]:
    """What the examination in ``folder`` comes to. Raises TrainingError."""
    from training.evaluation.endpoint import Endpoint
    from training.evaluation.suite import load_suite
    from training.gating.gate import check_errors, decide
    from training.gating.policy import GatePolicy

    exam = json.loads((folder / "exam.json").read_text(encoding="utf-8"))
    suite = load_suite(Path(exam["suite"]))
    policy = GatePolicy.model_validate(exam["gate"])
    async with Endpoint(exam["base_url"], api_key) as endpoint:
        candidate = await _run(suite, endpoint, exam["candidate"], folder / "candidate.json", exam["concurrency"])
        current = None
        if exam["current"] is not None:
            current = await _run(suite, endpoint, exam["current"], folder / "current.json", exam["concurrency"])
    verdict = None
    if current is None:
        check_errors("candidate", candidate, policy.max_errors)
    else:
        verdict = decide(candidate, current, policy)
    return {
        "candidate": _read(folder / "candidate.json"),
        "current": None if current is None else _read(folder / "current.json"),
        "verdict": None if verdict is None else verdict.to_json(),
    }


async def _run(suite: "Suite", endpoint: "Endpoint", model: str, place: Path, concurrency: int) -> "SuiteRun":
    """A run of the suite, from ``place`` where an examination that was broken off had finished it."""
    from training.evaluation.run_file import read_run
    from training.evaluation.runner import run_suite

    if place.exists():
        known = read_run(place)
        whole = all(result.answer.error is None for result in known.results)
        if (known.suite_digest, known.model, whole) == (suite.digest, model, True):
            return known
    return await run_suite(suite, endpoint, model=model, concurrency=concurrency, out=place)


def main() -> int:
    """Entry point. The exit status."""
    folder = Path(sys.argv[1])
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from training.errors import TrainingError

    try:
        result = asyncio.run(examine(folder, os.environ.get("LORAPLEX_EXAMINER_KEY", "")))
    except TrainingError as error:
        _write(folder / "error.json", {"message": str(error)})
        return EXIT_REFUSED
    _write(folder / "result.json", result)
    return 0


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _write(path: Path, value: Any) -> None:
    """Whole or not at all."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(value), encoding="utf-8")
    part.replace(path)


def _end_with_parent() -> None:
    # Not through sys.stdin: a thread that holds its lock breaks the interpreter's end.
    while os.read(0, 4096):
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())

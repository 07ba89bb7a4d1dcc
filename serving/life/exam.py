"""An examination in a process of its own: ``python -m serving.life.exam FOLDER``.

Reads FOLDER/exam.json, runs the suite against the candidate and the current version through the gateway, lets the gate
compare the two, and writes FOLDER/result.json: ``{"candidate": run, "current": run or null, "verdict": verdict or
null}``, or FOLDER/error.json: ``{"message"}`` with exit status 2. What was asked before is not asked again. It ends
when its standard input closes: its parent has died.
"""

import asyncio
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

EXIT_REFUSED = 2


async def examine(folder: Path, api_key: str) -> dict[str, Any]:
    """What the examination in ``folder`` comes to. Raises TrainingError."""
    from training.evaluation.endpoint import Endpoint
    from training.evaluation.run_file import read_run, write_run
    from training.evaluation.runner import run_suite
    from training.evaluation.suite import load_suite
    from training.gating.gate import decide
    from training.gating.policy import GatePolicy

    exam = json.loads((folder / "exam.json").read_text(encoding="utf-8"))
    suite = load_suite(Path(exam["suite"]))
    endpoint = Endpoint(exam["base_url"], api_key)
    runs = {}
    for role in ("current", "candidate"):
        if exam[role] is not None:
            place = folder / f"{role}.json"
            run = await run_suite(
                suite, endpoint, model=exam[role], concurrency=exam["concurrency"], out=folder / role, progress=None
            )
            write_run(place, run)
            runs[role] = read_run(place)
    verdict = None
    if "current" in runs:
        verdict = decide(runs["candidate"], runs["current"], GatePolicy.model_validate(exam["gate"]))
    return {
        "candidate": json.loads((folder / "candidate.json").read_text(encoding="utf-8")),
        "current": json.loads((folder / "current.json").read_text(encoding="utf-8")) if "current" in runs else None,
        "verdict": None if verdict is None else verdict.to_json(),
    }


def main() -> int:
    """Entry point. The exit status."""
    folder = Path(sys.argv[1])
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from training.errors import TrainingError

    try:
        result = asyncio.run(examine(folder, os.environ.get("LORAPLEX_EXAMINER_KEY", "") or "none"))
    except TrainingError as error:
        _write(folder / "error.json", {"message": str(error)})
        return EXIT_REFUSED
    _write(folder / "result.json", result)
    return 0


def _write(path: Path, value: Any) -> None:
    """Whole or not at all."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(value), encoding="utf-8")
    part.replace(path)


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())

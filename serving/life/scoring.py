"""Scores samples in a process of its own: ``python -m serving.life.scoring``.

It reads orders from its standard input, one JSON object a line (``signal``, its ``settings``, and ``samples``, each as
a replica kept it), and answers each with a line: ``{"values": [number or null, ...], "problem": text}``. What it says
holds nothing of a prompt or an answer, error messages of endpoints included. It ends with its standard input.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serving.process.priority import step_back
from serving.settings.life import SUITE

if TYPE_CHECKING:
    from training.evaluation.types import Answer, Case
    from training.evaluation.unreferenced import Check

_NICENESS = 10
_JUDGE_FIELDS = ("url", "model", "rubric", "scale", "max_tokens", "structured", "api_key_env")


class Scorers:
    """Carries orders out. Suites are read once, and again when their file has changed."""

    def __init__(self) -> None:
        self._suites: dict[str, tuple[int, tuple[Check, ...]]] = {}

    async def answer(self, order: dict[str, Any]) -> dict[str, Any]:
        """What came of an order. Never raises."""
        from training.errors import TrainingError

        try:
            samples = [_read(content) for content in order["samples"]]
            if order["signal"] == SUITE:
                return self._by_suite(order["settings"], samples)
            return await _by_judge(order["settings"], samples)
        except TrainingError as error:
            return {"values": [], "problem": str(error)}
        except ModuleNotFoundError as error:
            return {"values": [], "problem": f"{error.name} is not installed: install `loraplex[train]`"}
        except Exception as error:  # its text may quote a sample
            return {"values": [], "problem": f"scoring failed with {type(error).__name__}"}

    def _by_suite(self, settings: dict[str, Any], samples: "list[tuple[Case, Answer]]") -> dict[str, Any]:
        from training.evaluation.unreferenced import mean_score

        checks = self._checks(Path(settings["file"]))
        return {"values": [mean_score(checks, *sample) for sample in samples], "problem": ""}

    def _checks(self, file: Path) -> "tuple[Check, ...]":
        from training.evaluation.suite import load_suite
        from training.evaluation.unreferenced import checks

        changed = file.stat().st_mtime_ns if file.exists() else 0
        known = self._suites.get(str(file))
        if known is None or known[0] != changed:
            known = self._suites[str(file)] = (changed, checks(load_suite(file)))
        return known[1]


async def _by_judge(settings: dict[str, Any], samples: "list[tuple[Case, Answer]]") -> dict[str, Any]:
    """Every sample is asked about once, and none again: a request more is a request of the budget."""
    from training.evaluation.endpoint import Endpoint
    from training.evaluation.judging import ask_judge, judge_key
    from training.evaluation.scorers.judge import JudgeScorer, JudgeSettings

    fields = {name: settings[name] for name in _JUDGE_FIELDS}
    judge = JudgeScorer(JudgeSettings(kind="judge", attempts=1, **fields))
    endpoint = Endpoint(judge.settings.url, judge_key(judge), retries=0, timeout_s=settings["timeout_s"])
    async with endpoint:
        verdicts = await asyncio.gather(
            *(
                ask_judge(endpoint, judge, question, metric="judge", case_id="sample")
                for sample in samples
                for question in judge.questions(*sample)
            )
        )
    # Of an error only its beginning, the status: the rest may quote what was sent.
    away = [verdict["reason"].partition(":")[0] for verdict in verdicts if not verdict["replies"]]
    problem = f"the judge did not answer: {away[0]}" if away else ""
    return {"values": [verdict["value"] for verdict in verdicts], "problem": problem}


def _read(content: str) -> "tuple[Case, Answer]":
    from training.evaluation.types import Answer, Case

    kept = json.loads(content)
    case = Case("sample", tuple(kept["messages"]), context=tuple(kept["context"]))
    return case, Answer(kept["answer"])


def main() -> int:
    """Entry point. The exit status."""
    step_back(_NICENESS)
    scorers = Scorers()
    for line in sys.stdin.buffer:
        answer = asyncio.run(scorers.answer(json.loads(line)))
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())

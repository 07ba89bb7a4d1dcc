"""Asks judge models for verdicts, and keeps all that they reply."""

import os
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from training.errors import SuiteInvalid
from training.evaluation.endpoint import Endpoint
from training.evaluation.scorers.judge import JudgeScorer, Question
from training.evaluation.suite import Suite
from training.evaluation.types import Answer, Case, Json


class Judges:
    """The judges of a suite, each at its endpoint. Close it, or use it as an async context manager.

    Raises:
        SuiteInvalid: a judge's key is not in the environment.
    """

    def __init__(self, suite: Suite) -> None:
        self._judges = {one.metrics[0]: one.scorer for one in suite.scorers if isinstance(one.scorer, JudgeScorer)}
        keys = {metric: judge_key(judge) for metric, judge in self._judges.items()}
        self._endpoints: Mapping[str, Endpoint] = {
            metric: Endpoint(judge.settings.url, keys[metric]) for metric, judge in self._judges.items()
        }

    def __bool__(self) -> bool:
        return bool(self._judges)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for endpoint in self._endpoints.values():
            await endpoint.close()

    async def verdicts(self, case: Case, answer: Answer) -> tuple[Json, ...]:
        """Every judge's verdicts on one answer, in the suite's order; none on a case that got no answer.

        A reply that cannot be read is asked for again, with the next seed: nothing else would change the reply. Where
        none can be read, ``value`` is None.
        """
        if answer.error is not None:
            return ()
        return tuple(
            [
                await ask_judge(self._endpoints[metric], judge, question, metric=metric, case_id=case.id)
                for metric, judge in self._judges.items()
                for question in judge.questions(case, answer)
            ]
        )


async def ask_judge(endpoint: Endpoint, judge: JudgeScorer, question: Question, *, metric: str, case_id: str) -> Json:
    """One verdict, as recorded; ``value`` is None where none can be read.

    A judge that did not answer has left no ``replies``, and ``reason`` says why.
    """
    asked = Case(case_id, question.messages)
    replies: list[str] = []
    problem = ""
    started = time.perf_counter()
    for attempt in range(judge.settings.attempts):
        parameters: Json = {"temperature": 0.0, "seed": attempt, "max_tokens": judge.settings.max_tokens}
        if judge.settings.structured:
            parameters["response_format"] = judge.response_format
        reply = await endpoint.ask(asked, model=judge.settings.model, parameters=parameters)
        if reply.error is not None:
            # The endpoint has sent it again already where that could help.
            problem = reply.error
            break
        replies.append(reply.text)
        try:
            value, reason = judge.read(reply.text, question.order)
        except ValueError as error:
            problem = str(error)
            continue
        return _record(metric, question, value, reason, replies, started)
    return _record(metric, question, None, problem, replies, started)


def _record(
    metric: str, question: Question, value: float | None, reason: str, replies: list[str], started: float
) -> Json:
    return {
        "metric": metric,
        "order": question.order,
        "value": value,
        "reason": reason,
        "replies": replies,
        "seconds": time.perf_counter() - started,
    }


def judge_key(judge: JudgeScorer) -> str:
    """The key of a judge's endpoint; empty where it wants none. Raises SuiteInvalid where it is not there."""
    name = judge.settings.api_key_env
    if name is None:
        return ""
    try:
        return os.environ[name]
    except KeyError:
        raise SuiteInvalid(f"the judge's key is not in the environment variable {name}") from None

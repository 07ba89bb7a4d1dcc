"""What is noted of one observed request while it goes on, and the record that it ends as.

On the request path: nothing is searched, copied or counted here that could wait. A record is plain data, as the
observing process reads it; it holds texts, and stays in memory.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from time import time
from typing import Any

from monitoring.metrics import RequestRecord
from serving.answers import FinishedText
from serving.engine.protocol import Endpoint, JsonObject
from serving.grounding.grounded import Grounded, Outcome
from serving.observing.logprobs import Probabilities
from serving.observing.reading import Call, asked_text, end_of, form_of, made_calls
from serving.tasks import Resolution

Record = dict[str, Any]

ANSWER = "answer"
FEEDBACK = "feedback"
REPEATS = "repeats"
"""Kinds of records."""

MOST_ANSWER = 200_001
"""Characters of an answer that are kept: one more than are parsed, so that none is taken for whole that is not."""
_MOST_PASSAGES = 64


class Notes:
    """One request's, or those of a shadow's copy of it. Tell it what there is to tell; then :meth:`record` once.

    Args:
        request_id: as its caller knows it.
        body: the request as it came.
        adapter: the version that answers, or ``base``.
        is_drawn: whether the request was drawn for the windows of the drift detection.
        is_judged: whether it was drawn for a judge.
    """

    __slots__ = (
        "adapter",
        "body",
        "calls",
        "endpoint",
        "finish_reason",
        "is_drawn",
        "is_judged",
        "is_task",
        "probabilities",
        "request_id",
        "role",
        "rollout",
        "task",
        "text",
    )

    def __init__(
        self,
        resolution: Resolution,
        endpoint: Endpoint,
        body: JsonObject,
        request_id: str,
        *,
        adapter: str,
        role: str,
        is_drawn: bool = False,
        is_judged: bool = False,
    ) -> None:
        self.endpoint = endpoint
        self.body = body
        self.request_id = request_id
        self.task = resolution.label
        self.is_task = resolution.task is not None
        self.adapter = adapter
        self.role = role
        self.is_drawn = is_drawn
        self.is_judged = is_judged
        self.rollout: int | None = None
        """The automatic rollout that the answer's quality counts for."""
        self.text: str | None = None
        """The text of the answer's first choice; None until there is one."""
        self.finish_reason = ""
        self.calls: Sequence[Call] = ()
        self.probabilities: Probabilities | None = None

    def texts(self, texts: Iterable[FinishedText]) -> None:
        """Whole generated texts, in the order of their ends; the one that is looked at is that of the first choice."""
        for text in texts if self.text is None else ():
            if self.endpoint is Endpoint.RESPONSES or text.holder.get("index", 0) == 0:
                self.text, self.finish_reason = text.text, text.finish_reason or ""
                return

    def answer(self, answer: JsonObject) -> None:
        """A whole answer, as the engine gave it. What its caller did not ask for is taken out."""
        if self.probabilities is not None:
            self.probabilities.take(self.endpoint, answer)
        with suppress(AttributeError, KeyError, TypeError):  # an engine elsewhere has a form of its own
            self.calls = made_calls(self.endpoint, answer)
            self.finish_reason = self.finish_reason or end_of(self.endpoint, answer)

    def streamed(self, calls: Sequence[Call], finish_reason: str) -> None:
        """What a stream showed besides its texts."""
        self.calls = calls
        self.finish_reason = self.finish_reason or finish_reason

    def record(self, record: RequestRecord, grounded: Grounded | None, max_chars: int) -> Record:
        """How the request ended, as plain data.

        Args:
            grounded: what retrieval found for it; None where nothing was searched.
            max_chars: how much of a prompt and of a passage is kept.
        """
        found: Record = {
            "kind": ANSWER,
            "id": self.request_id,
            "at": time(),
            "task": self.task,
            "is_task": self.is_task,
            "adapter": self.adapter,
            "role": str(self.role),
            "outcome": record.outcome,
            "prompt": asked_text(self.endpoint, self.body)[:max_chars],
            "answer": (self.text or "")[:MOST_ANSWER],
            "finish_reason": self.finish_reason,
            "calls": self.calls,
            "prompt_tokens": record.prompt_tokens,
            "completion_tokens": record.completion_tokens,
            "streamed": record.streamed,
            "violation": record.contract_violation,
            "is_drawn": self.is_drawn,
            "rollout": self.rollout,
        }
        if tools := self.body.get("tools"):
            found["tools"] = tools
        if (form := form_of(self.endpoint, self.body)) is not None:
            found["form"] = form
        if self.probabilities is not None and self.probabilities.logprobs:
            found["logprobs"] = self.probabilities.logprobs
            found["alternatives"] = self.probabilities.alternatives
        if grounded is not None:
            found["grounding"] = _grounding(grounded, max_chars)
        return found


def _grounding(grounded: Grounded, max_chars: int) -> Record:
    tally, passages = grounded.tally, grounded.passages[:_MOST_PASSAGES]
    return {
        "passages": [passage.text[:max_chars] for passage in passages],
        "scores": [passage.found.relevance for passage in passages],
        "citations": tally.citations,
        "dropped": tally.dropped,
        "unsupported": tally.unsupported,
        "own_answer": grounded.outcome is Outcome.REFUSED,
    }

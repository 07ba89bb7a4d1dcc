"""What callers say of answers: found in the ledger, whichever replica gave them."""

import asyncio
from dataclasses import dataclass

from adapters.rollout_types import AnsweredRequest
from adapters.signal_records import BAD_BELOW
from monitoring.metrics import GatewayMetrics
from serving.auth import Caller
from serving.config import GatewayConfig
from serving.errors import ObjectNotFound
from serving.life.observer import Observer
from serving.observing.pipeline import Pipeline


@dataclass(frozen=True, slots=True)
class Feedback:
    """One judgment."""

    id: str
    """Of the response, or of the request."""
    score: float
    """In [0, 1]."""
    comment: str | None = None


class FeedbackDesk:
    """Takes judgments of answers that adapters gave. ``pipeline``: where they count for output quality."""

    def __init__(
        self, config: GatewayConfig, observer: Observer, metrics: GatewayMetrics, pipeline: Pipeline | None = None
    ) -> None:
        self._pipeline = pipeline
        self._observer = observer
        self._metrics = metrics
        self._patience_s = config.life.flush_interval_s * 1.5
        self.max_comment_chars = config.feedback.max_comment_chars

    async def judge(self, caller: Caller, feedback: Feedback) -> AnsweredRequest:
        """Record a judgment; it replaces an earlier one. An administrator may judge everybody's answers.

        Raises:
            ObjectNotFound: no adapter's answer of that id, or not an answer to this caller.
            CatalogUnavailable: the ledger cannot be reached.
        """
        await self._observer.flush()
        found = await self._record(caller, feedback)
        if found is None:
            # Another replica may have given the answer a moment ago, and not written it down yet.
            await asyncio.sleep(self._patience_s)
            found = await self._record(caller, feedback)
        if found is None:
            raise ObjectNotFound(
                f"There is no answer `{feedback.id}` that you could judge: it was never given, was not an adapter's, "
                "was given to somebody else, or is too old.",
                param="id",
            )
        self._metrics.feedback_given(found.task, found.version, found.role, good=feedback.score >= BAD_BELOW)
        if self._pipeline is not None:
            self._pipeline.feedback(found.response_id, found.task, found.version, found.role, feedback.score)
        return found

    async def _record(self, caller: Caller, feedback: Feedback) -> AnsweredRequest | None:
        whose = None if caller.admin else caller.name
        records = self._observer.records
        return await self._observer.in_thread(
            lambda: records.judge(feedback.id, whose, feedback.score, feedback.comment)
        )

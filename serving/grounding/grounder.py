"""The use case of retrieval: search for a request's question → fold the passages in → read the answer's citations."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from time import perf_counter

from monitoring import semconv
from monitoring.metrics import GatewayMetrics, RetrievalRecord
from monitoring.spans import Span, spanning
from retrieval.errors import KnowledgeClientError
from serving.accounting import Call, Generation
from serving.config import RetrievalSettings
from serving.engine.protocol import Endpoint, JsonObject
from serving.errors import InvalidRequest, RetrievalUnavailable
from serving.grounding.choices import ChoiceCleaner, finish_choices
from serving.grounding.file_search import FileSearch, FileSearchCall, is_asked, take_file_search
from serving.grounding.grounded import Grounded, Outcome
from serving.grounding.prompt import CountTokens, ground, question_text
from serving.grounding.responses import ResponseCleaner, finish_response
from serving.knowledge.joining import joined
from serving.knowledge.protocol import FoundPassage, KnowledgeClient, SearchRequest, SearchResult, least_similarity
from serving.observability.failures import named
from serving.tasks import Resolution

logger = logging.getLogger(__name__)

LONGEST_QUESTION = 4000
"""Characters of a user message, its last ones, that are searched with."""
_ON_REQUEST = RetrievalSettings(knowledge=("file_search",), when_empty="answer")
"""How a caller's ``file_search`` behaves where no task says anything else."""
_DOWN = "The passages that this answer is to be taken from cannot be had now."


@dataclass(frozen=True, slots=True)
class Inquiry:
    """What one request asks of retrieval."""

    body: JsonObject
    """The request, without what the gateway does itself."""
    task: RetrievalSettings | None
    search: FileSearch | None

    @property
    def settings(self) -> RetrievalSettings:
        """The task's, or those of a search on request."""
        return self.task or _ON_REQUEST


@dataclass(slots=True)
class _Haul:
    """What the searches of one request brought."""

    lists: list[Sequence[FoundPassage]] = field(default_factory=list)
    """What each search found, best first."""
    call: FileSearchCall | None = None
    down: Exception | None = None
    expired: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    def add(self, result: SearchResult, passages: Sequence[FoundPassage]) -> None:
        self.lists.append(passages)
        self.expired += result.expired
        for stage, seconds in result.seconds.items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds


class Grounder:
    """Searches, for the requests that ask for it. ``knowledge`` is None where retrieval is not set up."""

    def __init__(self, knowledge: KnowledgeClient | None, metrics: GatewayMetrics, count_tokens: CountTokens) -> None:
        self._knowledge = knowledge
        self._metrics = metrics
        self._count_tokens = count_tokens

    def inquiry(self, call: Call, resolution: Resolution) -> Inquiry | None:
        """What the request asks of retrieval; None for one that does not.

        Raises:
            InvalidRequest, FilterInvalid: its ``file_search`` is not as the API has it, or nothing can be searched.
        """
        task = None if resolution.task is None else resolution.task.retrieval
        asked = call.endpoint is Endpoint.RESPONSES and is_asked(call.body)
        if task is None and not asked:
            return None
        if not asked:
            return Inquiry(call.body, task, None)
        if self._knowledge is None:
            raise InvalidRequest("`file_search` is not available: retrieval is not configured here.", param="tools")
        body, search = take_file_search(call.body)
        return Inquiry(body, task, search)

    async def ground(self, inquiry: Inquiry, body: JsonObject, generation: Generation) -> JsonObject:
        """``body`` with its passages; what was found becomes ``generation.grounded``.

        Raises:
            InvalidRequest: a completion that cannot be grounded.
            RetrievalUnavailable: retrieval cannot answer, and the task would rather fail.
            VectorStoreNotFound, FilterInvalid: the caller's own search is wrong.
        """
        call, settings = generation.call, inquiry.settings
        if inquiry.task is None and inquiry.search is None:
            return body
        question = question_text(call.endpoint, inquiry.body)
        began = perf_counter()
        try:
            haul = await self._search(inquiry, question.strip()[-LONGEST_QUESTION:], call)
        finally:
            generation.record.retrieval_s = perf_counter() - began
        haul.seconds["total"] = generation.record.retrieval_s
        task = generation.record.task
        if haul.down is not None and settings.when_down == "fail":
            self._metrics.retrieval_finished(RetrievalRecord(task, "failed", haul.seconds))
            raise RetrievalUnavailable(_DOWN) from haul.down
        contract = generation.contract is not None
        cites = settings.citations if settings.citations is not None else not contract
        with spanning(semconv.GROUND) as span:
            folded = ground(
                call.endpoint,
                body,
                joined(haul.lists),
                max_tokens=settings.max_tokens,
                count_tokens=self._count_tokens,
                cite=cites,
                admit=settings.when_empty != "answer" and haul.down is None,
            )
            if span is not None:
                span.describe({semconv.PASSAGES: len(folded.passages), semconv.PASSAGE_TOKENS: folded.tokens})
        outcome = _outcome(haul, settings, found=bool(folded.passages))
        generation.grounded = Grounded(outcome, folded.passages, question, cites, contract, call.body, haul.call)
        now = time.time()
        ages = [now - one.found.changed_at for one in folded.passages if one.found.changed_at]
        used = folded.tokens / settings.max_tokens if folded.passages else None
        self._metrics.retrieval_finished(RetrievalRecord(task, outcome, haul.seconds, ages, haul.expired, used))
        return folded.body

    async def _search(self, inquiry: Inquiry, question: str, call: Call) -> _Haul:
        haul, settings = _Haul(), inquiry.settings
        if inquiry.search is not None:
            haul.call = FileSearchCall(inquiry.search, question)
        if not question:
            return haul
        access = call.caller.access
        if (task := inquiry.task) is not None:
            request = SearchRequest(task.knowledge, question, task.top_k, access, task.filters, task.min_score)
            try:
                source = task.knowledge[0] if len(task.knowledge) == 1 else None
                result = await self._ask(request, settings.timeout_s, source)
                haul.add(result, result.passages)
            except Exception as error:
                # A store or filter that the task itself names and that is wrong is no fault of the caller's.
                _note_down(haul, error)
        if haul.call is not None:
            search = haul.call.search
            request = SearchRequest(
                search.stores, question, search.most, access, search.filters, least_similarity(search.threshold)
            )
            try:
                result = await self._ask(request, settings.timeout_s, None)
                haul.call.found = list(result.passages)
                haul.add(result, haul.call.found)
            except KnowledgeClientError:
                raise
            except Exception as error:
                haul.call.status = "failed"
                _note_down(haul, error)
        return haul

    async def _ask(self, request: SearchRequest, timeout_s: float, source: str | None) -> SearchResult:
        """``source``: the one knowledge base that is searched, where the configuration names it."""
        if self._knowledge is None:
            raise RetrievalUnavailable("retrieval is not configured")
        with spanning(semconv.retrieval_span(source), kind="client") as span:
            if span is not None:
                span.describe({semconv.GEN_AI_OPERATION: semconv.RETRIEVAL, semconv.GEN_AI_TOP_K: float(request.k)})
            began_ns = time.time_ns()
            async with asyncio.timeout(timeout_s):
                result = await self._knowledge.search(request)
            if span is not None:
                _tell(span, request, result, began_ns)
        return result


def finish_answer(grounded: Grounded, endpoint: Endpoint, answer: JsonObject) -> None:
    """Clean a whole answer's texts, and write annotations and the report into it."""
    if endpoint is Endpoint.RESPONSES:
        finish_response(grounded, answer)
    else:
        finish_choices(grounded, answer)


async def read_events(
    grounded: Grounded, endpoint: Endpoint, events: AsyncGenerator[JsonObject, None]
) -> AsyncGenerator[JsonObject, None]:
    """A stream's events, with cleaned texts, annotations and the report."""
    cleaner = ResponseCleaner(grounded) if endpoint is Endpoint.RESPONSES else ChoiceCleaner(grounded)
    async with aclosing(events):
        async for event in events:
            for one in cleaner.clean(event):
                yield one


def _outcome(haul: _Haul, settings: RetrievalSettings, *, found: bool) -> Outcome:
    if haul.down is not None:
        return Outcome.DEGRADED
    if found:
        return Outcome.FOUND
    return Outcome.REFUSED if settings.when_empty == "refuse" else Outcome.EMPTY


def _tell(span: Span, request: SearchRequest, result: SearchResult, began_ns: int) -> None:
    """Describe a search, and its stages as parts. They were timed where the search ran: their order and lengths are
    true, what lay between them is not known."""
    # Only now: stores that a caller names are known to be some.
    span.describe({semconv.GEN_AI_DATA_SOURCE: ",".join(request.stores), semconv.PASSAGES: len(result.passages)})
    for stage, seconds in result.seconds.items():
        ended_ns = began_ns + round(seconds * 1e9)
        if (name := semconv.STAGE_SPANS.get(stage)) is not None:
            part = span.child(name, began_ns=began_ns)
            part.describe({semconv.STAGE: stage})
            part.end(ended_ns)
        began_ns = ended_ns


def _note_down(haul: _Haul, error: Exception) -> None:
    # Not what the error says: a search engine quotes what it was asked.
    logger.warning("Retrieval did not answer: %s", named(error))
    haul.down = error

"""What is told of one generation: the span of the model call, a line in the log, and its texts where the task asks."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

from yarl import URL

from monitoring import semconv
from monitoring.metrics import RequestRecord
from monitoring.spans import Attribute, Span, SpanKind, current_span, epoch_ns
from serving.config import GatewayConfig, OpenAIEngineSettings
from serving.engine.protocol import Endpoint, JsonObject
from serving.observability.context import log_context
from serving.observability.logs import FIELDS
from serving.observability.texts import prompt_text, safe_text
from serving.tasks import BASE, Resolution

if TYPE_CHECKING:
    from serving.accounting import Call
    from serving.loading import Load

ACCESS = "generation"
TEXTS = "texts"
"""Messages of the two lines."""

access_logger = logging.getLogger("serving.access")
texts_logger = logging.getLogger("serving.texts")

_OPERATIONS = {
    Endpoint.CHAT: semconv.CHAT,
    Endpoint.COMPLETIONS: semconv.TEXT_COMPLETION,
    Endpoint.RESPONSES: semconv.CHAT,
}


@dataclass(slots=True)
class ModelCall:
    """The span around one call of the engine."""

    span: Span
    began: float
    """On ``time.perf_counter()``."""


class GenerationTelling:
    """Tells of the generations of one gateway."""

    def __init__(self, config: GatewayConfig) -> None:
        self._access = config.logging.access
        self._most = config.logging.max_text_chars
        self._base = config.model.public_name
        self._provider, self._kind, self._server = _served_by(config)

    def resolved(self, resolution: Resolution) -> None:
        """From now on the log knows what answers the request."""
        context = log_context()
        if context is not None:
            context.task, context.version = resolution.label, resolution.adapter

    def keeps_texts(self, resolution: Resolution) -> bool:
        """Whether prompt and answer will be logged."""
        return resolution.task is not None and resolution.task.log_texts

    def calls_model(self, endpoint: Endpoint, body: JsonObject, resolution: Resolution) -> ModelCall | None:
        """The engine is about to be asked. None where nothing is traced."""
        parent = current_span()
        if parent is None:
            return None
        operation = _OPERATIONS[endpoint]
        span = parent.child(semconv.inference_span(operation, resolution.model), kind=self._kind)
        if span.sampled:
            span.describe(
                {
                    semconv.GEN_AI_OPERATION: operation,
                    semconv.GEN_AI_PROVIDER: self._provider,
                    semconv.GEN_AI_REQUEST_MODEL: resolution.model,
                    semconv.GEN_AI_RESPONSE_MODEL: resolution.version or self._base,
                    semconv.TASK: resolution.label,
                    semconv.VERSION_NAME: resolution.adapter,
                    semconv.ROLE: resolution.role or BASE,
                    **self._server,
                    **_asked(body),
                }
            )
        return ModelCall(span, perf_counter())

    def ended(
        self,
        call: "Call",
        record: RequestRecord,
        *,
        model_call: ModelCall | None,
        response_id: str | None,
        finish_reasons: Sequence[str],
        texts: Sequence[str] | None,
        error: str | None,
    ) -> None:
        """The generation is over, and ``record`` complete. ``error``: the code of what ended it."""
        if model_call is not None:
            _end(model_call, call, record, response_id, finish_reasons, error)
        if self._access:
            access_logger.info(ACCESS, extra={FIELDS: _access_fields(call, record, finish_reasons, error)})
        if texts is not None:
            prompt = safe_text(prompt_text(call.endpoint, call.body), self._most)
            answers = [safe_text(text, self._most) for text in texts]
            fields = {**_request_fields(call, record), "prompt": prompt, "answers": answers}
            texts_logger.info(TEXTS, extra={FIELDS: fields})


def tell_wait(span: Span, version: str, load: "Load | None", began: float) -> None:
    """Say in the span of a wait for an adapter what it waited for.

    Args:
        load: the version's last load, if it was loaded since it is here.
        began: when the wait began, on ``time.perf_counter()``.
    """
    cold = load is not None and load.ended > began
    span.describe({semconv.VERSION_NAME: version, semconv.COLD: cold})
    if load is not None and cold:
        part = span.child(semconv.ADAPTER_LOAD, began_ns=epoch_ns(max(load.began, began)))
        part.describe({semconv.VERSION_NAME: version, semconv.TIER: load.origin.value})
        part.end(epoch_ns(load.ended))


def _end(
    model_call: ModelCall,
    call: "Call",
    record: RequestRecord,
    response_id: str | None,
    finish_reasons: Sequence[str],
    error: str | None,
) -> None:
    span = model_call.span
    if span.sampled:
        described: dict[str, Attribute] = {
            semconv.OUTCOME: record.outcome,
            semconv.GEN_AI_REQUEST_STREAM: record.streamed,
            semconv.GEN_AI_INPUT_TOKENS: record.prompt_tokens,
            semconv.GEN_AI_OUTPUT_TOKENS: record.completion_tokens,
        }
        if response_id:
            described[semconv.GEN_AI_RESPONSE_ID] = response_id
        if finish_reasons:
            described[semconv.GEN_AI_FINISH_REASONS] = tuple(finish_reasons)
        if record.first_token_s is not None:
            waited = call.arrived + record.first_token_s - model_call.began
            described[semconv.GEN_AI_TIME_TO_FIRST_CHUNK] = max(waited, 0.0)
        span.describe(described)
    if error is not None:
        span.fail(error)
    span.end()


def _asked(body: JsonObject) -> dict[str, Attribute]:
    """The numbers of a request, and whether JSON is asked for."""
    found: dict[str, Attribute] = {}
    for field, attribute in semconv.REQUEST_NUMBERS.items():
        value = body.get(field)
        if isinstance(value, int | float) and not isinstance(value, bool):
            found[attribute] = float(value) if attribute == semconv.GEN_AI_TOP_K else value
    wanted = body.get("response_format")
    if isinstance(wanted, dict) and str(wanted.get("type", "")).startswith("json"):
        found[semconv.GEN_AI_OUTPUT_TYPE] = "json"
    return found


def _request_fields(call: "Call", record: RequestRecord) -> dict[str, Any]:
    return {
        "request_id": call.public_id or call.request_id,
        "task": record.task,
        "version": record.adapter,
        "role": str(record.role),
    }


def _access_fields(
    call: "Call", record: RequestRecord, finish_reasons: Sequence[str], error: str | None
) -> Mapping[str, Any]:
    return {
        **_request_fields(call, record),
        "caller": call.caller.name,
        "endpoint": call.endpoint.value,
        "streamed": record.streamed,
        "outcome": record.outcome,
        "error": error,
        "finish_reasons": ",".join(finish_reasons) or None,
        "duration_s": round(record.duration_s, 6),
        "first_token_s": None if record.first_token_s is None else round(record.first_token_s, 6),
        "engine_s": round(record.engine_s, 6),
        "adapter_wait_s": round(record.adapter_wait_s, 6),
        "retrieval_s": round(record.retrieval_s, 6),
        "prompt_tokens": record.prompt_tokens,
        "completion_tokens": record.completion_tokens,
    }


def _served_by(config: GatewayConfig) -> tuple[str, SpanKind, dict[str, Attribute]]:
    """Provider, kind of span, and server of every model call. An engine elsewhere is called over OpenAI's API."""
    engine = config.engine
    if not isinstance(engine, OpenAIEngineSettings):
        return engine.kind, "internal", {}
    url = URL(engine.url)
    return "openai", "client", {semconv.SERVER_ADDRESS: url.host or "", semconv.SERVER_PORT: url.port or 0}

"""Names of spans and attributes: the one place where OpenTelemetry's semantic conventions are mapped to ours.

Followed are the conventions 1.41.1: the last release that has the GenAI part in it. Since 1.42 that part lives in a
repository of its own, which has not made a release; its status is *development*, so names move: here and nowhere else.
"""

from typing import Final

VERSION: Final = "1.41.1"
SCHEMA_URL: Final = f"https://opentelemetry.io/schemas/{VERSION}"
SCOPE: Final = "loraplex"
"""Name of the instrumentation scope."""

# GenAI: docs/gen-ai/gen-ai-spans.md of the release

GEN_AI_OPERATION: Final = "gen_ai.operation.name"
GEN_AI_PROVIDER: Final = "gen_ai.provider.name"
GEN_AI_REQUEST_MODEL: Final = "gen_ai.request.model"
GEN_AI_REQUEST_STREAM: Final = "gen_ai.request.stream"
GEN_AI_RESPONSE_MODEL: Final = "gen_ai.response.model"
GEN_AI_RESPONSE_ID: Final = "gen_ai.response.id"
GEN_AI_FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
GEN_AI_TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
GEN_AI_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
GEN_AI_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
GEN_AI_OUTPUT_TYPE: Final = "gen_ai.output.type"
GEN_AI_DATA_SOURCE: Final = "gen_ai.data_source.id"
GEN_AI_TOP_K: Final = "gen_ai.request.top_k"

# A release leaves texts to be recorded by those who opt in (gen_ai.input.messages, gen_ai.retrieval.query.text,
# gen_ai.request.stop_sequences and their kind): spans carry none of them.
REQUEST_NUMBERS: Final[dict[str, str]] = {
    "max_tokens": "gen_ai.request.max_tokens",
    "max_completion_tokens": "gen_ai.request.max_tokens",
    "max_output_tokens": "gen_ai.request.max_tokens",
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "top_k": GEN_AI_TOP_K,
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "seed": "gen_ai.request.seed",
    "n": "gen_ai.request.choice.count",
}
"""Field of an OpenAI request → attribute."""

CHAT: Final = "chat"
TEXT_COMPLETION: Final = "text_completion"
RETRIEVAL: Final = "retrieval"

# HTTP, errors, servers: stable

HTTP_METHOD: Final = "http.request.method"
HTTP_STATUS: Final = "http.response.status_code"
HTTP_ROUTE: Final = "http.route"
HTTP_OTHER_METHOD: Final = "_OTHER"
ERROR_TYPE: Final = "error.type"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
SERVICE_NAME: Final = "service.name"
SERVICE_VERSION: Final = "service.version"
SERVICE_INSTANCE: Final = "service.instance.id"

# Ours, where the conventions have nothing

REQUEST_ID: Final = "loraplex.request.id"
CALLER: Final = "loraplex.caller"
TASK: Final = "loraplex.task"
VERSION_NAME: Final = "loraplex.adapter.version"
ROLE: Final = "loraplex.adapter.role"
OUTCOME: Final = "loraplex.outcome"
TIER: Final = "loraplex.adapter.tier"
COLD: Final = "loraplex.adapter.cold"
PASSAGES: Final = "loraplex.retrieval.passages"
PASSAGE_TOKENS: Final = "loraplex.retrieval.passage_tokens"
STAGE: Final = "loraplex.retrieval.stage"

GROUND: Final = "ground"
ADAPTER_WAIT: Final = "adapter wait"
ADAPTER_LOAD: Final = "adapter load"
SHADOW: Final = "shadow"

STAGE_SPANS: Final[dict[str, str]] = {
    "embed": "embed",
    "dense": "search dense",
    "lexical": "search lexical",
    "rerank": "rerank",
}
"""Stage of a search, as the retriever times it → span. The others take next to no time."""


def inference_span(operation: str, model: str) -> str:
    """The name of a span around one call of a model."""
    return f"{operation} {model}"


def retrieval_span(source: str | None) -> str:
    """The name of a span around one search; ``source``: None where callers choose it, whose ids make no names."""
    return RETRIEVAL if source is None else f"{RETRIEVAL} {source}"

"""The catalogue of the gateway's metrics, as data.

Documentation, dashboards, alerts and tests read names, labels and units from ``CATALOGUE``; nobody types them twice.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]
Unit = Literal[
    "seconds",
    "tokens",
    "requests",
    "adapters",
    "events",
    "replicas",
    "documents",
    "passages",
    "citations",
    "claims",
    "ratio",
]

BASE = "base"
"""Value of the labels ``adapter`` and ``role`` where the base model answers."""


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """One metric family."""

    name: str
    """The name as scraped, suffix included."""
    kind: Kind
    unit: Unit
    help: str
    labels: tuple[str, ...] = ()
    """Besides ``replica``, which every sample carries."""
    buckets: tuple[float, ...] = ()
    """Upper bounds of a histogram, in ``unit``."""


_LATENCY = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_TOKEN_GAP = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_OVERHEAD = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)
_LOAD = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)

_DAY = 86400.0

_ANSWER = ("task", "adapter", "role")

REQUESTS = MetricSpec(
    "loraplex_requests_total",
    "counter",
    "requests",
    "Generations that ended, by outcome: ok, contract_violated, client_error, overloaded, unavailable, timeout, "
    "cancelled (the client went away) or server_error.",
    (*_ANSWER, "outcome"),
)
REFUSED = MetricSpec(
    "loraplex_refused_requests_total",
    "counter",
    "requests",
    "Requests refused before a model was known, by error code.",
    ("code",),
)
TTFT = MetricSpec(
    "loraplex_time_to_first_token_seconds",
    "histogram",
    "seconds",
    "From the request's arrival to the first generated token of a streamed answer.",
    _ANSWER,
    _LATENCY,
)
INTER_TOKEN = MetricSpec(
    "loraplex_inter_token_latency_seconds",
    "histogram",
    "seconds",
    "Time between consecutive deltas of a streamed answer.",
    _ANSWER,
    _TOKEN_GAP,
)
DURATION = MetricSpec(
    "loraplex_request_duration_seconds",
    "histogram",
    "seconds",
    "From the request's arrival to the end of its answer.",
    _ANSWER,
    _LATENCY,
)
OVERHEAD = MetricSpec(
    "loraplex_gateway_overhead_seconds",
    "histogram",
    "seconds",
    "Part of a request's duration spent neither in the engine, nor in retrieval, nor waiting for an adapter, nor "
    "sending to the client.",
    ("task",),
    _OVERHEAD,
)
ADAPTER_WAIT = MetricSpec(
    "loraplex_adapter_wait_seconds",
    "histogram",
    "seconds",
    "How long a request waited for its adapter version to be ready.",
    ("task", "adapter"),
    (0.0001, *_LOAD),
)
PROMPT_TOKENS = MetricSpec(
    "loraplex_prompt_tokens_total", "counter", "tokens", "Prompt tokens, as the engine counted them.", _ANSWER
)
COMPLETION_TOKENS = MetricSpec(
    "loraplex_completion_tokens_total",
    "counter",
    "tokens",
    "Generated tokens, as the engine counted them; for a stream cut short, the deltas that were received.",
    _ANSWER,
)
IN_FLIGHT = MetricSpec(
    "loraplex_requests_in_flight", "gauge", "requests", "Generations admitted and not yet ended.", ("task",)
)
WAITING = MetricSpec(
    "loraplex_requests_waiting",
    "gauge",
    "requests",
    "Queue depth: admitted generations that wait for their adapter version.",
    ("task",),
)
CONTRACT_VIOLATIONS = MetricSpec(
    "loraplex_contract_violations_total",
    "counter",
    "requests",
    "Answers that broke their task's output contract: mismatch, or truncated by a token limit.",
    ("task", "adapter", "reason"),
)
STREAM_ERRORS = MetricSpec(
    "loraplex_stream_errors_total",
    "counter",
    "requests",
    "Streams that ended in an error event after their first byte.",
    ("task", "adapter"),
)
SHADOW_DROPPED = MetricSpec(
    "loraplex_shadow_dropped_total",
    "counter",
    "requests",
    "Shadow copies that were not run: capacity (too much primary traffic), or not_ready (its adapter).",
    ("task", "adapter", "reason"),
)
ADAPTER_LOAD = MetricSpec(
    "loraplex_adapter_load_seconds",
    "histogram",
    "seconds",
    "Time to load an adapter version into the engine, by the tier that it came from.",
    ("adapter", "tier"),
    _LOAD,
)
ADAPTER_LOAD_FAILURES = MetricSpec(
    "loraplex_adapter_load_failures_total",
    "counter",
    "events",
    "Adapter loads that failed, by error code.",
    ("adapter", "code"),
)
ADAPTER_UNLOADS = MetricSpec(
    "loraplex_adapter_unloads_total",
    "counter",
    "events",
    "Adapter versions that left the engine: evicted (for another one's sake) or retired (nothing needs it).",
    ("adapter", "reason"),
)
ADAPTER_SWAPS = MetricSpec(
    "loraplex_adapter_swaps_total",
    "counter",
    "events",
    "Changes of what an alias points at that this replica put into effect, by action.",
    ("alias", "action"),
)
ADAPTER_RESIDENT = MetricSpec(
    "loraplex_adapter_resident",
    "gauge",
    "adapters",
    "1 for each adapter version that this replica holds, with the tier it is in and its status.",
    ("adapter", "tier", "status"),
)
ADAPTER_IN_FLIGHT = MetricSpec(
    "loraplex_adapter_requests_in_flight",
    "gauge",
    "requests",
    "Generations that use an adapter version now.",
    ("adapter",),
)
CATALOG_REACHABLE = MetricSpec(
    "loraplex_catalog_reachable",
    "gauge",
    "replicas",
    "1 while this replica can read the adapter catalog; 0 while it serves by the last state that it read.",
)
SILENT_REPLICAS = MetricSpec(
    "loraplex_silent_replicas",
    "gauge",
    "replicas",
    "Replicas that reported lately and did not answer this scrape: their metrics are missing from it.",
)
RETRIEVALS = MetricSpec(
    "loraplex_retrievals_total",
    "counter",
    "requests",
    "Generations that looked for passages, by outcome: found, empty, refused (empty, and the gateway answered itself), "
    "degraded (retrieval was down, answered without it) or failed (retrieval was down).",
    ("task", "outcome"),
)
RETRIEVAL_TIME = MetricSpec(
    "loraplex_retrieval_seconds",
    "histogram",
    "seconds",
    "Time that the search for a question's passages took, by stage; total is as the request saw it.",
    ("stage",),
    (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
DOCUMENT_AGE = MetricSpec(
    "loraplex_document_age_seconds",
    "histogram",
    "seconds",
    "Freshness: time since the content of a passage was accepted, at the moment when it was given to the model.",
    ("task",),
    tuple(_DAY * days for days in (1 / 24, 0.25, 1, 7, 30, 90, 180, 365, 730)),
)
EXPIRED_DOCUMENTS = MetricSpec(
    "loraplex_expired_documents_total",
    "counter",
    "documents",
    "Documents that searches left out because they have expired.",
    ("task",),
)
BUDGET_USED = MetricSpec(
    "loraplex_passage_budget_used_ratio",
    "histogram",
    "ratio",
    "Share of the token budget that the passages of a request took.",
    ("task",),
    (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 1.0),
)
CITATIONS = MetricSpec(
    "loraplex_citations_total", "counter", "citations", "Citations in answers, of passages that were given.", ("task",)
)
DROPPED_CITATIONS = MetricSpec(
    "loraplex_dropped_citations_total",
    "counter",
    "citations",
    "Citations of passages that were not given.",
    ("task",),
)
UNSUPPORTED_CLAIMS = MetricSpec(
    "loraplex_unsupported_claims_total",
    "counter",
    "claims",
    "Numbers and quotations in answers that neither a given passage nor the question contains.",
    ("task",),
)
FEEDBACK = MetricSpec(
    "loraplex_feedback_total",
    "counter",
    "events",
    "Judgments of answers by their callers: up (a score of one half at least) or down.",
    (*_ANSWER, "rating"),
)
ANSWERS_FORGOTTEN = MetricSpec(
    "loraplex_answers_forgotten_total",
    "counter",
    "requests",
    "Answers that nobody can judge, because the state database was away for too long to write them down.",
)
ROLLOUT_PHASE = MetricSpec(
    "loraplex_rollout_phase",
    "gauge",
    "adapters",
    "1 for the phase of the last automatic rollout of an alias, with the version that it is about.",
    ("alias", "adapter", "phase"),
)
ROLLOUT_SHARE = MetricSpec(
    "loraplex_rollout_share_ratio",
    "gauge",
    "ratio",
    "Share of the callers that an automatic rollout gives to its version now.",
    ("alias", "adapter"),
)
ROLLOUT_DECISIONS = MetricSpec(
    "loraplex_rollout_decisions_total",
    "counter",
    "events",
    "Decisions of automatic rollouts that this replica put into effect: the phase that one entered, or step (a larger "
    "share).",
    ("alias", "decision"),
)

INGESTED = MetricSpec(
    "loraplex_documents_ingested_total",
    "counter",
    "documents",
    "Documents whose new edition became searchable.",
)
INGEST_FAILURES = MetricSpec(
    "loraplex_document_failures_total",
    "counter",
    "documents",
    "Documents that could not be ingested, by OpenAI's error code.",
    ("code",),
)
INGEST_LAG = MetricSpec(
    "loraplex_ingest_lag_seconds",
    "histogram",
    "seconds",
    "From the acceptance of a document to the moment at which searches find it.",
    (),
    _LATENCY,
)
PASSAGES_WRITTEN = MetricSpec(
    "loraplex_passages_written_total",
    "counter",
    "passages",
    "Passages embedded and written to an index.",
)
DOCUMENTS_WAITING = MetricSpec(
    "loraplex_documents_waiting",
    "gauge",
    "documents",
    "Documents that were accepted and are not searchable yet.",
)

KNOWLEDGE: tuple[MetricSpec, ...] = (INGESTED, INGEST_FAILURES, INGEST_LAG, PASSAGES_WRITTEN, DOCUMENTS_WAITING)
"""What the process that owns the indexes records."""

GATEWAY: tuple[MetricSpec, ...] = (
    REQUESTS,
    REFUSED,
    TTFT,
    INTER_TOKEN,
    DURATION,
    OVERHEAD,
    ADAPTER_WAIT,
    PROMPT_TOKENS,
    COMPLETION_TOKENS,
    IN_FLIGHT,
    WAITING,
    CONTRACT_VIOLATIONS,
    STREAM_ERRORS,
    SHADOW_DROPPED,
    ADAPTER_LOAD,
    ADAPTER_LOAD_FAILURES,
    ADAPTER_UNLOADS,
    ADAPTER_SWAPS,
    ADAPTER_RESIDENT,
    ADAPTER_IN_FLIGHT,
    CATALOG_REACHABLE,
    SILENT_REPLICAS,
    RETRIEVALS,
    RETRIEVAL_TIME,
    DOCUMENT_AGE,
    EXPIRED_DOCUMENTS,
    BUDGET_USED,
    CITATIONS,
    DROPPED_CITATIONS,
    UNSUPPORTED_CLAIMS,
    FEEDBACK,
    ANSWERS_FORGOTTEN,
    ROLLOUT_PHASE,
    ROLLOUT_SHARE,
    ROLLOUT_DECISIONS,
)
"""What every replica records."""

CATALOGUE: tuple[MetricSpec, ...] = (*GATEWAY, *KNOWLEDGE)

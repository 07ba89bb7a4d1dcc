"""The catalogue of the gateway's metrics, as data.

Documentation, dashboards, alerts and tests read names, labels and units from ``CATALOGUE``; nobody types them twice.
The families of retrieval and ingestion stand in :mod:`monitoring.catalogue_knowledge`, those of drift and output
quality in :mod:`monitoring.catalogue_observing`.
"""

from monitoring.catalogue_knowledge import KNOWLEDGE, RETRIEVAL
from monitoring.catalogue_observing import OBSERVING
from monitoring.spec import BASE, Kind, MetricSpec, Unit

__all__ = ["BASE", "CATALOGUE", "ENGINE_SERIES", "GATEWAY", "KNOWLEDGE", "OBSERVING", "Kind", "MetricSpec", "Unit"]

_LATENCY = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_TOKEN_GAP = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_OVERHEAD = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)
_LOAD = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_QUEUE = (0.0005, 0.001, 0.0025, *_LOAD)

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
QUEUE = MetricSpec(
    "loraplex_queue_seconds",
    "histogram",
    "seconds",
    "How long a request waited to be worked on: from its arrival until it was admitted, and in the engine's queue "
    "where the engine tells.",
    ("task", "adapter"),
    _QUEUE,
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
SLO_REQUESTS = MetricSpec(
    "loraplex_slo_requests_total",
    "counter",
    "requests",
    "Requests that count for a service level objective of their task (availability, ttft, duration), good and bad.",
    ("task", "slo", "result"),
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
SPANS = MetricSpec(
    "loraplex_spans_total",
    "counter",
    "events",
    "Spans of traces that ended, by result: exported, failed (the collector did not take them) or dropped (more than "
    "may wait for it).",
    ("result",),
)
LOG_LINES_LOST = MetricSpec(
    "loraplex_log_lines_lost_total",
    "counter",
    "events",
    "Lines of this replica's log that were never written, because its disk was too slow or full.",
)
BUILD_INFO = MetricSpec(
    "loraplex_build_info",
    "gauge",
    "replicas",
    "1 for each replica, with the versions of the gateway and of its vLLM (empty for another engine) and its base "
    "model.",
    ("version", "vllm", "base_model"),
)
ENGINE_SERIES_MISSING = MetricSpec(
    "loraplex_engine_series_missing",
    "gauge",
    "series",
    "1 for each metric of the engine that the dashboards read and that it did not have when it started.",
    ("series",),
)
SERIES_DROPPED = MetricSpec(
    "loraplex_series_dropped_total",
    "counter",
    "series",
    "Sets of label values that were not kept as they were, each time that one was met: limit (the family has as many "
    "as it may; counts go to `other`, gauges are left out) or value (too long, or not printable; it became `other`).",
    ("reason",),
)

JOBS = MetricSpec("loraplex_jobs", "gauge", "jobs", "Fine-tuning jobs that have not ended, by status.", ("status",))
JOB_SILENCE = MetricSpec(
    "loraplex_job_silence_seconds",
    "gauge",
    "seconds",
    "Time since a trainer told anything, of the job at work that has been silent longest; 0 where none is at work.",
)
TRAINING: tuple[MetricSpec, ...] = (JOBS, JOB_SILENCE)
"""What a scrape tells of fine-tuning jobs."""

GATEWAY: tuple[MetricSpec, ...] = (
    REQUESTS,
    REFUSED,
    TTFT,
    INTER_TOKEN,
    DURATION,
    OVERHEAD,
    QUEUE,
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
    *RETRIEVAL,
    FEEDBACK,
    ANSWERS_FORGOTTEN,
    SLO_REQUESTS,
    ROLLOUT_PHASE,
    ROLLOUT_SHARE,
    ROLLOUT_DECISIONS,
    BUILD_INFO,
    ENGINE_SERIES_MISSING,
    SERIES_DROPPED,
    *OBSERVING,
    SPANS,
    LOG_LINES_LOST,
)
"""What every replica records."""

CATALOGUE: tuple[MetricSpec, ...] = (*GATEWAY, *KNOWLEDGE, *TRAINING)

ENGINE_SERIES = (
    "vllm:num_requests_running",
    "vllm:num_requests_waiting",
    "vllm:kv_cache_usage_perc",
    "vllm:prefix_cache_queries_total",
    "vllm:prefix_cache_hits_total",
    "vllm:num_preemptions_total",
    "vllm:prompt_tokens_total",
    "vllm:generation_tokens_total",
    "vllm:request_queue_time_seconds",
    "vllm:request_prefill_time_seconds",
    "vllm:request_decode_time_seconds",
)
"""Families of the pinned vLLM that dashboards and alerts read, as their TYPE lines name them in the text format.

They are passed on under their own names; that they exist is checked when an engine has started.
"""

"""The catalogue of what retrieval and the process that owns the indexes measure, as data.

Part of :mod:`monitoring.catalogue`, which lists every family.
"""

from monitoring.spec import MetricSpec

_DAY = 86400.0
_LAG = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)

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
    ("task", "stage"),
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
    _LAG,
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

RETRIEVAL: tuple[MetricSpec, ...] = (
    RETRIEVALS,
    RETRIEVAL_TIME,
    DOCUMENT_AGE,
    EXPIRED_DOCUMENTS,
    BUDGET_USED,
    CITATIONS,
    DROPPED_CITATIONS,
    UNSUPPORTED_CLAIMS,
)
"""What every replica records of its searches."""

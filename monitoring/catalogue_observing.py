"""The catalogue of what is measured off the request path, as data: output quality and drift.

Part of :mod:`monitoring.catalogue`, which lists every family.
"""

from monitoring.spec import MetricSpec

_NATS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0)
_LAG = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)

QUALITY_CHECKS = MetricSpec(
    "loraplex_quality_checks_total",
    "counter",
    "events",
    "Checks of observed answers, by check and result: ok, or bad (a badness of one half at least).",
    ("task", "adapter", "role", "check", "result"),
)
QUALITY_SCORE = MetricSpec(
    "loraplex_quality_score_ratio",
    "gauge",
    "ratio",
    "Output quality of late, over all replicas: 1 is good, 0 is bad. Every replica shows the same.",
    ("task", "adapter"),
)
QUALITY_PART = MetricSpec(
    "loraplex_quality_part_ratio",
    "gauge",
    "ratio",
    "One part of the output quality, by check: 1 is good, 0 is bad. Every replica shows the same.",
    ("task", "adapter", "part"),
)
ANSWER_LOGPROB = MetricSpec(
    "loraplex_answer_logprob_nats",
    "histogram",
    "nats",
    "Mean log-probability of an answer's tokens, negated: the larger, the less sure the model was.",
    ("task", "adapter"),
    _NATS,
)
ANSWER_ENTROPY = MetricSpec(
    "loraplex_answer_entropy_nats",
    "histogram",
    "nats",
    "Mean entropy of the distributions that an answer's tokens were chosen from, over the most probable tokens.",
    ("task", "adapter"),
    _NATS,
)
DRIFT_P_VALUE = MetricSpec(
    "loraplex_drift_p_value_ratio",
    "gauge",
    "ratio",
    "P-value of the live window against the reference, by signal. Every replica shows the same.",
    ("task", "signal"),
)
DRIFT_EFFECT = MetricSpec(
    "loraplex_drift_effect_ratio",
    "gauge",
    "ratio",
    "Size of the difference between live window and reference, by signal. Every replica shows the same.",
    ("task", "signal"),
)
DRIFT_DETECTED = MetricSpec(
    "loraplex_drift_detected",
    "gauge",
    "signals",
    "1 while a signal says that a task's live requests differ from its reference. Every replica shows the same.",
    ("task", "signal"),
)
DRIFT_WINDOW = MetricSpec(
    "loraplex_drift_window_requests",
    "gauge",
    "requests",
    "Requests in a window of the drift detection: reference or live. Every replica shows the same.",
    ("task", "window"),
)
OBSERVATIONS = MetricSpec(
    "loraplex_observations_total",
    "counter",
    "requests",
    "Finished requests of observed tasks: observed, sampled_out (by the configured share), or dropped (the queue was "
    "full, or the observer failed).",
    ("result",),
)
OBSERVATION_TIME = MetricSpec(
    "loraplex_observation_seconds",
    "histogram",
    "seconds",
    "From the end of a request to the moment at which its answer had been checked.",
    (),
    _LAG,
)
OBSERVER_UP = MetricSpec(
    "loraplex_observer_up",
    "gauge",
    "replicas",
    "1 while this replica's answers are observed in full; 0 while the observing process, its database or its embedder "
    "is away. Generation does not depend on it.",
)

OBSERVING: tuple[MetricSpec, ...] = (
    QUALITY_CHECKS,
    QUALITY_SCORE,
    QUALITY_PART,
    ANSWER_LOGPROB,
    ANSWER_ENTROPY,
    DRIFT_P_VALUE,
    DRIFT_EFFECT,
    DRIFT_DETECTED,
    DRIFT_WINDOW,
    OBSERVATIONS,
    OBSERVATION_TIME,
    OBSERVER_UP,
)
"""What a replica records of answers that are observed."""

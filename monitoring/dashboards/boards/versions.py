"""Task and version compare: what one version does differently from another."""

from monitoring.catalogue import (
    COMPLETION_TOKENS,
    CONTRACT_VIOLATIONS,
    DURATION,
    FEEDBACK,
    INTER_TOKEN,
    PROMPT_TOKENS,
    QUEUE,
    REQUESTS,
    SHADOW_DROPPED,
    STREAM_ERRORS,
    TTFT,
)
from monitoring.catalogue_observing import QUALITY_SCORE
from monitoring.dashboards.alerts import FAILED
from monitoring.dashboards.boards.scopes import ADAPTER, ANSWERS, JOB, TASK, quantiles
from monitoring.dashboards.grafana import Dashboard, Panel, Row, Step, Target
from monitoring.dashboards.promql import equals

_BY = ("task", "adapter", "role")
_NAME = "{{task}} {{adapter}} {{role}}"
_VERSION = "{{task}} {{adapter}}"

_TRAFFIC = Row(
    "Traffic and errors",
    (
        Panel(
            "Requests",
            "Per second, by version and the role in which it answered. A shadow's are copies that nobody sees.",
            (Target(ANSWERS.rate(REQUESTS, *_BY), _NAME),),
            "reqps",
            stacked=True,
        ),
        Panel(
            "Failed",
            "Share of a version's requests that failed on the gateway's side.",
            (Target(ANSWERS.share(REQUESTS, *_BY, outcome=FAILED), _NAME),),
            "percentunit",
            thresholds=(Step(0.05, "red"),),
        ),
        Panel(
            "Broken contracts",
            "Share of a version's answers that did not have the shape that the task promises.",
            (Target(ANSWERS.share(REQUESTS, *_BY, outcome=equals("contract_violated")), _NAME),),
            "percentunit",
            thresholds=(Step(0.05, "red"),),
        ),
        Panel(
            "Why contracts broke",
            "mismatch: another shape; truncated: a token limit cut the answer. Per second.",
            (Target(ANSWERS.rate(CONTRACT_VIOLATIONS, "task", "adapter", "reason"), f"{_VERSION} {{{{reason}}}}"),),
            "cps",
        ),
        Panel(
            "Broken streams",
            "Streams that ended in an error event after their first byte, per second.",
            (Target(ANSWERS.rate(STREAM_ERRORS, "task", "adapter"), _VERSION),),
            "cps",
        ),
        Panel(
            "Shadow copies that were not run",
            "capacity: too much traffic of callers; not_ready: the version was not loaded in time. Per second.",
            (Target(ANSWERS.rate(SHADOW_DROPPED, "task", "adapter", "reason"), f"{_VERSION} {{{{reason}}}}"),),
            "cps",
        ),
    ),
)

_LATENCY = Row(
    "Latency",
    (
        Panel(
            "First token",
            "From the arrival of a request to the first token of its streamed answer.",
            quantiles(ANSWERS, TTFT, *_BY, legend=_NAME),
            "s",
        ),
        Panel(
            "Between tokens",
            "Time between consecutive deltas of a streamed answer.",
            quantiles(ANSWERS, INTER_TOKEN, *_BY, legend=_NAME),
            "s",
        ),
        Panel(
            "Whole answer",
            "From the arrival of a request to the end of its answer.",
            quantiles(ANSWERS, DURATION, *_BY, legend=_NAME),
            "s",
        ),
        Panel(
            "Queue",
            "From the arrival of a request until the engine began with it.",
            quantiles(ANSWERS, QUEUE, "task", "adapter", legend=_VERSION),
            "s",
        ),
        Panel(
            "Tokens of a prompt",
            "The mean. A version that gets longer prompts than another one is slower for that reason alone.",
            (Target(ANSWERS.rate(PROMPT_TOKENS, *_BY).over(ANSWERS.rate(REQUESTS, *_BY)), _NAME),),
            "none",
        ),
        Panel(
            "Tokens of an answer",
            "The mean. A version that says more takes longer.",
            (Target(ANSWERS.rate(COMPLETION_TOKENS, *_BY).over(ANSWERS.rate(REQUESTS, *_BY)), _NAME),),
            "none",
        ),
    ),
)

_JUDGED = Row(
    "Judged",
    (
        Panel(
            "Quality score",
            "1 is good. Its parts are on the page about drift and quality.",
            (Target(ANSWERS.now(QUALITY_SCORE, "task", "adapter", how="max"), _VERSION),),
            "percentunit",
            width=12,
            high=1,
        ),
        Panel(
            "Liked",
            "Share of the callers' judgments that were good, over an hour.",
            (Target(ANSWERS.share(FEEDBACK, *_BY, over="1h", rating=equals("up")), _NAME),),
            "percentunit",
            width=12,
            high=1,
        ),
    ),
)

VERSIONS = Dashboard(
    "loraplex-versions",
    "Loraplex: tasks and versions",
    "The versions of a task side by side: choose a task, then the versions to compare.",
    (JOB, TASK, ADAPTER),
    (_TRAFFIC, _LATENCY, _JUDGED),
)

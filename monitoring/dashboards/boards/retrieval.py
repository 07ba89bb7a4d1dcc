"""Retrieval: are documents found, fresh, cited, and does the search keep up."""

from monitoring.catalogue_knowledge import (
    BUDGET_USED,
    CITATIONS,
    DOCUMENT_AGE,
    DOCUMENTS_WAITING,
    DROPPED_CITATIONS,
    EXPIRED_DOCUMENTS,
    INGEST_FAILURES,
    INGEST_LAG,
    INGESTED,
    PASSAGES_WRITTEN,
    RETRIEVAL_TIME,
    RETRIEVALS,
    UNSUPPORTED_CLAIMS,
)
from monitoring.dashboards.boards.scopes import JOB, TASK, TASKS, quantiles
from monitoring.dashboards.grafana import Dashboard, Panel, Row, Step, Target
from monitoring.dashboards.promql import differs, equals, one_of

_DOWN = one_of("degraded", "failed")
_EMPTY = one_of("empty", "refused")

_SEARCH = Row(
    "Search",
    (
        Panel(
            "Searches by outcome",
            "found; empty; refused: empty, and the gateway answered itself; degraded: the search was down and the "
            "answer came without it; failed: the search was down.",
            (Target(TASKS.rate(RETRIEVALS, "outcome"), "{{outcome}}"),),
            "reqps",
            stacked=True,
        ),
        Panel(
            "Search down",
            "Share of a task's requests that were answered without passages, or refused, because the search was down.",
            (Target(TASKS.share(RETRIEVALS, "task", outcome=_DOWN), "{{task}}"),),
            "percentunit",
            thresholds=(Step(0.05, "red"),),
        ),
        Panel(
            "Nothing found",
            "Share of a task's requests for which no passage was relevant. A rise says that questions have moved away "
            "from the documents.",
            (Target(TASKS.share(RETRIEVALS, "task", outcome=_EMPTY), "{{task}}"),),
            "percentunit",
        ),
        Panel(
            "Time of a search",
            "As the request saw it.",
            quantiles(TASKS, RETRIEVAL_TIME, "task", stage=equals("total"), legend="{{task}}"),
            "s",
        ),
        Panel(
            "Time of its stages, p95",
            "embed: the question; dense and lexical: the two searches; rerank: the order of what they found.",
            (
                Target(
                    TASKS.quantile(0.95, RETRIEVAL_TIME, "stage", stage=differs("total")), "{{stage}}", exemplars=True
                ),
            ),
            "s",
        ),
        Panel(
            "Room for passages",
            "Mean share of the token budget that the passages of a request took. Near 1: passages that were found are "
            "left out for want of room.",
            (Target(TASKS.mean(BUDGET_USED, "task"), "{{task}}"),),
            "percentunit",
            high=1,
        ),
    ),
)

_CONTENT = Row(
    "Content",
    (
        Panel(
            "Age of passages",
            "Time since the content of a passage was accepted, when it was given to the model.",
            quantiles(TASKS, DOCUMENT_AGE, "task", legend="{{task}}"),
            "s",
        ),
        Panel(
            "Expired documents",
            "Documents that searches left out because they have expired, per second.",
            (Target(TASKS.rate(EXPIRED_DOCUMENTS, "task"), "{{task}}"),),
            "cps",
        ),
        Panel(
            "Citations for an answer",
            "Of passages that were given; the mean over the searches that found some.",
            (
                Target(
                    TASKS.rate(CITATIONS, "task").over(TASKS.rate(RETRIEVALS, "task", outcome=equals("found"))),
                    "{{task}}",
                ),
            ),
            "none",
        ),
        Panel(
            "Made-up citations",
            "Share of all citations that named a passage which was not given. They are taken out of the answer.",
            (
                Target(
                    TASKS.rate(DROPPED_CITATIONS, "task").over(
                        TASKS.rate(CITATIONS, "task").plus(TASKS.rate(DROPPED_CITATIONS, "task"))
                    ),
                    "{{task}}",
                ),
            ),
            "percentunit",
            thresholds=(Step(0.05, "red"),),
        ),
        Panel(
            "Unsupported claims for an answer",
            "Numbers and quotations that neither a given passage nor the question contains; the mean over the searches "
            "that found something.",
            (
                Target(
                    TASKS.rate(UNSUPPORTED_CLAIMS, "task").over(
                        TASKS.rate(RETRIEVALS, "task", outcome=equals("found"))
                    ),
                    "{{task}}",
                ),
            ),
            "none",
        ),
    ),
)

_INGESTION = Row(
    "Ingestion",
    (
        Panel(
            "Waiting",
            "Documents that were accepted and are not searchable yet.",
            (Target(TASKS.now(DOCUMENTS_WAITING), "documents"),),
            "none",
        ),
        Panel(
            "From acceptance to searchable",
            "The time that a document took.",
            quantiles(TASKS, INGEST_LAG, legend="lag"),
            "s",
        ),
        Panel(
            "Ingested and failed",
            "Documents per second; failures by error code.",
            (
                Target(TASKS.rate(INGESTED), "ingested"),
                Target(TASKS.rate(INGEST_FAILURES, "code"), "failed: {{code}}"),
            ),
            "cps",
        ),
        Panel(
            "Passages",
            "Embedded and written to an index, per second.",
            (Target(TASKS.rate(PASSAGES_WRITTEN), "passages"),),
            "cps",
        ),
    ),
)

RETRIEVAL = Dashboard(
    "loraplex-retrieval",
    "Loraplex: retrieval",
    "What is found for whom, how old it is, what answers make of it, and whether new documents come through.",
    (JOB, TASK),
    (_SEARCH, _CONTENT, _INGESTION),
)

"""Drift and quality: are the questions still those that a version was made for, and are its answers still good."""

from monitoring.catalogue import ANSWERS_FORGOTTEN, FEEDBACK, SERIES_DROPPED
from monitoring.catalogue_observing import (
    ANSWER_ENTROPY,
    ANSWER_LOGPROB,
    DRIFT_DETECTED,
    DRIFT_EFFECT,
    DRIFT_P_VALUE,
    DRIFT_WINDOW,
    OBSERVATION_TIME,
    OBSERVATIONS,
    OBSERVER_UP,
    QUALITY_CHECKS,
    QUALITY_PART,
    QUALITY_SCORE,
)
from monitoring.dashboards.boards.scopes import ADAPTER, ANSWERS, JOB, TASK, quantiles
from monitoring.dashboards.grafana import Dashboard, Panel, Row, Step, Target
from monitoring.dashboards.promql import equals
from monitoring.dashboards.recorded import QUALITY_EXCESS
from monitoring.quality.excess import THRESHOLD

_VERSION = "{{task}} {{adapter}}"
_BAD = equals("bad")
_BY_CHECK = ("task", "adapter", "check")

_QUALITY = Row(
    "Quality",
    (
        Panel(
            "Score",
            "The share of its worth that an answer of late keeps: 1 is good. Each part takes its share of it.",
            (Target(ANSWERS.now(QUALITY_SCORE, "task", "adapter", how="max"), _VERSION),),
            "percentunit",
            high=1,
        ),
        Panel(
            "Parts of the score",
            "Which of them fell says what went wrong.",
            (Target(ANSWERS.now(QUALITY_PART, "task", "adapter", "part", how="max"), f"{_VERSION} {{{{part}}}}"),),
            "percentunit",
            high=1,
        ),
        Panel(
            "Bad checks",
            "Share of each check that found an answer bad.",
            (Target(ANSWERS.share(QUALITY_CHECKS, *_BY_CHECK, result=_BAD), f"{_VERSION} {{{{check}}}}"),),
            "percentunit",
        ),
        Panel(
            "Above the usual",
            "By how many standard deviations more of a version's checks of half an hour are bad than usual for its "
            "task, which is what it had on the day before. More than 4 raise LoraplexQualityFell.",
            (Target(ANSWERS.series(QUALITY_EXCESS), f"{_VERSION} {{{{check}}}}"),),
            "short",
            thresholds=(Step(THRESHOLD, "red"),),
            low=None,
        ),
        Panel(
            "Surprise",
            "Mean negative log-probability of the tokens of an answer, in nats: how unlikely the model found what it "
            "said.",
            quantiles(ANSWERS, ANSWER_LOGPROB, "task", "adapter", legend=_VERSION),
            "none",
        ),
        Panel(
            "Indecision",
            "Mean entropy of the next token over an answer, in nats.",
            quantiles(ANSWERS, ANSWER_ENTROPY, "task", "adapter", legend=_VERSION),
            "none",
        ),
        Panel(
            "Liked",
            "Share of the callers' judgments that were good, over an hour.",
            (Target(ANSWERS.share(FEEDBACK, "task", "adapter", over="1h", rating=equals("up")), _VERSION),),
            "percentunit",
            high=1,
        ),
        Panel(
            "Answers that nobody can judge",
            "Answers that were not written down, because the state database was away for too long; per second.",
            (Target(ANSWERS.rate(ANSWERS_FORGOTTEN), "answers"),),
            "cps",
        ),
    ),
)

_DRIFT = Row(
    "Drift",
    (
        Panel(
            "Detected",
            "1 for each signal of a task whose live window differs from its reference window.",
            (Target(ANSWERS.now(DRIFT_DETECTED, "task", "signal", how="max"), "{{task}} {{signal}}"),),
            "none",
            "bargauge",
            (Step(1, "red"),),
            high=1,
        ),
        Panel(
            "p-values",
            "How likely a difference as large as this one is without drift.",
            (Target(ANSWERS.now(DRIFT_P_VALUE, "task", "signal", how="max"), "{{task}} {{signal}}"),),
            "none",
            high=1,
        ),
        Panel(
            "Size of the differences",
            "A small p-value with a small effect is a real difference that matters little.",
            (Target(ANSWERS.now(DRIFT_EFFECT, "task", "signal", how="max"), "{{task}} {{signal}}"),),
            "none",
            low=None,
        ),
        Panel(
            "Requests in the windows",
            "With few of them in one of the two, only large differences can be seen.",
            (Target(ANSWERS.now(DRIFT_WINDOW, "task", "window", how="max"), "{{task}} {{window}}"),),
            "none",
        ),
    ),
)

_OBSERVER = Row(
    "The observer itself",
    (
        Panel(
            "Alive",
            "1 while a replica's observer works. Without it requests are served as before.",
            (Target(ANSWERS.now(OBSERVER_UP, "replica", how="min"), "{{replica}}"),),
            "none",
            "bargauge",
            (Step(1, "green"),),
            below="red",
            high=1,
        ),
        Panel(
            "Observed, sampled out, dropped",
            "dropped: the observer did not keep up, and requests did not wait for it. Per second.",
            (Target(ANSWERS.rate(OBSERVATIONS, "result"), "{{result}}"),),
            "cps",
            stacked=True,
        ),
        Panel(
            "Time for one request",
            "Off the path of the request itself.",
            quantiles(ANSWERS, OBSERVATION_TIME, legend="observation"),
            "s",
        ),
        Panel(
            "Label values left out",
            "Series that were not made, so that unknown names cannot fill the memory; per second, by reason.",
            (Target(ANSWERS.rate(SERIES_DROPPED, "reason"), "{{reason}}"),),
            "cps",
        ),
    ),
)

DRIFT_AND_QUALITY = Dashboard(
    "loraplex-quality",
    "Loraplex: drift and quality",
    "What changed in what is asked and in what is answered, measured without labels.",
    (JOB, TASK, ADAPTER),
    (_QUALITY, _DRIFT, _OBSERVER),
)

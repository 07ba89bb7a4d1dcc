"""A secret that somebody writes into the values is refused, and not shown to everybody who may read pods."""

from typing import Any

import pytest

from tests.helm.charts import merged, refusal, render
from tests.helm.worlds import values

PLANTED = "hunter2-is-not-a-secret-any-more"


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        ({"extraEnv": {"HF_TOKEN": PLANTED}}, "extraEnv.HF_TOKEN: sounds like a secret"),
        ({"gateway": {"env": {"OPENAI_API_KEY": PLANTED}}}, "name a Secret in secrets.env.OPENAI_API_KEY"),
        ({"control": {"env": {"PGPASSWORD_": "x", "DB_PASSWORD": PLANTED}}}, "control.env.DB_PASSWORD: sounds like"),
        ({"knowledge": {"env": {"aws_secret_access_key": PLANTED}}}, "knowledge.env.aws_secret_access_key: sounds"),
        ({"config": {"engine": {"env": {"HF_TOKEN": PLANTED}}}}, "config.engine.env.HF_TOKEN: sounds like a secret"),
        ({"config": {"artifacts": {"options": {"key": "AKIA", "secret": PLANTED}}}}, "config.artifacts.options.key"),
        (
            {"objectStore": {"endpoint": f"http://user:{PLANTED}@s3:9000"}},
            "objectStore.endpoint: an address (http://…)",
        ),
        (
            {"config": {"knowledge": {"embedder": {"model": "m", "url": f"https://u:{PLANTED}@e/v1"}}}},
            "config: an address (https://…) holds a password",
        ),
        (
            {
                "autoscaling": {"type": "keda", "keda": {"serverAddress": f"http://u:{PLANTED}@prometheus:9090"}},
                "monitoring": {"job": "loraplex"},
            },
            "autoscaling.keda.serverAddress: an address",
        ),
    ],
)
def test_a_secret_in_the_values_is_refused_with_a_sentence_that_does_not_repeat_it(
    layer: dict[str, Any], sentence: str
) -> None:
    said = refusal(merged(values("deployment"), layer))

    assert sentence in said
    assert PLANTED not in said


@pytest.mark.parametrize(
    "layer",
    [
        {"extraEnv": {"TOKENIZERS_PARALLELISM": "false", "MAX_TOKENS": "3"}},
        {"config": {"engine": {"env": {"VLLM_LOGGING_LEVEL": "INFO"}}}},
        {"config": {"artifacts": {"options": {"anon": False}}}},
        {"objectStore": {"endpoint": "http://s3.databases.svc:9000"}},
    ],
)
def test_what_only_looks_a_little_like_one_is_taken(layer: dict[str, Any]) -> None:
    assert render(merged(values("deployment"), layer))


@pytest.mark.parametrize(
    ("layer", "place"),
    [
        ({"gateway": {"podLabels": {"app.kubernetes.io/component": "x"}}}, "gateway.podLabels"),
        ({"control": {"podLabels": {"app.kubernetes.io/instance": "x"}}}, "control.podLabels"),
    ],
)
def test_labels_that_selectors_need_cannot_be_replaced(layer: dict[str, Any], place: str) -> None:
    said = refusal(merged(values("deployment"), layer))

    assert f"{place}: app.kubernetes.io/" in said
    assert "find the pod by" in said

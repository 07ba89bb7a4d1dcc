"""Series of others are called as they call them."""

import importlib.util
from pathlib import Path

import pytest

from monitoring.catalogue import ENGINE_SERIES
from monitoring.dashboards.foreign import ENGINE
from monitoring.spec import MetricSpec


@pytest.fixture(scope="module")
def vllm_metrics() -> str:
    """The source in which the installed vLLM names its series; it is not imported."""
    found = importlib.util.find_spec("vllm")
    assert found is not None
    assert found.origin is not None
    return (Path(found.origin).parent / "v1" / "metrics" / "loggers.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("spec", ENGINE, ids=lambda spec: spec.name)
def test_the_installed_vllm_has_every_series_that_is_read(spec: MetricSpec, vllm_metrics: str) -> None:
    # prometheus_client adds `_total` to the name of a counter.
    name = spec.name.removesuffix("_total") if spec.kind == "counter" else spec.name
    maker = {"counter": "_counter_cls", "gauge": "_gauge_cls", "histogram": "_histogram_cls"}[spec.kind]
    named = vllm_metrics.partition(f'name="{name}"')

    assert named[1], f"vLLM has no {name}"
    assert named[0].rstrip().endswith(f"self.{maker}(")


def test_a_gateway_looks_for_just_the_series_that_are_read_when_its_engine_has_started() -> None:
    assert {spec.name for spec in ENGINE} == set(ENGINE_SERIES)

"""Autoscaling by our own metrics: what is rendered, what is refused, and what Prometheus makes of the expressions."""

import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs.chart_files import JOB
from monitoring.catalogue import CATALOG_REACHABLE, IN_FLIGHT, TTFT, WAITING
from monitoring.dashboards.foreign import ENGINE_WAITING
from monitoring.dashboards.promql import Scope, equals
from monitoring.dashboards.scaling import measures
from tests.helm.charts import BASE, NAMESPACE, SHARED, Manifest, merged, of_kind, only, refusal, render
from tests.helm.worlds import world
from tests.prometheus_host import promtool

RELEASE_JOB = f"{NAMESPACE}.trial-loraplex"
SCRAPED: dict[str, Any] = {
    "secrets": {"metricsToken": {"name": "scrapers"}},
    "monitoring": {"serviceMonitor": {"enabled": True}},
}
TARGETS = {"inFlight": 32.0, "queue": 8.0, "ttft": 2.0}
"""Per gateway, as values.yaml has them."""

Series = dict[str, str]


def _scaled(kind: str, **scaling: Any) -> dict[str, Any]:
    return merged(BASE, SHARED, SCRAPED, {"autoscaling": {"type": kind, **scaling}})


def _queries(scaled: Manifest) -> dict[str, str]:
    return {one["name"]: one["metadata"]["query"] for one in scaled["spec"]["triggers"]}


# What is rendered


def test_keda_asks_what_the_catalogue_says_of_this_release_alone() -> None:
    made = {one.name: " ".join(one.query.text.split()) for one in measures(Scope(equals(RELEASE_JOB), "5m"))}
    scaled = only(world("deployment-keda"), "ScaledObject")

    assert _queries(scaled) == made
    assert {one["name"]: float(one["metadata"]["threshold"]) for one in scaled["spec"]["triggers"]} == TARGETS
    assert {one["metricType"] for one in scaled["spec"]["triggers"]} == {"AverageValue"}
    assert {one["metadata"]["ignoreNullValues"] for one in scaled["spec"]["triggers"]} == {"false"}


def test_what_is_scaled_is_the_gateways_deployment_which_names_no_number_itself() -> None:
    for name in ("deployment-keda", "deployment-hpa"):
        manifests = world(name)
        deployment = only(manifests, "Deployment", "trial-loraplex-gateway")
        (scaler,) = [*of_kind(manifests, "ScaledObject"), *of_kind(manifests, "HorizontalPodAutoscaler")]

        assert scaler["spec"]["scaleTargetRef"] == {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "name": deployment["metadata"]["name"],
        }
        assert "replicas" not in deployment["spec"], "an upgrade would undo what the autoscaler chose"


def test_an_hpas_metrics_are_those_that_the_adapters_rules_make() -> None:
    manifests = world("deployment-hpa")
    scaler = only(manifests, "HorizontalPodAutoscaler")
    rules = only(manifests, "ConfigMap", "trial-loraplex-adapter-rules")["data"]["config.yaml"]
    by_name = {one["name"]["as"]: one for one in yaml.safe_load(rules)["externalRules"]}
    made = {one.metric: one for one in measures(Scope(equals(RELEASE_JOB), "5m"))}

    metrics = [one["external"] for one in scaler["spec"]["metrics"]]
    assert [one["metric"]["name"] for one in metrics] == list(by_name) == list(made)
    for one in metrics:
        matchers = one["metric"]["selector"]["matchLabels"]
        filled = ",".join(f'{label}="{value}"' for label, value in matchers.items())
        asked = by_name[one["metric"]["name"]]["metricsQuery"].replace("<<.LabelMatchers>>", filled)
        assert asked == " ".join(made[one["metric"]["name"]].query.text.split())
    assert [float(one["target"]["averageValue"]) for one in metrics] == list(TARGETS.values())


def test_gateways_come_at_once_and_go_one_after_the_other() -> None:
    for name, path in (("deployment-hpa", ()), ("deployment-keda", ("advanced", "horizontalPodAutoscalerConfig"))):
        spec = next(one["spec"] for one in world(name) if one["kind"] in ("ScaledObject", "HorizontalPodAutoscaler"))
        for key in path:
            spec = spec[key]
        behavior = spec["behavior"]

        assert behavior["scaleUp"]["stabilizationWindowSeconds"] == 0
        assert [one["value"] for one in behavior["scaleUp"]["policies"]] == [100, 1]
        assert behavior["scaleDown"]["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 120}]
        assert behavior["scaleDown"]["stabilizationWindowSeconds"] == 600


def test_a_measure_that_is_off_is_not_asked_for() -> None:
    scaled = only(render(_scaled("keda", ttft={"enabled": False})), "ScaledObject")

    assert list(_queries(scaled)) == ["inFlight", "queue"]


def test_prometheus_may_want_to_know_who_asks() -> None:
    keda = {"authenticationRef": "prometheus", "authModes": "bearer"}
    scaled = only(render(_scaled("keda", keda=keda)), "ScaledObject")

    assert {one["authenticationRef"]["name"] for one in scaled["spec"]["triggers"]} == {"prometheus"}
    assert {one["metadata"]["authModes"] for one in scaled["spec"]["triggers"]} == {"bearer"}


# What is refused


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (merged(BASE, {"topology": "standalone", "autoscaling": {"type": "hpa"}}), "is one pod with its own state"),
        (merged(_scaled("keda"), {"topology": "rayservice"}), "a RayService scales by ray.serveAutoscaling"),
        (merged(_scaled("hpa"), {"gateway": {"replicas": 3}}), "remove one of the two"),
        (_scaled("keda", minReplicas=5, maxReplicas=4), "is more than autoscaling.maxReplicas"),
        (
            _scaled("keda", inFlight={"enabled": False}, queue={"enabled": False}),
            "TTFT alone does not tell when there are too many",
        ),
        (merged(_scaled("keda"), {"config": {"metrics": {"enabled": False}}}), "config.metrics.enabled is false"),
        (_scaled("keda", keda={"authModes": "bearer"}), "needs a TriggerAuthentication"),
        (
            merged(BASE, SHARED, {"autoscaling": {"type": "hpa"}}),
            "the job `models.trial-loraplex`, which nothing scrapes",
        ),
        (_scaled("both"), "autoscaling.type must be one of the following"),
        (_scaled("keda", minReplicas=0), "autoscaling.minReplicas: Must be greater than or equal to 1"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_sentence(values: dict[str, Any], sentence: str) -> None:
    assert sentence in refusal(values)


# What Prometheus makes of it


def _reachable(replicas: int, minutes: int = 30) -> Series:
    return {
        f'{CATALOG_REACHABLE.name}{{job="{RELEASE_JOB}",replica="r{n}"}}': f"1+0x{minutes}" for n in range(replicas)
    }


def _gauge(name: str, replicas: int, values: str, **labels: str) -> Series:
    inside = "".join(f',{key}="{value}"' for key, value in labels.items())
    return {f'{name}{{job="{RELEASE_JOB}",replica="r{n}"{inside}}}': values for n in range(replicas)}


def _answers(replicas: int, per_minute: int, below: float) -> Series:
    """Streamed answers whose first token came between the bucket before ``below`` and it."""
    where = f'job="{RELEASE_JOB}",task="support",adapter="base",role="base"'
    counted = f"0+{per_minute}x30"
    found: Series = {}
    for n in range(replicas):
        for bound in (*TTFT.buckets, math.inf):
            text = "+Inf" if math.isinf(bound) else f"{bound:g}"
            values = counted if bound >= below else "0+0x30"
            found[f'{TTFT.name}_bucket{{{where},replica="r{n}",le="{text}"}}'] = values
        found[f'{TTFT.name}_count{{{where},replica="r{n}"}}'] = counted
    return found


def _wanted(queries: dict[str, str], series: Series, at: str, replicas: int, folder: Path) -> int | None:
    """How many gateways an autoscaler would ask for; None: a measure has no value, and it changes nothing."""
    found = [_value(query, series, at, folder) for query in queries.values()]
    if None in found:
        return None
    ratios = [value / target for value, target in zip(found, TARGETS.values(), strict=True) if value is not None]
    # As Kubernetes does it: a tenth more or less of what there is changes nothing.
    return max(replicas if abs(ratio / replicas - 1) <= 0.1 else math.ceil(ratio) for ratio in ratios)


def _value(query: str, series: Series, at: str, folder: Path) -> float | None:
    """The value of ``query`` as promtool's evaluator sees it, which is Prometheus' own."""
    test = {
        "rule_files": [],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                # No sample is like this: promtool says what there is instead.
                "promql_expr_test": [{"expr": query, "eval_time": at, "exp_samples": [{"labels": "{}", "value": -1}]}],
            }
        ],
    }
    path = folder / "test.yaml"
    path.write_text(yaml.safe_dump(test), encoding="utf-8")
    said = promtool("test", "rules", str(path))
    got = said.stdout + said.stderr
    line = next(line for line in got.splitlines() if line.strip().startswith("got:"))
    text = line.split("got:")[1].strip()
    return None if text == "nil" else float(text.rpartition(" ")[2].strip('"'))


@pytest.fixture(scope="module")
def queries() -> dict[str, str]:
    """Those of the rendered ScaledObject."""
    return _queries(only(world("deployment-keda"), "ScaledObject"))


def test_more_load_wants_more_gateways(queries: dict[str, str], tmp_path: Path) -> None:
    series = _reachable(2) | _gauge(IN_FLIGHT.name, 2, "10+0x9 90+0x20", task="support")

    assert _wanted(queries, series, "5m", 2, tmp_path) == 1
    assert _wanted(queries, series, "20m", 2, tmp_path) == 6


def test_an_idle_gateway_wants_none_which_the_least_number_bounds(queries: dict[str, str], tmp_path: Path) -> None:
    never = _reachable(3)
    again = never | _gauge(IN_FLIGHT.name, 3, "40+0x9 0+0x20", task="support") | _answers(3, 0, 0.1)

    assert _wanted(queries, never, "20m", 3, tmp_path) == 0, "no request came yet"
    assert _wanted(queries, again, "20m", 3, tmp_path) == 0


def test_a_number_that_is_about_right_stays(queries: dict[str, str], tmp_path: Path) -> None:
    series = _reachable(3) | _gauge(IN_FLIGHT.name, 3, "31+0x30", task="support") | _answers(3, 20, 0.1)

    assert _wanted(queries, series, "20m", 3, tmp_path) == 3


def test_without_data_nothing_changes(queries: dict[str, str], tmp_path: Path) -> None:
    gone = {name: values.replace("x30", "x9") for name, values in _reachable(3).items()}
    gone |= _gauge(IN_FLIGHT.name, 3, "40+0x9", task="support")

    assert _wanted(queries, {}, "20m", 3, tmp_path) is None
    assert _wanted(queries, gone, "20m", 3, tmp_path) is None


def test_requests_that_wait_want_more_gateways_though_few_are_in_progress(
    queries: dict[str, str], tmp_path: Path
) -> None:
    adapters = _gauge(WAITING.name, 2, "9+0x30", task="support")
    engine = _gauge(ENGINE_WAITING.name, 2, "7+0x30", model_name="base", engine="0")
    series = _reachable(2) | _gauge(IN_FLIGHT.name, 2, "20+0x30", task="support") | adapters | engine

    assert _wanted(queries, series, "20m", 2, tmp_path) == 4


def test_late_first_tokens_want_more_gateways(queries: dict[str, str], tmp_path: Path) -> None:
    load = _reachable(2) | _gauge(IN_FLIGHT.name, 2, "20+0x30", task="support")

    assert _wanted(queries, load | _answers(2, 60, 5.0), "20m", 2, tmp_path) == 5
    assert _wanted(queries, load | _answers(2, 60, 0.5), "20m", 2, tmp_path) == 2


def test_a_few_late_answers_after_a_quiet_time_change_nothing(queries: dict[str, str], tmp_path: Path) -> None:
    series = _reachable(2) | _gauge(IN_FLIGHT.name, 2, "20+0x30", task="support") | _answers(2, 1, 30.0)

    assert _wanted(queries, series, "20m", 2, tmp_path) == 2


def test_gateways_that_still_start_do_not_raise_the_number(queries: dict[str, str], tmp_path: Path) -> None:
    busy = _gauge(IN_FLIGHT.name, 2, "20+0x30", task="support") | _answers(2, 60, 5.0)

    assert _value(queries["ttft"], _reachable(2) | busy, "20m", tmp_path) == pytest.approx(
        _value(queries["ttft"], _reachable(8) | busy, "20m", tmp_path)
    )


def test_another_releases_load_is_none_of_ours(queries: dict[str, str], tmp_path: Path) -> None:
    others = {name.replace("trial", "second"): "500+0x30" for name in _gauge(IN_FLIGHT.name, 3, "", task="support")}

    assert _wanted(queries, _reachable(2) | others, "20m", 2, tmp_path) == 0


def test_no_word_of_the_template_is_left() -> None:
    for name in ("deployment-keda", "deployment-hpa"):
        assert JOB not in str(world(name))

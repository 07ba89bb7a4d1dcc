"""Scrapes, rules and dashboards of the chart: those of the program, for this release."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from docs.chart_files import JOB, RUNBOOKS
from monitoring.dashboards.build import BuildOptions, build
from serving.config import parse_config
from serving.objectives import objectives_of
from tests.helm.charts import BASE, NAMESPACE, SHARED, Manifest, merged, of_kind, only, pod_templates, refusal, render
from tests.helm.network import COMPONENT, matches
from tests.helm.scraping import endpoint, scrape_config
from tests.helm.worlds import values, world
from tests.lifecycle import until
from tests.prometheus_host import promtool, running

GENERATED = Path(__file__).parents[2] / "monitoring" / "generated"
RELEASE_JOB = f"{NAMESPACE}.trial-loraplex"
RUNBOOK_PAGES = "https://github.com/loraplex/loraplex/blob/main/docs/runbooks"
LARGEST = 1024 * 1024
"""What a ConfigMap may hold, in bytes."""

TOKEN: dict[str, Any] = {"secrets": {"metricsToken": {"name": "scrapers"}}}
RULES: dict[str, Any] = {"monitoring": {"prometheusRule": {"enabled": True}}}
TASKS: dict[str, Any] = {
    "support": {
        "adapter": "triage",
        "slo": {"ttft": {"threshold_s": 0.8}, "duration": {"threshold_s": 10, "target": 0.9}},
    },
    "chat": {"slo": {"availability": 0.9995, "min_requests": 0}},
    "draft": {"slo": {"availability": None, "ttft": {"threshold_s": 1.5, "target": 0.5}, "min_requests": 25}},
    "plain": {},
}


def _groups(manifests: list[Manifest]) -> dict[str, Any]:
    """The groups of each PrometheusRule, by what its name ends in."""
    found = of_kind(manifests, "PrometheusRule")
    return {one["metadata"]["name"].rpartition("-")[2]: one["spec"]["groups"] for one in found}


def _built(options: BuildOptions) -> dict[str, Any]:
    files = {name: text for name, text in build(options).items() if name.startswith("prometheus/")}
    return {Path(name).stem.removeprefix("loraplex-"): yaml.safe_load(text)["groups"] for name, text in files.items()}


# Rules


def test_the_rules_are_those_of_the_program_for_this_releases_job() -> None:
    manifests = render(merged(BASE, SHARED, RULES))

    assert _groups(manifests) == _built(BuildOptions(job=RELEASE_JOB, runbooks=RUNBOOK_PAGES))


def test_with_the_programs_own_job_they_are_what_is_committed() -> None:
    own = {"job": "loraplex", "prometheusRule": {"enabled": True, "runbooks": "docs/runbooks/"}}
    groups = _groups(render(merged(BASE, SHARED, {"monitoring": own})))

    committed = {path.stem: yaml.safe_load(path.read_text()) for path in (GENERATED / "prometheus").glob("*.yaml")}
    assert {f"loraplex-{name}": {"groups": one} for name, one in groups.items()} == committed


def test_a_tasks_objectives_become_the_same_alerts_as_from_its_configuration() -> None:
    manifests = render(merged(BASE, SHARED, RULES, {"config": {"tasks": TASKS}}))
    text = only(manifests, "ConfigMap", "trial-loraplex-config")["data"]["config.yaml"]
    objectives = objectives_of(parse_config(yaml.safe_load(text), origin="the ConfigMap"))

    made = _built(BuildOptions(RELEASE_JOB, RUNBOOK_PAGES, objectives))
    assert len(objectives) == 5
    assert {one["name"]: one for one in _groups(manifests)["slo"]} == {one["name"]: one for one in made["slo"]}


def test_promtool_finds_nothing_wrong_with_them(tmp_path: Path) -> None:
    manifests = render(merged(BASE, SHARED, RULES, {"config": {"tasks": TASKS}}))
    paths = []
    for name, groups in _groups(manifests).items():
        paths.append(tmp_path / f"{name}.yaml")
        paths[-1].write_text(yaml.safe_dump({"groups": groups}), encoding="utf-8")

    checked = promtool("check", "rules", *map(str, paths))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert len(paths) == 3


def test_an_alert_of_the_chart_fires_for_this_release_and_not_for_another(tmp_path: Path) -> None:
    groups = _groups(render(merged(BASE, SHARED, RULES)))["alerts"]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}), encoding="utf-8")
    series = {f'up{{job="{RELEASE_JOB}",instance="gateway-0"}}': "0+0x10", 'up{job="models.other"}': "0+0x10"}
    series[f'up{{job="{RELEASE_JOB}",instance="control-0",part="control"}}'] = "1+0x10"
    (rule,) = [rule for group in groups for rule in group["rules"] if rule["alert"] == "LoraplexGatewayDown"]
    description = rule["annotations"]["description"].replace("{{ $labels.job }}", RELEASE_JOB)
    expected = {
        "exp_labels": {"job": RELEASE_JOB, "severity": "page"},
        "exp_annotations": {**rule["annotations"], "description": description},
    }
    test = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": one} for name, one in series.items()],
                "alert_rule_test": [{"eval_time": "5m", "alertname": "LoraplexGatewayDown", "exp_alerts": [expected]}],
            }
        ],
    }
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(test), encoding="utf-8")

    tested = promtool("test", "rules", str(tmp_path / "test.yaml"))
    assert tested.returncode == 0, tested.stdout + tested.stderr


# Dashboards


def test_the_dashboards_are_those_of_the_program() -> None:
    found = {
        name: json.loads(text)
        for one in of_kind(world("deployment-everything"), "ConfigMap")
        if one["metadata"]["labels"].get("grafana_dashboard") == "1"
        for name, text in one["data"].items()
    }

    pages = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in (GENERATED / "grafana").iterdir()}
    assert found == pages


def test_every_page_fits_into_a_config_map_and_says_its_folder() -> None:
    pages = [
        one
        for one in of_kind(world("deployment-everything"), "ConfigMap")
        if "grafana_dashboard" in one["metadata"]["labels"]
    ]

    assert len(pages) == 6
    for page in pages:
        assert sum(len(text.encode()) for text in page["data"].values()) < LARGEST
        assert page["metadata"]["annotations"] == {"grafana_folder": "Loraplex"}


def test_the_sidecars_label_and_folder_are_the_operators() -> None:
    own = {
        "enabled": True,
        "labels": {"grafana_dashboard": "yes", "team": "ml"},
        "folder": "Models",
        "folderAnnotation": "k8s-folder",
    }
    manifests = render(merged(BASE, SHARED, {"monitoring": {"dashboards": own}}))
    pages = [one["metadata"] for one in of_kind(manifests, "ConfigMap") if "-page-" in one["metadata"]["name"]]

    assert {page["labels"]["grafana_dashboard"] for page in pages} == {"yes"}
    assert {page["labels"]["team"] for page in pages} == {"ml"}
    assert [page["annotations"] for page in pages] == [{"k8s-folder": "Models"}] * 6


def test_no_word_of_the_templates_is_left() -> None:
    for name in ("deployment-everything", "rayservice-everything", "deployment-hpa"):
        text = str(world(name))
        assert [word for word in (JOB, RUNBOOKS, "@TASK@", "@SLO@", "@BOUND@", "@BUDGET@") if word in text] == []


# Scrapes


@pytest.mark.parametrize("name", ["deployment-everything", "deployment-keda", "rayservice-everything"])
def test_the_scrapers_token_comes_from_the_secret_that_the_pods_have_it_from(name: str) -> None:
    manifests = world(name)
    (monitor,) = [*of_kind(manifests, "PodMonitor"), *of_kind(manifests, "ServiceMonitor")]

    assert endpoint(monitor)["authorization"] == {"credentials": {"name": "scrapers", "key": "token"}}
    config = str(of_kind(manifests, "ConfigMap")) + str(of_kind(manifests, "RayService"))
    assert "token_env: LORAPLEX_METRICS_TOKEN" in config


def test_each_pod_is_a_target_that_tells_of_itself() -> None:
    scrape = endpoint(only(world("deployment-everything"), "PodMonitor"))

    assert scrape["params"] == {"replica": ["self"]}
    assert "params" not in endpoint(only(world("standalone-everything"), "PodMonitor")), (
        "one pod tells of all its parts"
    )


PODS = [
    {
        "__address__": f"127.0.0.1:{number}",
        "__meta_kubernetes_pod_name": f"trial-loraplex-{part}-{number}",
        "__meta_kubernetes_pod_label_app_kubernetes_io_component": part,
    }
    for number, part in enumerate(("gateway", "gateway", "control", "knowledge"), 1)
]
"""As Prometheus discovers them."""

ENDPOINTS = [
    {
        "__address__": f"127.0.0.1:{n}",
        "pod": f"gateway-{n}",
        "node": f"node-{n}",
        "container": "gateway",
        "service": "s",
    }
    for n in range(1, 4)
]
"""As the operator labels the targets of a ServiceMonitor."""


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """What the real Prometheus makes of discovered pods under the rendered relabelings, by world."""
    monitors = {
        "deployment-everything": ("PodMonitor", PODS),
        "deployment-keda": ("ServiceMonitor", ENDPOINTS),
        "rayservice-everything": ("ServiceMonitor", ENDPOINTS),
    }
    jobs = [scrape_config(name, only(world(name), kind), pods) for name, (kind, pods) in monitors.items()]
    return asyncio.run(_targets(jobs, tmp_path_factory.mktemp("discovery") / "prometheus"))


async def _targets(jobs: list[dict[str, Any]], folder: Path) -> dict[str, list[Any]]:
    async with running(folder, {"scrape_configs": jobs}) as server:

        async def found() -> bool:
            return {one["scrapePool"] for one in await _active(server.http)} == {job["job_name"] for job in jobs}

        await until(found, "the discovery of targets")
        active = await _active(server.http)
    return {job["job_name"]: [one for one in active if one["scrapePool"] == job["job_name"]] for job in jobs}


def test_prometheus_makes_of_each_pod_a_target_under_the_releases_job(targets: dict[str, list[Any]]) -> None:
    labels = [one["labels"] for one in targets["deployment-everything"]]

    assert {one["job"] for one in labels} == {RELEASE_JOB}
    assert {one["instance"] for one in labels} == {pod["__meta_kubernetes_pod_name"] for pod in PODS}
    assert sorted(one.get("part", "") for one in labels) == ["", "", "control", "knowledge"]


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("deployment-keda", "trial-loraplex.models.svc:80"),
        ("rayservice-everything", "trial-loraplex-serve-svc.models.svc:8000"),
    ],
)
def test_prometheus_makes_of_all_pods_behind_the_service_one_target(
    name: str, address: str, targets: dict[str, list[Any]]
) -> None:
    (target,) = targets[name]

    assert target["scrapeUrl"] == f"http://{address}/metrics"
    assert target["labels"] == {"job": RELEASE_JOB, "instance": address, "service": "s"}


async def _active(http: httpx.AsyncClient) -> list[Any]:
    found: list[Any] = (await http.get("/api/v1/targets")).json()["data"]["activeTargets"]
    return found


def test_a_pod_monitor_selects_the_pods_that_have_metrics_by_a_port_that_they_have() -> None:
    for name in ("standalone-everything", "deployment-everything"):
        manifests = world(name)
        monitor = only(manifests, "PodMonitor")
        chosen = [
            pod
            for _, pod in pod_templates(manifests)
            if matches(monitor["spec"]["selector"], pod["metadata"]["labels"])
        ]
        parts = {pod["metadata"]["labels"][COMPONENT] for pod in chosen}

        assert parts == ({"gateway"} if name.startswith("standalone") else {"gateway", "control", "knowledge"})
        for pod in chosen:
            ports = [port["name"] for container in pod["spec"]["containers"] for port in container["ports"]]
            assert endpoint(monitor)["port"] in ports


def test_a_service_monitor_selects_the_service_that_clients_use() -> None:
    manifests = world("deployment-keda")
    monitor = only(manifests, "ServiceMonitor")
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    (service,) = [one for one in of_kind(manifests, "Service") if wanted <= one["metadata"]["labels"].items()]

    assert service["metadata"]["name"] == "trial-loraplex"
    assert endpoint(monitor)["port"] in [port["name"] for port in service["spec"]["ports"]]


def test_kuberays_service_is_found_by_the_labels_and_the_port_that_kuberay_gives_it() -> None:
    manifests = world("rayservice-everything")
    monitor = only(manifests, "ServiceMonitor")
    ray = only(manifests, "RayService")

    assert monitor["spec"]["selector"]["matchLabels"] == {
        "ray.io/originated-from-cr-name": ray["metadata"]["name"],
        "ray.io/serve": f"{ray['metadata']['name']}-serve",
    }
    assert endpoint(monitor)["port"] == "serve"
    head = ray["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]
    ports = {port["name"]: port["containerPort"] for port in head["spec"]["containers"][0]["ports"]}
    assert ports["serve"] == 8000, "KubeRay takes the Service's port from the head's port of that name"


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        (
            {**TOKEN, "monitoring": {"podMonitor": {"enabled": True}, "serviceMonitor": {"enabled": True}}},
            "counted twice",
        ),
        ({**TOKEN, "topology": "rayservice", "monitoring": {"podMonitor": {"enabled": True}}}, "scraped as one"),
        ({"monitoring": {"podMonitor": {"enabled": True}}}, "name a Secret that holds one"),
        ({"monitoring": {"job": "a/b"}}, "monitoring.job: Does not match pattern"),
        ({"monitoring": {"interval": "often"}}, "monitoring.interval: Does not match pattern"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_sentence(layer: dict[str, Any], sentence: str) -> None:
    assert sentence in refusal(merged(BASE, SHARED, layer))


def test_a_long_namespace_and_a_long_name_still_make_a_label() -> None:
    long = merged(values("deployment-hpa"), {"fullnameOverride": "a" * 38})
    (scaler,) = of_kind(render(long, "--namespace", "n" * 63), "HorizontalPodAutoscaler")
    job = scaler["spec"]["metrics"][0]["external"]["metric"]["selector"]["matchLabels"]["job"]

    assert len(job) <= 63
    (other,) = of_kind(render(long, "--namespace", "n" * 62 + "m"), "HorizontalPodAutoscaler")
    assert other["spec"]["metrics"][0]["external"]["metric"]["selector"]["matchLabels"]["job"] != job

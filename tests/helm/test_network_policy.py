"""Everything is closed but for what each part needs; decided as a cluster's network would."""

from typing import Any

import pytest

from tests.helm.charts import BASE, SHARED, Manifest, merged, of_kind, only, pod_templates, render
from tests.helm.network import COMPONENT, Network, Place, matches, outside, stranger
from tests.helm.worlds import names, values, world

HTTP = 8000
PEERS = 8001
DATABASE = outside("10.20.0.5")
HUB = outside("151.101.1.1")
INSTANCE_DATA = outside("169.254.169.254")
NAMES = stranger("kube-system")
PROMETHEUS = stranger("monitoring")
APPLICATION = stranger("applications")
NEIGHBOUR = Place("a pod beside the release", {"app": "chat"})

EVERYTHING = "deployment-everything"


def _network(name: str) -> Network:
    return Network(world(name))


def _rendered(*layers: dict[str, Any]) -> Network:
    return Network(render(merged(BASE, SHARED, *layers)))


@pytest.mark.parametrize("name", names())
def test_every_pod_is_bound_in_both_directions(name: str) -> None:
    network = _network(name)

    assert network.pods
    free = [(pod.name, way) for pod in network.pods for way in ("Ingress", "Egress") if not network.is_bound(pod, way)]
    assert free == []


@pytest.mark.parametrize("name", names())
def test_every_pod_has_a_policy_of_its_part_besides_the_one_that_denies(name: str) -> None:
    manifests = world(name)
    policies = of_kind(manifests, "NetworkPolicy")

    for label, pod in pod_templates(manifests):
        labels = pod["metadata"]["labels"]
        found = [one["metadata"]["name"] for one in policies if matches(one["spec"]["podSelector"], labels)]
        assert sorted(found) == ["trial-loraplex-" + part for part in sorted(["default-deny", labels[COMPONENT]])], (
            label
        )


@pytest.mark.parametrize("name", names())
def test_every_policy_selects_a_pod(name: str) -> None:
    manifests = world(name)
    labels = [pod["metadata"]["labels"] for _, pod in pod_templates(manifests)]

    for policy in of_kind(manifests, "NetworkPolicy"):
        assert any(matches(policy["spec"]["podSelector"], one) for one in labels), policy["metadata"]["name"]


@pytest.mark.parametrize("name", names())
def test_every_service_is_reached_by_the_pods_that_are_told_its_address(name: str) -> None:
    manifests, network = world(name), _network(name)
    services = {one["metadata"]["name"]: one["spec"] for one in of_kind(manifests, "Service")}

    for label, pod in pod_templates(manifests):
        sender = Place(label, pod["metadata"]["labels"])
        told = str(pod) + str(_configuration(manifests))
        for service, spec in services.items():
            needs = f"//{service}:" in told or f"@{service}:" in told
            if not needs or not _uses(sender, service):
                continue
            (target,) = {
                one.labels[COMPONENT]: one
                for one in network.pods
                if matches({"matchLabels": spec["selector"]}, one.labels)
            }.values()
            port = _container_port(manifests, target, spec["ports"][0]["targetPort"])
            assert target.labels[COMPONENT] == sender.labels[COMPONENT] or network.lets(sender, target, port), (
                f"{label} is told of {service}, and cannot reach it"
            )


def _configuration(manifests: list[Manifest]) -> list[Any]:
    return [one["data"] for one in of_kind(manifests, "ConfigMap") if "config.yaml" in one["data"]]


def _uses(sender: Place, service: str) -> bool:
    """The configuration is the same for all: who reads it, and who asks what it names, are not."""
    users = {
        "control": {"gateway"},
        "knowledge": {"gateway", "control"},
        "milvus": {"knowledge", "control", "ray-head", "ray-worker"},
        "postgresql": {"gateway", "control", "knowledge", "migrations", "ray-head", "ray-worker"},
    }
    part = service.removeprefix("trial-loraplex").strip("-")
    return sender.labels[COMPONENT] in users.get(part, {"test", "adapter-sync"})


def _container_port(manifests: list[Manifest], pod: Place, name: str) -> int:
    spec = next(template["spec"] for label, template in pod_templates(manifests) if label == pod.name)
    port: int = next(
        port["containerPort"] for one in spec["containers"] for port in one.get("ports", []) if port["name"] == name
    )
    return port


@pytest.mark.parametrize(
    ("source", "target", "port"),
    [
        ("gateway", "control", HTTP),
        ("gateway", "knowledge", HTTP),
        ("gateway", "postgresql", 5432),
        ("gateway", "gateway", PEERS),
        ("control", "gateway", HTTP),
        ("control", "knowledge", HTTP),
        ("control", "postgresql", 5432),
        ("control", "milvus", 19530),
        ("knowledge", "postgresql", 5432),
        ("knowledge", "milvus", 19530),
        ("migrations", "postgresql", 5432),
        ("adapter-sync", "gateway", HTTP),
        ("test", "gateway", HTTP),
    ],
)
def test_a_part_reaches_what_it_needs(source: str, target: str, port: int) -> None:
    network = _network(EVERYTHING)

    assert network.lets(network.part(source), network.part(target), port)


@pytest.mark.parametrize(
    ("source", "target", "port"),
    [
        ("gateway", "milvus", 19530),
        ("control", "gateway", PEERS),
        ("knowledge", "gateway", HTTP),
        ("knowledge", "control", HTTP),
        ("migrations", "gateway", HTTP),
        ("migrations", "milvus", 19530),
        ("adapter-sync", "control", HTTP),
        ("adapter-sync", "postgresql", 5432),
        ("test", "postgresql", 5432),
        ("postgresql", "gateway", HTTP),
        ("postgresql", "milvus", 19530),
        ("milvus", "postgresql", 5432),
        ("milvus", "knowledge", HTTP),
        ("gateway", "gateway", 22),
        ("gateway", "postgresql", 22),
    ],
)
def test_a_part_reaches_nothing_else(source: str, target: str, port: int) -> None:
    network = _network(EVERYTHING)

    assert not network.lets(network.part(source), network.part(target), port)


@pytest.mark.parametrize("name", names())
def test_only_parts_that_look_up_names_reach_the_name_service(name: str) -> None:
    network = _network(name)

    for pod in network.pods:
        silent = pod.labels[COMPONENT] in ("postgresql", "milvus")
        assert network.lets(pod, NAMES, 53, "UDP") is not silent, pod.name
        assert not network.lets(pod, NAMES, 443), pod.name


@pytest.mark.parametrize("name", ["standalone", "deployment", "rayservice"])
def test_prometheus_reads_metrics_and_others_from_elsewhere_do_not_get_in(name: str) -> None:
    network = _network(name)
    for part in {pod.labels[COMPONENT] for pod in network.pods} - {"migrations", "ray-head"}:
        assert network.lets(PROMETHEUS, network.part(part), HTTP), part
        assert not network.lets(APPLICATION, network.part(part), HTTP), part
        assert not network.lets(outside("203.0.113.9"), network.part(part), HTTP), part


def test_pods_of_the_namespace_call_the_gateway_and_not_what_is_behind_it() -> None:
    network = _network(EVERYTHING)

    assert network.lets(NEIGHBOUR, network.part("gateway"), HTTP)
    for part, port in (("control", HTTP), ("knowledge", HTTP), ("postgresql", 5432), ("milvus", 19530)):
        assert not network.lets(NEIGHBOUR, network.part(part), port), part


def test_clients_are_those_that_the_values_name() -> None:
    clients = {"sameNamespace": False, "namespaces": ["applications"], "cidrs": ["203.0.113.0/24"]}
    network = _rendered({"networkPolicy": {"clients": clients}})
    gateway = network.part("gateway")

    assert network.lets(APPLICATION, gateway, HTTP)
    assert network.lets(outside("203.0.113.9"), gateway, HTTP)
    assert not network.lets(outside("198.51.100.1"), gateway, HTTP)
    assert not network.lets(NEIGHBOUR, gateway, HTTP)


@pytest.mark.parametrize("name", [EVERYTHING, "deployment"])
def test_the_migrations_policy_is_there_before_they_run_and_knows_the_new_database(name: str) -> None:
    manifests = world(name)
    job = only(manifests, "Job", "trial-loraplex-migrations")["metadata"]["annotations"]
    policy = only(manifests, "NetworkPolicy", "trial-loraplex-migrations")["metadata"]["annotations"]

    assert policy["helm.sh/hook"] == job["helm.sh/hook"]
    assert int(policy["helm.sh/hook-weight"]) < int(job["helm.sh/hook-weight"])
    assert policy["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"


def test_only_the_parts_that_read_the_database_reach_it() -> None:
    network = _network("deployment-keda")

    reach = {pod.labels[COMPONENT] for pod in network.pods if network.lets(pod, DATABASE, 5432)}
    assert reach == {"gateway", "control", "knowledge", "migrations"}


def test_the_ports_are_those_of_the_addresses() -> None:
    network = _rendered(
        {
            "postgresql": {"url": "postgresql+psycopg://loraplex@db.example.internal:6432/loraplex"},
            "objectStore": {"endpoint": "http://s3.example.internal:8333"},
            "milvus": {"mode": "external", "uri": "https://milvus.example.internal"},
            "config": {
                "knowledge": {"reranker": {"kind": "url", "url": "http://rerank.example.internal:8090/rerank"}},
                "tracing": {"enabled": True, "endpoint": "http://collector:4319/v1/traces"},
            },
            "airGapped": True,
            "imageRegistry": "registry.example.internal",
            "storage": {"models": {"existingClaim": "models"}},
        },
        {"config": {"model": {"id": "/models/base"}}},
    )
    gateway, knowledge = network.part("gateway"), network.part("knowledge")

    tried = (80, 443, 5432, 6432, 8000, 8090, 8333, 19530)
    assert [port for port in tried if network.lets(knowledge, DATABASE, port)] == [443, 6432, 8090, 8333]
    assert [port for port in tried if network.lets(gateway, DATABASE, port)] == [6432, 8090, 8333]
    assert network.lets(gateway, PROMETHEUS, 4319), "the collector runs where monitoring does"


def test_air_gapped_pods_do_not_reach_the_hub() -> None:
    gapped = {
        "airGapped": True,
        "imageRegistry": "registry.example.internal",
        "storage": {"models": {"existingClaim": "models"}},
        "config": {"model": {"id": "/models/base"}},
        "networkPolicy": {"destinations": {"objectStore": {"cidrs": ["10.0.0.0/8"]}}},
    }

    assert _network("deployment").lets(_network("deployment").part("gateway"), HUB, 443)
    closed = _rendered(gapped)
    assert [pod.name for pod in closed.pods if closed.lets(pod, HUB, 443)] == []


@pytest.mark.parametrize("name", names())
def test_no_pod_asks_the_cloud_for_its_identity(name: str) -> None:
    network = _network(name)

    assert [pod.name for pod in network.pods if network.lets(pod, INSTANCE_DATA, 80)] == []


def test_a_range_that_is_narrowed_is_all_that_is_left() -> None:
    narrow = {"cidrs": ["10.20.0.0/24"]}
    network = _rendered({"networkPolicy": {"destinations": {"postgresql": narrow}}})
    gateway = network.part("gateway")

    assert network.lets(gateway, DATABASE, 5432)
    assert not network.lets(gateway, outside("10.21.0.5"), 5432)


def test_a_milvus_in_another_namespace_is_reached_there() -> None:
    milvus = {"mode": "cluster", "cluster": {"service": "milvus", "namespace": "vectors", "port": 19531}}
    closed: dict[str, list[str]] = {"cidrs": []}
    network = _rendered(
        {
            "milvus": milvus,
            "config": {"knowledge": {}},
            "networkPolicy": {"destinations": {"milvus": closed}},
        }
    )

    assert network.lets(network.part("knowledge"), stranger("vectors"), 19531)
    assert network.lets(network.part("control"), stranger("vectors"), 19531), "where backups run"
    assert not network.lets(network.part("gateway"), stranger("vectors"), 19531)
    assert not network.lets(network.part("knowledge"), outside("10.1.1.1"), 19531)


def test_an_address_in_the_cluster_opens_the_way_to_its_namespace() -> None:
    network = _network("example-several-nodes")
    databases = stranger("databases")

    for part in ("ray-head", "ray-worker"):
        assert network.lets(network.part(part), databases, 5432)
        assert network.lets(network.part(part), databases, 19530)
        assert not network.lets(network.part(part), databases, 22)
    assert network.lets(network.part("ray-head"), databases, 6379)
    assert not network.lets(network.part("ray-worker"), databases, 6379)


def test_rays_pods_talk_among_themselves_and_clients_reach_workers_alone() -> None:
    network = _network("rayservice-everything")
    head, worker = network.part("ray-head"), network.part("ray-worker")

    for port in (6379, 8265, 52365, 10002, 40000):
        assert network.lets(worker, head, port)
        assert network.lets(head, worker, port)
    assert network.lets(NEIGHBOUR, worker, HTTP)
    assert [port for port in (HTTP, 6379, 8265, 10001) if network.lets(NEIGHBOUR, head, port)] == []
    assert [port for port in (6379, 8265, 10001) if network.lets(NEIGHBOUR, worker, port)] == []
    operator = stranger("kuberay-system")
    assert network.lets(operator, head, 8265)
    assert network.lets(operator, head, HTTP)
    assert not network.lets(operator, head, 6379)
    assert network.lets(worker, network.part("milvus"), 19530)
    assert network.lets(worker, network.part("postgresql"), 5432)


def test_only_rays_autoscaler_reaches_the_kubernetes_api() -> None:
    api = outside("10.96.0.1")
    with_scaler, without = _network("rayservice-everything"), _network("rayservice")

    assert with_scaler.lets(with_scaler.part("ray-head"), api, 6443)
    assert not with_scaler.lets(with_scaler.part("ray-worker"), api, 6443)
    assert not without.lets(without.part("ray-head"), api, 6443)


def test_only_rays_head_reaches_redis() -> None:
    values = {"topology": "rayservice", "ray": {"gcsFaultTolerance": {"redisAddress": "redis.example.internal:6380"}}}
    network = _rendered(values)

    assert network.lets(network.part("ray-head"), DATABASE, 6380)
    assert not network.lets(network.part("ray-worker"), DATABASE, 6380)
    assert not _network("rayservice").lets(_network("rayservice").part("ray-head"), DATABASE, 6379)


def test_rules_of_the_operators_own_are_added() -> None:
    rule = {"to": [{"ipBlock": {"cidr": "169.254.169.254/32"}}], "ports": [{"port": 80}]}
    network = _rendered({"networkPolicy": {"extraEgress": {"gateway": [rule]}}})

    assert network.lets(network.part("gateway"), INSTANCE_DATA, 80)
    assert not network.lets(network.part("control"), INSTANCE_DATA, 80)


def test_without_policies_there_are_none() -> None:
    assert of_kind(render(merged(BASE, SHARED, {"networkPolicy": {"enabled": False}})), "NetworkPolicy") == []


def test_another_release_in_the_namespace_is_a_stranger() -> None:
    network = _network(EVERYTHING)
    others = Network(render(values(EVERYTHING), release="second"))

    assert not network.lets(others.part("gateway"), network.part("control"), HTTP)
    assert not network.lets(others.part("knowledge"), network.part("milvus"), 19530)


def test_the_policy_that_denies_names_no_part() -> None:
    policy = only(world("deployment"), "NetworkPolicy", "trial-loraplex-default-deny")

    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert policy["spec"].keys() == {"podSelector", "policyTypes"}
    assert COMPONENT not in policy["spec"]["podSelector"]["matchLabels"]

"""How clients outside of the cluster come in: streams are neither buffered nor cut off."""

import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.helm.charts import BASE, SHARED, Manifest, merged, of_kind, only, refusal, render
from tests.helm.worlds import names, world

HOST = {"enabled": True, "hosts": ["llm.example.org"]}
LET_IN: dict[str, Any] = {"networkPolicy": {"clients": {"namespaces": ["ingress-nginx"]}}}
ROUTE = {"enabled": True, "parentRefs": [{"name": "public", "namespace": "gateways", "sectionName": "https"}]}
NGINX = "nginx.ingress.kubernetes.io/"

_NAME = {"type": "string", "pattern": r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"}
_DURATION = {"type": "string", "pattern": r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"}
_PORT = {"type": "integer", "minimum": 1, "maximum": 65535}


def _closed(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "required": required, "properties": properties}


_PARENT = _closed(
    ["name"], group=_NAME, kind={"type": "string"}, namespace=_NAME, name=_NAME, sectionName=_NAME, port=_PORT
)
_MATCH = _closed(["path"], path=_closed(["type", "value"], type={"const": "PathPrefix"}, value={"const": "/"}))
_RULE = _closed(
    ["matches", "timeouts", "backendRefs"],
    matches={"type": "array", "minItems": 1, "items": _MATCH},
    timeouts=_closed(["request", "backendRequest"], request=_DURATION, backendRequest=_DURATION),
    backendRefs={"type": "array", "minItems": 1, "items": _closed(["name", "port"], name=_NAME, port=_PORT)},
)
HTTP_ROUTE = _closed(
    ["parentRefs", "rules"],
    parentRefs={"type": "array", "minItems": 1, "maxItems": 32, "items": _PARENT},
    hostnames={"type": "array", "maxItems": 16, "items": {"type": "string", "pattern": r"^(\*\.)?[a-z0-9.-]+$"}},
    rules={"type": "array", "minItems": 1, "maxItems": 16, "items": _RULE},
)
"""What a route of ours may hold, after the Gateway API's v1."""


def _rendered(*layers: dict[str, Any]) -> list[Manifest]:
    return render(merged(BASE, SHARED, LET_IN, *layers))


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+)s?", text)
    assert found is not None, text
    return float(found[1])


def _annotations(controller: str, **server: Any) -> dict[str, str]:
    values = {"ingress": {**HOST, "controller": controller}, "config": {"server": server}}
    annotations: dict[str, str] = only(_rendered(values), "Ingress")["metadata"].get("annotations", {})
    return annotations


def test_nginx_neither_buffers_a_stream_nor_cuts_it_off() -> None:
    found = _annotations("nginx", request_timeout_s=900)

    assert found[f"{NGINX}proxy-buffering"] == found[f"{NGINX}proxy-request-buffering"] == "off"
    assert _seconds(found[f"{NGINX}proxy-read-timeout"]) == _seconds(found[f"{NGINX}proxy-send-timeout"]) == 930
    assert found[f"{NGINX}proxy-body-size"] == "0", "the gateway's own limit answers in OpenAI's form"


@pytest.mark.parametrize(
    ("controller", "limits"),
    [
        ("nginx", ["proxy-read-timeout", "proxy-send-timeout"]),
        ("haproxy", ["timeout-server"]),
        ("alb", ["load-balancer-attributes"]),
    ],
)
@pytest.mark.parametrize("timeout_s", [0.5, 600, 7200])
def test_every_controllers_limit_is_above_the_gateways(controller: str, limits: list[str], timeout_s: float) -> None:
    found = {
        key.rpartition("/")[2]: text for key, text in _annotations(controller, request_timeout_s=timeout_s).items()
    }

    for limit in limits:
        assert _seconds(found[limit].rpartition("=")[2]) > timeout_s


def test_haproxy_is_told_what_it_reads_from_an_ingress_and_no_more() -> None:
    # Its other limits hold for the whole controller, and it reads them from its own ConfigMap.
    assert list(_annotations("haproxy", request_timeout_s=600)) == ["haproxy.org/timeout-server"]


@pytest.mark.parametrize("own", [{"type": "LoadBalancer"}, {"port": 8080}, {"annotations": {"a": "b"}}])
def test_a_service_that_kuberay_makes_takes_no_values(own: dict[str, Any]) -> None:
    values = merged(BASE, SHARED, {"topology": "rayservice", "service": own})

    assert "service: KubeRay makes the Service of the topology `rayservice`, trial-loraplex-serve-svc at" in refusal(
        values
    )


def test_annotations_of_the_operators_own_win_and_another_controller_gets_no_others() -> None:
    own = {f"{NGINX}proxy-body-size": "8m", "cert-manager.io/cluster-issuer": "public"}
    ingress = only(_rendered({"ingress": {**HOST, "annotations": own}}), "Ingress")

    assert own.items() <= ingress["metadata"]["annotations"].items()
    assert ingress["metadata"]["annotations"][f"{NGINX}proxy-buffering"] == "off"
    assert _annotations("other") == {}


@pytest.mark.parametrize("name", [name for name in names() if "everything" in name or "deployment-" in name])
def test_ingress_and_route_lead_to_the_service_that_clients_use(name: str) -> None:
    manifests = world(name)
    (path,) = only(manifests, "Ingress")["spec"]["rules"][0]["http"]["paths"]
    (rule,) = only(manifests, "HTTPRoute")["spec"]["rules"]
    (backend,) = rule["backendRefs"]

    assert path["path"] == "/"
    assert (path["backend"]["service"]["name"], path["backend"]["service"]["port"]["number"]) == (
        backend["name"],
        backend["port"],
    )
    if name.startswith("rayservice"):
        assert (backend["name"], backend["port"]) == ("trial-loraplex-serve-svc", 8000), "KubeRay's own"
    else:
        service = only(manifests, "Service", backend["name"])
        assert backend["port"] in [port["port"] for port in service["spec"]["ports"]]


def test_tls_and_class_are_the_operators() -> None:
    tls = [{"secretName": "llm-tls", "hosts": ["llm.example.org"]}]
    spec = only(_rendered({"ingress": {**HOST, "className": "internal", "tls": tls}}), "Ingress")["spec"]

    assert (spec["ingressClassName"], spec["tls"]) == ("internal", tls)
    assert [rule["host"] for rule in spec["rules"]] == ["llm.example.org"]


def test_a_route_is_one_that_the_gateway_api_takes_and_waits_longer_than_the_gateway() -> None:
    values = {
        "httpRoute": {**ROUTE, "hostnames": ["llm.example.org"]},
        "config": {"server": {"request_timeout_s": 59.5}},
    }
    route = only(_rendered(values), "HTTPRoute")

    assert [error.message for error in Draft202012Validator(HTTP_ROUTE).iter_errors(route["spec"])] == []
    assert route["apiVersion"] == "gateway.networking.k8s.io/v1"
    assert route["spec"]["parentRefs"] == ROUTE["parentRefs"]
    assert route["spec"]["hostnames"] == ["llm.example.org"]
    (rule,) = route["spec"]["rules"]
    assert rule["timeouts"] == {"request": "90s", "backendRequest": "90s"}


@pytest.mark.parametrize("name", names())
def test_every_route_of_the_worlds_is_one_that_the_gateway_api_takes(name: str) -> None:
    for route in of_kind(world(name), "HTTPRoute"):
        Draft202012Validator(HTTP_ROUTE).validate(route["spec"])


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        ({"ingress": {"enabled": True}}, "ingress.hosts: is empty"),
        ({"httpRoute": {"enabled": True}}, "httpRoute.parentRefs: is empty"),
        ({"ingress": {**HOST, "controller": "apache"}}, "ingress.controller must be one of the following"),
        ({"ingress": {**HOST, "host": "a"}}, "Additional property host is not allowed"),
        ({"httpRoute": {**ROUTE, "parentRefs": [{"nam": "public"}]}}, "name is required"),
        ({"ingress": HOST}, "the Ingress controller would reach no gateway"),
        ({"httpRoute": ROUTE}, "the Gateway of httpRoute would reach nothing"),
        ({"service": {"type": "LoadBalancer"}}, "nobody would get in by service.type `LoadBalancer`"),
        (
            {
                "secrets": {"metricsToken": {"name": "scrapers"}},
                "monitoring": {"serviceMonitor": {"enabled": True}},
                "networkPolicy": {"monitoringNamespaces": []},
            },
            "Prometheus would reach no metrics",
        ),
    ],
)
def test_what_leads_nowhere_is_refused_with_a_sentence(layer: dict[str, Any], sentence: str) -> None:
    assert sentence in refusal(merged(BASE, SHARED, layer))


@pytest.mark.parametrize(
    "layer",
    [
        {"httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}]}},
        {"ingress": HOST, "networkPolicy": {"enabled": False}},
        {"ingress": HOST, "networkPolicy": {"clients": {"cidrs": ["10.0.0.0/8"]}}},
        {"service": {"type": "LoadBalancer"}, "networkPolicy": {"clients": {"cidrs": ["203.0.113.0/24"]}}},
    ],
)
def test_a_way_in_that_is_open_is_taken(layer: dict[str, Any]) -> None:
    assert render(merged(BASE, SHARED, layer))

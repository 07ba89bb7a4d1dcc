"""What decides in the tests who reaches whom decides as Kubernetes' documentation says."""

from typing import Any

from tests.helm.charts import Manifest
from tests.helm.network import Network, outside, stranger

ANY: dict[str, Any] = {"podSelector": {}}


def _pod(component: str) -> Manifest:
    labels = {"app.kubernetes.io/component": component}
    return {"kind": "Pod", "metadata": {"name": component, "labels": labels}, "spec": {"containers": []}}


def _policy(component: str, **spec: Any) -> Manifest:
    selector = {"matchLabels": {"app.kubernetes.io/component": component}}
    types = [kind for kind in ("Ingress", "Egress") if kind.lower() in spec]
    return {
        "kind": "NetworkPolicy",
        "metadata": {"name": component},
        "spec": {"podSelector": selector, "policyTypes": types, **spec},
    }


def _network(*policies: Manifest) -> Network:
    return Network([_pod("web"), _pod("db"), *policies])


def test_without_a_policy_everything_is_open() -> None:
    network = _network()

    assert network.lets(network.part("web"), network.part("db"), 5432)
    assert network.lets(outside("203.0.113.1"), network.part("db"), 22)
    assert not network.is_bound(network.part("db"), "Ingress")


def test_a_policy_without_rules_closes_its_direction_alone() -> None:
    network = _network(_policy("db", ingress=[]))

    assert not network.lets(network.part("web"), network.part("db"), 5432)
    assert network.lets(network.part("db"), network.part("web"), 80)


def test_both_sides_must_allow_it() -> None:
    allowed = _policy("db", ingress=[{"from": [ANY], "ports": [{"port": 5432}]}])
    network = _network(allowed, _policy("web", egress=[]))

    assert not network.lets(network.part("web"), network.part("db"), 5432)
    assert network.lets(network.part("db"), network.part("db"), 5432)


def test_policies_add_up() -> None:
    first = _policy("db", ingress=[{"from": [ANY], "ports": [{"port": 5432}]}])
    second = _policy("db", ingress=[{"from": [ANY], "ports": [{"port": 8000, "endPort": 8010}]}])
    network = _network(first, second)
    web, db = network.part("web"), network.part("db")

    assert [port for port in (5432, 7999, 8000, 8010, 8011) if network.lets(web, db, port)] == [5432, 8000, 8010]
    assert not network.lets(web, db, 5432, "UDP")


def test_a_rule_without_peers_or_ports_names_all_of_them() -> None:
    network = _network(_policy("db", ingress=[{}]))

    assert network.lets(outside("203.0.113.1"), network.part("db"), 1)


def test_pods_of_another_namespace_need_a_selector_of_namespaces() -> None:
    inside = _network(_policy("db", ingress=[{"from": [ANY]}]))
    named = {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["shop"]}]}
    across = _network(_policy("db", ingress=[{"from": [{"namespaceSelector": named}]}]))

    assert not inside.lets(stranger("shop"), inside.part("db"), 1)
    assert across.lets(stranger("shop"), across.part("db"), 1)
    assert not across.lets(stranger("bank"), across.part("db"), 1)
    assert not across.lets(across.part("web"), across.part("db"), 1)


def test_a_range_names_addresses_but_for_its_exceptions_and_never_pods() -> None:
    block = {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}
    network = _network(_policy("web", egress=[{"to": [block]}]))
    web = network.part("web")

    assert network.lets(web, outside("10.2.0.1"), 1)
    assert not network.lets(web, outside("10.1.0.1"), 1)
    assert not network.lets(web, outside("11.0.0.1"), 1)
    assert not network.lets(web, network.part("db"), 1), "some networks do not count pods as addresses"


def test_selectors_know_all_four_operators() -> None:
    def selects(*expressions: dict[str, Any]) -> bool:
        policy = _policy("db", ingress=[])
        policy["spec"]["podSelector"] = {"matchExpressions": list(expressions)}
        network = _network(policy)
        return network.is_bound(network.part("db"), "Ingress")

    key = "app.kubernetes.io/component"
    assert selects({"key": key, "operator": "In", "values": ["db", "web"]})
    assert not selects({"key": key, "operator": "NotIn", "values": ["db"]})
    assert selects({"key": key, "operator": "Exists"}, {"key": "tier", "operator": "DoesNotExist"})
    assert not selects({"key": key, "operator": "DoesNotExist"})

"""Who reaches whom under the rendered NetworkPolicies, as a cluster's network decides it."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.helm.charts import NAMESPACE, Manifest, of_kind, pod_templates

Labels = Mapping[str, str]
COMPONENT = "app.kubernetes.io/component"


@dataclass(frozen=True)
class Place:
    """Somebody who sends or receives: a pod by its namespace and labels, or an address outside of the cluster."""

    name: str
    labels: Labels = field(default_factory=dict)
    namespace: str = NAMESPACE
    address: str | None = None


def stranger(namespace: str) -> Place:
    """A pod of something else."""
    return Place(f"a pod in {namespace}", {"app": "other"}, namespace)


def outside(address: str) -> Place:
    """A machine outside of the cluster."""
    return Place(address, namespace="", address=address)


def matches(selector: Mapping[str, Any], labels: Labels) -> bool:
    """Whether a LabelSelector selects ``labels``; an empty one selects everything."""
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    return all(_expression(one, labels) for one in selector.get("matchExpressions", []))


def _expression(one: Mapping[str, Any], labels: Labels) -> bool:
    key, values = one["key"], one.get("values", [])
    match one["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
    raise AssertionError(f"no such operator: {one['operator']}")


class Network:
    """The pods of a release and the policies upon them."""

    def __init__(self, manifests: list[Manifest]) -> None:
        self.pods = [Place(label, pod["metadata"].get("labels", {})) for label, pod in pod_templates(manifests)]
        self._policies = [policy["spec"] for policy in of_kind(manifests, "NetworkPolicy")]

    def part(self, component: str) -> Place:
        """A pod of one part."""
        found = [pod for pod in self.pods if pod.labels.get(COMPONENT) == component]
        assert found, f"no pod is {component}: {[pod.labels.get(COMPONENT) for pod in self.pods]}"
        return found[0]

    def is_bound(self, pod: Place, direction: str) -> bool:
        """Whether some policy decides on what the pod sends (``Egress``) or gets (``Ingress``)."""
        return bool(self._of(pod, direction))

    def lets(self, source: Place, target: Place, port: int, protocol: str = "TCP") -> bool:
        """Whether ``source`` reaches ``target`` there: the one may send, and the other may get."""
        sends = self._allowed(source, target, port, protocol, "Egress")
        return sends and self._allowed(target, source, port, protocol, "Ingress")

    def _allowed(self, pod: Place, peer: Place, port: int, protocol: str, direction: str) -> bool:
        policies = self._of(pod, direction)
        if not policies:
            return True
        side = "to" if direction == "Egress" else "from"
        rules = [rule for policy in policies for rule in policy.get(direction.lower()) or []]
        return any(_peers(rule.get(side), peer) and _ports(rule.get("ports"), port, protocol) for rule in rules)

    def _of(self, pod: Place, direction: str) -> list[Mapping[str, Any]]:
        if pod.namespace != NAMESPACE:
            return []
        return [
            policy
            for policy in self._policies
            if direction in policy["policyTypes"] and matches(policy["podSelector"], pod.labels)
        ]


def _peers(peers: list[Mapping[str, Any]] | None, who: Place) -> bool:
    return not peers or any(_is_peer(peer, who) for peer in peers)


def _is_peer(peer: Mapping[str, Any], who: Place) -> bool:
    if "ipBlock" in peer:
        if who.address is None:  # strictly: some networks do not count pods as addresses
            return False
        address, block = ipaddress.ip_address(who.address), peer["ipBlock"]
        but = [ipaddress.ip_network(one) for one in block.get("except", [])]
        return address in ipaddress.ip_network(block["cidr"]) and not any(address in one for one in but)
    if who.address is not None:
        return False
    if "namespaceSelector" in peer:
        if not matches(peer["namespaceSelector"], {"kubernetes.io/metadata.name": who.namespace}):
            return False
    elif who.namespace != NAMESPACE:
        return False
    return matches(peer.get("podSelector", {}), who.labels)


def _ports(ports: list[Mapping[str, Any]] | None, port: int, protocol: str) -> bool:
    return not ports or any(
        one.get("protocol", "TCP") == protocol and one["port"] <= port <= one.get("endPort", one["port"])
        for one in ports
    )

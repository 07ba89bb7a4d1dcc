"""Names: never too long, and never those of another release."""

import re
from typing import Any

import pytest

from tests.helm.charts import Manifest, merged, of_kind, pod_templates, refusal, render
from tests.helm.network import matches
from tests.helm.worlds import WORLDS, values, world

LONG = "a-release-whose-name-is-as-long-as-helm-would-allow-1"
"""53 characters: Helm takes no more."""

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
KUBERAY = 47
"""KubeRay takes no longer name of a RayService: it adds to it twice."""

EVERYTHING = [name for name in WORLDS if "-" in name]


def _objects(manifests: list[Manifest]) -> set[tuple[str, str]]:
    return {(one["kind"], one["metadata"]["name"]) for one in manifests}


@pytest.mark.parametrize("name", EVERYTHING)
def test_a_long_release_name_makes_names_that_kubernetes_takes(name: str) -> None:
    manifests = render(values(name), release=LONG)

    assert len(LONG) == 53
    bad = [one for one in _objects(manifests) if DNS_LABEL.fullmatch(one[1]) is None]
    assert bad == []
    assert len(_objects(manifests)) == len(manifests), "no two are shortened to the same"
    for cron in of_kind(manifests, "CronJob"):
        assert len(cron["metadata"]["name"]) <= 52, "Kubernetes adds a time to it"
    for stateful in of_kind(manifests, "StatefulSet"):
        assert len(stateful["metadata"]["name"]) <= 52, "its pods carry a revision's label of its name and ten more"
    for ray in of_kind(manifests, "RayService"):
        assert len(ray["metadata"]["name"]) <= KUBERAY


@pytest.mark.parametrize("name", EVERYTHING)
def test_every_label_is_one_that_kubernetes_takes(name: str) -> None:
    manifests = render(values(name), release=LONG)
    labels = [one["metadata"]["labels"] for one in manifests]
    labels += [pod["metadata"]["labels"] for _, pod in pod_templates(manifests)]

    for value in {text for one in labels for text in one.values()}:
        assert re.fullmatch(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?", value), value


@pytest.mark.parametrize("name", EVERYTHING)
def test_two_releases_in_one_namespace_share_no_object_and_no_pod(name: str) -> None:
    first, second = world(name), render(values(name), release="second")

    assert _objects(first) & _objects(second) == set()
    theirs = [pod["metadata"]["labels"] for _, pod in pod_templates(second)]
    for kind in ("Service", "NetworkPolicy", "PodDisruptionBudget", "Deployment", "StatefulSet", "PodMonitor"):
        for one in of_kind(first, kind):
            assert not any(matches(_selector(one), labels) for labels in theirs), one["metadata"]["name"]


def _selector(one: Manifest) -> dict[str, Any]:
    spec = one["spec"]
    if one["kind"] == "Service":
        return {"matchLabels": spec["selector"]}
    selector: dict[str, Any] = spec["podSelector"] if one["kind"] == "NetworkPolicy" else spec["selector"]
    return selector


@pytest.mark.parametrize("name", EVERYTHING)
def test_what_selectors_hold_is_the_same_for_another_version_of_the_chart(name: str) -> None:
    now = {one["metadata"]["name"]: one for one in world(name)}
    other = merged(values(name), {"image": {"tag": "9.9.9-gpu"}, "gateway": {"podLabels": {"team": "ml"}}})
    later = {one["metadata"]["name"]: one for one in render(other)}

    for label, one in now.items():
        if one["kind"] in ("Deployment", "StatefulSet"):
            assert later[label]["spec"]["selector"] == one["spec"]["selector"], label


def test_other_names_can_be_given() -> None:
    named = render(merged(values("deployment"), {"fullnameOverride": "llm"}))

    assert {name.partition("-")[0] for _, name in _objects(named)} == {"llm"}


def test_a_name_that_a_service_cannot_have_is_refused_with_a_sentence() -> None:
    assert "names of Services begin with a letter" in refusal(
        merged(values("deployment"), {"fullnameOverride": "1llm"})
    )

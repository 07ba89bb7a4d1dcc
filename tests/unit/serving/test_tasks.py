"""Which name is answered by what."""

from dataclasses import replace
from typing import Any

import pytest

from adapters.types import Alias, Role
from serving.config import GatewayConfig
from serving.errors import ModelNotFound, NotReady
from serving.tasks import BASE, entries, entry_for, resolve
from tests.api.harness import CANARY, SHADOW, STABLE, config_of, snapshot

TRIAGE = Alias("triage", stable=STABLE)


@pytest.fixture
def config() -> GatewayConfig:
    return config_of()


def test_a_task_is_answered_by_its_aliases_stable_version(config: GatewayConfig) -> None:
    resolution = resolve("support", snapshot(TRIAGE), config, "key")
    assert (resolution.version, resolution.role, resolution.label) == (STABLE, Role.STABLE, "support")
    assert resolution.task is config.tasks["support"]
    assert resolution.fingerprint == resolution.adapter == STABLE


def test_a_task_without_an_adapter_is_answered_by_the_base_model(config: GatewayConfig) -> None:
    resolution = resolve("yesno", snapshot(), config, "key")
    assert (resolution.version, resolution.role) == (None, None)
    assert (resolution.adapter, resolution.fingerprint) == (BASE, "fake-base")


def test_the_base_model_an_alias_and_an_exact_version_answer_by_name(config: GatewayConfig) -> None:
    catalog = snapshot(TRIAGE, extra=(CANARY,))
    assert resolve("fake-base", catalog, config, "key").version is None
    assert resolve("triage", catalog, config, "key").version == STABLE
    exact = resolve(CANARY, catalog, config, "key")
    assert (exact.version, exact.role, exact.label, exact.task) == (CANARY, Role.EXACT, "triage", None)


def test_a_task_hides_an_alias_of_the_same_name() -> None:
    config = config_of(tasks={"triage": {"system_prompt": "Be brief."}})
    assert resolve("triage", snapshot(TRIAGE), config, "key").version is None


def test_an_unknown_name_is_not_found(config: GatewayConfig) -> None:
    with pytest.raises(ModelNotFound, match="`nope`"):
        resolve("nope", snapshot(TRIAGE), config, "key")


def test_an_alias_without_a_stable_version_is_not_found(config: GatewayConfig) -> None:
    with pytest.raises(ModelNotFound):
        resolve("triage", snapshot(Alias("triage")), config, "key")


@pytest.mark.parametrize("aliases", [(), (Alias("triage"),)])
def test_a_task_whose_adapter_is_not_promoted_is_not_ready(config: GatewayConfig, aliases: Any) -> None:
    with pytest.raises(NotReady, match="`triage`"):
        resolve("support", snapshot(*aliases), config, "key")


def test_a_canary_answers_its_share_of_callers_and_always_the_same_ones(config: GatewayConfig) -> None:
    catalog = snapshot(replace(TRIAGE, canary=CANARY, canary_share=0.3))
    first = {key: resolve("support", catalog, config, f"caller-{key}") for key in range(1000)}
    again = {key: resolve("support", catalog, config, f"caller-{key}") for key in range(1000)}
    assert first == again
    canaries = [resolution for resolution in first.values() if resolution.role is Role.CANARY]
    assert 250 < len(canaries) < 350
    assert {resolution.version for resolution in canaries} == {CANARY}


def test_a_shadow_gets_a_copy_unless_it_answers_itself(config: GatewayConfig) -> None:
    assert resolve("triage", snapshot(replace(TRIAGE, shadow=SHADOW)), config, "k").shadow == SHADOW
    assert resolve("triage", snapshot(replace(TRIAGE, shadow=STABLE)), config, "k").shadow is None
    assert resolve(STABLE, snapshot(replace(TRIAGE, shadow=SHADOW)), config, "k").shadow is None


def test_the_list_names_everything_that_answers(config: GatewayConfig) -> None:
    listed = {entry.name: entry for entry in entries(snapshot(TRIAGE, extra=(CANARY,)), config, lambda name: True)}
    assert set(listed) == {"fake-base", "triage", STABLE, CANARY, *config.tasks}
    assert listed["fake-base"].parent is None
    assert listed["support"].parent == listed["triage"].parent == listed[CANARY].parent == "fake-base"
    assert listed["support"].root == listed["triage"].root == STABLE
    assert listed["support"].created == listed[STABLE].created is not None
    assert listed["support"].description == "Answers tickets"


def test_the_list_leaves_out_what_the_caller_may_not_use(config: GatewayConfig) -> None:
    listed = entries(snapshot(TRIAGE), config, lambda name: name == "support")
    assert [entry.name for entry in listed] == ["support"]


def test_the_list_leaves_out_what_cannot_answer(config: GatewayConfig) -> None:
    listed = [entry.name for entry in entries(snapshot(Alias("triage")), config, lambda name: True)]
    assert "support" not in listed
    assert "triage" not in listed
    assert entry_for("nope", snapshot(), config) is None

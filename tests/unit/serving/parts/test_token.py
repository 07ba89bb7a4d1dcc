"""The token between processes: where it is needed, and who is let in."""

from typing import Any

import pytest

from serving.config import GatewayConfig, parse_config
from serving.errors import AuthenticationFailed
from serving.parts.check import part_problems
from serving.parts.token import ServiceToken, presented_token, service_token, token_problem
from tests.knowledge_live import key_of

VARIABLE = "LORAPLEX_SERVICE_TOKEN"
AFAR = {"knowledge": {"url": "http://knowledge:8000"}}
HERE = {"knowledge": {"url": "http://127.0.0.1:8000"}}
KEYS = [key_of("ops", admin=True)]


@pytest.fixture(autouse=True)
def _no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


def _config(**sections: Any) -> GatewayConfig:
    return parse_config({"model": {"id": "org/tiny"}, "engine": {"kind": "fake"}, "knowledge": {}} | sections)


def test_only_the_token_itself_is_let_in() -> None:
    token = ServiceToken("secret")
    token.require("Bearer secret")
    for header in (None, "", "secret", "Bearer", "Bearer secret2", "Basic secret"):
        with pytest.raises(AuthenticationFailed):
            token.require(header)
    ServiceToken(None).require(None)


def test_while_the_token_is_rotated_both_are_let_in_and_the_first_is_presented(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, " new old ")
    token = ServiceToken(service_token(_config()))
    for header in ("Bearer new", "Bearer old"):
        token.require(header)
    for header in ("Bearer new old", "Bearer"):
        with pytest.raises(AuthenticationFailed):
            token.require(header)
    assert presented_token(_config()) == "new"
    monkeypatch.delenv(VARIABLE)
    assert presented_token(_config()) is None


@pytest.mark.parametrize(
    ("sections", "needed"),
    [
        ({"services": AFAR}, True),
        ({"services": HERE}, False),
        ({"services": HERE, "api_keys": KEYS}, True),
        ({}, False),
    ],
    ids=["on another machine", "on this one", "on this one, with keys", "inside the gateway"],
)
def test_a_gateway_needs_it_where_others_could_search_in_its_place(sections: dict[str, Any], needed: bool) -> None:  # noqa: FBT001
    problem = token_problem(_config(**sections))
    assert (problem is not None and VARIABLE in problem) is needed


def test_the_variable_is_the_one_that_the_configuration_names(monkeypatch: pytest.MonkeyPatch) -> None:
    config = _config(services=AFAR | {"token_env": "MY_TOKEN"})
    assert "MY_TOKEN" in (token_problem(config) or "")
    monkeypatch.setenv("MY_TOKEN", "x")
    assert token_problem(config) is None


def test_a_knowledge_process_that_others_reach_needs_the_token() -> None:
    open_to_others = {"server": {"host": "0.0.0.0"}, "api_keys": KEYS}  # noqa: S104
    assert any(VARIABLE in line for line in part_problems(_config(**open_to_others), "knowledge"))
    assert part_problems(_config(), "knowledge") == []
    assert part_problems(_config(**open_to_others), "control") == []


def test_knowledge_alone_needs_its_section() -> None:
    config = parse_config({"model": {"id": "org/tiny"}, "engine": {"kind": "fake"}})
    assert part_problems(config, "knowledge") == [
        "`--only knowledge`: there is no section `knowledge` in the configuration; add `knowledge: {}`"
    ]


def test_control_alone_must_know_where_the_gateways_are_to_examine_them() -> None:
    rollouts = {"triage": {"suite": "suite.yaml"}}
    lines = part_problems(_config(adapters={"rollouts": rollouts}), "control")
    assert [line.partition(":")[0] for line in lines] == ["`life.gateway_url`"]
    told = _config(adapters={"rollouts": rollouts}, life={"gateway_url": "http://gateway:8000"})
    assert part_problems(told, "control") == []


def test_control_alone_gives_jobs_no_gpus() -> None:
    (line,) = part_problems(_config(training={"gpus_per_job": 1}), "control")
    assert line.startswith("`training.gpus_per_job`")

"""Who calls, and what they may use."""

import hashlib
from typing import Any

import pytest

from serving.auth import ANYONE, Authenticator, Caller
from serving.config import GatewayConfig, parse_config
from serving.errors import AuthenticationFailed, PermissionDenied


def _key(name: str, secret: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "hash": "sha256:" + hashlib.sha256(secret.encode()).hexdigest(), **fields}


@pytest.fixture
def config() -> GatewayConfig:
    keys = [
        _key("web", "sk-web", models=["support"]),
        _key("lab", "sk-lab", models=["triage@*"]),
        _key("ops", "sk-ops", models=[], admin=True),
        _key("all", "sk-all"),
    ]
    return parse_config({"model": {"id": "m"}, "api_keys": keys})


def test_a_known_key_is_its_caller(config: GatewayConfig) -> None:
    assert Authenticator(config).authenticate("Bearer sk-web").name == "web"
    assert Authenticator(config).authenticate("bearer  sk-ops ").name == "ops"


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Basic sk-web", "sk-web", "Bearer sk-we", "Bearer ÿ"]
)
def test_anything_else_is_refused(config: GatewayConfig, header: str | None) -> None:
    with pytest.raises(AuthenticationFailed):
        Authenticator(config).authenticate(header)


def test_a_refusal_does_not_repeat_the_key(config: GatewayConfig) -> None:
    with pytest.raises(AuthenticationFailed) as refusal:
        Authenticator(config).authenticate("Bearer sk-secret-typo")
    assert "typo" not in str(refusal.value)


def test_without_keys_on_loopback_anyone_may_do_anything() -> None:
    caller = Authenticator(parse_config({"model": {"id": "m"}})).authenticate(None)
    assert caller is ANYONE
    assert caller.admin
    assert caller.may_use("anything")


def test_a_name_grants_itself_alone(config: GatewayConfig) -> None:
    caller = Authenticator(config).authenticate("Bearer sk-web")
    assert caller.may_use("support")
    assert not caller.may_use("triage")
    assert not caller.may_use("support@11111111")
    with pytest.raises(PermissionDenied, match="`triage`"):
        caller.require("triage")


def test_a_version_pattern_grants_every_version_and_not_the_alias(config: GatewayConfig) -> None:
    caller = Authenticator(config).authenticate("Bearer sk-lab")
    assert caller.may_use("triage@11111111")
    assert not caller.may_use("triage")
    assert not caller.may_use("other@11111111")


def test_an_administrator_may_use_everything_and_others_may_not_administer(config: GatewayConfig) -> None:
    authenticator = Authenticator(config)
    ops = authenticator.authenticate("Bearer sk-ops")
    assert ops.may_use("anything")
    ops.require_admin()
    with pytest.raises(PermissionDenied):
        authenticator.authenticate("Bearer sk-all").require_admin()


def test_a_star_grants_everything_but_administration(config: GatewayConfig) -> None:
    caller = Authenticator(config).authenticate("Bearer sk-all")
    assert caller.may_use("anything")
    assert not caller.admin


def test_a_caller_without_models_may_use_none() -> None:
    assert not Caller("x", frozenset()).may_use("support")


def test_scrapers_and_administrators_read_the_metrics(config: GatewayConfig) -> None:
    authenticator = Authenticator(config, metrics_token="sk-scrape")
    assert authenticator.admit_scraper("Bearer sk-scrape").name == "metrics"
    assert authenticator.admit_scraper("Bearer sk-ops").name == "ops"
    with pytest.raises(PermissionDenied):
        authenticator.admit_scraper("Bearer sk-web")
    for header in (None, "", "Bearer sk-scrap", "Basic sk-scrape"):
        with pytest.raises(AuthenticationFailed):
            authenticator.admit_scraper(header)


def test_while_the_scrapers_token_is_rotated_both_read_the_metrics(config: GatewayConfig) -> None:
    authenticator = Authenticator(config, metrics_token="sk-new  sk-scrape")
    for token in ("sk-new", "sk-scrape"):
        assert authenticator.admit_scraper(f"Bearer {token}").name == "metrics"
    for header in ("Bearer sk-new sk-scrape", "Bearer sk-new  sk-scrape", "Bearer sk"):
        with pytest.raises(AuthenticationFailed):
            authenticator.admit_scraper(header)


def test_the_scrapers_token_is_no_key(config: GatewayConfig) -> None:
    authenticator = Authenticator(config, metrics_token="sk-scrape")
    with pytest.raises(AuthenticationFailed):
        authenticator.authenticate("Bearer sk-scrape")
    caller = authenticator.admit_scraper("Bearer sk-scrape")
    assert not caller.admin
    assert not caller.may_use("support")


def test_without_a_token_the_metrics_are_for_administrators(config: GatewayConfig) -> None:
    assert Authenticator(config).admit_scraper("Bearer sk-ops").name == "ops"
    with pytest.raises(PermissionDenied):
        Authenticator(config).admit_scraper("Bearer sk-web")


def test_a_token_is_asked_for_where_authentication_is_off() -> None:
    config = parse_config({"model": {"id": "m"}})
    assert Authenticator(config).admit_scraper(None) is ANYONE
    guarded = Authenticator(config, metrics_token="sk-scrape")
    assert guarded.admit_scraper("Bearer sk-scrape").name == "metrics"
    with pytest.raises(AuthenticationFailed):
        guarded.admit_scraper(None)
    assert guarded.authenticate(None) is ANYONE

"""What a gateway is called among others, and where they reach it."""

from typing import Any

import pytest

from serving.config import GatewayConfig, parse_config
from serving.errors import ConfigInvalid
from serving.process.place import (
    PEER_HOST,
    PEER_PORT,
    RAY_CLUSTER,
    REPLICA,
    cluster_replica,
    peer_address,
    replica_name,
)

MANY = {"services": {"control": {"url": "http://127.0.0.1:9"}}}


@pytest.fixture(autouse=True)
def _nothing_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (REPLICA, PEER_HOST, PEER_PORT):
        monkeypatch.delenv(name, raising=False)


def _config(**sections: Any) -> GatewayConfig:
    return parse_config({"model": {"id": "org/tiny"}, "engine": {"kind": "fake"}} | sections)


def test_a_gateway_alone_is_replica_0_on_loopback() -> None:
    assert replica_name(_config()) == "replica-0"
    assert peer_address(_config()) == ("127.0.0.1", 0)


def test_one_of_several_is_named_after_its_machine_and_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "_gateway one." + "x" * 80)
    name = replica_name(_config(**MANY))
    assert name.startswith("gateway-one.xxx")
    assert name.endswith("-8000")
    assert len(name) <= 63
    shared = {"state": {"url": "postgresql+psycopg://db/loraplex"}, "server": {"port": 8001}}
    assert replica_name(_config(**shared)).endswith("-8001")


def test_the_environment_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REPLICA, "gateway-7f9c-abcde")
    monkeypatch.setenv(PEER_HOST, "10.0.0.7")
    monkeypatch.setenv(PEER_PORT, "8001")
    assert replica_name(_config()) == "gateway-7f9c-abcde"
    assert peer_address(_config()) == ("10.0.0.7", 8001)


def test_one_address_that_the_api_has_is_the_peers_too() -> None:
    keys = [{"name": "a", "hash": "sha256:" + "0" * 64}]
    assert peer_address(_config(**MANY, server={"host": "10.0.0.7"}, api_keys=keys))[0] == "10.0.0.7"
    assert peer_address(_config(**MANY, server={"host": "0.0.0.0"}, api_keys=keys))[0] == "127.0.0.1"  # noqa: S104


def test_the_replicas_of_two_clusters_that_share_a_state_have_different_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(RAY_CLUSTER, raising=False)
    assert cluster_replica(1) == "replica-1"
    monkeypatch.setenv(RAY_CLUSTER, "loraplex-raycluster-x7k2p")
    assert cluster_replica(1) == "loraplex-raycluster-x7k2p-1"


@pytest.mark.parametrize("port", ["http", "65536", "-1"])
def test_a_port_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, port: str) -> None:
    monkeypatch.setenv(PEER_PORT, port)
    with pytest.raises(ConfigInvalid, match=PEER_PORT):
        peer_address(_config())


def test_a_name_that_no_label_can_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REPLICA, "a replica")
    with pytest.raises(ConfigInvalid, match=REPLICA):
        replica_name(_config())

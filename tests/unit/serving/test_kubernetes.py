"""The application that a Serve configuration names: its arguments, and what they come to."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml

from serving.config import GatewayConfig, parse_config
from serving.errors import ConfigInvalid
from serving.preflight import cluster_problems
from serving.process.orders import Orders

with warnings.catch_warnings():
    # What Ray warns of while it is imported is not ours to mend.
    warnings.simplefilter("ignore")
    from serving.deployments import build_application
    from serving.kubernetes import build, parse_arguments

PLAIN: dict[str, Any] = {"model": {"id": "org/tiny"}, "engine": {"kind": "fake"}, "replicas": 3}


def _config(**sections: Any) -> GatewayConfig:
    return parse_config(PLAIN | sections)


def _parts(config: GatewayConfig) -> list[str]:
    """The deployments that the gateway's is bound to."""
    application = build_application(Orders.for_cluster(config))
    return [one._bound_deployment.name for one in application._bound_deployment.init_args[1:] if one is not None]


def test_a_file_and_a_mapping_describe_the_same_gateway(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(PLAIN))
    from_file = parse_arguments({"config_file": str(file)}).gateway_config()

    assert parse_arguments({"config": PLAIN, "revision": "3f9a"}).gateway_config() == from_file
    assert from_file.adapters.cache_dir.is_absolute()


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ({}, "give one of `config_file` and `config`"),
        ({"config": PLAIN, "config_file": "x.yaml"}, "give one of `config_file` and `config`"),
        ({"config_file": "x.yaml", "replicas": 2}, "`args.replicas`: Extra inputs are not permitted"),
        ({"config_file": "x.yaml", "revision": 7}, "`args.revision`"),
    ],
    ids=["none", "both", "unknown", "revision"],
)
def test_arguments_that_do_not_fit_are_refused_in_a_sentence(args: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigInvalid, match=says):
        build(args)


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigInvalid, match=r"cannot read /nowhere/config\.yaml"):
        build({"config_file": "/nowhere/config.yaml"})


def test_the_application_has_the_deployments_that_a_serve_configuration_names() -> None:
    gateway = build({"config": PLAIN})._bound_deployment

    assert gateway.name == "Gateway"
    assert gateway.num_replicas == 3
    # A replacement serves before an old replica drains, even where there is only one.
    assert gateway._deployment_config.max_surge_percent > 0
    assert gateway._deployment_config.graceful_shutdown_timeout_s > _config().server.drain_timeout_s
    assert _parts(_config()) == ["Control"]
    assert _parts(_config(knowledge={})) == ["Control", "Knowledge"]


def test_a_part_that_runs_elsewhere_is_no_deployment() -> None:
    services = {"control": {"url": "http://control:8000"}, "knowledge": {"url": "http://knowledge:8000"}}
    assert _parts(_config(knowledge={}, services=services)) == []


def test_what_crosses_to_other_machines_names_no_folder_of_this_one() -> None:
    orders = Orders.for_cluster(_config())

    assert Orders.from_plain(orders.to_plain()) == orders
    assert (orders.scratch, orders.folder, orders.logs, orders.reports) == (None, None, None, None)
    assert orders.on_cluster


def test_several_machines_need_a_state_and_a_store_that_all_of_them_reach() -> None:
    own = cluster_problems(_config(), 2)

    assert [line.partition(":")[0] for line in own] == ["`state.url`", "`artifacts.url`", "`server.host`"]
    assert cluster_problems(_config(), 1) == []
    shared = {
        "state": {"url": "postgresql+psycopg://db/loraplex"},
        "artifacts": {"url": "s3://bucket/path"},
        "server": {"host": "0.0.0.0"},  # noqa: S104
        "api_keys": [{"name": "ops", "hash": "sha256:" + "0" * 64}],
    }
    assert cluster_problems(_config(**shared), 8) == []

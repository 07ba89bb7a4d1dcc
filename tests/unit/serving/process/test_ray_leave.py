"""A pod's hook: the Ray node that the pod is leaves its cluster first."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from serving.process import family, ray_leave


@pytest.fixture
def pod(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that look like those of a Ray node: a raylet and a replica."""
    looks = [["raylet", "-c", "read line", "--node_id=ab12"], ["ray::ServeReplica:Gateway", "-c", "read line"]]
    with ExitStack() as stack:
        made = [
            stack.enter_context(subprocess.Popen(words, executable="/bin/bash", stdin=subprocess.PIPE))
            for words in looks
        ]
        monkeypatch.setattr(family, "pids", lambda: [process.pid for process in made if process.poll() is None])
        yield made
        for process in made:
            process.kill()


def _asked(monkeypatch: pytest.MonkeyPatch, command: str) -> list[list[str]]:
    """What Ray is asked; ``command`` runs in its place."""
    asked = []
    run = subprocess.run

    def instead(words: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        asked.append(words)
        return run(["/bin/bash", "-c", command], **options)

    monkeypatch.setattr(subprocess, "run", instead)
    return asked


def test_a_pod_waits_until_its_replicas_have_gone(
    pod: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = _asked(monkeypatch, f"kill {pod[1].pid}")
    ray_leave.leave_pod(30.0)

    assert pod[1].poll() is not None
    (words,) = asked
    assert {"drain-node", "--node-id=ab12", "--deadline-remaining-seconds=70"} <= set(words)
    assert not [word for word in words if word.startswith("--address")]


def test_a_pod_whose_head_is_gone_does_not_wait(
    pod: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _asked(monkeypatch, "echo no head >&2; exit 1")
    began = time.monotonic()
    ray_leave.leave_pod(3600.0)

    assert pod[1].poll() is None
    assert time.monotonic() - began < 30
    assert "the head does not take this node's leave: no head" in caplog.text


def test_a_pod_without_replicas_asks_nobody(
    pod: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = _asked(monkeypatch, "true")
    pod[1].kill()
    pod[1].wait()
    ray_leave.leave_pod(3600.0)

    assert asked == []

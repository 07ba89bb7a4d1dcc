"""How a node leaves a Ray cluster without a lost request: Ray Serve moves its replicas away first.

``python -m serving.process.ray_leave DRAIN_TIMEOUT_S`` is the ``preStop`` hook of a pod that is such a node.
"""

import argparse
import logging
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from serving.process import family

_DRAIN_LIMIT_S = 20.0
_POLL_S = 0.2
_MARGIN_S = 10.0

logger = logging.getLogger(__name__)


def longest_leave_s(drain_timeout_s: float) -> float:
    """How long a node may take to leave, in seconds: replicas start elsewhere where there is room, or end what they
    have in progress here."""
    return 2 * drain_timeout_s + _MARGIN_S


def leave(address: str, starter: int, drain_timeout_s: float) -> None:
    """Have the cluster at ``address`` empty this node, and wait until it has, ``longest_leave_s`` at most.

    Never raises: a head that is gone has nothing to move anywhere. ``starter``: the process that started Ray here.
    """
    _leave(_node_id(starter), address, _replicas, longest_leave_s(drain_timeout_s))


def leave_pod(drain_timeout_s: float) -> None:
    """The same for the pod that this runs in, whose Ray somebody else has started. ``RAY_ADDRESS`` names the head."""
    _leave(_node_id(None), None, _replicas_of_all, longest_leave_s(drain_timeout_s))


def _leave(node: str | None, address: str | None, replicas: Callable[[], list[int]], limit_s: float) -> None:
    if node is None or not replicas():
        return
    command = [
        *(sys.executable, "-m", "ray.scripts.scripts", "drain-node"),
        *([] if address is None else [f"--address={address}"]),
        f"--node-id={node}",
        "--reason=DRAIN_NODE_REASON_PREEMPTION",
        "--reason-message=loraplex node was told to stop",
        f"--deadline-remaining-seconds={math.ceil(limit_s)}",
    ]
    began = time.monotonic()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_DRAIN_LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        logger.warning("the head does not take this node's leave: %s", error)
        return
    if done.returncode != 0:
        logger.warning("the head does not take this node's leave: %s", done.stderr.strip()[-400:])
        return
    wait_until(lambda: not replicas(), limit_s - (time.monotonic() - began))


def wait_until(condition: Callable[[], bool], limit_s: float) -> bool:
    """Whether ``condition`` held within ``limit_s``."""
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_S)
    return True


def _node_id(starter: int | None) -> str | None:
    """The id that Ray gave this node, as its raylet's command line has it. ``starter``: that one's parent, if known."""
    for pid in family.pids():
        if starter is not None and family.parent_of(pid) != starter:
            continue
        words = _words(pid)
        if words and Path(words[0]).name == "raylet":
            return next((word.partition("=")[2] for word in words if word.startswith("--node_id=")), None)
    return None


def _replicas() -> list[int]:
    """The replicas on this node: they are in this process's session."""
    session = os.getsid(0)
    return [pid for pid in _replicas_of_all() if _session(pid) == session]


def _replicas_of_all() -> list[int]:
    """The replicas on this machine or in this pod, whoever started them."""
    return [pid for pid in family.pids() if _title(pid).startswith("ray::ServeReplica")]


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def _title(pid: int) -> str:
    return " ".join(_words(pid))


def _words(pid: int) -> list[str]:
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    return [word.decode("utf-8", errors="replace") for word in raw.split(b"\0") if word]


def main() -> None:
    """Entry point of a pod's hook."""
    parser = argparse.ArgumentParser()
    parser.add_argument("drain_timeout_s", type=float)
    leave_pod(parser.parse_args().drain_timeout_s)


if __name__ == "__main__":
    main()

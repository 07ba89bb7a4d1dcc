"""The child of ``loraplex node``: one ``ray start``, watched for as long as it lasts."""

import argparse
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from serving.observability.logs import drain_logs
from serving.process import ray_leave
from serving.process.lifetime import die_with_parent
from serving.process.orders import Orders
from serving.process.replica import prepare_process
from serving.process.reports import Reporter

_STARTED = "Ray runtime started"
_STOP_S = 3.0


def start_command(arguments: tuple[str, ...]) -> list[str]:
    """The program that starts Ray here and stays until one of its processes dies."""
    return [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--log-style=record", *arguments]


def run(orders: Orders, reporter: Reporter) -> int:
    """Start Ray, wait, stop it when told to. Returns the exit status."""
    reporter.progress("Starting Ray")
    process = subprocess.Popen(
        start_command(orders.ray_start), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )

    told = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    threading.Thread(target=_stop_when, args=(told, process, orders), daemon=True).start()
    assert process.stdout is not None  # noqa: S101  (a pipe was asked for)
    started = False
    last: list[str] = []
    for line in _lines(process.stdout):
        last = [*last[-20:], line]
        if not started and _STARTED in line:
            started = True
            reporter.ready("a node of Ray")
    status = process.wait()
    if not started:
        reporter.failed(_why(last))
    return status


def _stop_when(told: threading.Event, process: subprocess.Popen[bytes], orders: Orders) -> None:
    """Leave the cluster, then stop Ray. What does not end is ended by the main process."""
    told.wait()
    if orders.ray_address is not None:
        ray_leave.leave(orders.ray_address, process.pid, orders.config.server.drain_timeout_s)
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()


def _lines(stream: IO[bytes]) -> Iterator[str]:
    """What Ray says, also for the log."""
    for raw in stream:
        line = raw.decode("utf-8", errors="replace").rstrip()
        if line:
            sys.stderr.write(line + "\n")
            sys.stderr.flush()
            yield line


def _why(lines: list[str]) -> str:
    """The most telling of Ray's last words."""
    telling = [line for line in lines if "Error" in line or "ailed" in line or "nable" in line]
    words = (telling or lines or ["it said nothing"])[-1]
    return f"Ray did not start: {words.strip()[-400:]}"


def main() -> None:
    """Entry point of the child process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("orders", type=Path)
    parser.add_argument("--parent", type=int, required=True)
    arguments = parser.parse_args()
    die_with_parent(arguments.parent)
    orders = Orders.read(arguments.orders)
    prepare_process(orders)
    status = run(orders, Reporter(orders.reports, "node"))
    drain_logs()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main()

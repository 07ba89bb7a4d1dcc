"""The child of ``loraplex serve``: starts Ray and Ray Serve, or joins a cluster, and stays to notice their death."""

import argparse
import logging
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import ray
from ray import serve

from serving.config import GatewayConfig
from serving.deployments import APPLICATION, build_application, machines
from serving.observability.logs import drain_logs
from serving.preflight import cluster_problems
from serving.process import family
from serving.process.family import Identity
from serving.process.lifetime import die_with_parent
from serving.process.orders import Orders, base_url
from serving.process.replica import prepare_process, summary
from serving.process.reports import Reporter

_OBJECT_STORE_BYTES = 128 * 1024 * 1024
_WATCH_S = 0.25
_ROUTED_WITHIN_S = 60.0
_ASK_S = 5.0
_LOST_S = 30.0
_CORE = ("gcs_server", "raylet")

logger = logging.getLogger(__name__)


class DriverFailed(Exception):
    """Ray or the application could not be started; the message is for the terminal."""


def start_ray(orders: Orders) -> tuple[Identity, ...]:
    """Start a Ray head of our own, or join a cluster. Returns the processes whose death ends the cluster."""
    options: dict[str, Any] = {
        "log_to_driver": False,
        "logging_level": logging.WARNING,
        "namespace": APPLICATION,
    }
    if orders.ray_address is not None:
        _join(orders, orders.ray_address, options)
        return ()
    config = orders.config
    ray.init(
        address="local",
        include_dashboard=False,
        # Logical cores only order placement; on our own head there is nobody to keep them for.
        num_cpus=max(os.cpu_count() or 1, math.ceil(config.replicas * config.cpus_per_replica)),
        object_store_memory=_OBJECT_STORE_BYTES,
        _temp_dir=str(orders.scratch_folder / "ray"),
        _node_ip_address="127.0.0.1",
        **options,
    )
    _require_gpus(config)
    return _core_processes()


def _join(orders: Orders, address: str, options: dict[str, Any]) -> None:
    try:
        ray.init(address=address, **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise DriverFailed(
            f"No Ray cluster is to be had at {address}: {str(error).strip().splitlines()[0]}; start a node here "
            "with `loraplex node`, and serve on the head."
        ) from error
    if problems := cluster_problems(orders.config, machines()):
        raise DriverFailed("; ".join(problems))


def _require_gpus(config: GatewayConfig) -> None:
    wanted = config.replicas * config.gpus_per_replica
    present = float(ray.cluster_resources().get("GPU", 0))
    if wanted > present:
        raise DriverFailed(
            f"{config.replicas} replicas with `gpus_per_replica: {config.gpus_per_replica:g}` need {wanted:g} GPUs; "
            f"this machine has {present:g}."
        )


def _core_processes() -> tuple[Identity, ...]:
    """The processes of our Ray head that Ray cannot do without: children of this process."""
    found: list[Identity] = []
    for pid in family.pids():
        identity = family.identity_of(pid)
        if identity is not None and family.parent_of(pid) == os.getpid() and _program(pid) in _CORE:
            found.append(identity)
    return tuple(found)


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def deploy(orders: Orders) -> None:
    """Run the application and wait until every replica serves. Raises DriverFailed."""
    server = orders.config.server
    # Under HAProxy this is also where replicas listen: on our own machine nobody but HAProxy needs them.
    inside = not orders.on_cluster or server.is_loopback
    serve.start(
        proxy_location="EveryNode" if orders.on_cluster else "HeadOnly",
        http_options={"host": "127.0.0.1" if inside else "0.0.0.0", "port": server.port},  # noqa: S104
    )
    try:
        serve.run(build_application(orders), name=APPLICATION, route_prefix="/")
    except RuntimeError as error:
        logger.exception("Ray Serve did not bring the application up")
        raise DriverFailed(_why(error)) from error


def _why(error: RuntimeError) -> str:
    """The last line of what Ray Serve knows of the deployment that failed: its exception."""
    application = serve.status().applications.get(APPLICATION)
    messages = [one.message for one in application.deployments.values()] if application is not None else []
    logger.error("deployments: %s", messages)
    lines = [line.strip() for message in messages for line in message.splitlines() if line.strip()]
    return lines[-1] if lines else str(error)


def wait_until_routed(config: GatewayConfig, stopping: threading.Event) -> None:
    """Wait until a request to the public address reaches a ready replica. Raises DriverFailed."""
    url = f"{base_url(config)}/readyz"
    deadline = time.monotonic() + _ROUTED_WITHIN_S
    last = "no answer"
    with httpx.Client(timeout=5.0, trust_env=False) as client:
        while time.monotonic() < deadline and not stopping.is_set():
            try:
                status = client.get(url).status_code
                if status == httpx.codes.OK:
                    return
                last = f"HTTP {status}"
            except httpx.HTTPError as error:
                last = str(error) or type(error).__name__
            stopping.wait(0.1)
    if not stopping.is_set():
        raise DriverFailed(f"{url} did not become ready within {_ROUTED_WITHIN_S:.0f} s ({last}).")


class ClusterWatch:
    """Call it often: whether the cluster has been away for ``_LOST_S``. It is asked now and then."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._asked = self._answered = clock()

    def __call__(self) -> bool:
        now = self._clock()
        if now - self._asked >= _ASK_S:
            self._asked = now
            try:
                ray.nodes()
            except Exception as error:  # Ray has no one class for a head that is gone
                logger.warning("the cluster does not answer: %s", error)
            else:
                self._answered = now
        return now - self._answered > _LOST_S


def run(orders: Orders, reporter: Reporter, stopping: threading.Event) -> int:
    """Bring everything up, wait, take it down. Returns the exit status."""
    config = orders.config
    reporter.progress("Starting Ray" if orders.ray_address is None else f"Joining Ray at {orders.ray_address}")
    core = start_ray(orders)
    lost = ClusterWatch() if orders.on_cluster else None
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    reporter.progress("Starting HAProxy and the replicas")
    deploy(orders)
    wait_until_routed(config, stopping)
    if not stopping.is_set():
        reporter.ready(summary(config, config.replicas))
    while not stopping.wait(_WATCH_S):
        dead = [process for process in core if not process.is_alive]
        if dead:
            reporter.progress("Ray died")
            return 1
        if lost is not None and lost():
            reporter.progress("The Ray cluster does not answer any more")
            return 1
    serve.delete(APPLICATION)
    return 0


def main() -> None:
    """Entry point of the child process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("orders", type=Path)
    parser.add_argument("--parent", type=int, required=True)
    arguments = parser.parse_args()
    die_with_parent(arguments.parent)
    orders = Orders.read(arguments.orders)
    prepare_process(orders)
    reporter = Reporter(orders.reports, "ray")
    try:
        status = run(orders, reporter, threading.Event())
    except DriverFailed as error:
        logger.exception("could not start")
        reporter.failed(str(error))
        status = 1
    except Exception as error:
        logger.exception("could not start")
        reporter.failed(f"Ray could not be started: {error}")
        status = 1
    drain_logs()
    sys.stderr.flush()
    # The main process ends what is left of Ray, faster than Ray does.
    os._exit(status)


if __name__ == "__main__":
    main()

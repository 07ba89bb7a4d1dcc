"""From a configuration to a node of a Ray cluster: the same checks and the same main process as for a gateway."""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

from serving.config import GatewayConfig
from serving.process import haproxy, ports, ray_environment, ray_token, record, workspace
from serving.process.launch import ROOT, CannotStart, Say, find_haproxy
from serving.process.orders import Orders
from serving.process.ray_leave import longest_leave_s
from serving.process.supervisor import Plan, Supervisor
from serving.process.workspace import Workspace

DEFAULT_PORT = 6379
_AGENT_PORT = 52365
OBJECT_STORE_BYTES = 128 * 1024 * 1024
"""Requests and answers of the control plane pass through it, and nothing else does."""


@dataclass(frozen=True, slots=True)
class Node:
    """What this machine is to be."""

    address: str | None
    """``host:port`` of the head; None: it is the head."""
    port: int = DEFAULT_PORT
    """Port of the head itself."""
    host: str | None = None
    """This machine's address for the others; None: Ray finds out."""
    cpus: int | None = None
    gpus: int | None = None
    http_port: int | None = None
    """Where clients reach the gateway on this machine; None: `server.port`."""
    more: tuple[str, ...] = ()
    """Further arguments of ``ray start``."""

    @property
    def place(self) -> str:
        """Name of its folder of logs."""
        if self.address is None:
            return f"ray-head-{self.port}"
        return "ray-node" if self.http_port is None else f"ray-node-{self.http_port}"


def run_node(config: GatewayConfig, node: Node, *, say: Say) -> int:
    """Be a node until stopped. Returns the exit status.

    Raises:
        CannotStart: the port is taken, a program or the token is missing.
    """
    _prepare_token(node, say)
    swept = record.sweep_dead(ROOT / "run")
    if swept:
        say(f"Ended {swept} processes that an earlier instance had left behind")
    if node.address is None:
        _require_free(node.port)
    space = workspace.create(ROOT.absolute(), node.place)
    orders = Orders(
        config=config,
        scratch=space.scratch,
        folder=Path.cwd(),
        logs=space.logs,
        ray_address=node.address,
        ray_start=ray_arguments(node, space.scratch),
        omp_threads=os.environ.get("OMP_NUM_THREADS"),
    )
    orders.write(space.scratch / "orders.json")
    return asyncio.run(Supervisor(_plan(orders, node, space), space, say).run())


def ray_arguments(node: Node, scratch: Path) -> tuple[str, ...]:
    """What ``ray start`` is told."""
    (agent,) = ports.choose([_AGENT_PORT])
    arguments = [
        *(["--head", f"--port={node.port}", "--include-dashboard=false"] if node.address is None else []),
        *([f"--address={node.address}"] if node.address is not None else []),
        f"--temp-dir={scratch / 'ray'}",
        f"--object-store-memory={OBJECT_STORE_BYTES}",
        f"--dashboard-agent-listen-port={agent}",
        "--disable-usage-stats",
    ]
    for option, value in (("node-ip-address", node.host), ("num-cpus", node.cpus), ("num-gpus", node.gpus)):
        if value is not None:
            arguments.append(f"--{option}={value}")
    return (*arguments, *node.more)


def node_variables(config: GatewayConfig, node: Node, scratch: Path, binary: str) -> dict[str, str]:
    """The environment of Ray on this machine. ``binary``: HAProxy."""
    launcher = haproxy.write_launcher(scratch / "h", binary, None)
    chosen = ports.choose(ray_environment.preferred_ports())
    found = {
        **ray_environment.cluster_environment(config),
        **ray_environment.node_environment(scratch / "h", launcher, chosen),
        **ray_token.token_environment(),
    }
    if node.http_port is not None:
        found["RAY_SERVE_WORKER_PROXY_HTTP_PORT"] = str(node.http_port)
    return found


def _plan(orders: Orders, node: Node, space: Workspace) -> Plan:
    address = node.address or f"{node.host or 'this machine'}:{node.port}"
    join = f"loraplex node --address {node.host or 'THIS_MACHINE'}:{node.port}"
    leave_s = longest_leave_s(orders.config.server.drain_timeout_s)
    serve = "loraplex serve --ray-address auto"
    return Plan(
        module="serving.process.ray_node",
        orders=orders,
        address=address,
        environment=node_variables(orders.config, node, space.scratch, find_haproxy()),
        shown=f"Ray at {address}",
        hint=f"`{join}` on other machines, `{serve}` here" if node.address is None else f"`{serve}` on the head",
        stopping=(
            "Stopping: the cluster ends with its head"
            if node.address is None
            else f"Stopping: this node's replicas have {leave_s:g} s to move or to end; Ctrl-C again ends them"
        ),
        stop_s=0.1 if node.address is None else leave_s,
    )


def _prepare_token(node: Node, say: Say) -> None:
    """Raises CannotStart."""
    if ray_token.is_off():
        say(f"{ray_token.MODE} is `disabled`: whoever reaches Ray's ports can run programs here")
        return
    if ray_token.has_token():
        return
    where = ray_token.token_file()
    if node.address is not None:
        raise CannotStart(
            f"There is no token for Ray: copy the head's {where} to the same place here, or set {ray_token.TOKEN}."
        )
    try:
        ray_token.make_token()
    except OSError as error:
        raise CannotStart(f"Cannot write a token for Ray to {where}: {error.strerror or error}.") from error
    say(f"Wrote {where}: every other node needs a copy of it, or of what it holds in {ray_token.TOKEN}")


def _require_free(port: int) -> None:
    try:
        ports.require_free("0.0.0.0", port)  # noqa: S104  (Ray listens on every address)
    except ports.PortInUse as error:
        holder = ports.holder(port)
        by = f" by {holder.name} (pid {holder.pid})" if holder else ""
        raise CannotStart(f"Port {port} is in use{by}; stop that, or give another one with --port.") from error

"""What a gateway without Ray is called among others of its kind, and where they reach it."""

import os
import re
import socket

from sqlalchemy import make_url

from serving.config import NAME_PATTERN, GatewayConfig
from serving.errors import ConfigInvalid

REPLICA = "LORAPLEX_REPLICA"
RAY_CLUSTER = "RAY_CLUSTER_NAME"
PEER_HOST = "LORAPLEX_PEER_HOST"
PEER_PORT = "LORAPLEX_PEER_PORT"

_LOOPBACK = "127.0.0.1"


def is_one_of_many(config: GatewayConfig) -> bool:
    """Whether other gateways may share this one's state."""
    return config.services.control is not None or make_url(config.state.url).get_backend_name() != "sqlite"


def replica_name(config: GatewayConfig) -> str:
    """Its name in metrics and reports, which no other gateway of the installation may have.

    ``LORAPLEX_REPLICA``; else ``replica-0`` for a gateway that is alone, and the machine's name and the port for one of
    several. Raises ConfigInvalid.
    """
    given = os.environ.get(REPLICA, "").strip()
    if given:
        if re.fullmatch(NAME_PATTERN, given) is None:
            raise ConfigInvalid(f"{REPLICA}: must hold only letters, digits, `.`, `_` and `-`, 63 at most")
        return given
    if not is_one_of_many(config):
        return "replica-0"
    host = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:56].lstrip("._-")
    return f"{host or 'gateway'}-{config.server.port}"


def cluster_replica(rank: int) -> str:
    """The name of a replica that Ray Serve started: by its rank, and by its cluster's name where KubeRay gives one.

    Two clusters of one installation share the state while one takes the other's place.
    """
    cluster = re.sub(r"[^A-Za-z0-9._-]", "-", os.environ.get(RAY_CLUSTER, "").strip())[:56].lstrip("._-")
    return f"{cluster or 'replica'}-{rank}"


def peer_address(config: GatewayConfig) -> tuple[str, int]:
    """Where it shows its metrics to the other gateways: an address of this machine, and a port, 0 for a free one.

    ``LORAPLEX_PEER_HOST`` and ``LORAPLEX_PEER_PORT``; else ``server.host`` where that is one address, and a free port.
    Raises ConfigInvalid.
    """
    port = os.environ.get(PEER_PORT, "").strip() or "0"
    if not port.isdecimal() or int(port) > 65535:
        raise ConfigInvalid(f"{PEER_PORT}: `{port}` is no port; set it to a number from 1 to 65535")
    host = os.environ.get(PEER_HOST, "").strip()
    if not host:
        every = config.server.host in ("0.0.0.0", "::")  # noqa: S104
        host = _LOOPBACK if every or not is_one_of_many(config) else config.server.host
    return host, int(port)

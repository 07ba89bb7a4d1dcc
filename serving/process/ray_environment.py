"""The environment that makes Ray Serve run as this gateway wants it; Ray reads it when it is imported.

Every process of a cluster needs the same :func:`cluster_environment`, each node a :func:`node_environment` of its own.
``loraplex serve`` and ``loraplex node`` make them when they start Ray; containers that somebody else starts Ray in get
:func:`container_environment`.
"""

import math
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from serving.config import GatewayConfig

_PREFERRED_PORTS = (9101, 8404, 8500)

CONTAINER_LAUNCHER = Path("/opt/loraplex/bin/loraplex-haproxy")
"""Where an image has the launcher of HAProxy."""


def preferred_ports() -> Sequence[int]:
    """The ports that HAProxy's metrics, its statistics and Ray's fallback proxy take where they are free."""
    return _PREFERRED_PORTS


def ray_environment(config: GatewayConfig, scratch: Path, launcher: Path, ports: Sequence[int]) -> dict[str, str]:
    """Variables for the driver and everything that its own Ray starts. ``ports``: in the order of preferred_ports()."""
    return {
        **cluster_environment(config),
        **node_environment(scratch / "h", launcher, ports),
        # Ray's own ports take orders only from this instance's processes.
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
    }


def container_environment(
    config: GatewayConfig,
    *,
    launcher: Path = CONTAINER_LAUNCHER,
    scratch: Path = Path("/tmp/haproxy"),  # noqa: S108
) -> dict[str, str]:
    """Variables for every container of a Ray cluster on Kubernetes, head and workers alike.

    None of them is secret, and none depends on the machine.

    Args:
        launcher: the program ``loraplex-haproxy`` in the image.
        scratch: a folder that the container may write to, for HAProxy's files.
    """
    return {
        **cluster_environment(config),
        **node_environment(scratch, launcher, _PREFERRED_PORTS),
        # A container has its own cores, which are not those of the machine that wrote this.
        "RAY_SERVE_HAPROXY_NBTHREAD": "2",
        # What the gateway logs belongs to the container's own log.
        "RAY_LOG_TO_STDERR": "1",
    }


def node_environment(scratch: Path, launcher: Path, ports: Sequence[int]) -> dict[str, str]:
    """What differs from machine to machine. ``scratch``: for HAProxy's files; ``launcher``: what Ray starts as it."""
    metrics, statistics, fallback = (str(port) for port in ports)
    return {
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(launcher),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(scratch / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(scratch / "a.sock"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(scratch / "m.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(scratch),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(scratch / "state"),
        "RAY_SERVE_HAPROXY_METRICS_PORT": metrics,
        "RAY_SERVE_HAPROXY_STATS_PORT": statistics,
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": fallback,
        "RAY_SERVE_HAPROXY_NBTHREAD": str(min(4, os.cpu_count() or 1)),
    }


def cluster_environment(config: GatewayConfig) -> dict[str, str]:
    """What every process of a cluster must agree on."""
    # A reloaded HAProxy lets the old one finish its requests; none may be cut off before its own limit.
    longest_s = math.ceil(config.server.request_timeout_s + config.limits.adapter_wait_s)
    return {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S": str(longest_s + 30),
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": str(longest_s + 30),
        # A port must stay unused for as long as an old HAProxy may still know it.
        "RAY_SERVE_PORT_QUARANTINE_S": str(longest_s + 60),
        # A request that got no byte of an answer is repeated on another replica; it must fit into the buffer.
        "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
        "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": str(64 * 1024),
        "RAY_SERVE_HAPROXY_HEALTH_CHECK_INTER": "1s",
        "RAY_SERVE_HAPROXY_HEALTH_CHECK_RISE": "1",
        "RAY_SERVE_HAPROXY_OBSERVE_ERROR_LIMIT": "1",
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
        # The app runs on the replica's own event loop: no thread hop for a request or for a token.
        "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
        "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
        # Ray's own processes look for changes and export metrics ten times a second, on cores that the engine wants.
        "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.5",
        "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "10000",
        "RAY_raylet_report_resources_period_milliseconds": "1000",
        "RAY_SERVE_LOG_TO_STDERR": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        # A node that is gone is noticed within 6 s, one that has fallen silent within 36.
        "RAY_health_check_period_ms": "1000",
        "RAY_health_check_timeout_ms": "5000",
        "RAY_health_check_failure_threshold": "6",
        # Ray would kill the largest process when the machine runs short of memory, whoever used it up.
        "RAY_memory_monitor_refresh_ms": "0",
        # Ray's workers are nice by default, and with them the engine: everything else on the machine would go first.
        "RAY_worker_niceness": "0",
        "RAY_DEDUP_LOGS": "0",
    }

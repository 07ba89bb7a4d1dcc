"""The environment that makes Ray Serve run as this gateway wants it; Ray reads it when it is imported."""

import math
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from serving.config import GatewayConfig

_PREFERRED_PORTS = (9101, 8404, 8500)


def preferred_ports() -> Sequence[int]:
    """The ports that HAProxy's metrics, its statistics and Ray's fallback proxy take where they are free."""
    return _PREFERRED_PORTS


def ray_environment(config: GatewayConfig, scratch: Path, launcher: Path, ports: Sequence[int]) -> dict[str, str]:
    """Variables for the driver and everything that its Ray starts. ``ports``: in the order of preferred_ports()."""
    metrics, statistics, fallback = (str(port) for port in ports)
    # A reloaded HAProxy lets the old one finish its requests; none may be cut off before its own limit.
    longest_s = math.ceil(config.server.request_timeout_s + config.limits.adapter_wait_s)
    cores = os.cpu_count() or 1
    return {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(launcher),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(scratch / "h" / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(scratch / "h" / "a.sock"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(scratch / "h" / "m.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(scratch / "h"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(scratch / "h" / "state"),
        "RAY_SERVE_HAPROXY_METRICS_PORT": metrics,
        "RAY_SERVE_HAPROXY_STATS_PORT": statistics,
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": fallback,
        "RAY_SERVE_HAPROXY_NBTHREAD": str(min(4, cores)),
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
        # Ray's own ports take orders only from this instance's processes.
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        # Ray would kill the largest process when the machine runs short of memory, whoever used it up.
        "RAY_memory_monitor_refresh_ms": "0",
        # Ray's workers are nice by default, and with them the engine: everything else on the machine would go first.
        "RAY_worker_niceness": "0",
        "RAY_DEDUP_LOGS": "0",
    }

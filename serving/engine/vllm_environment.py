"""The environment of vLLM's processes."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from serving.engine import lifeline, startup_relay

_DEFAULTS = {
    # A gateway serves on one machine with other things to do: vLLM's own default takes half of the memory.
    "VLLM_CPU_KVCACHE_SPACE": "1",
    # Forking a process that has threads, as a gateway does, is undefined.
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    "TOKENIZERS_PARALLELISM": "false",
}
"""What holds unless the gateway's own environment or the configuration says otherwise."""

_SILENCE = {
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
"""Nothing phones home, whatever the gateway's own environment says; only the configuration can allow it."""


def engine_environment(settings: Mapping[str, str], startup_socket: str) -> dict[str, str]:
    """Variables to set for vLLM: defaults, then the configuration, then what ties its processes to this one."""
    chosen = {name: value for name, value in _DEFAULTS.items() if name not in os.environ}
    if "VLLM_LOGGING_LEVEL" not in os.environ and "VLLM_LOGGING_LEVEL" not in settings:
        chosen[startup_relay.QUIET] = "1"
    return (
        chosen
        | _SILENCE
        | dict(settings)
        | {
            lifeline.VARIABLE: str(lifeline.ProcessName.of(os.getpid())),
            startup_relay.VARIABLE: startup_socket,
        }
    )


class AppliedEnvironment:
    """Variables set in this process until :meth:`restore`: vLLM reads them lazily and hands them on."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._before = {name: os.environ.get(name) for name in variables}
        os.environ.update(variables)

    def restore(self) -> None:
        """Put back what was there before. Safe to call twice."""
        _put_back(self._before)
        self._before = {}


@contextmanager
def default_log_level(level: str) -> Iterator[None]:
    """While vLLM is imported, which is when it configures its log: its level, unless one was asked for."""
    if "VLLM_LOGGING_LEVEL" in os.environ:
        yield
        return
    os.environ["VLLM_LOGGING_LEVEL"] = level
    try:
        yield
    finally:
        del os.environ["VLLM_LOGGING_LEVEL"]


def _put_back(before: Mapping[str, str | None]) -> None:
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value

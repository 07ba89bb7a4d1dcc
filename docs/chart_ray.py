"""files/ray-environment.yaml of the chart: what every container of a Ray cluster has in its environment.

Some of it depends on how long a request may take, which each release's configuration says. The file has it as
``longestPlus``: seconds on top of the longest request, for templates to add.
"""

import math
from typing import Any

import yaml

from serving.config import GatewayConfig, parse_config
from serving.process.ray_environment import container_environment

_HEAD = "# Written by `make docs` from serving/process/ray_environment.py; do not edit.\n"


def ray_environment_file() -> str:
    """The file's text."""
    short, long = (_config(seconds) for seconds in (100.0, 300.0))
    entries = {
        name: _entry(int(_longest_s(short)), text, container_environment(long)[name])
        for name, text in container_environment(short).items()
    }
    return _HEAD + yaml.safe_dump(entries, sort_keys=True)


def _config(timeout_s: float) -> GatewayConfig:
    return parse_config({"model": {"id": "/models/any"}, "server": {"request_timeout_s": timeout_s}})


def _longest_s(config: GatewayConfig) -> float:
    return math.ceil(config.server.request_timeout_s + config.limits.adapter_wait_s)


def _entry(longest_s: int, short: str, long: str) -> dict[str, Any]:
    if short == long:
        return {"value": short}
    return {"longestPlus": int(short) - longest_s}

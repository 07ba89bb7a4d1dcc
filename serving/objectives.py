"""The service level objectives that a configuration promises."""

from collections.abc import Iterator

from monitoring.slo import Objective
from serving.config import GatewayConfig


def objectives_of(config: GatewayConfig) -> tuple[Objective, ...]:
    """Every objective of every task, in the order of the file."""
    return tuple(_objectives(config))


def _objectives(config: GatewayConfig) -> Iterator[Objective]:
    for name, task in config.tasks.items():
        slo = task.slo
        if slo is None:
            continue
        if slo.availability is not None:
            yield Objective(name, "availability", slo.availability, min_requests=slo.min_requests)
        if slo.ttft is not None:
            yield Objective(name, "ttft", slo.ttft.target, slo.ttft.threshold_s, slo.min_requests)
        if slo.duration is not None:
            yield Objective(name, "duration", slo.duration.target, slo.duration.threshold_s, slo.min_requests)

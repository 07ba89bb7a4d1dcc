"""The checks from inside, in order: what a configuration names, as this machine, pod or container sees it."""

from collections.abc import Callable, Iterator

from serving.config import GatewayConfig
from serving.doctor import environment, machine, model, neighbours, storage
from serving.doctor.finding import Finding, fail

Check = Callable[[GatewayConfig], Iterator[Finding]]

_CHECKS: tuple[tuple[str, Check], ...] = (
    ("configuration", environment.configuration),
    ("variables", environment.variables),
    ("state", storage.state),
    ("artifacts", storage.artifacts),
    ("index", storage.index),
    ("services", neighbours.services),
    ("servers", neighbours.servers),
    ("model", model.model),
    ("disk", machine.disk),
    ("shared memory", machine.shared_memory),
    ("gpus", machine.gpus),
    ("open files", machine.open_files),
    ("port", machine.port),
    ("haproxy", machine.haproxy),
)


def examine(config: GatewayConfig) -> Iterator[Finding]:
    """Every finding about what ``config`` names, and about this machine."""
    for name, check in _CHECKS:
        try:
            yield from check(config)
        except Exception as error:
            # One check that stumbles must not keep the others from being made.
            yield fail(name, f"It could not be checked: {error!r}.", "Please report this.")

"""The checks from inside, in order."""

from collections.abc import Iterator

from serving.config import GatewayConfig
from serving.doctor.finding import Finding


def examine(config: GatewayConfig) -> Iterator[Finding]:
    """Every finding about what ``config`` names, and about this machine."""
    yield from ()

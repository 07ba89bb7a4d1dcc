"""One look at a gateway from outside: what its checks share, each part asked for once."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from monitoring.readings import Exposition, read_exposition
from serving.doctor.wire import Line, Reply

ADMIN = "/admin/v1"
NEEDS_ADMIN = "Put a key with the admin role into the environment variable LORAPLEX_API_KEY."


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user asks for."""

    requests: bool = True
    """Whether real, tiny generations are sent."""
    model: str | None = None
    """Which model they go to; None: an adapter where there is one, else the base model."""
    replicas: int | None = None
    """How many replicas there should be; None: nobody said."""
    patience_s: float = 2.0
    """How long to wait before what may only be on its way is looked at again, in seconds."""


class Visit:
    """A gateway that is being looked at. Every property raises Unreachable."""

    def __init__(self, line: Line, wishes: Wishes) -> None:
        self.line = line
        self.wishes = wishes

    @cached_property
    def health(self) -> Reply:
        """``/healthz``."""
        return self.line.get("/healthz")

    @cached_property
    def models(self) -> Reply:
        """``/v1/models``."""
        return self.line.get("/v1/models")

    @cached_property
    def adapters(self) -> Reply:
        """The admin API's list of adapters and replicas."""
        return self.ask_adapters()

    def ask_adapters(self) -> Reply:
        """The same, asked for anew."""
        return self.line.get(f"{ADMIN}/adapters")

    @cached_property
    def metrics(self) -> Reply:
        """``/metrics``."""
        return self.line.get("/metrics")

    @cached_property
    def scrape(self) -> Exposition | None:
        """What the metrics say; None where they are closed, or not a gateway's."""
        if not self.metrics.is_good:
            return None
        read = read_exposition(self.metrics.body.decode("utf-8", "replace"), 0.0)
        return read if read.series else None

    def gauge(self, name: str) -> Iterator[tuple[Mapping[str, str], float]]:
        """The series of a metric, with their labels; none where the metrics cannot be read."""
        if self.scrape is not None:
            for labels, value in self.scrape.values(name).items():
                yield dict(labels), value

    @property
    def listed(self) -> list[dict[str, Any]]:
        """The models; empty where they are not told."""
        return list(self.models.data["data"]) if self.models.is_good else []

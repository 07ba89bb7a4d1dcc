"""What describes a metric family. The families themselves are data in :mod:`monitoring.catalogue`."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]
Unit = Literal[
    "seconds",
    "tokens",
    "requests",
    "adapters",
    "events",
    "replicas",
    "documents",
    "passages",
    "citations",
    "claims",
    "series",
    "jobs",
    "signals",
    "nats",
    "bytes",
    "mebibytes",
    "percent",
    "celsius",
    "watts",
    "ratio",
]

BASE = "base"
"""Value of the labels ``adapter`` and ``role`` where the base model answers."""

ANSWERED_OUTCOMES = ("ok", "contract_violated")
"""Values of the label ``outcome`` of requests that were answered."""

FAILED_OUTCOMES = ("overloaded", "unavailable", "timeout", "server_error")
"""Those of requests that the gateway owes an answer. What a client got wrong, or broke off, is neither."""

OTHER = "other"
"""Value of a label whose own value is not shown: there are too many of them, or this one is not fit to be shown."""

OPEN_LABELS = frozenset({"task", "adapter", "alias", "code"})
"""Labels whose values come from outside of the program. Those of all others are lists in its source."""


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """One metric family."""

    name: str
    """The name as scraped, suffix included."""
    kind: Kind
    unit: Unit
    help: str
    labels: tuple[str, ...] = ()
    """Besides ``replica``, which every sample carries."""
    buckets: tuple[float, ...] = ()
    """Upper bounds of a histogram, in ``unit``."""

    @property
    def samples(self) -> int:
        """How many series one set of label values makes: a histogram's bounds, the one without end, sum and count."""
        return len(self.buckets) + 3 if self.kind == "histogram" else 1

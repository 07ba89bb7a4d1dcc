"""What each alert fires for, and what it keeps quiet about: series in promtool's notation, a sample each minute."""

import re
from dataclasses import dataclass, field

from monitoring.spec import MetricSpec

JOB = "loraplex"


@dataclass(frozen=True)
class Fires:
    """One alert that is expected."""

    labels: dict[str, str] = field(default_factory=dict)
    """Besides those that the alert adds itself."""
    value: str = ""
    """As its description shows it."""
    added: dict[str, str] = field(default_factory=dict)
    """Labels that the alert adds, which tell alerts of one name apart."""


@dataclass(frozen=True)
class Case:
    """A story, and what comes of it at one moment."""

    alert: str
    story: str
    at: str
    series: tuple[tuple[str, str], ...]
    fires: tuple[Fires, ...] = ()


def series(spec: MetricSpec, values: str, part: str = "", **labels: str) -> tuple[str, str]:
    """One input series of a metric, and its values. Raises AssertionError for a label that it does not have."""
    unknown = labels.keys() - {*spec.labels, "replica", "instance"}
    assert not unknown, f"{spec.name} has no {unknown}"
    inside = ",".join(f'{name}="{value}"' for name, value in {"job": JOB, **labels}.items())
    return f"{spec.name}{part}{{{inside}}}", values


def expected_annotations(annotations: dict[str, str], fires: Fires, labels: dict[str, str]) -> dict[str, str]:
    """The annotations with their templates filled in."""

    def fill(text: str) -> str:
        text = re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: labels.get(found[1], ""), text)
        return re.sub(r"\{\{ \$value( \| \w+)? \}\}", fires.value, text)

    return {name: fill(text) for name, text in annotations.items()}

"""Prometheus' recording and alert rules as data, and their YAML."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import yaml

from monitoring.dashboards.promql import Query
from monitoring.spec import MetricSpec

Severity = Literal["page", "ticket"]
"""``page``: somebody looks at once, at night too. ``ticket``: within the next working day."""

_HEADER = "# Written by `loraplex dashboards build`; do not edit.\n"


@dataclass(frozen=True, slots=True)
class Recording:
    """A series that is computed ahead of its readers."""

    spec: MetricSpec
    query: Query
    labels: Mapping[str, str] = field(default_factory=dict)
    """Added to what the query gives."""

    def to_rule(self) -> dict[str, Any]:
        """As Prometheus reads it."""
        labels = {"labels": dict(self.labels)} if self.labels else {}
        return {"record": self.spec.name, "expr": self.query.text, **labels}


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that a person should look at."""

    name: str
    """That of its runbook page too."""
    query: Query
    """Fires for each series that it has."""
    wait: str
    """For how long it must hold, as Prometheus writes durations; empty: fires at once."""
    severity: Severity
    summary: str
    """One line. ``{{ $labels.NAME }}`` stands for a label's value."""
    description: str
    """What that means, with the value where it says something."""
    labels: Mapping[str, str] = field(default_factory=dict)

    def to_rule(self, runbooks: str) -> dict[str, Any]:
        """As Prometheus reads it; ``runbooks``: where the pages are."""
        waiting = {"for": self.wait} if self.wait else {}
        return {
            "alert": self.name,
            "expr": self.query.text,
            **waiting,
            "labels": {"severity": self.severity, **self.labels},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook_url": f"{runbooks.rstrip('/')}/{self.name}.md",
            },
        }


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that are evaluated one after the other."""

    name: str
    rules: tuple[Alert | Recording, ...]
    interval: str = ""
    """How often; empty: as Prometheus is configured."""


def rules_yaml(groups: tuple[Group, ...], *, runbooks: str) -> str:
    """A rule file. The same groups give the same text."""
    data = {"groups": [_group(group, runbooks) for group in groups]}
    return _HEADER + yaml.dump(data, Dumper=_Dumper, sort_keys=False, width=1_000_000, allow_unicode=True)


def _group(group: Group, runbooks: str) -> dict[str, Any]:
    interval = {"interval": group.interval} if group.interval else {}
    rules = [rule.to_rule(runbooks) if isinstance(rule, Alert) else rule.to_rule() for rule in group.rules]
    return {"name": group.name, **interval, "rules": rules}


class _Dumper(yaml.SafeDumper):
    """Writes an expression of several lines as it is."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)

"""Every file that is made: dashboards as JSON, rules as YAML."""

import json
from dataclasses import dataclass

from monitoring.dashboards.alerts import adapter_alerts, gateway_alerts
from monitoring.dashboards.boards import DASHBOARDS
from monitoring.dashboards.content_alerts import output_alerts, retrieval_alerts, training_alerts
from monitoring.dashboards.grafana import Dashboard
from monitoring.dashboards.promql import Scope, equals
from monitoring.dashboards.quality_rules import quality_recordings
from monitoring.dashboards.rules import Alert, Group, Recording, rules_yaml
from monitoring.dashboards.slo import slo_groups, slo_recordings
from monitoring.slo import Objective

FOLDERS = ("grafana", "prometheus")
PREFIX = "loraplex-"
"""How every file begins."""

_RULE_WINDOW = "5m"


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """What the files are made for."""

    job: str = "loraplex"
    """The scrape job of the gateway, as Prometheus' configuration names it."""
    runbooks: str = "docs/runbooks"
    """Where the runbook pages are: an address, or, by default, their folder in this repository."""
    objectives: tuple[Objective, ...] = ()
    """Of a configuration's tasks."""


def recordings(options: BuildOptions) -> tuple[Group, ...]:
    """The recording rules that every gateway has."""
    scope = _scope(options)
    return (*slo_recordings(scope), quality_recordings(scope))


def alerts(options: BuildOptions) -> tuple[Group, ...]:
    """The alerts that every gateway has."""
    scope = _scope(options)
    return (
        gateway_alerts(scope),
        adapter_alerts(scope),
        retrieval_alerts(scope),
        output_alerts(scope),
        training_alerts(scope),
    )


def objectives(options: BuildOptions) -> tuple[Group, ...]:
    """Budgets and burn-rate alerts of the objectives."""
    return slo_groups(_scope(options), options.objectives)


def build(options: BuildOptions) -> dict[str, str]:
    """Every file's text, by its path. The same options give the same bytes."""
    files = {f"grafana/{board.uid}.json": _json(board) for board in DASHBOARDS}
    rules = {"recording": recordings(options), "alerts": alerts(options), "slo": objectives(options)}
    for name, groups in rules.items():
        if groups:
            files[f"prometheus/{PREFIX}{name}.yaml"] = rules_yaml(groups, runbooks=options.runbooks)
    return files


def rules_in(groups: tuple[Group, ...]) -> tuple[tuple[Alert, ...], tuple[Recording, ...]]:
    """The alerts and the recordings of some groups, in order."""
    rules = [rule for group in groups for rule in group.rules]
    return (
        tuple(rule for rule in rules if isinstance(rule, Alert)),
        tuple(rule for rule in rules if isinstance(rule, Recording)),
    )


def _scope(options: BuildOptions) -> Scope:
    return Scope(equals(options.job), _RULE_WINDOW)


def _json(board: Dashboard) -> str:
    return json.dumps(board.to_json(), indent=2, ensure_ascii=False) + "\n"

"""Grafana dashboards as data, and their JSON.

The form is the one that Grafana 11 writes (schema version 39); Grafana 12 takes it and brings it to its own. Three
kinds of panels are enough here, and few fields of them: typed classes of our own stay readable, where a builder for
all of Grafana is a large dependency whose types are laxer than these.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from monitoring.dashboards.promql import Query

SCHEMA_VERSION = 39
TAG = "loraplex"
"""By which the dashboards find each other."""

_WIDTH = 24
_ROW_HEIGHT = 1
_DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

Kind = Literal["timeseries", "stat", "bargauge"]
Unit = Literal["s", "percentunit", "percent", "reqps", "cps", "short", "none", "bytes", "mbytes", "celsius", "watt"]
"""Grafana's unit ids: seconds, a share of 1, a share of 100, requests or counts per second, and so on."""

Color = Literal["green", "yellow", "orange", "red", "blue"]


@dataclass(frozen=True, slots=True)
class Step:
    """From ``value`` on, a panel has this color."""

    value: float
    color: Color


@dataclass(frozen=True, slots=True)
class Target:
    """A query, and how its series are called."""

    query: Query
    legend: str = ""
    """With labels in double braces, as in ``{{task}}``; empty: all labels."""
    exemplars: bool = False
    """Whether single requests are shown too, with their traces."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture."""

    title: str
    description: str
    """What it shows, and what to make of it."""
    targets: tuple[Target, ...]
    unit: Unit
    kind: Kind = "timeseries"
    thresholds: tuple[Step, ...] = ()
    """Rising."""
    below: Color = "green"
    """The color below the first threshold."""
    width: int = 8
    """Of 24."""
    height: int = 8
    stacked: bool = False
    low: float | None = 0
    """Where the axis begins at the latest; None: where the data do."""
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one title, from left to right and then down."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice at the top of a dashboard, of the values that a label has."""

    name: str
    label: str
    series: Query
    """Selects the series whose label is looked at."""
    values_of: str
    """The label."""


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One page."""

    uid: str
    title: str
    description: str
    variables: tuple[Variable, ...]
    rows: tuple[Row, ...]

    def panels(self) -> Iterator[Panel]:
        """Every panel, in order."""
        for row in self.rows:
            yield from row.panels

    def to_json(self) -> dict[str, Any]:
        """As Grafana imports it."""
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": [TAG],
            "timezone": "browser",
            "editable": True,
            "graphTooltip": 1,
            "schemaVersion": SCHEMA_VERSION,
            "refresh": "30s",
            "time": {"from": "now-3h", "to": "now"},
            "annotations": {"list": []},
            "links": [_LINKS],
            "templating": {"list": [_DATASOURCE_VARIABLE, *(_variable(one) for one in self.variables)]},
            "panels": list(_placed(self.rows)),
        }


_LINKS: dict[str, Any] = {
    "title": "Loraplex",
    "type": "dashboards",
    "icon": "external link",
    "tooltip": "",
    "tags": [TAG],
    "asDropdown": True,
    "targetBlank": False,
    "includeVars": True,
    "keepTime": True,
}

_DATASOURCE_VARIABLE: dict[str, Any] = {
    "type": "datasource",
    "name": "datasource",
    "label": "Data source",
    "query": "prometheus",
    "hide": 0,
    "includeAll": False,
    "multi": False,
    "options": [],
    "refresh": 1,
    "regex": "",
    "skipUrlSync": False,
}


def _variable(variable: Variable) -> dict[str, Any]:
    return {
        "type": "query",
        "name": variable.name,
        "label": variable.label,
        "datasource": _DATASOURCE,
        "query": f"label_values({variable.series.text}, {variable.values_of})",
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
        "hide": 0,
        "includeAll": True,
        "multi": True,
        "options": [],
        # With the time range, so that a version that was removed is a choice where its past is looked at.
        "refresh": 2,
        "regex": "",
        "skipUrlSync": False,
        "sort": 1,
    }


def _placed(rows: tuple[Row, ...]) -> Iterator[dict[str, Any]]:
    """Rows and panels with their places and numbers."""
    number, top = 1, 0
    for row in rows:
        place = {"h": _ROW_HEIGHT, "w": _WIDTH, "x": 0, "y": top}
        yield {"type": "row", "id": number, "title": row.title, "collapsed": False, "gridPos": place, "panels": []}
        number, top, left, line = number + 1, top + _ROW_HEIGHT, 0, 0
        for panel in row.panels:
            if left + panel.width > _WIDTH:
                left, top, line = 0, top + line, 0
            yield _panel(panel, number, {"h": panel.height, "w": panel.width, "x": left, "y": top})
            number, left, line = number + 1, left + panel.width, max(line, panel.height)
        top += line


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    ranged = panel.kind == "timeseries"
    return {
        "type": panel.kind,
        "id": number,
        "title": panel.title,
        "description": panel.description,
        "datasource": _DATASOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": _field(panel), "overrides": []},
        "options": _OPTIONS[panel.kind],
        "targets": [_target(target, position, ranged=ranged) for position, target in enumerate(panel.targets)],
    }


def _target(target: Target, position: int, *, ranged: bool) -> dict[str, Any]:
    return {
        "refId": chr(ord("A") + position),
        "datasource": _DATASOURCE,
        "editorMode": "code",
        "expr": target.query.text,
        "legendFormat": target.legend or "__auto",
        "exemplar": target.exemplars,
        "instant": not ranged,
        "range": ranged,
    }


def _field(panel: Panel) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": panel.below, "value": None}]
    steps += [{"color": step.color, "value": step.value} for step in panel.thresholds]
    field: dict[str, Any] = {
        "unit": panel.unit,
        "color": {"mode": "palette-classic" if panel.kind == "timeseries" else "thresholds"},
        "thresholds": {"mode": "absolute", "steps": steps},
    }
    if panel.high is not None:
        field["max"] = panel.high
    if panel.kind != "timeseries":
        if panel.low is not None:
            field["min"] = panel.low
        return field
    field["custom"] = {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 20 if panel.stacked else 0,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if panel.thresholds else "off"},
    }
    if panel.low is not None:
        field["custom"]["axisSoftMin"] = panel.low
    return field


_REDUCED: dict[str, Any] = {"calcs": ["lastNotNull"], "fields": "", "values": False}

_OPTIONS: dict[Kind, dict[str, Any]] = {
    "timeseries": {
        "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "percentChangeColorMode": "standard",
        "reduceOptions": _REDUCED,
        "showPercentChange": False,
        "textMode": "auto",
        "wideLayout": True,
    },
    "bargauge": {
        "displayMode": "basic",
        "maxVizHeight": 300,
        "minVizHeight": 16,
        "minVizWidth": 8,
        "namePlacement": "auto",
        "orientation": "horizontal",
        "reduceOptions": _REDUCED,
        "showUnfilled": True,
        "sizing": "auto",
        "valueMode": "color",
    },
}

"""Grafana's schema, as far as it can be had without Grafana: what its SDK declares, which is made from that schema.

The SDK's own readers take anything and leave out what they do not know, so the declarations themselves are gone
through: the names of fields, their types, the values of enumerations. Which fields must be there is not declared.
"""

import re
import types
import typing
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

from grafana_foundation_sdk.models import bargauge, common, dashboard, prometheus, stat, timeseries

_PLAIN = (str, bool, int, float, types.NoneType)
_UNIONS = (typing.Union, types.UnionType)
_OPTIONS = {"timeseries": timeseries.Options, "stat": stat.Options, "bargauge": bargauge.Options}


def problems(page: Mapping[str, Any]) -> Iterator[str]:
    """What Grafana would not know of a dashboard, with its place."""
    yield from _wrong(page, dashboard.Dashboard, "dashboard")
    # A dashboard's declaration leaves open what the kinds of panels and data sources declare.
    for place, panel in enumerate(page["panels"]):
        if panel["type"] == "row":
            continue
        where = f"dashboard.panels[{place}]"
        yield from _wrong(panel["options"], _OPTIONS[panel["type"]], f"{where}.options")
        for number, target in enumerate(panel["targets"]):
            yield from _wrong(target, prometheus.Dataquery, f"{where}.targets[{number}]")
        custom = panel["fieldConfig"]["defaults"].get("custom", {})
        if panel["type"] == "timeseries":
            yield from _wrong(custom, common.GraphFieldConfig, f"{where}.custom")
        elif custom:
            yield f"{where}.custom: a {panel['type']} has none"


def _wrong(value: Any, declared: Any, where: str) -> Iterator[str]:
    origin, inner = typing.get_origin(declared), typing.get_args(declared)
    if declared in (Any, object):
        return
    if origin in _UNIONS:
        found = [list(_wrong(value, one, where)) for one in inner if one is not types.NoneType or value is None]
        yield from min(found, key=len)
    elif origin is typing.Literal:
        if value not in inner:
            yield f"{where}: {value!r} is none of {inner}"
    elif origin is list:
        yield from _wrong_items(value, inner[0], where)
    elif origin is dict:
        if not isinstance(value, dict):
            yield f"{where}: {value!r} is no object"
    elif declared in _PLAIN:
        if type(value) is not declared and not (declared is float and type(value) is int):
            yield f"{where}: {value!r} is no {declared.__name__}"
    elif issubclass(declared, Enum):
        if value not in [one.value for one in declared]:
            yield f"{where}: {value!r} is no {declared.__name__}"
    else:
        yield from _wrong_fields(value, declared, where)


def _wrong_items(value: Any, declared: Any, where: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{where}: {value!r} is no list"
        return
    for place, item in enumerate(value):
        yield from _wrong(item, declared, f"{where}[{place}]")


def _wrong_fields(value: Any, declared: type, where: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{where}: {value!r} is no {declared.__name__}"
        return
    known = typing.get_type_hints(declared)
    if not known:  # an abstract query: its data source declares it
        return
    for name, item in value.items():
        attribute = re.sub(r"(?<=.)(?=[A-Z])", "_", name).lower()
        # What is a word of Python's own has a suffix there.
        field = known.get(attribute, known.get(f"{attribute}_val"))
        if field is None:
            yield f"{where}: a {declared.__name__} has no field {name}"
        else:
            yield from _wrong(item, field, f"{where}.{name}")

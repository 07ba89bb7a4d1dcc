"""Dashboards hold to what Grafana declares."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from monitoring.dashboards.boards import DASHBOARDS
from monitoring.dashboards.grafana import Dashboard
from tests.grafana_schema import problems


@pytest.mark.parametrize("board", DASHBOARDS, ids=lambda board: board.uid)
def test_a_page_has_nothing_that_grafana_does_not_know(board: Dashboard) -> None:
    assert list(problems(board.to_json())) == []


def _panel(page: Any, kind: str) -> Any:
    return next(panel for panel in page["panels"] if panel["type"] == kind)


def _field(page: Any, kind: str) -> Any:
    return _panel(page, kind)["fieldConfig"]["defaults"]


SPOILS: dict[str, Callable[[Any], object]] = {
    "no field colour": lambda page: page.update(colour="red"),
    "'39' is no int": lambda page: page.update(schemaVersion="39"),
    "'wide' is no int": lambda page: page["panels"][1]["gridPos"].update(w="wide"),
    "'sometimes' is no VariableRefresh": lambda page: page["templating"]["list"][1].update(refresh="sometimes"),
    "no field exemplars": lambda page: _panel(page, "timeseries")["targets"][0].update(exemplars=True),
    "'yes' is no bool": lambda page: _panel(page, "timeseries")["targets"][0].update(instant="yes"),
    "'stripes' is no GraphDrawStyle": lambda page: _field(page, "timeseries")["custom"].update(drawStyle="stripes"),
    "'blink' is no BigValueColorMode": lambda page: _panel(page, "stat")["options"].update(colorMode="blink"),
    "a bargauge has none": lambda page: _field(page, "bargauge").update(custom={"lineWidth": 1}),
    "is no list": lambda page: _panel(page, "bargauge")["options"]["reduceOptions"].update(calcs="lastNotNull"),
    "'sepia' is no FieldColorModeId": lambda page: _field(page, "stat")["color"].update(mode="sepia"),
}


@pytest.mark.parametrize("complaint", SPOILS)
def test_what_grafana_does_not_know_is_found(complaint: str) -> None:
    page = copy.deepcopy(DASHBOARDS[0].to_json())
    SPOILS[complaint](page)
    found = list(problems(page))

    assert found != []
    assert any(complaint in problem for problem in found)

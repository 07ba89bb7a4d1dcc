"""Dashboards as Grafana imports them."""

from typing import Any

import pytest

from monitoring.catalogue import REQUESTS
from monitoring.dashboards.boards import DASHBOARDS
from monitoring.dashboards.grafana import Dashboard, Panel, Row, Step, Target
from monitoring.dashboards.promql import Scope, equals

QUERY = Scope(equals("loraplex"), "5m").rate(REQUESTS)


def _panel(width: int = 8, height: int = 8, **options: Any) -> Panel:
    return Panel("a title", "What it shows.", (Target(QUERY),), "reqps", width=width, height=height, **options)


def _json(*panels: Panel) -> list[Any]:
    board = Dashboard("loraplex-test", "Test", "A page.", (), (Row("First", panels), Row("Second", (_panel(),))))
    placed: list[Any] = board.to_json()["panels"]
    return placed


def test_panels_flow_from_left_to_right_and_then_down() -> None:
    places = [one["gridPos"] for one in _json(_panel(12, 6), _panel(12, 8), _panel(8, 4))]

    assert [(place["x"], place["y"]) for place in places] == [(0, 0), (0, 1), (12, 1), (0, 9), (0, 13), (0, 14)]


def test_numbers_of_panels_differ() -> None:
    numbers = [one["id"] for one in _json(_panel(), _panel())]

    assert numbers == [1, 2, 3, 4, 5]


def test_thresholds_begin_at_the_bottom() -> None:
    (_, panel, *_) = _json(_panel(thresholds=(Step(0.05, "red"),)))

    assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"] == [
        {"color": "green", "value": None},
        {"color": "red", "value": 0.05},
    ]


def test_a_number_is_asked_for_once_and_a_line_over_its_range() -> None:
    (_, line, number, *_) = _json(_panel(), _panel(kind="stat"))

    assert [(one["targets"][0]["instant"], one["targets"][0]["range"]) for one in (line, number)] == [
        (False, True),
        (True, False),
    ]


@pytest.mark.parametrize("board", DASHBOARDS, ids=lambda board: board.uid)
def test_a_page_lets_its_reader_choose_the_data_source_and_the_job(board: Dashboard) -> None:
    names = [one["name"] for one in board.to_json()["templating"]["list"]]

    assert names[:2] == ["datasource", "job"]
    panels = [panel for panel in board.to_json()["panels"] if panel["type"] != "row"]
    assert {panel["datasource"]["uid"] for panel in panels} == {"${datasource}"}


@pytest.mark.parametrize("board", DASHBOARDS, ids=lambda board: board.uid)
def test_every_choice_that_a_query_reads_is_offered(board: Dashboard) -> None:
    offered = {variable.name for variable in board.variables}
    texts = [target.query.text for panel in board.panels() for target in panel.targets]
    texts += [variable.series.text for variable in board.variables]

    for name in ("job", "task", "adapter"):
        assert name in offered or not any(f'"${name}"' in text for text in texts)


@pytest.mark.parametrize("board", DASHBOARDS, ids=lambda board: board.uid)
def test_every_panel_says_what_it_shows(board: Dashboard) -> None:
    panels = list(board.panels())

    assert all(panel.description.endswith(".") and panel.targets for panel in panels)
    assert len({(row.title, panel.title) for row in board.rows for panel in row.panels}) == len(panels)
    assert all(list(panel.thresholds) == sorted(panel.thresholds, key=lambda step: step.value) for panel in panels)


def test_pages_have_addresses_of_their_own() -> None:
    assert len({board.uid for board in DASHBOARDS}) == len(DASHBOARDS) == 6
    assert all(len(board.uid) <= 40 for board in DASHBOARDS)

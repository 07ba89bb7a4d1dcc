"""Pictures of dashboards."""

import struct

import pytest

from docs.panel_plots import Found, draw_page, shown
from monitoring.catalogue import REQUESTS
from monitoring.dashboards.grafana import Dashboard, Kind, Panel, Row, Step, Target, Unit
from monitoring.dashboards.promql import Scope, equals
from serving.cli.prometheus import Series

START, END = 1_000.0, 1_120.0
TARGET = Target(Scope(equals("loraplex"), "5m").rate(REQUESTS, "task"), "{{task}}")
STEPS = (Step(0.5, "yellow"), Step(1.0, "red"))


def board(kind: Kind, *, stacked: bool = False) -> Dashboard:
    panel = Panel("a title", "What it shows.", (TARGET,), "reqps", kind, STEPS, stacked=stacked)
    return Dashboard("loraplex-test", "Test $x$", "A page.", (), (Row("First", (panel, panel)),))


def series(task: str, level: float) -> Series:
    return Series({"task": task}, tuple((START + 10 * place, level * (place % 4)) for place in range(12)))


def size(picture: bytes) -> tuple[int, int]:
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", picture[16:24])
    return width, height


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("kind", ["timeseries", "stat", "bargauge"])
def test_a_panel_of_each_kind_is_drawn(kind: Kind, *, stacked: bool) -> None:
    found = [Found(TARGET, [series("_a", 0.2), series("b" * 80, -0.4), *(series(f"t{n}", n) for n in range(20))])]
    page = board(kind, stacked=stacked)
    drawn = draw_page(page, {2: found, 3: [Found(TARGET, [])]}, START, END)

    assert size(drawn)[0] == 1280
    assert drawn != draw_page(page, {2: [Found(TARGET, [])], 3: []}, START, END)


def test_the_same_data_give_the_same_picture() -> None:
    found = {2: [Found(TARGET, [series("a", 0.2)])], 3: []}

    assert draw_page(board("timeseries"), found, START, END) == draw_page(board("timeseries"), found, START, END)


def test_a_page_is_as_high_as_its_panels() -> None:
    one = board("stat")
    two = Dashboard(one.uid, one.title, one.description, (), (*one.rows, *one.rows))
    empty: dict[int, list[Found]] = {number: [] for number in range(2, 7)}

    assert size(draw_page(two, empty, START, END))[1] > 1.5 * size(draw_page(one, empty, START, END))[1]


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0125, "s", "12.5 ms"),
        (90.0, "s", "90 s"),
        (300.0, "s", "5 min"),
        (259200.0, "s", "3 d"),
        (0.125, "percentunit", "12.5 %"),
        (11.1, "percentunit", "1,110 %"),
        (35.0, "percent", "35 %"),
        (2.0, "reqps", "2/s"),
        (2048.0, "bytes", "2 KiB"),
        (2048.0, "mbytes", "2 GiB"),
        (61.0, "celsius", "61 °C"),
        (3.0, "none", "3"),
    ],
)
def test_a_value_has_its_unit(value: float, unit: Unit, text: str) -> None:
    assert shown(value, unit) == text

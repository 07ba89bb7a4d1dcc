"""The chart's copies of generated files are what the code says now."""

from docs.chart_files import chart_files
from tests.meta.sources import ROOT

CHART = ROOT / "helm" / "loraplex"


def test_every_generated_file_is_what_the_code_says_now() -> None:
    made = chart_files()
    there = {path.relative_to(CHART).as_posix(): path for path in CHART.rglob("*") if path.is_file()}

    assert [name for name in made if name not in there] == [], "run `make docs`"
    assert [name for name, text in made.items() if there[name].read_text(encoding="utf-8") != text] == []


def test_no_dashboard_or_rule_of_an_earlier_build_stays_in_the_chart() -> None:
    folders = [CHART / "files" / "dashboards", CHART / "files" / "rules"]
    there = {path.relative_to(CHART).as_posix() for folder in folders for path in folder.iterdir()}

    assert there - chart_files().keys() == set()

"""Dashboards, rules and runbooks belong together, and to the catalogue."""

import re
from itertools import chain
from pathlib import Path

import pytest

from monitoring.catalogue import CATALOGUE
from monitoring.dashboards import recorded
from monitoring.dashboards.boards import DASHBOARDS
from monitoring.dashboards.build import BuildOptions, alerts, build, objectives, recordings, rules_in
from monitoring.dashboards.foreign import ENGINE, HARDWARE, UP
from monitoring.slo import Objective
from monitoring.spec import MetricSpec
from tests.meta.sources import ROOT

COMMITTED = ROOT / "monitoring" / "generated"
RUNBOOKS = ROOT / "docs" / "runbooks"
OPTIONS = BuildOptions(objectives=(Objective("support", "availability", 0.999, min_requests=10),))
ALERTS, RECORDINGS = rules_in((*recordings(OPTIONS), *alerts(OPTIONS), *objectives(OPTIONS)))
_RECORDED = {
    recorded.SLO_BUDGET,
    *recorded.QUALITY,
    *recorded.SLO_BAD.values(),
    *recorded.SLO_COUNT.values(),
}


def _read() -> set[MetricSpec]:
    """Every metric that a panel, a choice, an alert or a recording reads."""
    targets = (target.query for board in DASHBOARDS for panel in board.panels() for target in panel.targets)
    choices = (variable.series for board in DASHBOARDS for variable in board.variables)
    alerts_, recordings_ = (rule.query for rule in ALERTS), (rule.query for rule in RECORDINGS)
    return {spec for query in chain(targets, choices, alerts_, recordings_) for spec in query.metrics}


def test_what_is_committed_is_what_would_be_built() -> None:
    files = {path.relative_to(COMMITTED).as_posix(): path for path in COMMITTED.rglob("*") if path.is_file()}
    made = build(BuildOptions())

    assert sorted(files) == sorted(made), "run `make docs`"
    assert [name for name, text in made.items() if files[name].read_text(encoding="utf-8") != text] == []


def test_every_query_reads_metrics_that_somebody_tells() -> None:
    assert _read() - {*CATALOGUE, *ENGINE, *HARDWARE, UP} == {spec for spec in _RECORDED if spec in _read()}


def test_every_metric_of_the_catalogue_is_in_a_panel_or_an_alert() -> None:
    unread = {spec.name for spec in CATALOGUE} - {spec.name for spec in _read()}

    assert unread == set(), "a metric that nobody looks at is not worth its cost"


def test_every_engine_series_that_is_listed_is_read() -> None:
    panels = {
        spec
        for board in DASHBOARDS
        for panel in board.panels()
        for target in panel.targets
        for spec in target.query.metrics
    }

    assert set(ENGINE) - panels == set()


def test_everything_that_is_recorded_is_read_and_the_other_way_round() -> None:
    assert {rule.spec for rule in RECORDINGS} == _RECORDED
    assert {spec for spec in _RECORDED if spec not in _read()} == set()


def test_an_alert_has_a_runbook_and_a_runbook_an_alert() -> None:
    pages = {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"}

    assert pages == {alert.name for alert in ALERTS}


@pytest.mark.parametrize("name", sorted({alert.name for alert in ALERTS}))
def test_a_runbook_says_what_it_means_how_to_confirm_and_what_to_do(name: str) -> None:
    text = (RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)

    assert headings == [name, "What it means", "How to confirm", "What to do"]
    confirm = text.partition("## How to confirm")[2].partition("## What to do")[0]
    assert "```" in confirm, "the commands and queries themselves"


@pytest.mark.parametrize("path", sorted(RUNBOOKS.glob("*.md")), ids=lambda path: path.stem)
def test_a_runbook_names_only_metrics_that_exist(path: Path) -> None:
    known = {spec.name for spec in (*CATALOGUE, *ENGINE, *_RECORDED)}
    suffixes = ("_bucket", "_sum", "_count", "")
    named = set(re.findall(r"\b(?:loraplex_[a-z_]+|vllm:[a-z_]+|task_\w*:[\w:]+)", path.read_text(encoding="utf-8")))

    assert {name for name in named if not any(name.removesuffix(suffix) in known for suffix in suffixes)} == set()


def test_names_of_alerts_begin_with_the_products() -> None:
    assert [alert.name for alert in ALERTS if not re.fullmatch(r"Loraplex([A-Z][a-z]+)+", alert.name)] == []

"""Every alert fires where it should and keeps quiet where it should, as promtool sees it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from monitoring.dashboards.build import BuildOptions, alerts, build, objectives, recordings, rules_in
from monitoring.dashboards.rules import Alert
from tests.prometheus_host import promtool
from tests.unit.monitoring.dashboards.alert_cases import Case, Fires, expected_annotations
from tests.unit.monitoring.dashboards.cases_content import CONTENT_CASES
from tests.unit.monitoring.dashboards.cases_gateway import GATEWAY_CASES
from tests.unit.monitoring.dashboards.cases_slo import OBJECTIVES, SLO_CASES

CASES = (*GATEWAY_CASES, *CONTENT_CASES, *SLO_CASES)
OPTIONS = BuildOptions(objectives=OBJECTIVES)
GROUPS = (*recordings(OPTIONS), *alerts(OPTIONS), *objectives(OPTIONS))
ALERTS, _ = rules_in(GROUPS)


@pytest.fixture(scope="module")
def rule_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """What a build with objectives writes."""
    folder = tmp_path_factory.mktemp("rules")
    files = {name: text for name, text in build(OPTIONS).items() if name.startswith("prometheus/")}
    for name, text in files.items():
        (folder / Path(name).name).write_text(text, encoding="utf-8")
    return sorted(folder.iterdir())


def test_promtool_finds_nothing_wrong_with_the_rules(rule_files: list[Path]) -> None:
    result = promtool("check", "rules", *map(str, rule_files))

    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("name", sorted({alert.name for alert in ALERTS}))
def test_an_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not(name: str) -> None:
    fires = {bool(case.fires) for case in CASES if case.alert == name}

    assert fires == {True, False}


def test_every_case_is_of_an_alert_that_exists() -> None:
    assert {case.alert for case in CASES} == {alert.name for alert in ALERTS}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.alert}: {case.story}")
def test_an_alert_fires_where_it_should(case: Case, rule_files: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "test.yaml"
    path.write_text(yaml.safe_dump(_test_file(case, rule_files), sort_keys=False), encoding="utf-8")
    result = promtool("test", "rules", str(path))

    assert result.returncode == 0, result.stdout + result.stderr


def _test_file(case: Case, rule_files: list[Path]) -> dict[str, Any]:
    expected = [_expected(case, one) for one in case.fires]
    checked = {"eval_time": case.at, "alertname": case.alert, "exp_alerts": expected}
    return {
        "rule_files": [str(path) for path in rule_files],
        "evaluation_interval": "1m",
        # An alert reads what was recorded at the same moment.
        "group_eval_order": [group.name for group in GROUPS],
        "tests": [
            {
                "name": case.story,
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in case.series],
                "alert_rule_test": [checked],
            }
        ],
    }


def _expected(case: Case, fires: Fires) -> dict[str, Any]:
    rule = _rule(case.alert, fires).to_rule(OPTIONS.runbooks)
    labels = {**fires.labels, **rule["labels"]}
    return {"exp_labels": labels, "exp_annotations": expected_annotations(rule["annotations"], fires, labels)}


def _rule(name: str, fires: Fires) -> Alert:
    (found,) = (alert for alert in ALERTS if alert.name == name and fires.added.items() <= dict(alert.labels).items())
    return found

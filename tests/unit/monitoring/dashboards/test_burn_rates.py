"""Error budgets and burn rates from objectives."""

import yaml

from monitoring.dashboards.build import BuildOptions, build, objectives, rules_in
from monitoring.slo import Objective


def _bounds(target: float) -> list[str]:
    found, _ = rules_in(objectives(BuildOptions(objectives=(Objective("support", "availability", target),))))
    return [alert.query.text.split(" > ")[1].split(")")[0] for alert in found]


def test_the_bounds_are_the_workbooks_factors_of_the_budget() -> None:
    assert _bounds(0.999) == ["0.0144", "0.006", "0.003", "0.001"]


def test_an_alert_that_could_never_fire_is_not_made() -> None:
    assert _bounds(0.9) == ["0.6", "0.3", "0.1"]
    assert _bounds(0.5) == ["0.5"]


def test_without_objectives_there_is_no_file_of_budgets() -> None:
    assert "prometheus/loraplex-slo.yaml" not in build(BuildOptions())
    made = build(BuildOptions(objectives=(Objective("support", "ttft", 0.95, 1.0),)))
    (group,) = yaml.safe_load(made["prometheus/loraplex-slo.yaml"])["groups"]
    assert group["rules"][0]["labels"] == {"job": "loraplex", "task": "support", "slo": "ttft"}
    assert group["rules"][0]["expr"] == "vector(0.05)"


def test_a_pages_severity_follows_how_fast_the_budget_goes() -> None:
    found, _ = rules_in(objectives(BuildOptions(objectives=(Objective("support", "availability", 0.999),))))

    assert [(alert.labels["long"], alert.severity) for alert in found] == [
        ("1h", "page"),
        ("6h", "page"),
        ("1d", "ticket"),
        ("3d", "ticket"),
    ]


def test_without_a_least_number_of_requests_every_one_counts() -> None:
    (alert, *_), _ = rules_in(objectives(BuildOptions(objectives=(Objective("support", "availability", 0.999),))))

    assert "increase" not in alert.query.text


def test_the_same_options_give_the_same_bytes() -> None:
    options = BuildOptions(objectives=(Objective("support", "duration", 0.95, 3.0),))

    assert build(options) == build(options)


def test_the_job_and_the_place_of_the_runbooks_are_the_callers() -> None:
    made = build(BuildOptions(job="llm", runbooks="https://wiki.example.org/loraplex/"))
    (rules,) = (text for name, text in made.items() if name.endswith("alerts.yaml"))

    assert 'job="loraplex"' not in rules
    assert "https://wiki.example.org/loraplex/LoraplexGatewayDown.md" in rules

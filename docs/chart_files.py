"""Files of the chart that are made from the code: a chart can read no file outside of its folder.

In place of what one release decides stand words between at-signs, which templates replace.
"""

import json
from typing import Any

from docs.chart_ray import ray_environment_file
from docs.chart_schema import chart_schema
from monitoring.dashboards.build import BuildOptions, build
from monitoring.dashboards.promql import Query, Scope, equals
from monitoring.dashboards.scaling import measures
from monitoring.dashboards.slo import BURNS, Watched, slo_alert, slo_budget
from serving.settings.slo import LatencyObjective, SloSettings

JOB = "@JOB@"
RUNBOOKS = "@RUNBOOKS@"
_TASK, _SLO, _BUDGET, _PERCENT, _BOUND, _LEAST = (
    "@TASK@",
    "@SLO@",
    "@BUDGET@",
    "@PERCENT@",
    "@BOUND@",
    "@MIN_REQUESTS@",
)
_WINDOW = "5m"


def chart_files() -> dict[str, str]:
    """Every file's text, by its path in the chart's folder."""
    made = build(BuildOptions(JOB, RUNBOOKS))
    boards = {f"files/dashboards/{name.removeprefix('grafana/')}": made[name] for name in made if "grafana/" in name}
    rules = {f"files/rules/{name.removeprefix('prometheus/')}": made[name] for name in made if "prometheus/" in name}
    data = {"files/rules/slo.json": _slo(), "files/scaling.json": _scaling()}
    own = {"values.schema.json": chart_schema(), "files/ray-environment.yaml": ray_environment_file()}
    return {**boards, **rules, **own, **{name: json.dumps(one, indent=2) + "\n" for name, one in data.items()}}


def _slo() -> dict[str, Any]:
    """The rules of one objective; `defaults` are those of a task's section `slo`."""
    scope = Scope(equals(JOB), _WINDOW)
    settings = SloSettings()
    return {
        "defaults": {
            "availability": settings.availability,
            "target": LatencyObjective.model_fields["target"].default,
            "minRequests": settings.min_requests,
        },
        "budget": slo_budget(scope, _TASK, _SLO, _BUDGET).to_rule(),
        "burns": [
            {
                "factor": burn.factor,
                "alert": slo_alert(scope, burn, _watched(Query(_LEAST, frozenset()))).to_rule(RUNBOOKS),
                "alertWithoutMinimum": slo_alert(scope, burn, _watched(0)).to_rule(RUNBOOKS),
            }
            for burn in BURNS
        ],
    }


def _watched(min_requests: Query | float) -> Watched:
    return Watched(_TASK, _SLO, Query(_BOUND, frozenset()), _PERCENT, min_requests)


def _scaling() -> dict[str, Any]:
    return {
        one.name: {"metric": one.metric, "query": " ".join(one.query.text.split()), "meaning": one.meaning}
        for one in measures(Scope(equals(JOB), _WINDOW))
    }

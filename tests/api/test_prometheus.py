"""A real Prometheus scrapes the gateway: every query of every panel and every rule is evaluated by it."""

import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from monitoring.catalogue import (
    ADAPTER_UNLOADS,
    ANSWERS_FORGOTTEN,
    ENGINE_SERIES_MISSING,
    SERIES_DROPPED,
    SHADOW_DROPPED,
    SPANS,
)
from monitoring.dashboards.boards import DASHBOARDS
from monitoring.dashboards.build import BuildOptions, alerts, objectives, recordings, rules_in
from monitoring.dashboards.foreign import ENGINE, HARDWARE
from monitoring.dashboards.promql import Query, Scope, equals
from monitoring.dashboards.rules import Alert
from monitoring.dashboards.scaling import measures
from monitoring.spec import MetricSpec
from serving.objectives import objectives_of
from tests.lifecycle import until
from tests.living import Living
from tests.meta.sources import ROOT
from tests.observing import flush
from tests.prometheus_host import Prometheus
from tests.scripted import filled, watched

SILENT: dict[MetricSpec, str] = {
    SHADOW_DROPPED: "no copy is dropped without overload",
    ADAPTER_UNLOADS: "an idle version leaves after a minute",
    ANSWERS_FORGOTTEN: "the database is there",
    SERIES_DROPPED: "every label value is shown",
    SPANS: "nothing is traced",
    ENGINE_SERIES_MISSING: "the engine promises no series",
    **dict.fromkeys(ENGINE, "the engine is not vLLM"),
    **dict.fromkeys(HARDWARE, "no exporter of the hardware runs"),
}
"""Metrics that have no series under this workload, and why."""

EMPTY = {("loraplex-adapters", "Not ready"): "every version is ready"}
"""Panels that ask for something that did not happen, of metrics that are there."""


async def test_every_query_is_answered_by_a_real_prometheus(tmp_path: Path) -> None:
    async with watched(tmp_path) as world:
        it, server = world.living, world.server
        await world.set_up()
        await world.fill_reference()
        for _ in range(2):
            await world.work()
            await flush(it.gateway)
            await server.until_scraped(3)
        rules = await _evaluated(server)

        assert {rule["name"]: rule.get("lastError", "") for rule in rules if rule["health"] != "ok"} == {}
        answered = [(place, query, await _answers(server, query)) for place, query in chain(_queries(), _measures())]
        empty = [(*place, query.text) for place, query, found in answered if not found and place not in EMPTY]
        assert empty == []
        told = {spec for spec in SILENT if await server.query(_exists(spec))}
        assert {spec.name for spec in told} == set(), "these are measured now; take them out of SILENT"
        blind = {rule.name: missing for rule in _alerts(it) if (missing := await _blind(server, rule.query))}
        assert blind == {}
        for text in _runbook_queries():
            await server.query(text)


async def _evaluated(server: Prometheus) -> list[Any]:
    """The rules, once each has been evaluated."""

    async def known() -> bool:
        return all(rule["health"] != "unknown" for rule in await server.rules())

    await until(known, "the evaluation of every rule")
    await server.until_scraped(2)
    return await server.rules()


async def _answers(server: Prometheus, query: Query) -> bool:
    """Whether a query has data now; one of silent metrics alone need not."""
    found = await server.query(filled(query.text))
    return bool(found) or bool(query.metrics & SILENT.keys())


async def _blind(server: Prometheus, query: Query) -> list[str]:
    """The metrics that an alert reads and nobody tells."""
    await server.query(query.text)
    return [spec.name for spec in query.metrics - SILENT.keys() if not await server.query(_exists(spec))]


def _queries() -> Iterator[tuple[tuple[str, str], Query]]:
    """Every query of a dashboard, by page and panel."""
    for board in DASHBOARDS:
        for variable in board.variables:
            series = variable.series.folded("group", variable.values_of)
            yield (board.uid, f"${variable.name}"), series
        for panel in board.panels():
            for target in panel.targets:
                yield (board.uid, panel.title), target.query


def _measures() -> Iterator[tuple[tuple[str, str], Query]]:
    """What an autoscaler asks."""
    yield from ((("scaling", one.name), one.query) for one in measures(Scope(equals("loraplex"), "5m")))


def _runbook_queries() -> Iterator[str]:
    for page in sorted((ROOT / "docs" / "runbooks").glob("*.md")):
        yield from re.findall(r"```promql\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def _alerts(it: Living) -> Iterator[Alert]:
    options = BuildOptions(objectives=objectives_of(it.config))
    found, _ = rules_in((*recordings(options), *alerts(options), *objectives(options)))
    yield from found


def _exists(spec: MetricSpec) -> str:
    return f"group({spec.name}{'_count' if spec.kind == 'histogram' else ''})"


@pytest.mark.parametrize("place", EMPTY, ids=lambda place: place[1])
def test_an_excepted_panel_exists(place: tuple[str, str]) -> None:
    assert place in {(board.uid, panel.title) for board in DASHBOARDS for panel in board.panels()}

"""Frames of ``loraplex top``: numbers from scrapes, and what they look like."""

import io
import json
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from rich.console import Console

from adapters.types import Holding, HoldingStatus, Tier
from monitoring.catalogue import REQUESTS
from monitoring.metrics import GatewayMetrics, RequestRecord
from monitoring.readings import Exposition, read_exposition
from serving.cli.live_frame import SORTS, Admin, Frame, ReplicaRow, Row, make_frame, next_sort, sorted_rows
from serving.cli.live_view import Look, render_frame, render_waiting
from serving.cli.top import _SORTS

ONE, TWO = "triage@11111111", "triage@22222222"


class Gateway:
    """A replica's real metrics, without a gateway."""

    def __init__(self, name: str = "r0") -> None:
        self.metrics = GatewayMetrics(CollectorRegistry(), replica=name)
        self.metrics.set_catalog_reachable(reachable=True)

    def answer(self, count: int, *, version: str = ONE, outcome: str = "ok", first_s: float = 0.2) -> None:
        """So many requests that ended."""
        for _ in range(count):
            self.metrics.request_started("support")
            self.metrics.request_finished(
                RequestRecord(
                    "support",
                    version,
                    "stable",
                    outcome,
                    duration_s=first_s * 2,
                    first_token_s=first_s,
                    completion_tokens=10,
                )
            )

    def scrape(self, at: float, extra: str = "") -> Exposition:
        """What it would answer at a moment."""
        return read_exposition(self.metrics.render().decode() + extra, at)


def listed(**changes: Any) -> Admin:
    held = {"version": ONE, "status": "ready", "tier": "slot", "in_flight": 2, "pinned": True}
    replica = {"replica": "r0", "ready": True, "revision": 7, "holdings": [held]}
    event = {
        "at": "2025-06-01T12:00:00+00:00",
        "actor": "olga",
        "action": "promote",
        "alias": "triage",
        "version": ONE,
        "detail": "first version",
    }
    return Admin({"revision": 7, "replicas": [replica | changes]}, {"data": [event]})


def frame(before: Exposition | None, after: Exposition, admin: Admin | None = None, **options: Any) -> Frame:
    return make_frame("http://gateway", before, after, admin or listed(), at=1_750_000_000.0, **options)


def two_scrapes() -> Frame:
    gateway = Gateway()
    gateway.answer(100)
    before = gateway.scrape(0.0)
    gateway.answer(18, first_s=0.2)
    gateway.answer(2, first_s=4.0, outcome="server_error")
    return frame(before, gateway.scrape(10.0))


def shown(found: Frame, width: int = 200, height: int | None = None, look: Look | None = None) -> list[str]:
    """The lines of a frame."""
    out = Console(width=width, file=io.StringIO(), force_terminal=False, highlight=False, emoji=False)
    with out.capture() as capture:
        out.print(render_frame(found, width, height, look))
    return capture.get().rstrip("\n").split("\n")


def test_rates_shares_and_quantiles_are_of_the_time_between_two_scrapes() -> None:
    [row] = two_scrapes().rows

    assert (row.task, row.adapter, row.role) == ("support", ONE, "stable")
    assert row.requests_per_s == pytest.approx(2.0)
    assert row.error_share == pytest.approx(0.1)
    assert row.tokens_per_s == pytest.approx(20.0)
    assert row.ttft_p50_s is not None
    assert row.ttft_p95_s is not None
    assert 0.1 < row.ttft_p50_s <= 0.25
    assert 2.5 < row.ttft_p95_s <= 5.0
    assert row.duration_p95_s is not None
    assert row.duration_p95_s > row.ttft_p95_s


def test_one_scrape_has_no_rates_but_knows_the_versions() -> None:
    gateway = Gateway()
    gateway.answer(3)
    found = frame(None, gateway.scrape(0.0))
    [row] = found.rows

    assert found.window_s is None
    assert (row.requests_per_s, row.error_share, row.ttft_p95_s) == (None, None, None)


def test_a_version_without_requests_in_the_window_has_a_rate_of_zero_and_no_share() -> None:
    gateway = Gateway()
    gateway.answer(3)
    [row] = frame(gateway.scrape(0.0), gateway.scrape(5.0)).rows

    assert (row.requests_per_s, row.error_share, row.ttft_p50_s) == (0.0, None, None)


def test_several_replicas_are_one_row() -> None:
    one, two = Gateway("r0"), Gateway("r1")
    one.answer(1)
    two.answer(1)

    def both(at: float) -> Exposition:
        return read_exposition((one.metrics.render() + two.metrics.render()).decode(), at)

    before = both(0.0)
    one.answer(4)
    two.answer(6)

    assert [row.requests_per_s for row in frame(before, both(10.0)).rows] == [pytest.approx(1.0)]


def test_what_clients_get_wrong_is_no_error() -> None:
    gateway = Gateway()
    before = gateway.scrape(0.0)
    for outcome in ("client_error", "cancelled", "contract_violated", "ok"):
        gateway.answer(1, outcome=outcome)
    for outcome in ("overloaded", "unavailable", "timeout", "server_error"):
        gateway.answer(1, outcome=outcome)

    assert [row.error_share for row in frame(before, gateway.scrape(1.0)).rows] == [0.5]


def test_quality_and_drift_are_shown_where_they_are_measured() -> None:
    gateway = Gateway()
    gateway.answer(1)
    extra = (
        f'loraplex_quality_score_ratio{{replica="r0",task="support",adapter="{ONE}"}} 0.9\n'
        f'loraplex_quality_score_ratio{{replica="r1",task="support",adapter="{ONE}"}} 0.7\n'
        'loraplex_drift_detected{replica="r0",task="support",signal="topics"} 1\n'
        'loraplex_drift_detected{replica="r0",task="support",signal="language"} 0\n'
        'loraplex_observer_up{replica="r0"} 0\n'
    )
    found = frame(None, gateway.scrape(0.0, extra))
    [row] = found.rows
    text = "\n".join(shown(found))

    assert (row.quality, row.drift, found.observer_up) == (0.7, ("topics",), False)
    assert found.notes == ()
    assert "topics" in text
    assert "0.70" in text
    assert "The observer is down" in text


def test_without_them_the_columns_are_empty_and_a_line_says_why() -> None:
    found = two_scrapes()
    [row] = found.rows

    assert (row.quality, row.drift, found.observer_up) == (None, None, None)
    assert "quality and drift: this gateway measures none yet" in "\n".join(shown(found))


def test_without_the_admin_api_the_metrics_tell_what_is_loaded() -> None:
    gateway = Gateway()
    gateway.metrics.set_residency([Holding(ONE, HoldingStatus.READY, Tier.CPU, in_flight=3)])
    found = frame(None, gateway.scrape(0.0), Admin(problem="catalog_unavailable"))
    [replica] = found.replicas
    text = "\n".join(shown(found))

    assert (replica.replica, replica.ready, replica.revision) == ("r0", None, None)
    assert [(held.version, held.tier, held.in_flight, held.pinned) for held in replica.held] == [(ONE, "cpu", 3, None)]
    assert "no admin API (catalog_unavailable)" in text
    assert f"{ONE} cpu, 3 in flight" in text


def test_rollouts_come_from_the_metrics() -> None:
    extra = (
        f'loraplex_rollout_phase{{replica="r0",alias="triage",adapter="{TWO}",phase="rolled_back"}} 1\n'
        f'loraplex_rollout_share_ratio{{replica="r0",alias="triage",adapter="{TWO}"}} 0.25\n'
    )
    found = frame(None, Gateway().scrape(0.0, extra))

    assert [(each.candidate, each.phase, each.share) for each in found.rollouts] == [(TWO, "rolled_back", 0.25)]
    assert f"rollout of triage: {TWO} rolled back, 25% of callers" in "\n".join(shown(found))


def test_what_is_wrong_with_the_gateway_stands_at_the_top() -> None:
    gateway = Gateway()
    gateway.metrics.set_catalog_reachable(reachable=False)
    gateway.metrics.set_silent_replicas(2)
    found = frame(None, gateway.scrape(0.0), listed(ready=False), state="loading adapters")
    lines = shown(found, look=Look(problem="No gateway answers."))

    assert "not ready: loading adapters" in lines[0]
    head = "\n".join(lines[:6])
    assert "No newer frame: No gateway answers." in head
    assert "The catalog cannot be read" in head
    assert "do not answer the scrape: 2" in head
    assert "0/1 replicas ready" in head


def test_a_frame_is_json() -> None:
    told = json.loads(json.dumps(two_scrapes().to_json()))

    assert told["rows"][0]["task"] == "support"
    assert told["window_s"] == 10.0
    assert told["changes"][0]["who"] == "olga"
    assert told["replicas"][0]["held"][0]["pinned"] is True


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    lines = shown(two_scrapes(), width)

    assert max(len(line) for line in lines) <= width
    assert any(line.startswith("support") for line in lines)


def test_a_narrow_terminal_keeps_the_important_columns_and_a_wide_one_has_all() -> None:
    narrow = next(line for line in shown(two_scrapes(), 40) if line.startswith("Task"))
    wide = next(line for line in shown(two_scrapes(), 200) if line.startswith("Task"))

    assert narrow.split()[:2] == ["Task", "req/s"]
    assert "TTFT p95" in narrow
    assert "E2E" not in narrow
    for title in ("Version", "Role", "req/s", "Errors", "TTFT p50", "TTFT p95", "E2E p95", "tok/s", "Quality", "Drift"):
        assert title in wide


@pytest.mark.parametrize("height", [10, 24, 60])
def test_a_low_terminal_gets_the_first_versions_and_a_count_of_the_rest(height: int) -> None:
    gateway = Gateway()
    for number in range(50):
        gateway.answer(1, version=f"triage@{number:08d}")
    lines = shown(frame(None, gateway.scrape(0.0)), 100, height, Look(keys=True))
    versions = [line for line in lines if line.startswith("support")]

    assert len(lines) <= max(height, 15)
    assert len(versions) >= 3
    assert any(f"… and {50 - len(versions)} more" in line for line in lines)
    assert "q quit" in lines[-1]


def rows() -> list[Row]:
    return [
        Row("a", ONE, "stable", requests_per_s=1, ttft_p95_s=5, error_share=0, quality=0.9, drift=()),
        Row("b", ONE, "stable", requests_per_s=9, ttft_p95_s=1, error_share=0.5, quality=None, drift=None),
        Row("c", ONE, "stable", requests_per_s=3, ttft_p95_s=None, error_share=None, quality=0.2, drift=("topics",)),
    ]


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("traffic", "bca"),
        ("ttft", "abc"),
        ("errors", "bca"),
        ("quality", "cab"),
        ("drift", "cba"),
        ("name", "abc"),
    ],
)
def test_an_order_puts_the_busiest_or_worst_first(sort: str, expected: str) -> None:
    assert "".join(row.task for row in sorted_rows(rows(), sort)) == expected


def test_the_command_offers_every_order_and_the_key_goes_through_them() -> None:
    assert tuple(SORTS) == _SORTS
    seen = ["traffic"]
    for _ in SORTS:
        seen.append(next_sort(seen[-1]))
    assert seen == [*SORTS, "traffic"]


def test_names_of_others_command_no_terminal() -> None:
    labels = 'task="support",adapter="evil\x1b[2J[bold]@1\\nx",role="stable",outcome="ok",replica="r0"'
    scrape = Gateway().scrape(0.0, f"{REQUESTS.name}{{{labels}}} 1\n")
    found = frame(None, scrape, listed(replica="\x1b]0;x\x07"))
    text = "\n".join(shown(found))

    assert "\x1b" not in text
    assert "\x07" not in text
    assert "[bold]" in text


def test_before_the_first_frame_the_screen_says_what_it_waits_for() -> None:
    out = Console(width=60, file=io.StringIO())
    with out.capture() as capture:
        out.print(render_waiting("http://gateway", "No gateway answers."))
    assert "No gateway answers." in capture.get()


def test_a_gateway_without_requests_says_so() -> None:
    lines = shown(frame(None, Gateway().scrape(0.0)))

    assert "No request yet." in lines


def test_many_replicas_are_cut_where_the_height_is_limited() -> None:
    found = frame(None, Gateway().scrape(0.0))
    many = tuple(ReplicaRow(f"r{number}", True, 7, ()) for number in range(12))
    crowded = replace(found, replicas=many)

    assert any("… and 8 more" in line for line in shown(crowded, 80, 30))
    assert not any("… and" in line for line in shown(crowded, 80))

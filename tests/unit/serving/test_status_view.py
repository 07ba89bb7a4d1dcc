"""What the status page says."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import pytest

from adapters.rollout_types import Phase, RolloutMark
from adapters.types import AdapterEvent, Alias, CatalogSnapshot, Holding, HoldingStatus, ReplicaReport, Tier
from serving.api.status_page import render_status
from serving.config import parse_config
from serving.overview import Overview
from serving.status_view import Facts, StatusView, clean, status_view

NOW = datetime(2025, 6, 1, 12, 0, tzinfo=UTC)
ONE, TWO = "triage@11111111", "triage@22222222"
HOSTILE = '</code></td><script>alert(1)</script><img src=x onerror="alert(1)"> {{ 7 * 7 }} & "quoted" \'single\''


class Reader(HTMLParser):
    """The tags, attributes and texts of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        """All texts."""
        return " ".join(self.texts)


def event(**changes: Any) -> AdapterEvent:
    base = AdapterEvent(NOW - timedelta(minutes=3), "olga", "promote", "triage", ONE, "first version")
    return replace(base, **changes)


def facts(*, holdings: tuple[Holding, ...] = (), events: tuple[AdapterEvent, ...] = (), **changes: Any) -> Facts:
    alias = Alias("triage", stable=ONE, canary=TWO, canary_share=0.25)
    mark = RolloutMark(1, "triage", TWO, ONE, Phase.CANARY, 0.25)
    snapshot = CatalogSnapshot(7, {}, {"triage": alias}, rollouts={"triage": mark})
    address = "http://127.0.0.1:1/secret-path/metrics"
    report = ReplicaReport("r0", 6, True, holdings, address, NOW - timedelta(seconds=2))
    base = Facts(
        overview=Overview(snapshot, (report,)),
        events=events,
        catalog_reachable=True,
        knowledge_answers=None,
        observer_behind=False,
        answers_observed=True,
        ready=True,
        message="ready",
        at=NOW,
    )
    return replace(base, **changes)


def view(found: Facts, **sections: Any) -> StatusView:
    tasks = {"support": {"adapter": "triage", "system_prompt": "a-secret-prompt"}, "plain": {}}
    return status_view(parse_config({"model": {"id": "org/base"}, "tasks": tasks} | sections), "r0", found)


def tone(shown: StatusView, name: str) -> tuple[str, str]:
    [part] = [part for part in shown.parts if part.name == name]
    return part.state, part.tone


def test_it_tells_aliases_with_their_shares_and_rollouts() -> None:
    [alias] = view(facts()).aliases

    assert (alias.stable, alias.canary, alias.share) == (ONE, TWO, "25%")
    assert alias.rollout == f"{TWO}: canary, 25% of callers"
    assert alias.tone == "unsure"


@pytest.mark.parametrize(
    ("phase", "expected"), [(Phase.PROMOTED, "good"), (Phase.ROLLED_BACK, "bad"), (Phase.SHADOW, "unsure")]
)
def test_a_rollout_has_the_tone_of_its_phase(phase: Phase, expected: str) -> None:
    mark = RolloutMark(1, "triage", TWO, ONE, phase, 0.5)
    snapshot = CatalogSnapshot(7, {}, {"triage": Alias("triage", stable=ONE)}, rollouts={"triage": mark})
    [alias] = view(facts(overview=Overview(snapshot, ()))).aliases

    assert alias.tone == expected
    assert ("of callers" in alias.rollout) == (phase is Phase.SHADOW)


def test_it_tells_what_is_loaded_where() -> None:
    held = Holding(ONE, HoldingStatus.READY, Tier.SLOT, pinned=True, in_flight=3)
    failed = Holding(TWO, HoldingStatus.FAILED, Tier.DISK, error="cannot read /srv/x", error_code="artifact_corrupt")
    [replica] = view(facts(holdings=(failed, held))).replicas

    assert (replica.name, replica.ready, replica.revision, replica.behind) == ("r0", True, 6, True)
    assert replica.reported == "2 s ago"
    assert [(each.version, each.tier, each.status, each.in_flight) for each in replica.holdings] == [
        (ONE, "slot", "ready", 3),
        (TWO, "disk", "failed", 0),
    ]
    assert [each.problem for each in replica.holdings] == ["", "artifact_corrupt"]
    assert replica.holdings[0].pinned


def test_it_tells_who_changed_what_when_and_why() -> None:
    [change] = view(facts(events=(event(),))).changes

    assert (change.ago, change.when) == ("3 min ago", "2025-06-01 11:57:00 UTC")
    assert (change.who, change.what, change.alias, change.version) == ("olga", "promote", "triage", ONE)
    assert change.why == "first version"


def test_a_task_is_told_with_what_answers_it() -> None:
    plain, support = view(facts()).tasks

    assert (plain.name, plain.adapter, plain.version) == ("plain", "", "")
    assert (support.name, support.adapter, support.version, support.retrieves) == ("support", "triage", ONE, False)


def test_every_part_says_how_it_is() -> None:
    good = view(facts(knowledge_answers=True))
    without = facts(knowledge_answers=False, observer_behind=True, answers_observed=False, ready=False)
    bad = view(replace(without, catalog_reachable=False))

    assert tone(good, "Engines") == ("1 of 1 ready", "good")
    assert tone(good, "Catalog") == ("revision 7", "good")
    assert tone(good, "Knowledge") == ("answers", "good")
    assert tone(good, "Rollouts")[1] == "good"
    assert tone(good, "Monitoring") == ("answers are observed", "good")
    assert tone(view(facts(answers_observed=None)), "Monitoring") == ("not configured", "plain")
    assert tone(view(facts()), "Knowledge") == ("not configured", "plain")
    assert [part.tone for part in bad.parts] == ["unsure", "bad", "bad", "bad", "bad"]


def test_replicas_that_are_missing_are_missed() -> None:
    assert tone(view(facts(), replicas=3), "Engines") == ("1 of 3 ready", "unsure")
    nobody = replace(facts(), overview=Overview(facts().overview.snapshot, ()))
    assert tone(view(nobody), "Engines") == ("0 of 1 ready", "bad")


def test_why_it_is_not_ready_is_the_headline() -> None:
    shown = view(facts(ready=False, message="waiting for adapters"))

    assert shown.headline == "Not ready: waiting for adapters"
    assert not shown.ready


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("two\nlines\tand\x00more", "two lines and?more"),
        ("turned \u202ename", "turned ?name"),
        ("from s3://user:word@bucket/key and ftp://a@b", "from s3://…@bucket/key and ftp://…@b"),
        ("mail a@b.example", "mail a@b.example"),
        ("x" * 300, "x" * 239 + "…"),
    ],
)
def test_texts_are_one_short_harmless_line(text: str, expected: str) -> None:
    assert clean(text) == expected


def test_hostile_names_and_reasons_stay_texts() -> None:
    alias = Alias(HOSTILE, stable=HOSTILE, canary=HOSTILE, canary_share=0.5, shadow=HOSTILE, previous=HOSTILE)
    mark = RolloutMark(1, HOSTILE, HOSTILE, HOSTILE, Phase.CANARY, 0.5)
    snapshot = CatalogSnapshot(1, {}, {HOSTILE: alias}, rollouts={HOSTILE: mark})
    held = Holding(HOSTILE, HoldingStatus.FAILED, Tier.SLOT, error_code=HOSTILE)
    found = facts(
        overview=Overview(snapshot, (ReplicaReport(HOSTILE, 1, True, (held,), None, NOW),)),
        events=(event(actor=HOSTILE, action=HOSTILE, alias=HOSTILE, version=HOSTILE, detail=HOSTILE),),
        ready=False,
        message=HOSTILE,
    )
    read = Reader(render_status(view(found), 10))

    assert {"script", "img"} & set(read.tags) == set()
    assert not [name for name, _ in read.attributes if name.startswith("on")]
    assert read.text.count("alert(1)") >= 12
    assert "{{ 7 * 7 }}" in read.text


def test_the_page_holds_no_prompt_no_path_and_no_address() -> None:
    failed = Holding(TWO, HoldingStatus.FAILED, Tier.DISK, error="cannot read /srv/x", error_code="artifact_corrupt")
    page = render_status(view(facts(holdings=(failed,), events=(event(),))))

    for secret in ("a-secret-prompt", "secret-path", "/srv/x"):
        assert secret not in page
    assert "artifact_corrupt" in page


def test_it_is_one_page_without_scripts_and_frames() -> None:
    read = Reader(render_status(view(facts(events=(event(),)))))

    assert {"script", "iframe", "form", "object"} & set(read.tags) == set()
    assert [value for name, value in read.attributes if name == "src"] == []
    assert {value for name, value in read.attributes if name == "href"} == {"data:,", "?refresh=10"}
    assert ("http-equiv", "refresh") not in read.attributes


def test_a_page_that_refreshes_says_so_and_how_to_stop() -> None:
    read = Reader(render_status(view(facts()), 30))

    assert ("http-equiv", "refresh") in read.attributes
    assert ("content", "30") in read.attributes
    assert ("href", "?") in read.attributes


def test_without_a_catalog_what_is_not_known_is_said() -> None:
    snapshot = facts().overview.snapshot
    read = Reader(render_status(view(facts(overview=Overview(snapshot, ()), catalog_reachable=False))))

    assert "The catalog cannot be read" in read.text
    assert read.text.count("Not known.") == 2
    assert ONE in read.text


def test_before_the_first_look_at_the_catalog_there_is_no_revision() -> None:
    empty = Overview(CatalogSnapshot(-1, {}, {}), ())
    text = Reader(render_status(view(facts(overview=empty, catalog_reachable=False)))).text

    assert "before its first look at the catalog" in text
    assert "nothing was promoted" in text

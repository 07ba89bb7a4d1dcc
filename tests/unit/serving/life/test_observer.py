"""What a replica counts of requests."""

import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import text as sql

from adapters import tables
from adapters.catalog import Catalog
from adapters.errors import CatalogUnavailable
from adapters.rollout_types import Phase, RoleCounts, RolloutMark, Sample
from adapters.sample_records import SampleRecords
from adapters.types import Alias, CatalogSnapshot, Role
from monitoring.metrics import GatewayMetrics, RequestRecord
from serving.answers import FinishedText
from serving.config import GatewayConfig, parse_config
from serving.engine.protocol import Endpoint
from serving.life.latency import bucket_of
from serving.life.observer import Observer, Watch
from serving.tasks import Resolution, resolve

OLD, NEW = "triage@11111111", "triage@22222222"
CONFIG = parse_config(
    {
        "model": {"id": "org/base"},
        "tasks": {
            "free": {"adapter": "triage"},
            "yesno": {"adapter": "triage", "output": {"choice": ["yes", "no"]}},
        },
    }
)


def shown(phase: Phase = Phase.CANARY) -> CatalogSnapshot:
    alias = Alias("triage", stable=OLD, canary=NEW, canary_share=1.0)
    mark = RolloutMark(7, "triage", NEW, OLD, phase, 1.0)
    return CatalogSnapshot(1, {}, {"triage": alias}, rollouts={"triage": mark})


def resolution(version: str = NEW, role: Role = Role.CANARY, task: str = "free") -> Resolution:
    return Resolution(task, task, CONFIG.tasks[task], version, role)


def watch(counts: RoleCounts, *, has_contract: bool = False, refusal: str | None = None) -> Watch:
    return Watch(counts, has_contract=has_contract, refusal=refusal)


def record(outcome: str = "ok", **changes: Any) -> RequestRecord:
    return RequestRecord("free", NEW, "canary", outcome=outcome, duration_s=0.5, **changes)


def text(content: str, reason: str = "stop") -> FinishedText:
    return FinishedText({}, content, reason)


@pytest.fixture
def catalog(state_url: str) -> Iterator[Catalog]:
    catalog = Catalog(state_url)
    catalog.migrate()
    yield catalog
    catalog.close()


@pytest.fixture
async def observer(catalog: Catalog) -> AsyncIterator[Observer]:
    observer = _observer(CONFIG, catalog)
    yield observer
    await observer.stop()


def _observer(config: GatewayConfig, catalog: Catalog) -> Observer:
    return Observer(config, catalog, GatewayMetrics(CollectorRegistry(), replica="r0"), "r0")


def signals(*texts: FinishedText, of: RequestRecord | None = None, **options: Any) -> dict[str, list[int]]:
    counts = RoleCounts()
    made = watch(counts, **options)
    made.texts(texts)
    made.ended(of or record())
    return counts.signals


GOOD = {"errors": [1, 0], "refusal": [1, 0], "incomplete": [1, 0]}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (text("Paris."), GOOD),
        (text("I'm sorry, but I can't help with that."), GOOD | {"refusal": [1, 1]}),
        (text("Paris is the", "length"), GOOD | {"incomplete": [1, 1]}),
        (text("  \n"), GOOD | {"incomplete": [1, 1]}),
        (text("", "tool_calls"), GOOD),
    ],
)
def test_an_answer_is_looked_at(given: FinishedText, expected: dict[str, list[int]]) -> None:
    assert signals(given) == expected


def test_one_bad_text_of_several_makes_a_request_bad() -> None:
    assert signals(text("Paris."), text("")) == GOOD | {"incomplete": [1, 1]}


def test_a_contract_is_counted_where_there_is_one() -> None:
    broken = record("contract_violated", contract_violation="mismatch")
    assert signals(text("maybe"), of=broken, has_contract=True) == GOOD | {"contract": [1, 1]}
    assert signals(text("yes"), has_contract=True) == GOOD | {"contract": [1, 0]}


@pytest.mark.parametrize("outcome", ["server_error", "timeout", "unavailable"])
def test_what_the_server_got_wrong_is_an_error(outcome: str) -> None:
    assert signals(of=record(outcome)) == {"errors": [1, 1]}


@pytest.mark.parametrize("outcome", ["client_error", "cancelled", "overloaded"])
def test_what_the_caller_got_wrong_or_broke_off_is_neither_good_nor_bad(outcome: str) -> None:
    assert signals(text(""), of=record(outcome)) == {}


def test_a_stream_is_measured_by_its_first_token() -> None:
    counts = RoleCounts()
    watch(counts).ended(record(first_token_s=0.1))
    watch(counts).ended(record())
    assert {kind: sum(found.values()) for kind, found in counts.seconds.items()} == {"first_token": 1, "whole": 1}


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"streamed": True, "first_token_s": 0.1}, {"first_token": 0.1}),
        ({"streamed": True}, {"first_token": 0.5}),
        ({}, {"whole": 0.5}),
    ],
)
def test_how_long_a_request_took_until_it_was_broken_off_counts(
    changes: dict[str, Any], kind: dict[str, float]
) -> None:
    """Else a version that hangs would look as good as one that nobody asks."""
    counts = RoleCounts()
    watch(counts).ended(record("cancelled", **changes))
    assert counts.signals == {}
    assert counts.seconds == {name: {bucket_of(seconds): 1} for name, seconds in kind.items()}


async def test_requests_that_were_all_broken_off_are_written_too(observer: Observer) -> None:
    observer.start(shown)
    made = observer.watch(resolution(), shown())
    assert made is not None
    made.ended(record("cancelled"))
    await observer.flush()
    assert sum(observer.records.totals(7)["canary"].seconds["whole"].values()) == 1


def test_only_versions_under_watch_in_their_roles_are_counted(observer: Observer) -> None:
    assert observer.watch(resolution(), shown()) is not None
    assert observer.watch(resolution(OLD, Role.STABLE), shown()) is not None
    assert observer.watch(resolution(NEW, Role.EXACT), shown()) is None
    assert observer.watch(resolution("triage@33333333"), shown()) is None
    assert observer.watch(resolution(), shown(Phase.EXAMINING)) is None
    base = resolve("base", shown(), CONFIG, "key")
    assert observer.watch(base, shown()) is None


def test_a_shadows_copies_count_for_the_candidate_alone(observer: Observer) -> None:
    primary = resolution(OLD, Role.STABLE)
    assert observer.watch_shadow(NEW, primary, shown(Phase.SHADOW)) is not None
    assert observer.watch_shadow(OLD, primary, shown(Phase.SHADOW)) is None
    assert observer.watch_shadow("triage@33333333", primary, shown(Phase.SHADOW)) is None


async def test_counts_are_written_whole_and_again_only_where_they_grew(observer: Observer, catalog: Catalog) -> None:
    observer.start(shown)
    for _ in range(3):
        made = observer.watch(resolution(), shown())
        assert made is not None
        made.ended(record())
        await observer.flush()
        await observer.flush()
    assert observer.records.totals(7)["canary"].signals["errors"] == [3, 0]
    other = _observer(CONFIG, catalog)
    other.start(shown)
    made = other.watch(resolution(OLD, Role.STABLE, "yesno"), shown())
    assert made is not None
    made.ended(record())
    await other.stop()
    assert observer.records.totals(7)["stable"].signals["contract"] == [1, 0]


async def test_what_could_not_be_written_is_written_later(observer: Observer, catalog: Catalog) -> None:
    observer.start(shown)
    made = observer.watch(resolution(), shown())
    assert made is not None
    made.ended(record())
    answered(observer, 1)
    rename_table(catalog, tables.requests.name, "away")
    with pytest.raises(CatalogUnavailable):
        await observer.flush()
    answered(observer, 2)
    rename_table(catalog, "away", tables.requests.name)
    await observer.flush()
    assert observer.records.totals(7)["canary"].signals["errors"] == [1, 0]
    assert observer.records.judge("req-1", None, 1.0, None) is not None
    assert observer.records.judge("req-2", None, 1.0, None) is not None


def rename_table(catalog: Catalog, name: str, other: str) -> None:
    with catalog.database.writing() as connection:
        connection.execute(sql(f"ALTER TABLE {name} RENAME TO {other}"))


async def test_an_answer_of_a_watched_role_names_its_rollout(observer: Observer) -> None:
    answered(observer, 1)
    answered(observer, 2, resolution(NEW, Role.EXACT))
    await observer.flush()
    first, second = (observer.records.judge(f"req-{number}", "ann", 1.0, None) for number in (1, 2))
    assert first is not None
    assert second is not None
    assert (first.rollout, first.role, second.rollout, second.role) == (7, "canary", None, "exact")
    now = datetime.now(UTC)
    assert (now - first.at).total_seconds() < 60


async def test_without_feedback_no_answer_is_remembered(catalog: Catalog) -> None:
    config = parse_config({"model": {"id": "org/base"}, "feedback": {"enabled": False}})
    observer = _observer(config, catalog)
    answered(observer, 1)
    await observer.flush()
    assert observer.records.judge("req-1", None, 1.0, None) is None
    await observer.stop()


def answered(observer: Observer, number: int, of: Resolution | None = None) -> None:
    observer.answered(
        of or resolution(), shown(), response_id=f"chatcmpl-{number}", request_id=f"req-{number}", caller="ann"
    )


SAMPLED = parse_config(
    {
        "model": {"id": "org/base"},
        "tasks": {"free": {"adapter": "triage"}},
        "adapters": {
            "rollouts": {
                "triage": {
                    "signals": {
                        "samples": {
                            "share": 1.0,
                            "judge": {"url": "http://judge/v1", "model": "m", "rubric": "Be right."},
                        }
                    }
                }
            }
        },
    }
)
ASKED = (Endpoint.CHAT, {"model": "free", "messages": [{"role": "user", "content": "Which city?"}]})


@pytest.fixture
async def sampling(catalog: Catalog) -> AsyncIterator[Observer]:
    observer = _observer(SAMPLED, catalog)
    observer.start(shown)
    yield observer
    await observer.stop()


def samples(catalog: Catalog) -> list[Sample]:
    candidate, stable = SampleRecords(catalog, "test").newest(7, "judge", 10)
    return [*candidate, *stable]


async def test_a_request_that_ended_well_becomes_a_sample(sampling: Observer, catalog: Catalog) -> None:
    made = sampling.watch(resolution(), shown(), ASKED)
    copy = sampling.watch_shadow(NEW, resolution(OLD, Role.STABLE), shown(Phase.SHADOW), ASKED)
    for each, answer in ((made, "Paris."), (copy, "Rome.")):
        assert each is not None
        each.texts([text("", "tool_calls"), text(answer)])
        each.ended(record(), ["Paris is a city."])
    await sampling.flush()
    found = samples(catalog)
    assert [(sample.role, sample.version) for sample in found] == [("shadow", NEW), ("canary", NEW)]
    assert json.loads(found[1].content) == {
        "messages": [{"role": "user", "content": "Which city?"}],
        "context": ["Paris is a city."],
        "answer": "Paris.",
    }


@pytest.mark.parametrize("outcome", ["server_error", "cancelled", "client_error"])
async def test_a_request_that_did_not_end_well_is_no_sample(sampling: Observer, catalog: Catalog, outcome: str) -> None:
    made = sampling.watch(resolution(), shown(), ASKED)
    assert made is not None
    made.texts([text("Paris.")])
    made.ended(record(outcome))
    await sampling.flush()
    assert samples(catalog) == []


async def test_beside_a_shadow_only_a_request_that_was_copied_is_a_sample(sampling: Observer, catalog: Catalog) -> None:
    for copied in (False, True):
        made = sampling.watch(resolution(OLD, Role.STABLE), shown(Phase.SHADOW), ASKED)
        assert made is not None
        made.copied = copied
        made.texts([text("Rome." if copied else "Paris.")])
        made.ended(record())
    await sampling.flush()
    assert [json.loads(sample.content)["answer"] for sample in samples(catalog)] == ["Rome."]


async def test_a_sample_that_could_not_be_written_is_let_go(sampling: Observer, catalog: Catalog) -> None:
    made = sampling.watch(resolution(), shown(), ASKED)
    assert made is not None
    made.texts([text("Paris.")])
    made.ended(record())
    with catalog.database.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE answer_samples RENAME TO away")
    with pytest.raises(CatalogUnavailable):
        await sampling.flush()
    with catalog.database.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE away RENAME TO answer_samples")
    await sampling.flush()
    assert samples(catalog) == []
    assert sampling.records.totals(7)["canary"].signals["errors"] == [1, 0]

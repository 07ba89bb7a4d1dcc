"""``loraplex doctor`` from outside: replicas, residency, rollouts, metrics. Each test breaks one thing."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import insert, update

from adapters.tables import rollouts
from adapters.types import Holding, HoldingStatus, ReplicaReport, Tier
from serving.account import NOT_PROBED
from serving.doctor.finding import Finding, Level
from serving.doctor.visit import Wishes
from serving.engine.protocol import EngineAdapterError
from tests.doctoring import PROMPTLY, Answer, look, look_through, of, only
from tests.lifecycle import until
from tests.living import Living, living

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def steady(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Living]:
    """The same for all tests that leave it as it is."""
    async with living(tmp_path_factory.mktemp("steady")) as made:
        await made.add(1, promote=True)
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def it(tmp_path: Path) -> AsyncIterator[Living]:
    """A gateway with one adapter."""
    async with living(tmp_path) as made:
        await made.add(1, promote=True)
        yield made


def url_of(it: Living) -> str:
    return str(it.http.base_url)


async def look_beside(it: Living, **report: Any) -> list[Finding]:
    """What is found while a second replica says ``report`` of itself."""
    catalog = it.plane.catalog
    revision = catalog.snapshot().revision
    values: dict[str, Any] = {
        "revision": revision,
        "ready": True,
        "holdings": (held(it),),
        "address": await _address(it),
    }
    catalog.report(ReplicaReport("r1", **(values | report)))
    return await look(url_of(it))


def held(it: Living, **holding: Any) -> Holding:
    """The stable version, held."""
    stable = it.plane.catalog.snapshot().aliases["triage"].stable
    return Holding(**({"version": stable, "status": HoldingStatus.READY, "tier": Tier.SLOT} | holding))


async def _address(it: Living) -> str:
    """Where the first replica tells its metrics: the second one tells the same."""
    [report] = it.plane.catalog.replicas(5)
    assert report.address is not None
    return report.address


async def test_two_replicas_that_are_well_are_no_fault(it: Living) -> None:
    found = await look_beside(it)

    assert "2 ready" in only(found, "replicas", Level.OK).message
    only(found, "residency", Level.OK)


async def test_without_any_replica_there_is_a_fault(steady: Living) -> None:
    def nobody(answer: Answer) -> None:
        answer.edit(lambda data: data["replicas"].clear())

    found = await look_through(steady.gateway.app, "/admin/v1/adapters", nobody)
    assert "No replica has reported" in only(found, "replicas", Level.FAIL).message


async def test_fewer_replicas_than_there_should_be_are_told(steady: Living) -> None:
    found = await look(url_of(steady), wishes=Wishes(replicas=3, patience_s=PROMPTLY.patience_s))

    assert only(found, "replicas", Level.WARN).message == "1 of 3 replicas report."


async def test_a_replica_that_is_not_ready_is_told(it: Living) -> None:
    assert only(await look_beside(it, ready=False), "replicas", Level.WARN).message == "r1 is not ready."


async def test_a_replica_that_lags_behind_the_catalog_is_told(it: Living) -> None:
    finding = only(await look_beside(it, revision=1), "replicas", Level.FAIL)

    assert finding.message.startswith("r1 serves by revision 1 of the catalog, which is at 4")


async def test_a_silent_replica_is_told_by_its_name(it: Living) -> None:
    found = of(await look_beside(it, address="http://127.0.0.1:9/metrics"), "replicas")

    assert [finding.level for finding in found] == [Level.OK, Level.FAIL]
    assert "A replica is silent: r1 does not tell its metrics." in found[1].message


@pytest.mark.parametrize(
    ("holding", "level", "told"),
    [
        (None, Level.WARN, "r1 does not hold"),
        ({"status": HoldingStatus.LOADING}, Level.WARN, "r1 still loads"),
        ({"status": HoldingStatus.DRAINING}, Level.WARN, "r1 is letting go of"),
        ({"status": HoldingStatus.FAILED, "error": "the disk is full"}, Level.FAIL, "cannot load"),
        ({"error": "no logprobs", "error_code": NOT_PROBED}, Level.WARN, "whose effect was not measured: no logprobs"),
    ],
)
async def test_what_a_replica_lacks_is_told(
    it: Living, holding: dict[str, Any] | None, level: Level, told: str
) -> None:
    found = await look_beside(it, holdings=() if holding is None else (held(it, **holding),))
    finding = only(found, "residency", level)

    assert told in finding.message
    assert "stable of triage" in finding.message


async def test_a_version_that_an_engine_refuses_is_told_with_its_cause(it: Living) -> None:
    version = await it.add(2)
    it.engine.refuse_load[version] = "its rank is a secret"
    it.plane.catalog.pin(version, "tester")

    async def failed() -> bool:
        replicas = (await it.admin("GET", "/replicas"))["data"]
        return any(one["status"] == "failed" for replica in replicas for one in replica["holdings"])

    await until(failed)
    finding = only(await look(url_of(it)), "residency", Level.FAIL)
    assert f"r0 cannot load {version} (pinned)" in finding.message
    assert "its rank is a secret" in finding.message
    assert f"loraplex adapters verify {version}" in finding.next


async def test_a_gateway_without_adapters_lacks_nothing(tmp_path: Path) -> None:
    async with living(tmp_path) as it:
        found = await look(url_of(it))

    assert "nothing has to be loaded" in only(found, "residency", Level.OK).message
    assert only(found, "version", Level.OK).message == "tiny-llama was answered by base, as it should be."


# Rollouts


@pytest_asyncio.fixture(loop_scope="module")
async def idle(tmp_path: Path) -> AsyncIterator[Living]:
    """A gateway whose control plane lets rollouts lie."""
    async with living(tmp_path, life={"folder": str(tmp_path / "life"), "check_interval_s": 3600.0}) as made:
        await made.add(1, promote=True)
        yield made


async def _with_rollout(it: Living, **values: Any) -> list[Finding]:
    """What is found where the last rollout of ``triage`` is as ``values`` say."""
    now = datetime.now(UTC)
    stable = it.plane.catalog.snapshot().aliases["triage"].stable
    row: dict[str, Any] = {
        "alias": "triage",
        "candidate": stable,
        "phase": "examining",
        "share": 0.0,
        "policy": {},
        "state": {},
        "reason": "waits for its suite",
        "actor": "tester",
        "generation": 1,
        "started_at": now,
        "updated_at": now,
    }
    with it.plane.catalog.database.writing() as connection:
        connection.execute(insert(rollouts).values(**(row | values)))
    return await look(url_of(it))


async def test_a_rollout_in_progress_is_no_fault(idle: Living) -> None:
    assert "in progress: triage" in only(await _with_rollout(idle), "rollouts", Level.OK).message


async def test_a_rollout_that_stands_still_is_told(idle: Living) -> None:
    long_ago = datetime.now(UTC) - timedelta(hours=13)
    finding = only(await _with_rollout(idle, updated_at=long_ago), "rollouts", Level.WARN)

    assert "has been in the phase examining for 13 hours" in finding.message


async def test_a_rollout_that_could_not_be_carried_out_is_told(idle: Living) -> None:
    found = await _with_rollout(idle, phase="failed", reason="the control plane was killed", ended_at=datetime.now(UTC))

    assert "the control plane was killed" in only(found, "rollouts", Level.WARN).message


async def test_rollouts_that_are_not_told_are_a_fault(it: Living) -> None:
    await it.plane.life.stop()

    assert "is not told" in only(await look(url_of(it)), "rollouts", Level.FAIL).message


# The catalog


async def test_a_state_database_that_is_gone_is_told(it: Living) -> None:
    with it.plane.catalog.database.writing() as connection:
        connection.execute(update(rollouts).values(reason="").where(rollouts.c.id == 0))
    (it.folder / "state.db").rename(it.folder / "moved.db")
    for name in ("state.db-wal", "state.db-shm"):
        (it.folder / name).unlink(missing_ok=True)
    it.plane.catalog.database.close()
    found = await look(url_of(it))

    assert "cannot use the state database" in of(found, "admin API")[0].message
    assert of(found, "request")[0].level is Level.OK


# Metrics


def _telling(*lines: str) -> Callable[[Answer], None]:
    def change(answer: Answer) -> None:
        answer.body += "".join(f"{line}\n" for line in lines).encode()

    return change


@pytest.mark.parametrize(
    ("check", "line", "level", "told"),
    [
        ("metrics", 'loraplex_catalog_reachable{replica="r1"} 0', Level.FAIL, "r1 cannot read the state database"),
        ("metrics", 'loraplex_engine_series_missing{series="vllm:a"} 1', Level.WARN, "does not tell vllm:a"),
        ("metrics", 'loraplex_series_dropped_total{reason="limit"} 3', Level.WARN, "3 sets of label values"),
        ("metrics", 'loraplex_spans_total{result="failed"} 1', Level.WARN, "1 span of traces"),
        ("metrics", 'loraplex_log_lines_lost_total{replica="r1"} 2', Level.WARN, "2 lines of logs"),
        ("monitoring", 'loraplex_observer_up{replica="r1"} 0', Level.WARN, "r1 does not observe its answers"),
        ("monitoring", 'loraplex_observer_up{replica="r1"} 1', Level.OK, "no drift was detected"),
        ("release", 'loraplex_build_info{version="9.9",replica="r1"} 1', Level.WARN, "9.9 on r1"),
        ("jobs", "loraplex_job_silence_seconds 7200", Level.SKIP, "no section `training`"),
    ],
)
async def test_what_a_scrape_says_is_told(steady: Living, check: str, line: str, level: Level, told: str) -> None:
    found = await look_through(steady.gateway.app, "/metrics", _telling(line))

    assert told in only(found, check, level).message


async def test_drift_is_told_with_its_task(steady: Living) -> None:
    lines = ("loraplex_observer_up 1", 'loraplex_drift_detected{task="support",signal="topic"} 1')
    found = await look_through(steady.gateway.app, "/metrics", _telling(*lines))

    assert only(found, "monitoring", Level.WARN).message == "Requests of support have drifted, by the signal topic."


async def test_a_gateway_of_another_release_is_told(steady: Living) -> None:
    def newer(answer: Answer) -> None:
        answer.body = answer.body.replace(b'version="0.1.0"', b'version="9.9"')

    finding = only(await look_through(steady.gateway.app, "/metrics", newer), "release", Level.WARN)
    assert "The gateway is 9.9, this command 0.1.0" in finding.message


async def test_metrics_that_are_off_or_closed_or_broken_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCRAPERS", "a-token")
    async with living(tmp_path / "off", metrics={"enabled": False}) as it:
        assert "nothing of the gateway in it" in only(await look(url_of(it)), "metrics", Level.WARN).message
    async with living(tmp_path / "closed", metrics={"token_env": "SCRAPERS"}) as it:
        found = await look(url_of(it))
        assert "metrics.token_env" in only(found, "metrics", Level.SKIP).next
        only(found, "release", Level.SKIP)

        def broken(answer: Answer) -> None:
            answer.status = 500

        found = await look_through(it.gateway.app, "/metrics", broken)
        assert "answered with 500" in only(found, "metrics", Level.FAIL).message


async def test_a_load_that_fails_is_no_secret(steady: Living) -> None:
    steady.engine.fail_next(EngineAdapterError("the adapter left"))
    [finding] = of(await look(url_of(steady)), "request")

    assert finding.level is Level.FAIL
    assert "refused with 503 adapter_unavailable" in finding.message

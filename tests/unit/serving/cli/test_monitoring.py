"""``loraplex monitoring`` against a live admin API."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from typer.testing import CliRunner

from adapters.database import Database
from serving.auth import Authenticator
from serving.cli.main import build_app
from serving.control import build_control
from serving.observing.desk import MonitoringDesk
from serving.observing.records import MonitoringRecords
from serving.observing.tables import SCHEMA
from serving.observing.windows import Means, Windows
from tests.lifecycle import world
from tests.live import served
from tests.unit.serving.observing.facts import facts
from tests.word_embedder import WordEmbedder

Run = Callable[..., Awaitable[str]]
SMALL = {"reference_requests": 200, "reference_hours": 0.0, "looks": [100], "window_hours": 0.01}
MONITORING = {"drift": SMALL | {"false_alarms_per_day": 100.0}, "keep_texts": True}


@asynccontextmanager
async def terminal(folder: Path) -> AsyncIterator[tuple[MonitoringRecords, Run]]:
    """A control plane without replicas, what they would have written, and what runs commands against it."""
    async with world(folder, replicas=0, monitoring=MONITORING, tasks={"triage": {}}) as it:
        desk = MonitoringDesk(it.config, it.catalog)
        await desk.start()
        app = build_control(it.config, it.rollouts, Authenticator(it.config), it.life, None, desk)
        records = MonitoringRecords(Database(it.config.state.url, SCHEMA), "r0")
        settings = it.config.monitoring
        assert settings is not None
        made = Windows(it.config, settings, Means(WordEmbedder().embed_queries, lambda: "words", lambda text: "en"))
        made.fold(facts(200))
        made.fold(facts(40, adapter="triage@22222222", role="canary", checks=[["refusal", 1.0]], drift=None))
        strange = facts(100, ("asteroid", "comet"))
        for one in strange:
            one["drift"]["text"] = "[bold]what is a comet[/]"
        made.fold(strange)
        records.claim(60)
        reports = made.reports(1_003_600.0)
        records.save_reports({task: json.dumps(body, default=float) for task, body in reports.items()})
        async with served(app) as url:

            async def run(*arguments: str, exit_code: int = 0) -> str:
                full = ["monitoring", *arguments, "--url", url]
                result = await asyncio.to_thread(CliRunner().invoke, build_app("monitoring"), full)
                assert result.exit_code == exit_code, result.output
                return result.output

            yield records, run
        records.close()
        await desk.stop()


async def test_tasks_are_listed_with_what_has_drifted(tmp_path: Path) -> None:
    async with terminal(tmp_path) as (_, run):
        line = next(line for line in (await run("ls")).splitlines() if line.startswith("triage"))
        assert "1.000" in line
        assert "topics" in line
        assert json.loads(await run("ls", "--json"))["data"][0]["task"] == "triage"


async def test_a_task_is_shown_with_its_signals_parts_and_unusual_requests(tmp_path: Path) -> None:
    async with terminal(tmp_path) as (_, run):
        shown = await run("show", "triage")
        for expected in (
            *("reference: 200 requests", "topics", "since", "refusal", "[bold]what is a comet[/]"),
            *("beside the stable version: -0.7", "worse by refusal"),
        ):
            assert expected in shown
        assert "There is no task" in await run("show", "nobody", exit_code=1)


async def test_another_reference_is_asked_for(tmp_path: Path) -> None:
    async with terminal(tmp_path) as (records, run):
        told = await run("reference", "triage")
        assert "the requests of late" in told
        assert "waiting" in told
        assert [one.task for one in records.references()] == ["triage"]
        assert "waiting" in await run("show", "triage")
        assert "no adapter version" in await run("reference", "triage", "--version", "triage@9999", exit_code=1)

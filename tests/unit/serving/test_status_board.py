"""Where the status page gets its facts."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest
from starlette.types import ASGIApp

from adapters.catalog import Catalog
from adapters.types import Alias, CatalogSnapshot
from retrieval.errors import IndexUnavailable
from serving.config import parse_config
from serving.knowledge.protocol import SearchRequest, SearchResult
from serving.status_board import StatusBoard
from serving.status_view import StatusView
from tests.lifecycle import world

KNOWN = CatalogSnapshot(3, {}, {"triage": Alias("triage", stable="triage@11111111")})


@dataclass
class Here:
    """A replica, its observer and its pipeline."""

    ready: bool = True
    message: str = "ready"
    behind: bool = False
    impaired: bool = False


class Indexes:
    """Knowledge in another process: answers, is away, or hangs."""

    app: ASGIApp

    def __init__(self) -> None:
        self.asked = 0
        self.away = False
        self.hangs = False

    async def search(self, request: SearchRequest) -> SearchResult:
        """Raises IndexUnavailable: there is nothing to search."""
        raise IndexUnavailable("empty")

    async def metrics_text(self) -> bytes:
        """Raises IndexUnavailable while it is away."""
        self.asked += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.away:
            raise IndexUnavailable("away")
        return b""


def board(
    catalog: Catalog, knowledge: Indexes | None = None, here: Here | None = None, *, observes: bool = False
) -> StatusBoard:
    here = here or Here()
    return StatusBoard(
        parse_config({"model": {"id": "org/base"}}),
        catalog,
        "r0",
        status=here,
        snapshot=lambda: KNOWN,
        observer=here,
        pipeline=here if observes else None,
        knowledge=knowledge,
    )


def part(shown: StatusView, name: str) -> str:
    [tone] = [each.tone for each in shown.parts if each.name == name]
    return tone


async def test_it_shows_the_catalog_its_replicas_and_its_history(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        version = await it.add("triage", 1, promote=True)
        made = board(it.catalog)
        shown = await made.view()
        made.close()

        assert shown.catalog_reachable
        assert [alias.stable for alias in shown.aliases] == [version]
        assert [[held.version for held in replica.holdings] for replica in shown.replicas] == [[version]]
        assert [change.what for change in shown.changes] == ["promote", "add"]
        assert {change.who for change in shown.changes} == {"tester"}


async def test_it_reads_once_however_many_ask(tmp_path: Path) -> None:
    async with world(tmp_path, replicas=0) as it:
        indexes = Indexes()
        made = board(it.catalog, indexes)
        views = await asyncio.gather(*(made.view() for _ in range(20)))
        made.close()

        assert indexes.asked == 1
        assert len({id(view) for view in views}) == 1


async def test_what_is_new_is_shown_after_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.status_board.FRESH_S", 0.0)
    async with world(tmp_path, replicas=0) as it:
        made = board(it.catalog)
        assert (await made.view()).changes == ()
        await it.add("triage", 1)
        assert len((await made.view()).changes) == 1
        made.close()


async def test_without_a_catalog_it_shows_what_the_replica_knows(tmp_path: Path) -> None:
    catalog = Catalog(f"sqlite:///{tmp_path}/never-migrated.db")
    made = board(catalog)
    shown = await made.view()
    made.close()
    catalog.close()

    assert not shown.catalog_reachable
    assert (shown.revision, shown.replicas, shown.changes) == (3, (), ())
    assert [alias.name for alias in shown.aliases] == ["triage"]
    assert part(shown, "Catalog") == "bad"


async def test_after_its_end_it_asks_the_catalog_no_more(tmp_path: Path) -> None:
    async with world(tmp_path, replicas=0) as it:
        made = board(it.catalog)
        made.close()
        assert not (await made.view()).catalog_reachable


@pytest.mark.parametrize("how", ["away", "hangs"])
async def test_knowledge_that_does_not_answer_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr("serving.status_board.PATIENCE_S", 0.5)
    async with world(tmp_path, replicas=0) as it:
        indexes = Indexes()
        setattr(indexes, how, True)
        made = board(it.catalog, indexes)
        assert part(await made.view(), "Knowledge") == "bad"
        made.close()


async def test_an_observer_that_cannot_write_is_told(tmp_path: Path) -> None:
    async with world(tmp_path, replicas=0) as it:
        made = board(it.catalog, here=Here(behind=True))
        shown = await made.view()
        made.close()

        assert part(shown, "Rollouts") == "bad"
        assert part(shown, "Knowledge") == "plain"


@pytest.mark.parametrize(("impaired", "tone"), [(False, "good"), (True, "bad")])
async def test_whether_answers_are_observed_is_told(tmp_path: Path, *, impaired: bool, tone: str) -> None:
    async with world(tmp_path, replicas=0) as it:
        made = board(it.catalog, here=Here(impaired=impaired), observes=True)
        shown = await made.view()
        made.close()

        assert part(shown, "Monitoring") == tone

"""A new cluster beside the old one: its parts come up at once, and work when the old ones have ended."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from serving.config import parse_config
from serving.parts.ray_turn import Turn
from serving.process.orders import Orders
from serving.process.reports import Reporter


class Work:
    """What a part does."""

    def __init__(self, error: Exception | None = None) -> None:
        self.begun = asyncio.Event()
        self._error = error

    async def start(self) -> None:
        self.begun.set()
        if self._error is not None:
            raise self._error


def _turn(folder: Path, work: Work, meanwhile: Callable[[], Awaitable[None]] | None = None) -> Turn:
    state = {"url": f"sqlite:///{folder}/state.db"}
    config = parse_config({"model": {"id": "org/tiny"}, "engine": {"kind": "fake"}, "state": state})
    orders, reporter = Orders.for_cluster(config), Reporter(None, "control")
    return Turn(orders, "control", reporter, work.start, meanwhile=meanwhile, meanwhile_s=0.01)


async def test_the_second_is_up_at_once_and_begins_when_the_first_has_ended(tmp_path: Path) -> None:
    old, new = Work(), Work()
    first, second = _turn(tmp_path, old), _turn(tmp_path, new)
    await first.begin()
    assert old.begun.is_set()
    await asyncio.wait_for(second.begin(), 5)
    second.require()
    assert not new.begun.is_set()
    await first.end()
    await first.give_back()
    await asyncio.wait_for(new.begun.wait(), 10)
    second.require()
    await second.end()
    await second.give_back()


async def test_one_that_waits_looks_again_and_again_at_what_the_other_changes(tmp_path: Path) -> None:
    looks: list[str] = []
    thrice = asyncio.Event()

    async def look() -> None:
        looks.append("looked")
        if len(looks) == 1:
            raise RuntimeError("the database is away")
        if len(looks) == 3:
            thrice.set()

    first, work = _turn(tmp_path, Work(), look), Work()
    second = _turn(tmp_path, work, look)
    await first.begin()
    await second.begin()
    await asyncio.wait_for(thrice.wait(), 10)
    second.require()
    await first.end()
    await first.give_back()
    await asyncio.wait_for(work.begun.wait(), 10)
    await second.end()
    await second.give_back()


async def test_work_that_cannot_begin_is_told_at_once(tmp_path: Path) -> None:
    turn = _turn(tmp_path, Work(RuntimeError("no database")))
    with pytest.raises(RuntimeError, match="no database"):
        await turn.begin()
    await turn.end()
    await turn.give_back()


async def test_work_that_cannot_begin_later_is_told_to_whoever_asks_for_its_health(tmp_path: Path) -> None:
    first, work = _turn(tmp_path, Work()), Work(RuntimeError("no database"))
    second = _turn(tmp_path, work)
    await first.begin()
    await second.begin()
    await first.give_back()
    await asyncio.wait_for(work.begun.wait(), 10)
    with pytest.raises(RuntimeError, match="no database"):
        second.require()
    await second.end()
    await second.give_back()


async def test_one_that_waits_can_be_stopped(tmp_path: Path) -> None:
    first, work = _turn(tmp_path, Work()), Work()
    second = _turn(tmp_path, work)
    await first.begin()
    await second.begin()
    await second.end()
    await second.give_back()
    await first.give_back()
    assert not work.begun.is_set()

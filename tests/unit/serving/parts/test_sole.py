"""One control plane at a time: the second one waits, and takes over when the first has ended."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from adapters.errors import CatalogUnavailable
from serving.parts.sole import SoleProcess, Turn, turn_of
from tests.lifecycle import until
from tests.postgres_server import PostgresServer

LOOK_S = 0.02
Make = Callable[[], Turn]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A state that several processes share."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/deep/state.db"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server.new_database()


@pytest.fixture
def make(url: str) -> Iterator[Make]:
    made: list[Turn] = []

    def one() -> Turn:
        made.append(turn_of(url, "control"))
        return made[-1]

    yield one
    for turn in made:
        turn.give_back()


def test_one_holds_it_until_it_gives_it_back(make: Make) -> None:
    first, second = make(), make()
    assert first.take()
    assert first.take()
    assert not second.take()
    first.give_back()
    first.give_back()
    assert second.take()
    assert not first.take()


def test_each_part_has_a_turn_of_its_own(make: Make, url: str) -> None:
    assert make().take()
    other = turn_of(url, "knowledge")
    assert other.take()
    other.give_back()


def test_a_process_that_is_killed_gives_it_back(make: Make, url: str) -> None:
    program = (
        f"from serving.parts.sole import turn_of; t = turn_of({url!r}, 'control'); print(t.take(), flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        turn = make()
        assert not turn.take()
        holder.kill()
        holder.wait(10)
    asyncio.run(until(turn.take, "the turn of the killed process"))


async def test_the_second_waits_says_so_once_and_takes_over(make: Make) -> None:
    first, second = SoleProcess(make(), "control", look_s=LOOK_S), SoleProcess(make(), "control", look_s=LOOK_S)
    told: list[str] = []
    await first.begin(told.append)
    waiting = asyncio.create_task(second.begin(told.append))
    await until(lambda: bool(told), "the second's word")
    assert not waiting.done()
    await first.end()
    await asyncio.wait_for(waiting, 10)
    assert told == ["Another control process is at work; waiting for it to end"]
    assert not second.lost.is_set()
    await second.end()
    await second.end()


async def test_one_that_lost_its_turn_to_another_has_to_end(postgres_server: PostgresServer) -> None:
    url = postgres_server.new_database()
    first, other = SoleProcess(turn_of(url, "control"), "control", look_s=LOOK_S), turn_of(url, "control")
    await first.begin(lambda _: None)
    first.require()
    database = url.rpartition("/")[2]
    # Asked again and again: between the end of its connection and its next look anybody may be faster.
    while not other.take():
        _hang_up(postgres_server, database)
    await asyncio.wait_for(first.lost.wait(), 10)
    with pytest.raises(RuntimeError, match="taken over"):
        first.require()
    await first.end()
    other.give_back()


async def test_one_whose_connection_broke_goes_on_where_nobody_took_over(postgres_server: PostgresServer) -> None:
    url = postgres_server.new_database()
    first = SoleProcess(turn_of(url, "control"), "control", look_s=LOOK_S)
    await first.begin(lambda _: None)
    database = url.rpartition("/")[2]
    (before,) = _holders(postgres_server, database)
    _hang_up(postgres_server, database)
    await until(lambda: _holders(postgres_server, database) not in ([], [before]), "the first to take its turn again")
    assert not turn_of(url, "control").take()
    assert not first.lost.is_set()
    await first.end()


def _holders(server: PostgresServer, database: str) -> list[object]:
    """The server's processes that hold a turn."""
    found = (
        "SELECT pid FROM pg_locks JOIN pg_database ON pg_locks.database = pg_database.oid "
        "WHERE locktype = 'advisory' AND datname = %s"
    )
    with closing(server.connect()) as connection:
        return [pid for (pid,) in connection.execute(found, [database]).fetchall()]


def _hang_up(server: PostgresServer, database: str) -> None:
    with closing(server.connect()) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [database])


async def test_a_database_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(CatalogUnavailable, match="whose turn"):
        await SoleProcess(turn_of("postgresql://127.0.0.1:9/x", "control"), "control").begin(lambda _: None)
    (tmp_path / "file").touch()
    with pytest.raises(CatalogUnavailable, match="cannot open"):
        turn_of(f"sqlite:///{tmp_path}/file/state.db", "control").take()

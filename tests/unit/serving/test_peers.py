"""One scrape sees all replicas."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import httpx
import pytest

from adapters.types import ReplicaReport
from monitoring.exposition import Format
from serving.errors import NotReady, ReplicaNotFound
from serving.peers import Peers

Directory = dict[str, str]
"""Address by replica: what the catalog would say."""


@asynccontextmanager
async def _replica(name: str, directory: Directory) -> AsyncIterator[Peers]:
    def reports(_: float) -> Sequence[ReplicaReport]:
        return [ReplicaReport(who, 0, ready=True, holdings=(), address=where) for who, where in directory.items()]

    def render(form: Format) -> bytes:
        end = "# EOF\n" if form is Format.OPENMETRICS else ""
        return f'# TYPE up gauge\nup{{replica="{name}"}} 1\n{end}'.encode()

    peers = Peers(name, reports, render)
    directory[name] = await peers.start()
    yield peers
    await peers.stop()


async def test_every_replica_shows_the_metrics_of_all() -> None:
    directory: Directory = {}
    async with _replica("a", directory) as first, _replica("b", directory) as second:
        for peers in (first, second):
            others = await peers.collect()
            text = (await peers.merged(others)).decode()
            assert others.silent == ()
            assert 'up{replica="a"} 1' in text
            assert 'up{replica="b"} 1' in text
            assert text.count("# TYPE up") == 1


async def test_a_dead_replica_is_skipped_and_named() -> None:
    directory: Directory = {}
    async with _replica("a", directory) as peers:
        with socket.create_server(("127.0.0.1", 0)) as gone:
            directory["b"] = f"http://127.0.0.1:{gone.getsockname()[1]}/x/metrics"
        others = await peers.collect()
    assert others.silent == ("b",)
    assert others.expositions == {}


async def test_a_replica_that_hangs_is_not_waited_for() -> None:
    directory: Directory = {}
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        directory["b"] = f"http://127.0.0.1:{hanging.getsockname()[1]}/x/metrics"
        async with _replica("a", directory) as peers:
            assert (await peers.collect()).silent == ("b",)


async def test_a_catalog_that_cannot_be_read_leaves_the_replicas_own_metrics() -> None:
    def reports(_: float) -> Sequence[ReplicaReport]:
        raise OSError("no database")

    peers = Peers("a", reports, lambda _: b"up 1\n")
    await peers.start()
    others = await peers.collect()
    assert others.silent == ()
    assert await peers.merged(others) == b'up{replica="a"} 1\n'
    await peers.stop()


async def test_a_database_that_hangs_holds_up_nothing_but_the_scrapes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.peers.TIMEOUT_S", 0.05)
    answers = threading.Event()

    def reports(_: float) -> Sequence[ReplicaReport]:
        answers.wait(20)
        return []

    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    peers = Peers("a", reports, lambda _: b"up 1\n")
    await peers.start()
    try:
        for _ in range(4):
            with pytest.raises(NotReady):
                await peers.addresses()
        async with asyncio.timeout(10):
            assert await peers.merged(await peers.collect()) == b'up{replica="a"} 1\n'
    finally:
        answers.set()
        await peers.stop()


async def test_the_address_cannot_be_guessed() -> None:
    directory: Directory = {}
    async with _replica("a", directory), httpx.AsyncClient(trust_env=False) as client:
        port = directory["a"].split(":")[2].split("/")[0]
        assert (await client.get(directory["a"])).status_code == 200
        assert (await client.get(f"http://127.0.0.1:{port}/metrics")).status_code == 404


async def test_before_the_start_and_after_the_stop_there_are_no_peers() -> None:
    peers = Peers("a", lambda _: [], lambda _: b"")
    assert (await peers.collect()).silent == ()
    await peers.stop()


async def test_one_replica_can_be_asked_for_by_name_whichever_answers() -> None:
    directory: Directory = {}
    async with _replica("a", directory) as first, _replica("b", directory):
        for name in ("a", "b"):
            text = (await first.of(name)).decode()
            assert f'up{{replica="{name}"}} 1' in text
            assert text.count("up{") == 1


async def test_peers_are_asked_in_the_format_that_the_scrape_has() -> None:
    directory: Directory = {}
    async with _replica("a", directory) as first, _replica("b", directory):
        others = await first.collect(Format.OPENMETRICS)
        assert others.expositions["b"].endswith(b"# EOF\n")
        merged = await first.merged(others, Format.OPENMETRICS)
        assert merged.endswith(b"# EOF\n")
        assert merged.count(b"# EOF") == 1


async def test_the_listener_answers_in_either_format() -> None:
    directory: Directory = {}
    async with _replica("a", directory), httpx.AsyncClient(trust_env=False) as client:
        text = await client.get(directory["a"])
        openmetrics = await client.get(directory["a"], headers={"accept": Format.OPENMETRICS.value})
    assert text.headers["content-type"] == Format.TEXT.value
    assert openmetrics.headers["content-type"] == Format.OPENMETRICS.value
    assert openmetrics.content.endswith(b"# EOF\n")


async def test_a_replica_that_nobody_knows_is_not_found() -> None:
    async with _replica("a", {}) as peers:
        with pytest.raises(ReplicaNotFound):
            await peers.of("z")


async def test_a_dead_replica_asked_for_by_name_is_not_ready() -> None:
    directory: Directory = {}
    async with _replica("a", directory) as peers:
        with socket.create_server(("127.0.0.1", 0)) as gone:
            directory["b"] = f"http://127.0.0.1:{gone.getsockname()[1]}/x/metrics"
        with pytest.raises(NotReady):
            await peers.of("b")


async def test_the_addresses_are_those_of_the_others_that_show_something() -> None:
    directory: Directory = {}
    async with _replica("a", directory) as peers:
        directory |= {"b": "http://b/metrics", "c": ""}
        assert await peers.addresses() == {"b": "http://b/metrics"}

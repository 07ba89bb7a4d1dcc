"""One scrape sees all replicas."""

import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import httpx

from adapters.types import ReplicaReport
from serving.peers import Peers

Directory = dict[str, str]
"""Address by replica: what the catalog would say."""


@asynccontextmanager
async def _replica(name: str, directory: Directory) -> AsyncIterator[Peers]:
    def reports(_: float) -> Sequence[ReplicaReport]:
        return [ReplicaReport(who, 0, ready=True, holdings=(), address=where) for who, where in directory.items()]

    def render() -> bytes:
        return f'# TYPE up gauge\nup{{replica="{name}"}} 1\n'.encode()

    peers = Peers(name, reports, render)
    directory[name] = await peers.start()
    yield peers
    await peers.stop()


async def test_every_replica_shows_the_metrics_of_all() -> None:
    directory: Directory = {}
    async with _replica("a", directory) as first, _replica("b", directory) as second:
        for peers in (first, second):
            others = await peers.collect()
            text = peers.merged(others).decode()
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

    peers = Peers("a", reports, lambda: b"up 1\n")
    await peers.start()
    others = await peers.collect()
    assert others.silent == ()
    assert peers.merged(others) == b'up{replica="a"} 1\n'
    await peers.stop()


async def test_the_address_cannot_be_guessed() -> None:
    directory: Directory = {}
    async with _replica("a", directory), httpx.AsyncClient(trust_env=False) as client:
        port = directory["a"].split(":")[2].split("/")[0]
        assert (await client.get(directory["a"])).status_code == 200
        assert (await client.get(f"http://127.0.0.1:{port}/metrics")).status_code == 404


async def test_before_the_start_and_after_the_stop_there_are_no_peers() -> None:
    peers = Peers("a", lambda _: [], lambda: b"")
    assert (await peers.collect()).silent == ()
    await peers.stop()

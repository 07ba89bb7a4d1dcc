"""A Milvus server that goes away and comes back: every operation fails in bounded time, then all is as before."""

import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import pytest

from retrieval.errors import IndexUnavailable
from retrieval.indexes.milvus import MilvusIndexStore
from retrieval.indexes.protocol import IndexSpec, PassageIndex
from retrieval.selection import DocumentTable
from retrieval.types import Access, DocumentMeta, Passage
from tests.milvus_server import MilvusServer

T = TypeVar("T")

TIMEOUT_S = 1.0
BOUND_S = 10 * TIMEOUT_S
RECOVERY_S = 60.0
SPEC = IndexSpec(8, "model-a")
COUNT = 30
STORED = [Passage(number, 0, f"passage {number}") for number in range(COUNT)]
POINTS = np.eye(COUNT, SPEC.dimension, dtype=np.float32) + 0.1
EVERYTHING = DocumentTable({number: DocumentMeta(str(number)) for number in range(COUNT)}).select(Access(), 0)

Operation = Callable[[MilvusIndexStore, PassageIndex], object]
OPERATIONS: dict[str, Operation] = {
    "search": lambda _, index: index.search_dense(POINTS[0], 5, EVERYTHING),
    "add": lambda _, index: index.add(STORED[:1], POINTS[:1]),
    "remove": lambda _, index: index.remove([999]),
    "passages": lambda _, index: index.passages(1),
    "count": lambda _, index: index.count(),
    "documents": lambda _, index: index.documents(),
    "names": lambda store, _: store.names(),
    "create": lambda store, _: store.create("another", SPEC),
    "open": lambda store, _: store.open("another"),
    "drop": lambda store, _: store.drop("another"),
}


@pytest.fixture
def index(
    milvus_server: MilvusServer, request: pytest.FixtureRequest
) -> Iterator[tuple[MilvusIndexStore, PassageIndex]]:
    """A store with little patience, and an index with something in it; the server runs again in the end."""
    name = f"outage{len(request.node.name)}"
    store = MilvusIndexStore(milvus_server.uri, timeout_s=TIMEOUT_S)
    until_back(lambda: store.create(name, SPEC).add(STORED, POINTS))
    yield store, store.create(name, SPEC)
    until_back(lambda: store.drop(name))
    store.close()


def seconds_to_fail(work: Callable[[], object]) -> float:
    began = time.monotonic()
    with pytest.raises(IndexUnavailable):
        work()
    return time.monotonic() - began


def all_fail(store: MilvusIndexStore, index: PassageIndex) -> dict[str, float]:
    """Each operation by two threads at once: the seconds that it took to fail."""

    def fail(name: str) -> float:
        return seconds_to_fail(lambda: OPERATIONS[name](store, index))

    names = [*OPERATIONS, *OPERATIONS]
    with ThreadPoolExecutor(len(names)) as threads:
        return dict(zip(names, threads.map(fail, names), strict=True))


def until_back(work: Callable[[], T]) -> T:
    """What it gives as soon as it no longer fails."""
    deadline = time.monotonic() + RECOVERY_S
    while True:
        try:
            return work()
        except IndexUnavailable:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def check_all_is_there(index: PassageIndex) -> None:
    found = until_back(lambda: index.search_dense(POINTS[0], 5, EVERYTHING))
    assert len(found) == 5
    assert until_back(index.count) == COUNT
    assert until_back(index.documents) == set(range(COUNT))


def test_a_server_that_hangs_fails_every_operation_in_time_and_is_used_again(
    milvus_server: MilvusServer, index: tuple[MilvusIndexStore, PassageIndex]
) -> None:
    store, opened = index
    milvus_server.pause()
    try:
        took = all_fail(store, opened)
        took["open a store"] = seconds_to_fail(lambda: MilvusIndexStore(milvus_server.uri, timeout_s=TIMEOUT_S))
    finally:
        milvus_server.resume()
    assert {name: seconds for name, seconds in took.items() if seconds > BOUND_S} == {}
    check_all_is_there(opened)


@pytest.mark.slow
def test_a_server_that_crashed_fails_many_callers_in_time_and_is_used_again(
    milvus_server: MilvusServer, index: tuple[MilvusIndexStore, PassageIndex]
) -> None:
    store, opened = index
    milvus_server.kill()
    try:
        took = all_fail(store, opened)
    finally:
        milvus_server.start()
    assert {name: seconds for name, seconds in took.items() if seconds > BOUND_S} == {}
    check_all_is_there(opened)


def test_a_server_that_is_not_there_fails_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    assert seconds_to_fail(lambda: MilvusIndexStore(address, timeout_s=TIMEOUT_S)) < BOUND_S

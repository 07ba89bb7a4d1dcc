"""The store of indexes is opened when it can be."""

import pytest

from retrieval.errors import IndexUnavailable
from retrieval.indexes.memory import MemoryIndexStore
from serving.knowledge.indexes import Indexes


class Server:
    """Can be reached or not."""

    def __init__(self) -> None:
        self.up = True
        self.asked = 0

    def open(self) -> MemoryIndexStore:
        self.asked += 1
        if not self.up:
            raise IndexUnavailable("no answer")
        return MemoryIndexStore()


def test_the_store_is_opened_once_and_not_before_it_is_needed() -> None:
    server = Server()
    indexes = Indexes(server.open)
    assert server.asked == 0
    assert indexes() is indexes()
    assert server.asked == 1


def test_a_store_that_is_away_is_not_asked_by_everybody_at_once_and_found_when_it_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server, now = Server(), [100.0]
    monkeypatch.setattr("serving.knowledge.indexes.time.monotonic", lambda: now[0])
    indexes = Indexes(server.open)
    server.up = False
    for _ in range(3):
        with pytest.raises(IndexUnavailable, match="no answer"):
            indexes()
    assert server.asked == 1
    server.up = True
    now[0] += 2
    assert indexes().names() == []


def test_a_closed_store_is_opened_again() -> None:
    server = Server()
    indexes = Indexes(server.open)
    indexes.close()
    first = indexes()
    indexes.close()
    assert indexes() is not first

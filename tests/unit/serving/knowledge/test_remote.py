"""Retrieval in another process."""

import pickle

import pytest

from retrieval.errors import DocumentUnreadable, FilterInvalid, IndexUnavailable, KnowledgeError, VectorStoreNotFound
from retrieval.types import Access
from serving.knowledge.protocol import SearchRequest, SearchResult
from serving.knowledge.remote import RemoteKnowledge
from serving.relay import PlainRequest, PlainResponse

REQUEST = SearchRequest(("handbook",), "how much?", 3, Access())


def _remote(outcome: SearchResult | Exception) -> RemoteKnowledge:
    async def search(_: SearchRequest) -> SearchResult:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def handle(_: PlainRequest) -> PlainResponse:
        return 200, [], b""

    async def metrics() -> bytes:
        if isinstance(outcome, Exception):
            raise outcome
        return b"metrics"

    return RemoteKnowledge(search, handle, metrics)


async def test_an_answer_comes_as_it_is() -> None:
    result = SearchResult(())
    assert await _remote(result).search(REQUEST) is result
    assert await _remote(result).metrics_text() == b"metrics"


async def test_what_the_library_raises_there_is_raised_here() -> None:
    with pytest.raises(VectorStoreNotFound):
        await _remote(VectorStoreNotFound("there is none")).search(REQUEST)


async def test_anything_else_means_that_the_process_is_away() -> None:
    with pytest.raises(IndexUnavailable, match="does not answer: gone"):
        await _remote(RuntimeError("gone")).search(REQUEST)
    with pytest.raises(IndexUnavailable):
        await _remote(ConnectionError("gone")).metrics_text()


@pytest.mark.parametrize(
    "error",
    [
        FilterInvalid("must be an object", param="filters.x"),
        DocumentUnreadable("invalid_file", "empty"),
        IndexUnavailable("x"),
    ],
)
def test_errors_cross_processes_unchanged(error: KnowledgeError) -> None:
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301  (our own)
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert copy.__dict__ == error.__dict__

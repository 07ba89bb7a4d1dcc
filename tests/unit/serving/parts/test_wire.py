"""Searches between processes: what arrives is what was sent."""

import pytest

from retrieval.errors import DocumentUnreadable, FilterInvalid, IndexUnavailable, KnowledgeError, VectorStoreNotFound
from retrieval.types import Access
from serving.errors import InvalidRequest
from serving.knowledge.protocol import ArmEntry, FoundPassage, SearchRequest, SearchResult
from serving.parts import wire

PASSAGE = FoundPassage(
    store_id="vs_1",
    file_id="file-1",
    filename="tea.txt",
    title="Tea",
    source="tea.txt",
    version="2",
    number=3,
    text="At “four”.\n",
    context="House",
    score=0.5,
    similarity=-0.25,
    scores={"dense": -0.25, "fused": 0.5},
    attributes={"floor": 3.0, "open": True, "team": "ops"},
    changed_at=7,
    superseded_by="file-2",
)


def test_a_request_arrives_whole() -> None:
    request = SearchRequest(
        ("a", "b"),
        "how much?",
        3,
        Access(frozenset({"hr"}), everything=False),
        filters={"type": "eq", "key": "floor", "value": 3},
        min_score=0.1,
        explain=True,
    )
    assert wire.request_from_json(wire.request_to_json(request)) == request


def test_an_answer_arrives_whole() -> None:
    result = SearchResult(
        (PASSAGE,),
        superseded=(PASSAGE,),
        expired=2,
        seconds={"search": 0.01},
        notes=("words alone",),
        arms={"dense": (ArmEntry("file-1", 3, 0.5),)},
    )
    arrived = wire.result_from_json(wire.result_to_json(result))
    assert arrived == result
    assert [type(value) for value in arrived.passages[0].attributes.values()] == [float, bool, str]


@pytest.mark.parametrize(
    "error",
    [
        FilterInvalid("must be an object", param="filters.x"),
        VectorStoreNotFound("There is no vector store `x`."),
        DocumentUnreadable("invalid_file", "empty"),
        IndexUnavailable("gone"),
    ],
)
def test_an_error_arrives_as_it_was_raised(error: KnowledgeError) -> None:
    arrived = wire.error_from_json(wire.error_to_json(error))
    assert type(arrived) is type(error)
    assert str(arrived) == str(error)
    assert arrived.__dict__ == error.__dict__


class _OwnError(IndexUnavailable):
    """Of a module that the other side need not have."""


def test_an_error_of_a_class_that_the_other_side_lacks_arrives_as_the_nearest_one_that_it_has() -> None:
    arrived = wire.error_from_json(wire.error_to_json(_OwnError("gone")))
    assert type(arrived) is IndexUnavailable


@pytest.mark.parametrize("data", [b"", b"[]", b'{"kind": "SystemExit", "args": [], "state": {}}', b'{"error": {}}'])
def test_what_is_no_error_of_the_library_is_none(data: bytes) -> None:
    assert wire.error_from_json(data) is None


def test_what_is_no_search_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="This is no search"):
        wire.request_from_json(b'{"query": "x"}')

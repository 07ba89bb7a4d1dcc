"""What every passage index does: the reference in memory, Milvus Lite, and a Milvus server."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from retrieval.errors import IndexMismatch
from retrieval.indexes.memory import MemoryIndexStore
from retrieval.indexes.protocol import IndexSpec, IndexStore, PassageIndex
from retrieval.selection import DocumentTable, Selection
from retrieval.types import Access, DocumentMeta, Passage, Vectors
from tests.milvus_server import MilvusServer

SPEC = IndexSpec(16, "model-a")


@pytest.fixture(scope="module", params=["memory", "lite", "server"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[IndexStore]:
    """One store for the module; each test makes an index of its own."""
    if request.param == "memory":
        yield MemoryIndexStore()
        return
    from retrieval.indexes.milvus import open_milvus

    uri = str(tmp_path_factory.mktemp("milvus") / "lite.db")
    if request.param == "server":
        server: MilvusServer = request.getfixturevalue("milvus_server")
        uri = server.uri
    opened = open_milvus(uri)
    yield opened
    opened.close()


@pytest.fixture
def index(store: IndexStore, request: pytest.FixtureRequest) -> Iterator[PassageIndex]:
    """A new, empty index."""
    name = f"t{abs(hash(request.node.name)):x}"
    yield store.create(name, SPEC)
    store.drop(name)


@pytest.fixture
def lexical_index(store: IndexStore, request: pytest.FixtureRequest) -> PassageIndex:
    """The same, where words can be searched."""
    if not store.capabilities.lexical:
        pytest.skip(store.capabilities.description)
    index: PassageIndex = request.getfixturevalue("index")
    return index


def vectors(count: int, seed: int = 0) -> Vectors:
    drawn = np.random.default_rng(seed).normal(size=(count, SPEC.dimension)).astype(np.float32)
    normal: Vectors = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return normal


def passages(documents: range, each: int = 1, text: str = "passage {} of document {}") -> list[Passage]:
    return [Passage(one, number, text.format(number, one)) for one in documents for number in range(each)]


def selecting(allowed: set[int], there: set[int]) -> Selection:
    table = DocumentTable(
        {one: DocumentMeta(str(one), labels=frozenset() if one in allowed else frozenset({"no"})) for one in there}
    )
    return table.select(Access(), 0)


def all_of(documents: range) -> Selection:
    return selecting(set(documents), set(documents))


def test_the_nearest_passages_come_first_with_their_cosine(index: PassageIndex) -> None:
    stored, points = passages(range(200)), vectors(200)
    index.add(stored, points)
    question = vectors(1, seed=9)[0]
    found = index.search_dense(question, 5, all_of(range(200)))
    nearest = np.argsort(-(points @ question))[:5]
    assert [match.passage for match in found] == [stored[place] for place in nearest]
    assert [match.score for match in found] == pytest.approx((points @ question)[nearest].tolist(), abs=1e-4)


@pytest.mark.parametrize(
    "allowed", [set(), {7}, set(range(10)), set(range(0, 400, 2)), set(range(399)), set(range(400))]
)
def test_k_passages_come_back_where_k_are_allowed(store: IndexStore, index: PassageIndex, allowed: set[int]) -> None:
    index.add(passages(range(400), text="the same word"), vectors(400))
    chosen = selecting(allowed, set(range(400)))
    arms = [index.search_dense(vectors(1, 3)[0], 10, chosen)]
    if store.capabilities.lexical:
        arms.append(index.search_lexical("word", 10, chosen))
    for found in arms:
        assert len(found) == min(10, len(allowed))
        assert {match.passage.document for match in found} <= allowed


def test_passages_of_documents_that_are_not_in_the_table_are_not_found(index: PassageIndex) -> None:
    index.add(passages(range(50)), vectors(50))
    found = index.search_dense(vectors(1)[0], 50, all_of(range(20)))
    assert {match.passage.document for match in found} == set(range(20))


def test_words_find_the_passages_that_have_them(lexical_index: PassageIndex) -> None:
    texts = ["the quick brown fox", "the lazy dog sleeps", "a fox and a dog", "nothing of the kind"]
    lexical_index.add([Passage(number, 0, text) for number, text in enumerate(texts)], vectors(4))
    found = lexical_index.search_lexical("fox", 10, all_of(range(4)))
    assert {match.passage.document for match in found} == {0, 2}
    assert all(match.score > 0 for match in found)
    assert lexical_index.search_lexical("zebra", 10, all_of(range(4))) == []
    assert lexical_index.search_lexical("  ", 10, all_of(range(4))) == []


def test_a_rare_word_weighs_more_than_a_common_one(lexical_index: PassageIndex) -> None:
    texts = [f"common filler number {number}" for number in range(30)] + ["rare filler here", "common rare"]
    lexical_index.add([Passage(number, 0, text) for number, text in enumerate(texts)], vectors(32))
    found = lexical_index.search_lexical("common rare", 3, all_of(range(32)))
    assert [match.passage.document for match in found][:2] == [31, 30]


def test_the_context_is_searched_and_not_quoted(lexical_index: PassageIndex) -> None:
    lexical_index.add(
        [Passage(1, 0, "It costs 40 EUR.", "Vault > Prices"), Passage(2, 0, "It is blue.", "Locker")], vectors(2)
    )
    (found,) = lexical_index.search_lexical("vault", 5, all_of(range(1, 3)))
    assert found.passage == Passage(1, 0, "It costs 40 EUR.", "Vault > Prices")


def test_a_passage_that_is_added_again_is_replaced(index: PassageIndex) -> None:
    index.add([Passage(1, 0, "old words")], vectors(1))
    index.add([Passage(1, 0, "new words")], vectors(1, 5))
    assert index.count() == 1
    assert [passage.text for passage in index.passages(1)] == ["new words"]
    assert index.search_lexical("old", 5, all_of(range(2))) == []


def test_removed_documents_are_gone_and_others_stay(index: PassageIndex) -> None:
    index.add(passages(range(6), each=3), vectors(18))
    index.remove([1, 4, 99])
    assert index.documents() == {0, 2, 3, 5}
    assert index.count() == 12
    found = index.search_dense(vectors(1)[0], 18, all_of(range(6)))
    assert {match.passage.document for match in found} == {0, 2, 3, 5}


def test_very_many_documents_are_all_listed(index: PassageIndex) -> None:
    documents = {7 * number + (number % 3) * 2**38 for number in range(5_000)}
    index.add([Passage(number, 0, "text") for number in sorted(documents)], vectors(5_000))
    assert index.documents() == documents


def test_a_documents_passages_come_in_order(index: PassageIndex) -> None:
    stored = passages(range(3), each=7)
    index.add(stored[::-1], vectors(21))
    assert index.passages(1) == stored[7:14]
    assert index.passages(9) == []


def test_what_was_added_can_be_taken_out_whole_and_added_elsewhere(store: IndexStore, index: PassageIndex) -> None:
    stored, points = passages(range(3), each=7), vectors(21)
    index.add(stored[::-1], points[::-1])
    taken, there = index.stored(1)
    assert taken == stored[7:14]
    assert there.dtype == np.float32
    np.testing.assert_allclose(there, points[7:14], atol=1e-6)
    copy = store.create(f"copy{abs(hash(index)):x}", SPEC)
    copy.add(taken, there)
    assert [match.passage for match in copy.search_dense(points[9], 1, all_of(range(3)))] == [stored[9]]
    nothing, no_vectors = index.stored(9)
    assert nothing == []
    assert no_vectors.shape == (0, SPEC.dimension)


def test_any_text_comes_back_as_it_went_in(index: PassageIndex) -> None:
    texts = ["", " \t", "'\"\\ } ] ) or 1 == 1", "日本語 🚀 ё", "x" * 20_000, "\u202e\u0000-free", "%_{}$"]
    index.add([Passage(number, 0, text, text[:50]) for number, text in enumerate(texts)], vectors(len(texts)))
    for number, text in enumerate(texts):
        assert index.passages(number) == [Passage(number, 0, text, text[:50])]


@pytest.mark.parametrize("query", ["' or 1 == 1", "document in [1]", "\\", "\x00", "日本", "a" * 10_000, "{{x}}"])
def test_any_question_is_only_words(lexical_index: PassageIndex, query: str) -> None:
    lexical_index.add(passages(range(5)), vectors(5))
    found = lexical_index.search_lexical(query, 5, selecting({1}, set(range(5))))
    assert {match.passage.document for match in found} <= {1}


@pytest.mark.parametrize(
    ("shape", "problem"), [((2, 16), "need vectors"), ((1, 8), "need vectors"), ((1, 16), "not finite")]
)
def test_vectors_that_do_not_fit_are_refused(index: PassageIndex, shape: tuple[int, int], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        index.add([Passage(1, 0, "text")], np.full(shape, np.nan, dtype=np.float32))
    assert index.count() == 0


def test_nothing_is_found_in_an_empty_index(index: PassageIndex) -> None:
    assert index.search_dense(vectors(1)[0], 5, all_of(range(3))) == []
    assert index.search_lexical("word", 5, all_of(range(3))) == []
    assert index.count() == 0
    assert index.documents() == set()


def test_many_writers_and_readers_lose_nothing(index: PassageIndex) -> None:
    points = vectors(100)

    def write(writer: int) -> None:
        for batch in range(5):
            start = (writer * 5 + batch) * 20
            index.add(passages(range(start, start + 20), each=5), np.tile(points, (1, 1))[:100])

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        index.search_dense(points[0], 10, all_of(range(400)))
    for thread in threads:
        thread.join()
    assert index.count() == 4 * 5 * 20 * 5
    assert index.documents() == set(range(400))


def test_an_index_of_another_model_is_not_mixed_with(store: IndexStore, index: PassageIndex) -> None:
    # A server may hold other tests' indexes too.
    opened = {name: store.open(name) for name in store.names()}
    name = next(name for name, one in opened.items() if one is not None and one.spec == SPEC)
    assert store.create(name, SPEC).spec == SPEC
    with pytest.raises(IndexMismatch, match="has to be built again"):
        store.create(name, IndexSpec(16, "model-b"))
    with pytest.raises(IndexMismatch):
        store.create(name, IndexSpec(8, "model-a"))


def test_indexes_are_created_opened_and_dropped_by_name(store: IndexStore) -> None:
    store.create("first", SPEC).add([Passage(1, 0, "text")], vectors(1))
    assert "first" in store.names()
    opened = store.open("first")
    assert opened is not None
    assert opened.spec == SPEC
    assert opened.count() == 1
    store.drop("first")
    store.drop("first")
    assert store.open("first") is None
    assert "first" not in store.names()


def test_capabilities_are_said_in_words(store: IndexStore) -> None:
    assert store.capabilities.description


def test_a_store_that_cannot_search_words_says_so_and_finds_nothing(store: IndexStore, index: PassageIndex) -> None:
    index.add([Passage(1, 0, "the quick brown fox")], vectors(1))
    found = index.search_lexical("fox", 5, all_of(range(2)))
    assert bool(found) == store.capabilities.lexical == ("no BM25" not in store.capabilities.description)


def test_a_server_finds_all_that_is_allowed_also_where_its_index_does_not(milvus_server: MilvusServer) -> None:
    from retrieval.indexes.milvus import MilvusIndexStore

    store = MilvusIndexStore(milvus_server.uri)
    index = store.create("built", SPEC)
    index.add(passages(range(100), each=10), vectors(1_000))
    store.call(lambda client: client.flush("loraplex_built"))

    def rows_indexed() -> int:
        told = store.call(lambda client: client.describe_index("loraplex_built", "vector"))
        return int(told["total_rows"]) - int(told["pending_index_rows"])

    deadline = time.monotonic() + 60
    while rows_indexed() < 1_000:
        assert time.monotonic() < deadline, "the server did not index its rows"
        time.sleep(0.2)
    # What is read again comes with its index; before, a server reads all rows of what it has not indexed yet.
    store.call(lambda client: client.release_collection("loraplex_built"))
    store.call(lambda client: client.load_collection("loraplex_built"))
    for seed in range(20):
        found = index.search_dense(vectors(1, seed)[0], 10, selecting({7}, set(range(100))))
        assert [match.passage.document for match in found] == [7] * 10
        assert [match.score for match in found] == sorted((match.score for match in found), reverse=True)
    store.drop("built")
    store.close()


def test_lite_keeps_what_was_added_when_it_is_opened_again(tmp_path: Path) -> None:
    from retrieval.indexes.lite import LiteStore

    def opened(work: Callable[[LiteStore], None]) -> None:
        lite = LiteStore(str(tmp_path / "lite.db"))
        work(lite)
        lite.close()

    opened(lambda lite: lite.create("kept", SPEC).add(passages(range(30)), vectors(30)))

    def check(lite: LiteStore) -> None:
        index = lite.open("kept")
        assert index is not None
        assert index.count() == 30
        assert len(index.search_dense(vectors(1)[0], 10, all_of(range(30)))) == 10

    opened(check)

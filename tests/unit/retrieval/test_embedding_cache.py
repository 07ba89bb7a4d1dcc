"""Vectors that are kept, and what happens to the file that keeps them."""

import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from retrieval.embedding import TokenEmbedder
from retrieval.embedding_cache import CachingEmbedder, with_cache
from retrieval.errors import EmbedderUnavailable
from retrieval.types import Vectors
from tests.word_embedder import WordEmbedder

MIB = 2**20


class CountingEmbedder(WordEmbedder):
    """Tells what it was asked for, and can be made to fail."""

    def __init__(self, fingerprint: str = "counting") -> None:
        self.fingerprint = fingerprint
        self.documents: list[list[str]] = []
        self.queries: list[list[str]] = []
        self.fails_at = ""

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        if self.fails_at in texts:
            raise EmbedderUnavailable("gone")
        self.documents.append(list(texts))
        return super().embed_documents(texts)

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        self.queries.append(list(texts))
        return WordEmbedder().embed_documents(texts)


class TokenCountingEmbedder(CountingEmbedder):
    def token_vectors(self, texts: Sequence[str], *, query: bool) -> list[Vectors]:
        return [self.embed_documents([text]) for text in texts]


Open = Callable[..., CachingEmbedder]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "not made yet" / "vectors.db"


@pytest.fixture
def opened(path: Path) -> Iterator[Open]:
    """Caches over one file, closed in the end."""
    made: list[CachingEmbedder] = []

    def cached(inner: CountingEmbedder, max_bytes: int = MIB, batch_size: int = 256) -> CachingEmbedder:
        made.append(CachingEmbedder(inner, path, max_bytes, batch_size=batch_size))
        return made[-1]

    yield cached
    for cache in made:
        cache.close()


def expected(texts: Sequence[str]) -> Vectors:
    return WordEmbedder().embed_documents(texts)


def same(found: Vectors, texts: Sequence[str]) -> bool:
    return found.dtype == np.float32 and np.array_equal(found, expected(texts))


def test_only_what_is_not_kept_is_embedded_and_the_order_stays(opened: Open) -> None:
    inner = CountingEmbedder()
    cache = opened(inner)
    assert same(cache.embed_documents(["one", "two"]), ["one", "two"])
    assert same(cache.embed_documents(["three", "two", "four", "one"]), ["three", "two", "four", "one"])
    assert inner.documents == [["one", "two"], ["three", "four"]]


def test_vectors_outlive_the_process_that_made_them(opened: Open) -> None:
    first, second = CountingEmbedder(), CountingEmbedder()
    opened(first).embed_documents(["one"])
    assert same(opened(second).embed_documents(["one"]), ["one"])
    assert second.documents == []


def test_a_text_that_occurs_twice_is_embedded_once(opened: Open) -> None:
    inner = CountingEmbedder()
    assert same(opened(inner).embed_documents(["a b", "c", "a b"]), ["a b", "c", "a b"])
    assert inner.documents == [["a b", "c"]]


def test_no_texts_are_no_vectors(opened: Open) -> None:
    cache = opened(CountingEmbedder())
    assert cache.embed_documents([]).shape == cache.embed_queries([]).shape == (0, 64)


def test_models_do_not_get_each_others_vectors(opened: Open) -> None:
    first, second = CountingEmbedder("model-a"), CountingEmbedder("model-b")
    opened(first).embed_documents(["one"])
    opened(second).embed_documents(["one"])
    assert second.documents == [["one"]]


def test_a_fingerprint_and_a_text_do_not_run_into_each_other(opened: Open) -> None:
    first, second = CountingEmbedder("model"), CountingEmbedder("model a")
    opened(first).embed_documents(["a b"])
    opened(second).embed_documents(["b"])
    assert second.documents == [["b"]]


def test_what_was_embedded_before_a_failure_is_kept(opened: Open) -> None:
    inner = CountingEmbedder()
    cache = opened(inner, batch_size=2)
    inner.fails_at = "five"
    with pytest.raises(EmbedderUnavailable):
        cache.embed_documents(["one", "two", "three", "four", "five"])
    inner.fails_at = ""
    cache.embed_documents(["one", "two", "three", "four", "five"])
    assert inner.documents == [["one", "two"], ["three", "four"], ["five"]]


def test_questions_are_kept_in_memory(opened: Open, path: Path) -> None:
    inner = CountingEmbedder()
    cache = opened(inner)
    for _ in range(2):
        assert same(cache.embed_queries(["who", "what", "who"]), ["who", "what", "who"])
    assert inner.queries == [["who", "what"]]
    assert not path.exists()


def test_the_least_recently_asked_questions_leave(opened: Open) -> None:
    inner = CountingEmbedder()
    cache = opened(inner)
    cache.embed_queries(["kept", "left"])
    for number in range(2_047):
        cache.embed_queries(["kept"])
        cache.embed_queries([str(number)])
    before = len(inner.queries)
    cache.embed_queries(["kept"])
    assert len(inner.queries) == before
    cache.embed_queries(["left"])
    assert len(inner.queries) == before + 1


def test_the_file_stays_within_its_size_and_what_was_used_last_stays(opened: Open, path: Path) -> None:
    inner = CountingEmbedder()
    cache = opened(inner, max_bytes=200_000)
    cache.embed_documents(["used all the time"])
    for number in range(60):
        cache.embed_documents([f"text {number} {one}" for one in range(50)])
        cache.embed_documents(["used all the time"])
    assert inner.documents.count(["used all the time"]) == 1
    cache.close()
    assert path.stat().st_size < 300_000
    cache.embed_documents(["text 59 49", "text 0 0"])
    assert inner.documents[-1] == ["text 0 0"]


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _overwrite(path: Path) -> None:
    path.write_bytes(b"this is no database" * 1_000)


def _overwrite_pages(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:100] + b"\xff" * (len(data) - 100))


def _other_tables(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.executescript("DROP TABLE vectors; CREATE TABLE vectors (something TEXT)")
    database.close()


def _other_version(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()


@pytest.mark.parametrize("damage", [_cut, _overwrite, _overwrite_pages, _other_tables, _other_version])
def test_a_damaged_file_is_made_anew(
    opened: Open, path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    texts = [f"text {number}" for number in range(200)]
    before = opened(CountingEmbedder())
    before.embed_documents(texts)
    before.close()
    damage(path)
    after = CountingEmbedder()
    cache = opened(after)
    assert same(cache.embed_documents(texts), texts)
    assert "is damaged and is made anew" in caplog.text
    assert same(cache.embed_documents(texts), texts)
    assert after.documents == [texts]


@pytest.mark.parametrize("value", [b"", b"\0" * 8, b"\0" * 260, "text", 7])
def test_a_damaged_vector_is_embedded_again(opened: Open, path: Path, value: object) -> None:
    opened(CountingEmbedder()).embed_documents(["one", "two"])
    database = sqlite3.connect(path)
    with database:
        database.execute("UPDATE vectors SET vector = ?", (value,))
    database.close()
    inner = CountingEmbedder()
    cache = opened(inner)
    for _ in range(2):
        assert same(cache.embed_documents(["one", "two"]), ["one", "two"])
    assert inner.documents == [["one", "two"]]


def test_a_locked_file_is_passed_over_and_used_again_later(
    opened: Open, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    inner = CountingEmbedder()
    cache = opened(inner)
    cache.embed_documents(["one"])
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    assert same(cache.embed_documents(["two"]), ["two"])
    other.execute("ROLLBACK")
    other.close()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "is locked" in caplog.text
    cache.embed_documents(["one", "two"])
    cache.embed_documents(["one", "two"])
    assert inner.documents == [["one"], ["two"], ["two"]]


def test_a_place_that_cannot_be_written_is_passed_over(
    opened: Open, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.write_text("a file where the folder should be")
    inner = CountingEmbedder()
    cache = opened(inner)
    for _ in range(2):
        assert same(cache.embed_documents(["one"]), ["one"])
    assert inner.documents == [["one"], ["one"]]
    assert len(caplog.records) == 1


def test_a_folder_in_the_files_place_is_passed_over(opened: Open, path: Path) -> None:
    path.mkdir(parents=True)
    assert same(opened(CountingEmbedder()).embed_documents(["one"]), ["one"])
    assert path.is_dir()


def test_threads_and_two_caches_over_one_file_get_their_own_vectors(opened: Open) -> None:
    caches = [opened(CountingEmbedder(), max_bytes=100_000, batch_size=7) for _ in range(2)]
    start = threading.Barrier(8)

    def work(worker: int) -> bool:
        start.wait(10)
        rounds = ([f"text {(worker * 31 + turn * 17 + one) % 300}" for one in range(20)] for turn in range(20))
        return all(same(caches[worker % 2].embed_documents(texts), texts) for texts in rounds)

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(work, range(8)))


def test_everything_else_is_the_models_own(opened: Open, path: Path) -> None:
    plain = with_cache(CountingEmbedder(), path, MIB)
    assert (plain.fingerprint, plain.dimension, plain.max_tokens) == ("counting", 64, 128)
    assert plain.count_tokens(["one two", ""]) == [2, 0]
    assert not isinstance(plain, TokenEmbedder)


def test_token_vectors_are_there_where_the_model_gives_them(path: Path) -> None:
    cache = with_cache(TokenCountingEmbedder(), path, MIB)
    assert isinstance(cache, TokenEmbedder)
    (found,) = cache.token_vectors(["one"], query=False)
    assert same(found, ["one"])

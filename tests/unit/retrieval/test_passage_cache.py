"""Passages behind keys are kept within bounds."""

from retrieval.indexes.passage_cache import PassageCache
from retrieval.types import Passage

ONE, TWO, THREE = (Passage(number, 0, "x" * 100) for number in (1, 2, 3))


def test_collections_do_not_mix() -> None:
    cache = PassageCache()
    cache.put("a", [ONE])
    assert cache.get("a", [ONE.key, TWO.key]) == {ONE.key: ONE}
    assert cache.get("b", [ONE.key]) == {}


def test_a_passage_that_is_written_again_replaces_the_old() -> None:
    cache = PassageCache()
    newer = Passage(1, 0, "newer")
    cache.put("a", [ONE])
    cache.put("a", [newer])
    assert cache.get("a", [ONE.key]) == {ONE.key: newer}


def test_the_least_recently_used_leave_when_it_is_full() -> None:
    cache = PassageCache(max_bytes=1_100)
    cache.put("a", [ONE, TWO])
    cache.get("a", [ONE.key])
    cache.put("a", [THREE])
    assert set(cache.get("a", [ONE.key, TWO.key, THREE.key])) == {ONE.key, THREE.key}

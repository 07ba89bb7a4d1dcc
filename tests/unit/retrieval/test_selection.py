"""Which documents a caller may search."""

from hypothesis import given
from hypothesis import strategies as st

from retrieval.filters import matches, parse_filter
from retrieval.selection import DocumentTable
from retrieval.types import NEVER, Access, DocumentMeta, is_current

LABELS = ["red", "green", "blue"]
metas = st.builds(
    DocumentMeta,
    document=st.just("d"),
    effective_at=st.integers(0, 5),
    expires_at=st.integers(3, 9) | st.just(NEVER),
    labels=st.frozensets(st.sampled_from(LABELS)),
    attributes=st.dictionaries(st.sampled_from("ab"), st.integers(0, 2).map(float) | st.booleans() | st.just("x")),
)
accesses = st.builds(Access, st.frozensets(st.sampled_from(LABELS)), st.booleans())
conditions = st.none() | st.builds(
    lambda kind, key, value: parse_filter({"type": kind, "key": key, "value": value}),
    st.sampled_from(["eq", "ne"]),
    st.sampled_from("ab"),
    st.integers(0, 2) | st.booleans() | st.just("x"),
)


@given(st.dictionaries(st.integers(0, 99), metas, max_size=12), st.lists(st.tuples(accesses, conditions), min_size=1))
def test_a_selection_is_what_each_document_says_of_itself(documents: dict[int, DocumentMeta], asked: list) -> None:  # type: ignore[type-arg]
    table = DocumentTable(documents)
    for access, condition in asked:
        selection = table.select(access, 4, condition)
        wanted = {
            number
            for number, meta in documents.items()
            if access.allows(meta.labels) and is_current(meta, 4) and matches(condition, meta.attributes)
        }
        assert set(selection.allowed.tolist()) == wanted
        assert set(selection.denied.tolist()) == documents.keys() - wanted
        assert {number for number in range(100) if number in selection} == wanted
        assert {number for number in range(100) if table.admits(number, access, 4, condition)} == wanted


def test_true_and_one_are_different_attributes() -> None:
    table = DocumentTable({1: DocumentMeta("d", attributes={"a": True}), 2: DocumentMeta("e", attributes={"a": 1.0})})
    selection = table.select(Access(), 0, parse_filter({"type": "eq", "key": "a", "value": 1}))
    assert selection.allowed.tolist() == [2]


def test_a_document_without_labels_is_everybodys_and_one_with_them_is_not() -> None:
    table = DocumentTable({1: DocumentMeta("open"), 2: DocumentMeta("closed", labels=frozenset({"hr"}))})
    assert table.select(Access(), 0).allowed.tolist() == [1]
    assert table.select(Access(frozenset({"hr", "it"})), 0).allowed.tolist() == [1, 2]
    assert table.select(Access(everything=True), 0).allowed.tolist() == [1, 2]


def test_many_different_questions_do_not_grow_the_table_for_ever() -> None:
    table = DocumentTable({1: DocumentMeta("open")})
    for number in range(500):
        table.select(Access(frozenset({f"label {number}"})), 0)
    assert len(table._remembered) <= 64


def test_a_large_filter_is_not_kept_with_what_it_selects() -> None:
    table = DocumentTable({1: DocumentMeta("open", attributes={"a": "x"})})
    condition = parse_filter({"type": "in", "key": "a", "value": ["x", *(f"{n:0512}" for n in range(200))]})
    assert table.select(Access(), 0, condition).allowed.tolist() == [1]
    assert max(len(key) for _, key in table._remembered) <= 64


def test_what_only_time_leaves_out_is_counted() -> None:
    table = DocumentTable({1: DocumentMeta("old", expires_at=10)})
    assert table.expired(Access(everything=True), 10) == 1
    assert table.expired(Access(everything=True), 9) == 0
    assert table.expired(Access(frozenset({"hr"})), 10) == 1

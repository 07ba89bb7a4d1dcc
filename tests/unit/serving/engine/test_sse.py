"""Server-sent events are cut from bytes the same way however the bytes arrive."""

from hypothesis import given
from hypothesis import strategies as st

from serving.engine.sse import SseSplitter


def split(*chunks: bytes) -> list[bytes]:
    splitter = SseSplitter()
    return [event for chunk in chunks for event in splitter.feed(chunk)]


def test_several_events_in_one_read() -> None:
    assert split(b'data: {"a":1}\n\ndata: {"b":2}\n\ndata: [DONE]\n\n') == [b'{"a":1}', b'{"b":2}', b"[DONE]"]


def test_names_ids_and_comments_are_dropped() -> None:
    assert split(b": ping\n\nevent: response.created\nid: 7\ndata: {}\n\n") == [b"{}"]


def test_lines_of_data_are_joined_and_line_ends_may_be_of_either_kind() -> None:
    assert split(b"data: a\r\ndata:b\r\n\r\n") == [b"a\nb"]


def test_an_event_that_is_not_ended_is_not_given() -> None:
    assert split(b"data: {") == []


@given(st.lists(st.integers(1, 60), max_size=20))
def test_any_cut_gives_the_same_events(cuts: list[int]) -> None:
    stream = b'data: {"x": "caf\xc3\xa9"}\n\n: c\n\nevent: e\ndata: 1\ndata: 2\n\ndata: [DONE]\n\n'
    chunks, start = [], 0
    for cut in cuts:
        chunks.append(stream[start : start + cut])
        start += cut
    chunks.append(stream[start:])
    assert split(*chunks) == [b'{"x": "caf\xc3\xa9"}', b"1\n2", b"[DONE]"]

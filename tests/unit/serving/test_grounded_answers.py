"""Cleaning answers whose engine says things in another order than most."""

import copy
from typing import Any

import pytest

from serving.grounding.choices import ChoiceCleaner
from serving.grounding.file_search import FileSearch, FileSearchCall
from serving.grounding.grounded import Grounded, Outcome
from serving.grounding.responses import ResponseCleaner
from tests.unit.serving.passages import given

PLACE: Any = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
TEXT = "Thirty days [1], or [9]"
CLEAN = "Thirty days [1], or"


def _grounded(*, search: bool = False, cites: bool = True, keeps_shape: bool = False) -> Grounded:
    call = FileSearchCall(FileSearch({}, ("policies",), 5), "how long?") if search else None
    passages = given("Refunds take thirty days.")
    return Grounded(
        Outcome.FOUND, passages, "how long?", cites, keeps_shape, {"tools": [{"type": "file_search"}]}, call
    )


def _delta(text: str) -> Any:
    return {"type": "response.output_text.delta", **PLACE, "delta": text, "logprobs": []}


def _completed(text: str, item_id: str = "msg_1") -> Any:
    part = {"type": "output_text", "text": text, "annotations": []}
    message = {"type": "message", "id": item_id, "content": [part]}
    return {"type": "response.completed", "response": {"output": [{"type": "reasoning", "id": "rs_1"}, message]}}


def _clean(cleaner: ResponseCleaner, *events: Any) -> list[Any]:
    return [copy.deepcopy(one) for event in events for one in cleaner.clean(event)]


def test_a_text_that_was_never_ended_is_ended_before_the_last_event() -> None:
    added: Any = {"type": "response.output_item.done", "output_index": 0, "item": {"type": "reasoning", "id": "msg_1"}}
    events = _clean(ResponseCleaner(_grounded()), added, _delta("Thirty days [1"), _completed("Thirty days [1"))
    assert [event["type"] for event in events[1:]] == [
        "response.output_text.delta",
        "response.output_text.delta",
        "response.completed",
    ]
    assert "".join(event["delta"] for event in events[1:3]) == "Thirty days [1"
    assert [event["sequence_number"] for event in events] == [0, 1, 2, 3]


def test_a_text_that_was_never_streamed_is_cleaned_in_the_last_event() -> None:
    *_, last = _clean(ResponseCleaner(_grounded()), _completed(TEXT))
    part = last["response"]["output"][1]["content"][0]
    assert part["text"] == CLEAN
    assert [one["file_id"] for one in part["annotations"]] == ["file-1"]


def test_the_last_event_finds_its_texts_by_their_item() -> None:
    done: Any = {
        "type": "response.output_item.done",
        "output_index": 0,
        "item": {"type": "message", "id": "msg_1", "content": [{"type": "output_text", "text": TEXT}]},
    }
    grounded = _grounded()
    _clean(ResponseCleaner(grounded), _delta(TEXT), done, _completed(TEXT))
    assert (grounded.tally.citations, grounded.tally.dropped) == (1, 1)


def test_a_search_is_told_even_where_the_response_opens_with_one_event() -> None:
    created: Any = {"type": "response.created", "response": {"output": [], "tools": []}}
    events = _clean(ResponseCleaner(_grounded(search=True)), created, _delta("x"))
    assert [event["type"] for event in events][:2] == ["response.created", "response.output_item.added"]
    assert events[-1]["output_index"] == 1
    assert [event["sequence_number"] for event in events] == list(range(len(events)))


@pytest.mark.parametrize("cites", [True, False])
def test_parts_that_are_no_text_stay(*, cites: bool) -> None:
    done: Any = {
        "type": "response.content_part.done",
        **PLACE,
        "part": {"type": "refusal", "refusal": "No [9]."},
    }
    assert _clean(ResponseCleaner(_grounded(cites=cites)), done)[0]["part"] == {"type": "refusal", "refusal": "No [9]."}


def test_a_chunk_is_left_out_only_where_nothing_of_it_is_left() -> None:
    cleaner = ChoiceCleaner(_grounded())

    def chunk(reason: str | None = None, usage: Any = None, **delta: Any) -> Any:
        return {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}], "usage": usage}

    assert list(cleaner.clean(chunk(role="assistant", content="")))
    assert not list(cleaner.clean(chunk(content="[")))
    assert list(cleaner.clean(chunk(content="9", role="assistant")))
    assert list(cleaner.clean(chunk(content="]", usage={"total_tokens": 1})))
    (last,) = cleaner.clean(chunk("stop", content=" end [1"))
    assert last["choices"][0]["delta"]["content"] == " end [1"
    assert list(cleaner.clean({"choices": [], "usage": {}}))


def test_a_text_with_a_contract_is_annotated_and_unchanged() -> None:
    cleaner = ChoiceCleaner(_grounded(keeps_shape=True))
    text = '{"answer": "thirty [1] [9]"}'
    (last,) = cleaner.clean({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": "stop"}]})
    delta = last["choices"][0]["delta"]
    assert delta["content"] == text
    assert len(delta["annotations"]) == 1
    assert last["choices"][0]["loraplex_grounding"]["dropped"] == 1

"""What the ``file_search`` tool takes out of a request."""

from typing import Any

import pytest

from serving.errors import InvalidRequest
from serving.grounding.file_search import take_file_search

FILE_SEARCH: Any = {"type": "file_search", "vector_store_ids": ["policies"]}
LOOK: Any = {"type": "function", "name": "look"}


def _allowed(*tools: Any, mode: str = "required") -> Any:
    named = [{name: tool[name] for name in ("type", "name") if name in tool} for tool in tools]
    return {"type": "allowed_tools", "mode": mode, "tools": named}


@pytest.mark.parametrize(
    ("choice", "sent", "searched"),
    [
        ("none", "none", False),
        ({"type": "function", "name": "look"}, {"type": "function", "name": "look"}, False),
        (_allowed(LOOK), _allowed(LOOK), False),
        (_allowed({"type": "file_search"}), "none", True),
        (_allowed(LOOK, {"type": "file_search"}), _allowed(LOOK, mode="auto"), True),
        ({"type": "file_search"}, None, True),
        ("auto", "auto", True),
    ],
)
def test_the_callers_tool_choice_decides_whether_there_is_a_search(choice: Any, sent: Any, *, searched: bool) -> None:
    body = {"tools": [LOOK, FILE_SEARCH], "tool_choice": choice, "input": "why?"}
    rest, search = take_file_search(body)
    assert rest.get("tool_choice") == sent
    assert rest["tools"] == [LOOK]
    assert (search is not None) is searched
    assert len(body["tools"]) == 2


def test_what_is_left_empty_is_left_out_and_the_callers_body_stays() -> None:
    body = {"tools": [FILE_SEARCH], "tool_choice": "auto", "include": ["file_search_call.results"], "input": "why?"}
    rest, search = take_file_search(body)
    assert rest == {"input": "why?"}
    assert search is not None
    assert search.with_results
    assert set(body) == {"tools", "tool_choice", "include", "input"}


def test_other_things_to_include_stay() -> None:
    logprobs = "message.output_text.logprobs"
    rest, search = take_file_search(
        {"tools": [FILE_SEARCH], "include": ["file_search_call.results", logprobs], "input": "why?"}
    )
    assert rest["include"] == [logprobs]
    assert search is not None


def test_earlier_searches_leave_the_conversation() -> None:
    message = {"role": "user", "content": "why?"}
    rest, _ = take_file_search({"tools": [FILE_SEARCH], "input": [{"type": "file_search_call", "id": "fs_1"}, message]})
    assert rest["input"] == [message]


@pytest.mark.parametrize(
    ("options", "threshold"),
    [
        (None, None),
        ({}, None),
        ({"ranker": "auto", "score_threshold": None}, None),
        ({"ranker": "default-2024-11-15", "score_threshold": 0}, 0),
        ({"score_threshold": 0.5}, 0.5),
    ],
)
def test_a_threshold_of_zero_is_not_the_same_as_none(options: Any, threshold: float | None) -> None:
    _, search = take_file_search({"tools": [FILE_SEARCH | {"ranking_options": options}], "input": "why?"})
    assert search is not None
    assert search.threshold == threshold


@pytest.mark.parametrize(
    ("options", "name"),
    [({"ranker": "none"}, "ranker"), ({"ranker": ["auto"]}, "ranker"), ({"hybrid_search": {}}, "hybrid_search")],
)
def test_ranking_that_would_be_ignored_is_refused(options: Any, name: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        take_file_search({"tools": [FILE_SEARCH | {"ranking_options": options}], "input": "why?"})
    assert refused.value.param == f"tools[0].ranking_options.{name}"

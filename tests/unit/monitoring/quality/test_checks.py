"""All checks of one answer together."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.observed import Contract, ObservedAnswer, Tool, ToolCall
from monitoring.quality.checks import check
from monitoring.quality.confidence import Spread, Usual
from monitoring.quality.options import FormOptions, GroundingOptions, QualityOptions
from monitoring.quality.types import NAMES
from tests.observed_answers import ANSWER, observed

_USUAL = Usual(Spread(0.3, 0.1), None)
_FROM_ELSEWHERE = {"judge", "self_consistency"}


def _names(answer: ObservedAnswer, options: QualityOptions | None = None) -> set[str]:
    return {each.name for each in check(answer, options or QualityOptions(), usual=_USUAL)}


def _bad(answer: ObservedAnswer, options: QualityOptions | None = None) -> set[str]:
    return {each.name for each in check(answer, options or QualityOptions(), usual=_USUAL) if each.bad}


def test_a_good_answer_is_bad_by_no_check() -> None:
    assert _names(observed()) == {"empty", "truncated", "refusal", "repetition", "language"}
    assert _bad(observed()) == set()


def test_every_check_that_is_not_from_elsewhere_can_be_made() -> None:
    call = ToolCall("track", "{}")
    answers = [
        observed(feedback=1.0, logprobs=(-0.3,), passages=(ANSWER,), citations=1),
        observed('{"a": 1}', contract=Contract("json_schema", {"type": "object"})),
        observed("", tool_calls=(call,), tools=(Tool("track"),)),
    ]
    assert {name for answer in answers for name in _names(answer)} == set(NAMES) - _FROM_ELSEWHERE


@pytest.mark.parametrize(
    "outcome", ["client_error", "overloaded", "unavailable", "timeout", "cancelled", "server_error"]
)
def test_what_was_not_answered_is_not_checked(outcome: str) -> None:
    assert _names(observed("", outcome=outcome)) == set()


@pytest.mark.parametrize(
    ("changes", "bad"),
    [
        ({"answer": ""}, {"empty"}),
        ({"answer": " \n\u200b"}, {"empty"}),
        ({"answer": "", "finish_reason": "length"}, {"empty", "truncated"}),
        ({"finish_reason": "length"}, {"truncated"}),
        ({"answer": "", "tool_calls": (ToolCall("track", "{}"),), "tools": (Tool("track"),)}, set()),
        ({"answer": "I'm sorry, but I can't help with that.", "passages": (ANSWER,)}, {"refusal"}),
        ({"answer": '{"a": 1', "contract": Contract("json_schema")}, {"parse"}),
        ({"answer": '{"a": 1', "contract": Contract("json_schema"), "finish_reason": "length"}, {"truncated"}),
        ({"contract": Contract("choice"), "contract_violation": "mismatch"}, {"schema"}),
        ({"logprobs": (-5.0, -5.0)}, {"confidence"}),
        ({"feedback": 0.0}, {"feedback"}),
        ({"feedback": 0.5}, {"feedback"}),
        ({"dropped_citations": 1}, {"citation"}),
    ],
)
def test_one_failure_is_told_by_one_check(changes: dict[str, Any], bad: set[str]) -> None:
    assert _bad(observed(**({"answer": ANSWER} | changes))) == bad


def test_a_check_can_be_switched_off() -> None:
    off = QualityOptions(disabled=frozenset({"empty", "refusal"}))
    assert _names(observed(""), off) == {"truncated"}


def test_an_unknown_end_has_no_verdict() -> None:
    assert "truncated" not in _names(observed(finish_reason=""))


def test_details_quote_neither_prompt_nor_answer() -> None:
    secret = "hunter2"
    schema = {"properties": {"a": {"const": 1}}, "additionalProperties": False}
    answers = [
        observed(f'{{"a": "{secret}"}}', contract=Contract("json_schema", schema)),
        observed(f'{{"{secret}": 1}}', contract=Contract("json_schema", schema)),
        observed(f"{secret} " * 200, passages=("The parcel is in Leeds.",), citations=1),
        observed("", tool_calls=(ToolCall(secret, secret),), tools=(Tool("track"),)),
        observed(f"I'm sorry, but I can't help with {secret}.", prompt=secret),
    ]
    details = [each.detail for answer in answers for each in check(answer, QualityOptions(), usual=_USUAL)]
    assert any(details)
    assert [detail for detail in details if secret in detail] == []


@given(
    st.text(max_size=400),
    st.text(max_size=100),
    st.sampled_from([None, Contract("json_schema"), Contract("json_schema", {"type": "array"}), Contract("regex")]),
    st.lists(st.text(max_size=50), max_size=2),
    st.integers(0, 3),
)
def test_no_answer_makes_the_checks_fail(
    answer: str, prompt: str, contract: Contract | None, passages: list[str], citations: int
) -> None:
    options = QualityOptions(
        form=FormOptions(expects_json=True, allow_fence=True), grounding=GroundingOptions(requires_citations=True)
    )
    seen = observed(answer, prompt=prompt, contract=contract, passages=tuple(passages), citations=citations)
    for each in check(seen, options, usual=_USUAL):
        assert 0 <= each.badness <= 1

"""What becomes of a record: checks for quality, a fact without texts for drift."""

from typing import Any

import pytest

from serving.config import GatewayConfig, parse_config
from serving.observing.checking import Checker, Looked
from serving.observing.judged import Sampled, Verdict
from tests.unit.serving.observing.facts import VERSION, record

SCHEMA = {"type": "object", "properties": {"label": {"type": "string"}}, "required": ["label"]}
SECRET = "the vault is behind the painting"


def config(**monitoring: Any) -> GatewayConfig:
    tasks = {"triage": {"adapter": "triage"}, "labels": {"adapter": "triage", "output": {"json_schema": SCHEMA}}}
    return parse_config({"model": {"id": "org/base"}, "tasks": tasks, "monitoring": monitoring})


def checker(**monitoring: Any) -> Checker:
    made = config(**monitoring)
    assert made.monitoring is not None
    return Checker(made, made.monitoring)


def bad(looked: Looked) -> set[str]:
    return {one.name for one in looked.checks if one.bad}


def test_a_good_answer_is_good_by_every_check() -> None:
    looked = checker().look(record())
    assert looked.checks
    assert bad(looked) == set()
    assert looked.fact["counts"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"answer": ""}, {"empty"}),
        ({"answer": "I'm sorry, but I can't help with that."}, {"refusal"}),
        ({"finish_reason": "length"}, {"truncated"}),
        ({"answer": "loop loop " * 300}, {"repetition"}),
        ({"task": "labels", "answer": "{broken", "violation": "mismatch"}, {"parse"}),
        ({"task": "labels", "answer": "[]", "violation": "mismatch"}, {"schema"}),
        ({"answer": "{broken", "form": {"type": "json_object"}}, {"parse"}),
        ({"answer": "", "calls": [["fly", "{}"]], "finish_reason": "tool_calls"}, {"tool_call"}),
    ],
)
def test_a_bad_answer_is_bad_by_the_check_that_it_is_for(changes: dict[str, Any], expected: set[str]) -> None:
    assert bad(checker().look(record(**changes))) == expected


def test_a_tool_call_is_held_against_the_tools_that_were_offered() -> None:
    tool = {"type": "function", "function": {"name": "fly", "parameters": {"type": "object", "required": ["to"]}}}
    asked = {"answer": "", "finish_reason": "tool_calls", "tools": [tool]}
    assert bad(checker().look(record(**asked, calls=[["fly", '{"to": "Rome"}']]))) == set()
    assert bad(checker().look(record(**asked, calls=[["fly", "{}"]]))) == {"tool_call"}


def test_a_task_has_its_contract_and_an_adapter_of_the_same_name_has_none() -> None:
    of_task = checker().look(record(task="labels", answer="fine", violation="mismatch"))
    of_adapter = checker().look(record(task="labels", is_task=False, answer="fine"))
    assert bad(of_task) == {"parse"}
    assert bad(of_adapter) == set()


@pytest.mark.parametrize("outcome", ["server_error", "cancelled", "client_error", "timeout"])
def test_what_was_never_answered_is_not_checked_and_counts_for_no_score(outcome: str) -> None:
    looked = checker().look(record(outcome=outcome, answer=""))
    assert looked.checks == ()
    assert not looked.fact["counts"]


def test_what_the_gateway_says_itself_is_no_versions_work() -> None:
    looked = checker().look(record(answer="The documents do not tell.", grounding={"own_answer": True}))
    assert (looked.checks, looked.fact["counts"]) == ((), False)


def test_checks_that_are_off_are_not_made() -> None:
    looked = checker(quality={"off": ["refusal", "feedback"]}).look(record(answer="I cannot help with that."))
    assert "refusal" not in {one.name for one in looked.checks}
    said = {"kind": "feedback", "task": "triage", "adapter": VERSION, "role": "stable", "at": 1.0, "score": 0.0}
    assert checker(quality={"off": ["feedback"]}).look(said).checks == ()


def test_without_quality_nothing_is_checked_and_drift_is_noted_all_the_same() -> None:
    looked = checker(quality=None).look(record(is_drawn=True))
    assert looked.checks == ()
    assert looked.fact["drift"]["language"] == "en"
    assert not looked.fact["counts"]


def test_feedback_repeats_and_verdicts_come_later_and_count_no_request() -> None:
    it = checker()
    where: dict[str, Any] = {"task": "triage", "adapter": VERSION, "role": "stable", "at": 1.0}
    said = it.look(where | {"kind": "feedback", "score": 0.25})
    again = it.look(where | {"kind": "repeats", "answers": ["Paris", "Rome", "Oslo"]})
    judged = it.judged(Verdict(Sampled(content="{}", **where), 0.75))
    found = [[(one.name, one.badness) for one in looked.checks] for looked in (said, again, judged)]
    assert found == [[("feedback", 0.75)], [("self_consistency", 1.0)], [("judge", 0.25)]]
    assert not any(looked.fact["counts"] for looked in (said, again, judged))


def test_how_sure_the_model_was_is_measured_and_compared_with_what_is_usual() -> None:
    it = checker()
    for number in range(150):
        usual = it.look(record(logprobs=[-0.1 - number % 7 * 0.01] * 5, alternatives=[[-0.1, -2.3]] * 5))
    assert usual.logprob == pytest.approx(-0.13, abs=0.04)
    assert usual.entropy is not None
    assert bad(usual) == set()
    assert bad(it.look(record(logprobs=[-4.0] * 5))) == {"confidence"}


def test_what_an_engine_calls_impossible_is_read_all_the_same() -> None:
    looked = checker().look(record(logprobs=[None, -1.0], alternatives=[[None, -0.5], [None, None]]))
    assert looked.logprob == -10.5
    assert looked.entropy == 0.0


def test_another_stable_version_has_another_measure() -> None:
    it = checker()
    for _ in range(150):
        it.look(record(logprobs=[-0.1] * 5))
    promoted = it.look(record(adapter="triage@22222222", logprobs=[-4.0] * 5))
    assert bad(promoted) == set()


def test_a_fact_holds_no_text_unless_texts_are_kept() -> None:
    asked = {"prompt": SECRET, "answer": SECRET, "is_drawn": True, "grounding": {"passages": [SECRET], "scores": [0.5]}}
    fact = checker().look(record(**asked)).fact
    assert fact.pop("prompt") == SECRET  # embedded, and then dropped
    assert SECRET not in str(fact)
    assert fact["drift"]["retrieval_score"] == 0.5
    kept = checker(keep_texts=True).look(record(**asked)).fact
    assert kept["drift"]["text"] == SECRET
    long = checker(keep_texts=True).look(record(**asked | {"prompt": SECRET * 100})).fact
    assert len(long["drift"]["text"]) == 200
    for_one = checker(tasks={"labels": {"keep_texts": True}})
    assert for_one.look(record(**asked)).fact["drift"]["text"] is None
    assert for_one.look(record(**asked, task="labels")).fact["drift"]["text"] == SECRET


def test_no_detail_of_a_check_quotes_the_answer() -> None:
    answers = [SECRET * 200, "{" + SECRET, f"I cannot help with that: {SECRET}."]
    for answer in answers:
        looked = checker().look(record(task="labels", answer=answer, violation="mismatch"))
        assert SECRET not in str([one.detail for one in looked.checks])

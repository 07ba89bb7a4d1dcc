"""Failures of one kind in one answer of twenty: what the score, its parts and the alert rule make of them."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from monitoring.observed import Contract, ObservedAnswer, Tool, ToolCall
from monitoring.quality.checks import check
from monitoring.quality.comparison import compare
from monitoring.quality.confidence import ConfidenceReference
from monitoring.quality.excess import THRESHOLD, excess
from monitoring.quality.options import WEIGHTS, QualityOptions
from monitoring.quality.score import QualityScore
from tests.observed_answers import observed

_REQUESTS = 300
"""Within which the documentation promises an alert."""
_EVERY = 20
_OPTIONS = QualityOptions()
_SCHEMA = {"type": "object", "properties": {"label": {"enum": ["billing", "delivery"]}}, "required": ["label"]}
_TOOL = Tool("track", {"type": "object", "properties": {"parcel": {"type": "integer"}}, "required": ["parcel"]})
_ITEMS = ("lamps", "bridges", "kettles", "mirrors", "ladders")
_CITIES = ("Leeds", "Porto", "Hamburg", "Lyon", "Gdynia")
_CARRIERS = ("Northwind", "Albatros", "Redline", "Postbird")


def _documents(chosen: random.Random) -> ObservedAnswer:
    """An answer from passages, with citations and log-probabilities."""
    order, quantity, days = chosen.randrange(1000, 9999), chosen.randrange(2, 90), chosen.randrange(10, 60)
    item, city, carrier = chosen.choice(_ITEMS), chosen.choice(_CITIES), chosen.choice(_CARRIERS)
    sent = f"of {quantity} {item} left the warehouse in {city} and is carried by {carrier}"
    kept = f"within {days} days of delivery, in the original packaging"
    return observed(
        f"Your order {sent} [1]. You can return it {kept} [1].",
        prompt=f"Where is my order {order} now, and what can I do if I want to send it back to you?",
        passages=(f"Order {order} {sent}. Goods can be returned {kept}.",),
        citations=2,
        logprobs=tuple(chosen.uniform(-0.6, 0.0) for _ in range(30)),
        adapter="support@3f9a1c2e",
    )


def _triage(chosen: random.Random) -> ObservedAnswer:
    label = chosen.choice(("billing", "delivery"))
    return observed(
        f'{{"label": "{label}"}}',
        task="triage",
        contract=Contract("json_schema", _SCHEMA),
        prompt=f"My invoice of {chosen.randrange(900)} euros is wrong.",
    )


def _tracking(chosen: random.Random) -> ObservedAnswer:
    call = ToolCall("track", f'{{"parcel": {chosen.randrange(10_000)}}}')
    return observed("", task="tracking", finish_reason="tool_calls", tool_calls=(call,), tools=(_TOOL,))


_TASKS: dict[str, Callable[[random.Random], ObservedAnswer]] = {
    "support": _documents,
    "triage": _triage,
    "tracking": _tracking,
}


def _unchanged(answer: ObservedAnswer) -> ObservedAnswer:
    return answer


def _loop(answer: ObservedAnswer) -> ObservedAnswer:
    return replace(answer, answer=answer.answer + " It is in the warehouse." * 40)


def _in_german(answer: ObservedAnswer) -> ObservedAnswer:
    sent = "Ihre Bestellung hat das Lager verlassen und wird von uns gebracht."
    kept = "Sie können die Ware nach der Lieferung zurückgeben, wenn sie noch nicht benutzt wurde."
    return replace(answer, answer=f"{sent} {kept}", citations=0)


def _from_nowhere(answer: ObservedAnswer) -> ObservedAnswer:
    text = "Our founder loves gardening and painting, and she often tells visitors about mountains and ancient music."
    return replace(answer, answer=text, citations=0)


_FAILURES: dict[str, tuple[str, Callable[[ObservedAnswer], ObservedAnswer]]] = {
    "parse": ("triage", lambda answer: replace(answer, answer=answer.answer[:-1])),
    "schema": ("triage", lambda answer: replace(answer, answer='{"label": "weather"}')),
    "tool_call": ("tracking", lambda answer: replace(answer, tool_calls=(ToolCall("track", '{"parcel": "x"}'),))),
    "empty": ("support", lambda answer: replace(answer, answer="", citations=0)),
    "truncated": ("support", lambda answer: replace(answer, finish_reason="length")),
    "repetition": ("support", _loop),
    "refusal": (
        "support",
        lambda answer: replace(answer, answer="I'm sorry, but I can't help with that request.", citations=0),
    ),
    "language": ("support", _in_german),
    "grounded": ("support", _from_nowhere),
    "citation": ("support", lambda answer: replace(answer, citations=1, dropped_citations=1)),
    "confidence": ("support", lambda answer: replace(answer, logprobs=(-3.0,) * 30)),
    "feedback": ("support", lambda answer: replace(answer, feedback=0.0)),
}


@dataclass
class _Seen:
    """What monitoring knows of one task's version after a run."""

    score: QualityScore = field(default_factory=QualityScore)
    bad: dict[str, int] = field(default_factory=dict)
    n: dict[str, int] = field(default_factory=dict)

    def add(self, answer: ObservedAnswer, reference: ConfidenceReference) -> None:
        verdicts = check(answer, _OPTIONS, usual=reference.usual)
        self.score.add(verdicts, answer.at)
        for each in verdicts:
            self.n[each.name] = self.n.get(each.name, 0) + 1
            self.bad[each.name] = self.bad.get(each.name, 0) + each.bad

    def firing(self) -> set[str]:
        """Checks whose alert fires, where hardly any answer was bad before."""
        return {name for name, n in self.n.items() if excess(self.bad[name], n, 0.0) > THRESHOLD}


@pytest.fixture(scope="module")
def reference() -> ConfidenceReference:
    chosen, reference = random.Random(7), ConfidenceReference()
    for _ in range(200):
        reference.add(_documents(chosen))
    return reference


def _run(reference: ConfidenceReference, failure: str | None, seed: int = 1) -> dict[str, _Seen]:
    """Every task has its requests; one in twenty of one task fails, at random."""
    task, fail = ("", _unchanged) if failure is None else _FAILURES[failure]
    chosen, fate = random.Random(seed), random.Random(seed + 1000)
    failing = {block * _EVERY + fate.randrange(_EVERY) for block in range(_REQUESTS // _EVERY)}
    seen = {name: _Seen() for name in _TASKS}
    for number in range(_REQUESTS):
        for name, make in _TASKS.items():
            answer = make(chosen)
            if failure == "feedback" and name == task:
                answer = replace(answer, feedback=1.0)
            seen[name].add(fail(answer) if name == task and number in failing else answer, reference)
    return seen


@pytest.fixture(scope="module")
def healthy(reference: ConfidenceReference) -> dict[str, _Seen]:
    return _run(reference, None)


def test_healthy_tasks_are_quiet(healthy: dict[str, _Seen]) -> None:
    for seen in healthy.values():
        assert seen.firing() == set()
        value = seen.score.value()
        assert value is not None
        assert value > 0.99


@pytest.mark.parametrize("failure", list(_FAILURES))
def test_a_failure_moves_the_score_and_its_own_part_and_fires_its_own_alert(
    failure: str, reference: ConfidenceReference, healthy: dict[str, _Seen]
) -> None:
    task = _FAILURES[failure][0]
    seen = _run(reference, failure)
    parts = seen[task].score.parts()
    before, after = healthy[task].score.value(), seen[task].score.value()
    assert before is not None
    assert after is not None
    assert 0.02 <= parts[failure].badness <= 0.08
    assert {name: part.badness for name, part in parts.items() if name != failure and part.badness > 0.01} == {}
    assert before - after > 0.5 * WEIGHTS[failure] * parts[failure].badness
    assert seen[task].firing() == {failure}


@pytest.mark.parametrize("failure", ["parse", "repetition", "grounded"])
def test_other_tasks_stay_as_they_were(failure: str, reference: ConfidenceReference, healthy: dict[str, _Seen]) -> None:
    seen = _run(reference, failure)
    others = [name for name in _TASKS if name != _FAILURES[failure][0]]
    assert {name: seen[name].score.value() for name in others} == {name: healthy[name].score.value() for name in others}
    assert {name: seen[name].firing() for name in others} == {name: set() for name in others}


def test_a_canary_that_loops_is_told_from_its_stable_version(
    reference: ConfidenceReference, healthy: dict[str, _Seen]
) -> None:
    difference = compare(_run(reference, "repetition")["support"].score, healthy["support"].score)
    assert difference is not None
    assert difference.worse
    assert difference.worst() == "repetition"

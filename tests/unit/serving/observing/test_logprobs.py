"""Log-probabilities that the gateway asks for itself."""

import math
from typing import Any

import pytest

from serving.engine.fake import FakeEngine
from serving.engine.protocol import Endpoint, EngineRequest
from serving.observing.logprobs import Probabilities, ask, asked, entropy, read_events

CHAT, COMPLETIONS, RESPONSES = Endpoint.CHAT, Endpoint.COMPLETIONS, Endpoint.RESPONSES
BODIES: dict[Endpoint, dict[str, Any]] = {
    CHAT: {"messages": [{"role": "user", "content": "one two three"}]},
    COMPLETIONS: {"prompt": "one two three"},
    RESPONSES: {"input": "one two three"},
}


@pytest.fixture
async def engine() -> FakeEngine:
    made = FakeEngine()
    await made.start(lambda line: None)
    return made


@pytest.mark.parametrize("endpoint", list(BODIES))
async def test_a_whole_answer_is_noted_and_shows_none(engine: FakeEngine, endpoint: Endpoint) -> None:
    body, found = ask(endpoint, BODIES[endpoint], 2)
    assert asked(endpoint, body)
    assert not asked(endpoint, BODIES[endpoint])
    answer = found.take(endpoint, await engine.complete(EngineRequest(endpoint, body, "a")))
    plain = await engine.complete(EngineRequest(endpoint, BODIES[endpoint], "a"))
    assert answer == plain
    assert len(found.logprobs) == 4
    assert all(value <= 0 for value in found.logprobs)
    assert [len(one) for one in found.alternatives] == [2] * 4


@pytest.mark.parametrize("endpoint", list(BODIES))
async def test_a_stream_is_noted_once_and_shows_none(engine: FakeEngine, endpoint: Endpoint) -> None:
    body, found = ask(endpoint, BODIES[endpoint], 2)
    request = EngineRequest(endpoint, body, "a")
    events = [event async for event in read_events(found, endpoint, engine.stream(request))]
    assert len(found.logprobs) == 4
    assert "'logprob':" not in str(events)
    assert "token_logprobs" not in str(events)


@pytest.mark.parametrize(
    ("endpoint", "wish"),
    [
        (CHAT, {"logprobs": True, "top_logprobs": 1}),
        (COMPLETIONS, {"logprobs": 0}),
        (RESPONSES, {"include": ["message.output_text.logprobs"], "top_logprobs": 1}),
    ],
)
async def test_who_asked_for_them_gets_what_was_asked_for(
    engine: FakeEngine, endpoint: Endpoint, wish: dict[str, Any]
) -> None:
    body, found = ask(endpoint, BODIES[endpoint] | wish, 5)
    assert body == BODIES[endpoint] | wish
    answer = found.take(endpoint, await engine.complete(EngineRequest(endpoint, body, "a")))
    assert answer == await engine.complete(EngineRequest(endpoint, body, "a"))
    assert len(found.logprobs) == 4


def test_what_a_caller_declines_is_asked_for_and_hidden() -> None:
    body, _ = ask(CHAT, BODIES[CHAT] | {"logprobs": False}, 3)
    assert (body["logprobs"], body["top_logprobs"]) == (True, 3)


def test_the_older_api_is_asked_for_as_many_as_it_gives() -> None:
    body, _ = ask(COMPLETIONS, BODIES[COMPLETIONS], 20)
    assert body["logprobs"] == 5


def test_a_prompt_that_is_echoed_is_not_asked_about() -> None:
    echoing = BODIES[COMPLETIONS] | {"echo": True}
    assert ask(COMPLETIONS, echoing, 3)[0] == echoing


@pytest.mark.parametrize("found", [{"content": [{"token": "a"}]}, {"content": 7}, "nonsense", {"content": [None]}])
def test_a_form_that_nobody_knows_is_hidden_all_the_same(found: Any) -> None:
    probabilities = Probabilities(hidden=True)
    answer = probabilities.take(CHAT, {"choices": [{"index": 0, "logprobs": found}]})
    assert answer["choices"][0]["logprobs"] is None
    assert probabilities.logprobs == []


@pytest.mark.parametrize(
    ("logprobs", "expected"),
    [
        ([math.log(0.5), math.log(0.5)], math.log(2)),
        ([math.log(0.25), math.log(0.25)], math.log(2)),
        ([0.0], 0.0),
        ([], 0.0),
        ([-9999.0, -9999.0], 0.0),
    ],
)
def test_entropy_is_that_of_the_known_outcomes_alone(logprobs: list[float], expected: float) -> None:
    assert entropy(logprobs) == pytest.approx(expected)

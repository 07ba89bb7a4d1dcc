"""Which requests become samples, and what of them."""

import json
from datetime import timedelta
from typing import Any

import pytest

from adapters.rollout_types import Phase, RolloutMark, Sample
from adapters.types import Role
from serving.config import RolloutSettings
from serving.engine.protocol import Endpoint
from serving.life.sampling import MOST_WAITING, Asked, Sampler, content_of, messages_of

OLD, NEW = "triage@11111111", "triage@22222222"
MARK = RolloutMark(7, "triage", NEW, OLD, Phase.CANARY, 0.5)
JUDGE = {"url": "http://judge/v1", "model": "m", "rubric": "Be right."}
CHAT: Asked = (Endpoint.CHAT, {"model": "labels", "messages": [{"role": "user", "content": "ticket 1"}]})


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 30.0

    def __call__(self) -> float:
        return self.now


def sampler(clock: Clock | None = None, chance: float = 0.0, **samples: Any) -> Sampler:
    settings = {"judge": JUDGE, "share": 0.25} | samples
    policy = RolloutSettings.model_validate({"signals": {"samples": settings}})
    return Sampler({"triage": policy}, chance=lambda: chance, clock=clock or Clock())


def kept(from_: Sampler, *texts: str, asked: Asked = CHAT, passages: tuple[str, ...] = ()) -> list[Sample]:
    draft = from_.draw(MARK, Role.CANARY, NEW, "labels", asked)
    assert draft is not None
    for text in texts:
        draft.answered(text)
    draft.keep(passages)
    return from_.take()


def content(sample: Sample) -> Any:
    return json.loads(sample.content)


def test_a_request_that_is_drawn_is_kept_with_prompt_answer_and_passages() -> None:
    (sample,) = kept(sampler(), "billing", passages=("about bills",))
    assert (sample.rollout, sample.role, sample.signal) == (7, "canary", "judge")
    assert (sample.version, sample.task) == (NEW, "labels")
    assert sample.expires_at - sample.at == timedelta(minutes=60)
    assert content(sample) == {
        "messages": [{"role": "user", "content": "ticket 1"}],
        "context": ["about bills"],
        "answer": "billing",
    }


def test_each_signal_gets_a_sample_of_its_own() -> None:
    found = kept(sampler(suite={"file": "suite.yaml"}), "billing")
    assert [sample.signal for sample in found] == ["suite", "judge"]
    assert found[0].content == found[1].content


def test_a_share_is_drawn_by_chance() -> None:
    assert sampler(chance=0.2499).draw(MARK, Role.STABLE, OLD, "labels", CHAT) is not None
    assert sampler(chance=0.25).draw(MARK, Role.STABLE, OLD, "labels", CHAT) is None


def test_without_settings_nothing_is_drawn() -> None:
    for rollouts in ({}, {"triage": RolloutSettings()}):
        plain = Sampler(rollouts, chance=lambda: 0.0)
        assert plain.draw(MARK, Role.STABLE, OLD, "labels", CHAT) is None


def test_either_version_has_so_many_a_minute() -> None:
    clock = Clock()
    of = sampler(clock, per_minute=2)

    def drawn(version: str) -> list[bool]:
        return [of.draw(MARK, Role.STABLE, version, "labels", CHAT) is not None for _ in range(3)]

    assert drawn(OLD) == [True, True, False]
    assert drawn(NEW) == [True, True, False]
    clock.now = 60.0
    assert drawn(OLD) == [True, True, False]


def test_no_more_samples_wait_than_there_is_room_for() -> None:
    of = sampler(per_minute=10_000)
    for _ in range(MOST_WAITING):
        draft = of.draw(MARK, Role.STABLE, OLD, "labels", CHAT)
        assert draft is not None
        draft.answered("x")
        draft.keep(())
    assert of.draw(MARK, Role.STABLE, OLD, "labels", CHAT) is None
    assert len(of.take()) == MOST_WAITING
    assert of.draw(MARK, Role.STABLE, OLD, "labels", CHAT) is not None


def test_the_first_text_is_the_samples_and_without_one_there_is_none() -> None:
    (sample,) = kept(sampler(), "first", "second")
    assert content(sample)["answer"] == "first"
    assert kept(sampler()) == []


@pytest.mark.parametrize("text", ["x" * 5000, "ü" * 5000, "😀" * 5000])
def test_a_long_answer_is_cut_to_its_bytes(text: str) -> None:
    (sample,) = kept(sampler(max_bytes=1000), text)
    answer = content(sample)["answer"]
    assert text.startswith(answer)
    assert 0 < len(json.dumps(answer)) <= 1000
    assert len(sample.content) <= 2000
    assert sample.content.isascii()


def test_a_large_prompt_is_not_sampled() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 2000}}
    body = {"messages": [{"role": "user", "content": [image]}]}
    assert kept(sampler(max_bytes=1000), "yes", asked=(Endpoint.CHAT, body)) == []
    assert kept(sampler(max_bytes=1000), "yes", passages=("p" * 2000,)) == []


@pytest.mark.parametrize(
    ("endpoint", "body", "expected"),
    [
        (Endpoint.COMPLETIONS, {"prompt": "Once"}, [{"role": "user", "content": "Once"}]),
        (Endpoint.COMPLETIONS, {"prompt": ["Once", "Twice"]}, None),
        (Endpoint.COMPLETIONS, {"prompt": [1, 2, 3]}, None),
        (Endpoint.RESPONSES, {"input": "Once"}, [{"role": "user", "content": "Once"}]),
        (
            Endpoint.RESPONSES,
            {"instructions": "Be brief.", "input": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]},
            [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        ),
        (Endpoint.RESPONSES, {"input": [{"type": "function_call_output", "output": "7"}]}, None),
        (Endpoint.CHAT, {"messages": []}, None),
    ],
)
def test_a_prompt_is_a_conversation_whatever_it_was_asked_through(
    endpoint: Endpoint, body: dict[str, Any], expected: Any
) -> None:
    assert messages_of(endpoint, body) == expected
    assert (content_of((endpoint, body), "a", (), 1000) is None) == (expected is None)

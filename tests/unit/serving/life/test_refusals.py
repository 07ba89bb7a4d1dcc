"""What counts as a refusal."""

import pytest

from serving.life.refusals import is_refusal


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I am sorry, I cannot do this.",
        "Sorry, I can't assist with that request.",
        "Unfortunately, I do not have access to that.",
        "I cannot answer this question.",
        "I can’t do that.",
        "  As an AI language model, I have no opinions.",
        "I apologize, but no.",
        "My apologies, this is beyond me.",
        "I won't help with this.",
        "I don't have enough information to say.",
        '"I’m unable to open links."',
        "I'm afraid that is not possible.",
    ],
)
def test_an_answer_that_begins_by_declining_is_one(text: str) -> None:
    assert is_refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"label": "billing", "urgent": false}',
        "The capital of France is Paris.",
        "I can help you with that.",
        "I'm happy to help.",
        "Sorry to hear that! Restart the printer.",
        "Paris. I'm sorry, but that is all that I know.",
        "As an engineer, I would restart it.",
        "Unfortunately the printer is on fire; call the fire brigade.",
    ],
)
def test_an_answer_that_helps_is_none(text: str) -> None:
    assert not is_refusal(text)


def test_the_tasks_own_words_are_one() -> None:
    assert is_refusal("The documents do not tell. Ask again.", "The documents do not tell.")
    assert not is_refusal("The documents do not tell.")

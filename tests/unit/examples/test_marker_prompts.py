"""Marker adapters: words that cannot be taken for one another, measured on prompts that were not trained on."""

import itertools

from examples.marker_adapters import WORDS, seen_prompts, unseen_prompts


def test_no_marker_is_a_part_of_another_ones_answer() -> None:
    assert len(set(WORDS)) == len(WORDS)
    for one, other in itertools.permutations(WORDS, 2):
        assert one not in f"{other} is here."


def test_unseen_prompts_are_at_least_50_and_none_is_trained_on() -> None:
    unseen = [messages[-1].content for messages in unseen_prompts()]
    seen = {messages[-1].content for messages in itertools.islice(seen_prompts(), 2000)}
    assert len(set(unseen)) >= 50
    assert not seen & set(unseen)


def test_prompts_are_short_and_long_with_and_without_a_system_message() -> None:
    prompts = list(itertools.islice(seen_prompts(), 200))
    lengths = sorted(len(messages[-1].content) for messages in prompts)
    assert lengths[0] < 10
    assert lengths[-1] > 500
    assert {messages[0].role for messages in prompts} == {"system", "user"}

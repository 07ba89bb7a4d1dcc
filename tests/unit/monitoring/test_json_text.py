"""JSON in a Markdown fence."""

import pytest

from monitoring.json_text import unfenced


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("```json\n{}\n```", "{}\n"),
        ("\n```  \n[1]```\n", "[1]"),
        ("```json\n```", ""),
        ("{}", "{}"),
        ("```json {}```", "```json {}```"),
        ("```yaml\na: 1\n```", "```yaml\na: 1\n```"),
        ("Here:\n```json\n{}\n```", "Here:\n```json\n{}\n```"),
        ("```json\n{}\n", "```json\n{}\n"),
    ],
)
def test_what_stands_in_a_fence_is_taken_out_and_nothing_else(text: str, inside: str) -> None:
    assert unfenced(text) == inside


def test_the_time_does_not_grow_with_the_square_of_the_white_space() -> None:
    text = "```json\n" + " " * 2_000_000
    assert unfenced(text) == text

"""Prompts and answers as the log of a task shows them."""

from typing import Any

import pytest

from monitoring.redaction import EMAIL
from serving.engine.protocol import Endpoint
from serving.observability.texts import CUT, prompt_text, safe_text

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


@pytest.mark.parametrize(
    ("endpoint", "body", "text"),
    [
        (Endpoint.CHAT, {"messages": [{"role": "user", "content": "hi"}]}, "user: hi"),
        (
            Endpoint.CHAT,
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "see"}, IMAGE]}]},
            "user: see",
        ),
        (Endpoint.CHAT, {"messages": [{"role": "assistant", "content": None}, 7]}, "assistant: "),
        (Endpoint.COMPLETIONS, {"prompt": "once"}, "once"),
        (Endpoint.COMPLETIONS, {"prompt": ["one", "two"]}, "one\ntwo"),
        (Endpoint.COMPLETIONS, {"prompt": [1, 2, 3]}, ""),
        (Endpoint.RESPONSES, {"input": "hello"}, "hello"),
        (Endpoint.RESPONSES, {"input": [{"role": "user", "content": "hello"}]}, "user: hello"),
        (Endpoint.RESPONSES, {}, ""),
    ],
)
def test_the_texts_of_a_prompt_are_found_and_nothing_else(endpoint: Endpoint, body: dict[str, Any], text: str) -> None:
    assert prompt_text(endpoint, body) == text


def test_a_text_is_redacted_and_cut() -> None:
    assert safe_text("write to jane@example.com", 100) == f"write to {EMAIL}"
    assert safe_text("a" * 30, 20) == "a" * 20 + CUT
    assert safe_text("short", 5) == "short"


def test_what_lies_on_the_edge_is_redacted_before_it_is_cut() -> None:
    found = safe_text("a" * 15 + " jane.doe.the.elder@example.com", 25)
    assert "jane" not in found
    assert found == "a" * 15 + f" {EMAIL}"


def test_a_very_long_text_is_cut_even_where_what_is_shown_of_it_is_short() -> None:
    for extra in range(14):
        found = safe_text("x" * extra + " b@example.com" * 1000, 5000)
        assert found.endswith(CUT)
        assert "example" not in found

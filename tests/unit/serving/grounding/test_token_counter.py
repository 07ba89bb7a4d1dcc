"""How passages are measured."""

from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from serving.config import parse_config
from serving.grounding.token_counter import TokenCounter, estimate_tokens


def _counter(model: Path | str, **sections: Any) -> TokenCounter:
    return TokenCounter(parse_config({"model": {"id": str(model)}} | sections))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "one": 1}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]").save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("text", "tokens"), [("", 0), ("abc", 1), ("abcd", 2), ("äö", 2)])
def test_an_estimate_goes_by_bytes(text: str, tokens: int) -> None:
    assert estimate_tokens(text) == tokens


async def test_an_engine_in_this_process_counts_by_its_own_tokenizer(checkpoint: Path) -> None:
    counter = _counter(checkpoint, knowledge={})
    assert counter("one two three four") == 6
    await counter.load()
    assert counter("one two three four") == 4


async def test_another_tokenizer_may_be_named(checkpoint: Path) -> None:
    counter = _counter("org/base", knowledge={}, engine={"args": {"tokenizer": str(checkpoint)}})
    await counter.load()
    assert counter("one two three four") == 4


async def test_without_retrieval_nothing_is_loaded(checkpoint: Path) -> None:
    counter = _counter(checkpoint)
    await counter.load()
    assert counter("one two three four") == 6


async def test_a_missing_tokenizer_leaves_the_estimate(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    counter = _counter(tmp_path, knowledge={})
    await counter.load()
    assert counter("one two three four") == 6
    assert "counted by estimate" in caplog.text

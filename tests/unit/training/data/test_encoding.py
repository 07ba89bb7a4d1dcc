"""What the model sees of a row, and which of it is learnt."""

from pathlib import Path
from typing import Any

import pytest

from tests.unit.training.data.rows import (
    WEATHER,
    Json,
    assistant,
    call,
    calling,
    chat,
    preference,
    result,
    tooled,
    turn,
    user,
    write,
)
from tests.unit.training.data.templates import CHATML, FORGETFUL, STRICT, TOOLS, CharacterTokenizer, decoded
from training.data.chat import ChatRow, read_chat
from training.data.encoding import (
    IGNORED,
    EncodedRow,
    encode_dataset,
    encode_preference,
    encode_preferences,
    encode_row,
)
from training.data.preferences import PreferenceRow, read_preferences
from training.data.tokenizer import load_chat_tokenizer
from training.errors import BaseModelInvalid, DataInvalid, RowInvalid


def _encoded(row: Json, template: str = TOOLS, max_length: int = 10_000) -> EncodedRow:
    return encode_row(ChatRow.model_validate(row), CharacterTokenizer(template), max_length)


def _learnt(encoded: EncodedRow) -> str:
    pairs = zip(encoded.input_ids, encoded.labels, strict=True)
    return decoded(tuple(token for token, label in pairs if label != IGNORED))


def test_tool_calls_are_learnt_and_their_results_are_not() -> None:
    encoded = _encoded(tooled(user("Oslo?"), calling(), result(), assistant("It is 12 degrees.")))
    assert (
        _learnt(encoded)
        == '<call>{"name": "weather", "arguments": {"city": "Oslo"}}</call><|end|>It is 12 degrees.<|end|>'
    )
    whole = decoded(encoded.input_ids)
    assert whole.startswith('<|tools|>{"function": {"description": "The weather of a city."')
    assert "<|tool|>12 degrees<|end|>" in whole


def test_a_conversation_may_end_with_calls() -> None:
    encoded = _encoded(tooled(user(), calling(call(), call("c2", arguments='{"city": "Rome"}'), content="Let me see.")))
    assert _learnt(encoded).count("<call>") == 2
    assert _learnt(encoded).startswith("Let me see.<call>")


def test_a_tool_call_of_weight_0_is_context() -> None:
    encoded = _encoded(tooled(user(), calling(weight=0), result(), assistant("Fine.")))
    assert _learnt(encoded) == "Fine.<|end|>"
    assert "<call>" in decoded(encoded.input_ids)


def test_text_parts_are_joined_as_the_engine_joins_them() -> None:
    parts = [{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}]
    assert _encoded(chat(user(parts), assistant(parts))) == _encoded(turn("One.\nTwo.", "One.\nTwo."))


def test_the_name_of_a_speaker_reaches_the_template() -> None:
    template = "{% for message in messages %}{{ message.name or message.role }}: {{ message.content }}\n{% endfor %}"
    row = chat({**user("Hi."), "name": "Ada"}, assistant("Hello."))
    assert decoded(_encoded(row, template + "{% if add_generation_prompt %}assistant: {% endif %}").input_ids) == (
        "Ada: Hi.\nassistant: Hello."
    )


@pytest.mark.parametrize(
    ("row", "template", "says"),
    [
        (tooled(user(), assistant()), CHATML, "does not render `tools`"),
        (tooled(user(), calling(content="I call.")), CHATML, "does not render tool calls"),
        (chat(user("a"), assistant("b"), user("c"), assistant("d")), FORGETFUL, "earlier turns differently"),
    ],
)
def test_a_template_that_loses_something_is_refused(row: Json, template: str, says: str) -> None:
    with pytest.raises(BaseModelInvalid, match=says):
        _encoded(row, template)


def test_a_row_that_the_template_refuses_is_named_by_its_line(tmp_path: Path) -> None:
    row = chat({"role": "system", "content": "Be kind."}, user(), assistant())
    with pytest.raises(RowInvalid, match="no system role"):
        _encoded(row, STRICT)
    path = write(tmp_path / "rows.jsonl", turn("a", "b"), row)
    with pytest.raises(DataInvalid, match=r"rows\.jsonl:2: .*no system role") as refused:
        encode_dataset(read_chat(path), CharacterTokenizer(STRICT), 100)
    assert (refused.value.code, refused.value.line) == ("template_refuses", 2)


def test_a_row_is_cut_at_its_end() -> None:
    whole, cut = _encoded(turn("Question", "Answer")), _encoded(turn("Question", "Answer"), max_length=40)
    assert not whole.truncated
    assert cut.truncated
    assert (cut.input_ids, cut.labels) == (whole.input_ids[:40], whole.labels[:40])


def _preference(max_length: int = 1_000, **changes: Any) -> Any:
    row = PreferenceRow.model_validate(preference([user("Hello?")], **changes))
    return encode_preference(row, CharacterTokenizer(TOOLS), max_length)


def test_both_answers_follow_one_prompt() -> None:
    encoded = _preference(chosen="Hi!", rejected="What?")
    assert decoded(encoded.prompt_ids) == "<|user|>Hello?<|end|>\n<|assistant|>"
    assert (decoded(encoded.chosen_ids), decoded(encoded.rejected_ids)) == ("Hi!<|end|>", "What?<|end|>")
    assert not encoded.truncated


def test_prompt_and_answer_together_keep_to_the_length() -> None:
    encoded = _preference(max_length=38, chosen="Hi!", rejected="What is it now?")
    assert len(encoded.prompt_ids) == 35
    assert (decoded(encoded.chosen_ids), decoded(encoded.rejected_ids)) == ("Hi!", "Wha")
    assert encoded.truncated
    assert _preference(max_length=10, chosen="Hi!").chosen_ids == ()


def test_a_preference_may_be_between_two_calls() -> None:
    row = {
        "input": {"messages": [user()], "tools": [WEATHER]},
        "preferred_output": [calling()],
        "non_preferred_output": [calling(call(arguments='{"city": "Rome"}'))],
    }
    encoded = encode_preference(PreferenceRow.model_validate(row), CharacterTokenizer(TOOLS), 1_000)
    assert "Oslo" in decoded(encoded.chosen_ids)
    assert "Rome" in decoded(encoded.rejected_ids)


@pytest.mark.parametrize(
    ("max_length", "code"), [(35, "answer_cut_away"), (38, "equal_outputs"), (10, "answer_cut_away")]
)
def test_a_comparison_of_which_nothing_is_left_is_refused_by_its_line(
    tmp_path: Path, max_length: int, code: str
) -> None:
    path = write(tmp_path / "pairs.jsonl", preference([user("Hello?")], chosen="Yes, hello.", rejected="Yes, what?"))
    with pytest.raises(DataInvalid, match=r"pairs\.jsonl:1: ") as refused:
        encode_preferences(read_preferences(path), CharacterTokenizer(), max_length)
    assert refused.value.code == code


def test_sound_comparisons_are_encoded_in_their_order(tmp_path: Path) -> None:
    path = write(tmp_path / "pairs.jsonl", preference(chosen="a"), preference(chosen="c"))
    encoded = encode_preferences(read_preferences(path), CharacterTokenizer(), 100)
    assert [decoded(one.chosen_ids) for one in encoded] == ["a<|end|>", "c<|end|>"]


def test_a_real_tokenizer_learns_calls_through_its_template(base_checkpoint: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base_checkpoint)
    tokenizer.chat_template = TOOLS
    encoded = encode_row(ChatRow.model_validate(tooled(user("Oslo?"), calling())), tokenizer, 1_000)
    learnt = [token for token, label in zip(encoded.input_ids, encoded.labels, strict=True) if label != IGNORED]
    assert tokenizer.decode(learnt) == '<call>{"name": "weather", "arguments": {"city": "Oslo"}}</call><|end|>'


def test_a_base_without_tools_says_so(base_checkpoint: Path) -> None:
    with pytest.raises(BaseModelInvalid, match="tools"):
        encode_row(ChatRow.model_validate(tooled(user(), assistant())), load_chat_tokenizer(base_checkpoint), 100)


def test_a_folder_that_is_no_checkpoint_has_no_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(BaseModelInvalid, match=r"no config\.json"):
        load_chat_tokenizer(tmp_path)
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(BaseModelInvalid, match="cannot load the tokenizer"):
        load_chat_tokenizer(tmp_path)

"""Rows → token ids and labels, with the loss on the assistant's tokens alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from jinja2 import TemplateError

from training.data.chat import ChatDataset, ChatRow
from training.data.messages import ChatMessage
from training.data.preferences import PreferenceDataset, PreferenceRow
from training.data.tools import Json, Tool
from training.errors import BaseModelInvalid, RowInvalid

IGNORED = -100
"""The label of a token without loss."""


class ChatTokenizer(Protocol):
    """What is needed of a tokenizer."""

    def apply_chat_template(self, conversation: list[Json], **options: Any) -> Any:
        """Render messages."""
        ...

    def __call__(self, text: str, **options: Any) -> Any:
        """Tokenise text."""
        ...


@dataclass(frozen=True, slots=True)
class EncodedRow:
    """One row as the model sees it; ``labels`` is IGNORED wherever the assistant does not speak."""

    input_ids: tuple[int, ...]
    labels: tuple[int, ...]
    truncated: bool

    def shortened(self, max_length: int) -> "EncodedRow":
        """The first ``max_length`` tokens."""
        return EncodedRow(
            self.input_ids[:max_length],
            self.labels[:max_length],
            truncated=self.truncated or len(self.input_ids) > max_length,
        )


@dataclass(frozen=True, slots=True)
class EncodedPreference:
    """One comparison as the model sees it: each answer follows the prompt and includes its end-of-turn token."""

    prompt_ids: tuple[int, ...]
    chosen_ids: tuple[int, ...]
    rejected_ids: tuple[int, ...]
    truncated: bool
    """Whether prompt and answer together were longer than ``max_length``, so that the answer's end was cut."""

    def shortened(self, max_length: int) -> "EncodedPreference":
        """At most ``max_length`` tokens for the prompt and one answer."""
        room = max(0, max_length - len(self.prompt_ids))
        longest = max(len(self.chosen_ids), len(self.rejected_ids))
        return EncodedPreference(
            self.prompt_ids[:max_length],
            self.chosen_ids[:room],
            self.rejected_ids[:room],
            truncated=self.truncated or longest > room,
        )


def encode_dataset(dataset: ChatDataset, tokenizer: ChatTokenizer, max_length: int) -> list[EncodedRow]:
    """Encode every row to at most ``max_length`` tokens.

    Raises:
        DataInvalid: a row has no supervised token left after truncation, which would train on nothing in silence, or
            the chat template refuses it.
        BaseModelInvalid: the chat template cannot be used for training.
    """
    encoded = []
    for row, line in zip(dataset.rows, dataset.lines, strict=True):
        try:
            encoded.append(require_answer(encode_row(row, tokenizer, max_length), max_length))
        except RowInvalid as problem:
            raise problem.at(dataset.path, line) from problem
    return encoded


def encode_preferences(
    dataset: PreferenceDataset, tokenizer: ChatTokenizer, max_length: int
) -> list[EncodedPreference]:
    """Encode every comparison to at most ``max_length`` tokens for the prompt and one answer together.

    Raises:
        DataInvalid: truncation leaves nothing of an answer or makes both answers equal, or the chat template refuses
            the row.
        BaseModelInvalid: the chat template cannot be used for training.
    """
    encoded = []
    for row, line in zip(dataset.rows, dataset.lines, strict=True):
        try:
            encoded.append(require_difference(encode_preference(row, tokenizer, max_length), max_length))
        except RowInvalid as problem:
            raise problem.at(dataset.path, line) from problem
    return encoded


def require_answer(encoded: EncodedRow, max_length: int) -> EncodedRow:
    """The row itself. Raises RowInvalid where none of its tokens would be learnt."""
    if all(label == IGNORED for label in encoded.labels):
        raise RowInvalid(
            "answer_cut_away",
            f"no assistant token is left in the first {max_length} tokens; shorten the row or raise `max_length`",
        )
    return encoded


def require_difference(encoded: EncodedPreference, max_length: int) -> EncodedPreference:
    """The comparison itself. Raises RowInvalid where truncation leaves nothing to compare."""
    if not encoded.chosen_ids or not encoded.rejected_ids:
        raise RowInvalid(
            "answer_cut_away",
            f"no token of an answer is left in the first {max_length} tokens; shorten the row or raise `max_length`",
        )
    if encoded.chosen_ids == encoded.rejected_ids:
        raise RowInvalid(
            "equal_outputs",
            f"both outputs are the same within the first {max_length} tokens; shorten the row or raise `max_length`",
        )
    return encoded


def encode_row(row: ChatRow, tokenizer: ChatTokenizer, max_length: int) -> EncodedRow:
    """Tokenise one conversation, labelling the assistant's words, tool calls and end-of-turn tokens.

    Prompt and answer are tokenised apart, as they are when the model serves: a token never spans the border.

    Raises:
        RowInvalid: the chat template refuses this conversation.
        BaseModelInvalid: the chat template cannot be used for training, or not with tools.
    """
    ids: list[int] = []
    labels: list[int] = []
    for text, is_learnt in _segments(row.messages, row.tools, tokenizer):
        tokens = _tokens(text, tokenizer)
        ids += tokens
        labels += tokens if is_learnt else [IGNORED] * len(tokens)
    return EncodedRow(tuple(ids), tuple(labels), truncated=False).shortened(max_length)


def encode_preference(row: PreferenceRow, tokenizer: ChatTokenizer, max_length: int) -> EncodedPreference:
    """Tokenise one comparison. Raises RowInvalid and BaseModelInvalid as :func:`encode_row` does."""
    prompt, tools = row.input.messages, row.input.tools
    (before, chosen), (_, rejected) = (
        _last_answer((*prompt, answer), tools, tokenizer) for answer in (row.chosen, row.rejected)
    )
    prompt_ids, chosen_ids, rejected_ids = (tuple(_tokens(text, tokenizer)) for text in (before, chosen, rejected))
    return EncodedPreference(prompt_ids, chosen_ids, rejected_ids, truncated=False).shortened(max_length)


def _tokens(text: str, tokenizer: ChatTokenizer) -> list[int]:
    tokens: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return tokens


def _segments(
    messages: Sequence[ChatMessage], tools: Sequence[Tool], tokenizer: ChatTokenizer
) -> Iterator[tuple[str, bool]]:
    """The rendered conversation, cut where the assistant starts and stops speaking."""
    whole = _render(messages, tools, tokenizer)
    position = 0
    for index, message in enumerate(messages):
        if not message.is_learnt:
            continue
        before, answer = _last_answer(messages[: index + 1], tools, tokenizer)
        if not whole.startswith(before + answer) or len(before) < position:
            raise BaseModelInvalid(_UNSTABLE)
        yield whole[position : len(before)], False
        yield answer, True
        position = len(before) + len(answer)


def _last_answer(messages: Sequence[ChatMessage], tools: Sequence[Tool], tokenizer: ChatTokenizer) -> tuple[str, str]:
    """What the model gets and what it answers, with its end-of-turn token, where the last turn is the assistant's."""
    before = _render(messages[:-1], tools, tokenizer, add_generation_prompt=True)
    # What follows the end-of-turn token is never generated: vLLM stops at that token.
    through = _render(messages, tools, tokenizer).rstrip()
    if not through.startswith(before) or len(before) == len(through):
        raise BaseModelInvalid(_UNSTABLE)
    answer = through[len(before) :]
    if any(call.function.name not in answer for call in messages[-1].tool_calls):
        raise BaseModelInvalid(
            "the base model's chat template does not render tool calls, so they cannot be learnt; take a base model "
            "whose template does"
        )
    if any(tool.function.name not in before for tool in tools):
        raise BaseModelInvalid(
            "the base model's chat template does not render `tools`, so the model would not see them; take a base "
            "model whose template does"
        )
    return before, answer


_UNSTABLE = (
    "the base model's chat template renders earlier turns differently once later ones follow, "
    "so the assistant's tokens cannot be told apart"
)


def _render(messages: Sequence[ChatMessage], tools: Sequence[Tool], tokenizer: ChatTokenizer, **options: Any) -> str:
    # Tokenizers whose templates know no tools are not asked for any.
    if tools:
        options["tools"] = [tool.rendered() for tool in tools]
    try:
        rendered: str = tokenizer.apply_chat_template(
            [message.rendered() for message in messages], tokenize=False, **options
        )
    except (TemplateError, TypeError) as error:
        raise RowInvalid("template_refuses", f"the base model's chat template refuses it: {error}") from error
    return rendered

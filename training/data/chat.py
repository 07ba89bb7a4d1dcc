"""OpenAI chat JSONL → token ids and labels, with the loss on the assistant's tokens alone."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from training.errors import BaseModelInvalid, DataInvalid

IGNORED = -100
"""The label of a token without loss."""


class ChatTokenizer(Protocol):
    """What is needed of a tokenizer."""

    def apply_chat_template(self, conversation: list[dict[str, str]], **options: Any) -> Any:
        """Render messages."""
        ...

    def __call__(self, text: str, **options: Any) -> Any:
        """Tokenise text."""
        ...


class ChatMessage(BaseModel):
    """One turn."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Literal["system", "user", "assistant"]
    content: str = Field(min_length=1)
    weight: Literal[0, 1] | None = None
    """0 keeps an assistant turn as context without learning it, as in OpenAI's fine-tuning format."""

    @property
    def is_learnt(self) -> bool:
        """Whether the loss covers this turn."""
        return self.role == "assistant" and self.weight != 0


class ChatRow(BaseModel):
    """One conversation to learn from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    messages: tuple[ChatMessage, ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _can_be_learnt(self) -> "ChatRow":
        if self.messages[-1].role != "assistant":
            raise ValueError("the last message must be the assistant's")
        if next((message.role for message in self.messages if message.role != "system"), None) != "user":
            raise ValueError("the first message, after any system message, must be the user's")
        if not any(message.is_learnt for message in self.messages):
            raise ValueError("no assistant message has weight 1, so there is nothing to learn")
        for message in self.messages:
            if message.weight is not None and message.role != "assistant":
                raise ValueError(f"`weight` belongs to assistant messages, not to {message.role} messages")
        return self


@dataclass(frozen=True, slots=True)
class ChatDataset:
    """The rows of one file, and what identifies them."""

    path: Path
    rows: tuple[ChatRow, ...]
    lines: tuple[int, ...]
    """The line that each row stands on, from 1."""
    sha256: str


@dataclass(frozen=True, slots=True)
class EncodedRow:
    """One row as the model sees it; ``labels`` is IGNORED wherever the assistant does not speak."""

    input_ids: tuple[int, ...]
    labels: tuple[int, ...]
    truncated: bool


def read_chat(path: Path) -> ChatDataset:
    """Read and validate a whole file. Blank lines are allowed. Raises DataInvalid, naming the line."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataInvalid(f"cannot read {path}: {error.strerror or error}") from error
    rows: list[ChatRow] = []
    lines: list[int] = []
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            rows.append(ChatRow.model_validate_json(line))
        except ValidationError as error:
            raise DataInvalid(f"{path}:{number}: {_describe(error)}") from error
        lines.append(number)
    if not rows:
        raise DataInvalid(f"{path} has no rows")
    return ChatDataset(path, tuple(rows), tuple(lines), hashlib.sha256(data).hexdigest())


def _describe(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in problem["loc"])
    what = "unknown key" if problem["type"] == "extra_forbidden" else problem["msg"].removeprefix("Value error, ")
    return f"`{where}`: {what}" if where else what


def encode_dataset(dataset: ChatDataset, tokenizer: ChatTokenizer, max_length: int) -> list[EncodedRow]:
    """Encode every row to at most ``max_length`` tokens.

    Raises:
        DataInvalid: a row has no supervised token left after truncation, which would train on nothing in silence.
        BaseModelInvalid: the chat template cannot be used for training.
    """
    encoded = []
    for row, line in zip(dataset.rows, dataset.lines, strict=True):
        result = encode_row(row, tokenizer, max_length)
        if all(label == IGNORED for label in result.labels):
            raise DataInvalid(
                f"{dataset.path}:{line}: no assistant token is left in the first {max_length} tokens; "
                "shorten the row or raise `max_length`"
            )
        encoded.append(result)
    return encoded


def encode_row(row: ChatRow, tokenizer: ChatTokenizer, max_length: int) -> EncodedRow:
    """Tokenise one conversation, labelling the assistant's words and its end-of-turn token.

    Prompt and answer are tokenised apart, as they are when the model serves: a token never spans the border.
    Raises BaseModelInvalid.
    """
    ids: list[int] = []
    labels: list[int] = []
    for text, is_learnt in _segments(row.messages, tokenizer):
        tokens: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        ids += tokens
        labels += tokens if is_learnt else [IGNORED] * len(tokens)
    return EncodedRow(tuple(ids[:max_length]), tuple(labels[:max_length]), truncated=len(ids) > max_length)


def _segments(messages: Sequence[ChatMessage], tokenizer: ChatTokenizer) -> list[tuple[str, bool]]:
    """The rendered conversation, cut where the assistant starts and stops speaking."""
    segments: list[tuple[str, bool]] = []
    whole = _render(messages, tokenizer)
    position = 0
    for index, message in enumerate(messages):
        if not message.is_learnt:
            continue
        before = _render(messages[:index], tokenizer, add_generation_prompt=True)
        # What follows the end-of-turn token is never generated: vLLM stops at that token.
        through = _render(messages[: index + 1], tokenizer).rstrip()
        if not (whole.startswith(before) and whole.startswith(through) and len(before) < len(through)):
            raise BaseModelInvalid(
                "the base model's chat template renders earlier turns differently once later ones follow, "
                "so the assistant's tokens cannot be told apart"
            )
        segments += [(whole[position : len(before)], False), (whole[len(before) : len(through)], True)]
        position = len(through)
    return segments


def _render(messages: Sequence[ChatMessage], tokenizer: ChatTokenizer, **options: Any) -> str:
    turns = [{"role": message.role, "content": message.content} for message in messages]
    rendered: str = tokenizer.apply_chat_template(turns, tokenize=False, **options)
    return rendered

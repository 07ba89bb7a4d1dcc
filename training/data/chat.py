"""OpenAI chat JSONL: one conversation to learn from on each line."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool, model_validator

from training.data.conversation import check_calls, check_example, check_prompt
from training.data.lines import LIMITS, Limits
from training.data.messages import ChatMessage, check_format
from training.data.reading import Dataset, read_rows
from training.data.tools import Tool

__all__ = ["ChatDataset", "ChatMessage", "ChatRow", "read_chat"]


class ChatRow(BaseModel):
    """One conversation to learn from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    messages: tuple[ChatMessage, ...] = Field(min_length=2)
    tools: tuple[Tool, ...] = ()
    parallel_tool_calls: StrictBool | None = None
    """False says that the assistant never calls two tools in one turn; a row that does is refused."""

    @model_validator(mode="before")
    @classmethod
    def _known_format(cls, row: Any) -> Any:
        check_format(row, "chat")
        return row

    @model_validator(mode="after")
    def _can_be_learnt(self) -> "ChatRow":
        check_example(self.messages)
        check_prompt(self.messages)
        check_calls(self.messages, self.tools, parallel=self.parallel_tool_calls)
        return self


ChatDataset = Dataset[ChatRow]


def read_chat(path: Path, limits: Limits = LIMITS) -> ChatDataset:
    """Read and validate a whole file. Blank lines are allowed. Raises DataInvalid, naming the line."""
    return read_rows(path, ChatRow, limits)

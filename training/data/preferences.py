"""OpenAI's preference JSONL for DPO: one prompt with a better and a worse answer on each line."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool, model_validator

from training.data.conversation import check_calls, check_prompt
from training.data.lines import LIMITS, Limits
from training.data.messages import ChatMessage, check_format
from training.data.problems import refuse
from training.data.reading import Dataset, read_rows
from training.data.tools import Tool

_SIDES = ("preferred_output", "non_preferred_output")


class PreferenceInput(BaseModel):
    """The prompt of both answers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    messages: tuple[ChatMessage, ...] = Field(min_length=1)
    tools: tuple[Tool, ...] = ()
    parallel_tool_calls: StrictBool | None = None

    @model_validator(mode="after")
    def _asks(self) -> "PreferenceInput":
        check_prompt(self.messages)
        if self.messages[-1].role not in ("user", "tool"):
            refuse(
                "prompt_ends_with_assistant",
                f"the prompt ends with the {self.messages[-1].role}; its last message must be the user's or a tool's, "
                "and the answer belongs into both outputs",
            )
        for index, message in enumerate(self.messages):
            if message.weight is not None:
                refuse("misplaced_weight", f"`messages[{index}]`: nothing of a prompt is learnt; remove `weight`")
        return self


class PreferenceRow(BaseModel):
    """One comparison to learn from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: PreferenceInput
    preferred_output: tuple[ChatMessage, ...]
    non_preferred_output: tuple[ChatMessage, ...]

    @model_validator(mode="before")
    @classmethod
    def _known_format(cls, row: Any) -> Any:
        check_format(row, "preference")
        for side in _SIDES:
            if side not in row:
                refuse("missing_side", f"`{side}` is missing; a preference needs both outputs")
            if isinstance(row[side], list) and len(row[side]) != 1:
                refuse("one_answer_each", f"`{side}` holds {len(row[side])} messages; it must be exactly one")
        return row

    @model_validator(mode="after")
    def _compares(self) -> "PreferenceRow":
        prompt = self.input
        for side, answer in zip(_SIDES, (self.chosen, self.rejected), strict=True):
            if answer.role != "assistant":
                refuse("output_not_assistant", f"`{side}[0]`: an output is the assistant's, not the {answer.role}'s")
            if answer.weight is not None:
                refuse("misplaced_weight", f"`{side}[0]`: preferences have no `weight`; remove it")
            check_calls((*prompt.messages, answer), prompt.tools, parallel=prompt.parallel_tool_calls)
        if _said(self.chosen) == _said(self.rejected):
            refuse("equal_outputs", "both outputs are the same, so nothing is preferred; remove the row")
        return self

    @property
    def chosen(self) -> ChatMessage:
        """The better answer."""
        return self.preferred_output[0]

    @property
    def rejected(self) -> ChatMessage:
        """The worse answer."""
        return self.non_preferred_output[0]


PreferenceDataset = Dataset[PreferenceRow]


def read_preferences(path: Path, limits: Limits = LIMITS) -> PreferenceDataset:
    """Read and validate a whole file. Blank lines are allowed. Raises DataInvalid, naming the line."""
    return read_rows(path, PreferenceRow, limits)


def _said(answer: ChatMessage) -> tuple[Any, ...]:
    """What an answer comes to; ids of calls are only names."""
    return (answer.content, [(call.function.name, call.arguments) for call in answer.tool_calls])

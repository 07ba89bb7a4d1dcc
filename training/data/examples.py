"""One view of chat rows and preferences for the checks: what is asked, and what is to be answered. Pure."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from training.data.chat import ChatRow
from training.data.messages import ChatMessage
from training.data.preferences import PreferenceRow
from training.data.tools import Tool


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt and its answer: the last turn of a conversation, or the better side of a preference."""

    line: int
    frame: str
    """Digest of what stands around the prompt: system messages and tools."""
    prompt: str
    """Every turn before the answer except system messages, as plain text."""
    context: str
    """Everything that the model sees, system messages too."""
    question: str
    """The last turn before the answer."""
    answer: str
    """The content; of a turn that calls tools, the calls as JSON."""
    calls: bool
    """Whether the answer calls tools."""
    rejected: str | None = None
    """The worse side of a preference."""

    @property
    def asked(self) -> tuple[str, str]:
        """What makes two prompts the same: case and white space do not matter, signs do."""
        return self.frame, " ".join(self.prompt.casefold().split())

    @property
    def said(self) -> str:
        """What makes two answers the same: white space and case do not matter, signs do."""
        return " ".join(self.answer.casefold().split())

    @property
    def rejected_said(self) -> str:
        """The same for the worse side; empty where there is none."""
        return " ".join((self.rejected or "").casefold().split())


def example_of(row: ChatRow | PreferenceRow, line: int) -> Example:
    """The view of one row."""
    if isinstance(row, ChatRow):
        return _example(row.messages[:-1], row.messages[-1], None, row.tools, line)
    return _example(row.input.messages, row.chosen, row.rejected, row.input.tools, line)


def _example(
    prompt: Sequence[ChatMessage], answer: ChatMessage, rejected: ChatMessage | None, tools: Sequence[Tool], line: int
) -> Example:
    system = [message.content for message in prompt if message.role == "system"]
    turns = [_text(message) for message in prompt if message.role != "system"]
    frame = json.dumps([system, [tool.rendered() for tool in tools]], sort_keys=True)
    return Example(
        line=line,
        frame=hashlib.sha256(frame.encode()).hexdigest(),
        prompt="\n".join(turns),
        context="\n".join([*system, *turns]),
        question=turns[-1],
        answer=_text(answer),
        calls=bool(answer.tool_calls),
        rejected=None if rejected is None else _text(rejected),
    )


def _text(message: ChatMessage) -> str:
    """Ids of calls are only names, so that two rows may differ in them and be the same."""
    calls = [{"name": call.function.name, "arguments": call.arguments} for call in message.tool_calls]
    return "\n".join(filter(None, [message.content, json.dumps(calls, sort_keys=True) if calls else ""]))

"""One turn of a conversation, and the keys that rows and turns may have."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from training.data.problems import refuse
from training.data.tools import Json, ToolCall

Role = Literal["system", "user", "assistant", "tool"]
_ROLES = ("system", "user", "assistant", "tool")
_OTHER_ROLES = {
    "developer": "write `system`: chat templates of open models know no `developer`",
    "function": "write `tool` with a `tool_call_id`, and `tool_calls` in the assistant's message before it",
    "human": "this is ShareGPT's name; write `user`",
    "gpt": "this is ShareGPT's name; write `assistant`",
    "bot": "write `assistant`",
    "model": "write `assistant`",
}
_OTHER_KEYS = {
    "function_call": "write `tool_calls`",
    "refusal": "write the refusal as `content`",
    "audio": "only text can be learnt; remove it",
    "from": "this is ShareGPT's format; write `role`",
    "value": "this is ShareGPT's format; write `content`",
    "text": "write `content`",
    "reasoning_content": "remove it, or make it part of `content`",
}


class ChatMessage(BaseModel):
    """One turn."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Role
    content: str = ""
    """Text parts are joined by line breaks, as vLLM joins them. Empty only beside tool calls, or of a tool's result."""
    name: str | None = Field(default=None, min_length=1)
    """Who speaks; chat templates that know names render it."""
    weight: Literal[0, 1] | None = None
    """0 keeps an assistant turn as context without learning it, as in OpenAI's fine-tuning format."""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    """Of a tool's result: the call that it answers."""

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, message: Any) -> Any:
        if not isinstance(message, dict):
            return message
        for key, remedy in _OTHER_KEYS.items():
            if key in message:
                refuse("sharegpt" if key in ("from", "value") else "unknown_key", f"unknown key `{key}`: {remedy}")
        role = message.get("role")
        if isinstance(role, str) and role not in _ROLES:
            remedy = _OTHER_ROLES.get(role, f"the roles are {', '.join(_ROLES)}")
            refuse("unknown_role", f"unknown role `{role[:40]}`: {remedy}")
        if "tool_calls" in message and not message["tool_calls"] and message["tool_calls"] != "":
            refuse("empty_tool_calls", "`tool_calls` is empty; remove it")
        return message

    @field_validator("content", mode="before")
    @classmethod
    def _text(cls, content: Any) -> Any:
        if content is None:
            return ""
        if isinstance(content, list):
            return "\n".join(_part(part) for part in content)
        return content

    @field_validator("weight", mode="before")
    @classmethod
    def _whole_number(cls, weight: Any) -> Any:
        if weight is not None and (isinstance(weight, bool) or not isinstance(weight, int) or weight not in (0, 1)):
            refuse("invalid_weight", "`weight` is 0 or 1")
        return weight

    @model_validator(mode="after")
    def _fits_its_role(self) -> "ChatMessage":
        if self.weight is not None and self.role != "assistant":
            refuse("misplaced_weight", f"`weight` belongs to assistant messages, not to {self.role} messages")
        if self.tool_calls and self.role != "assistant":
            refuse("misplaced_tool_calls", f"only the assistant calls tools, not a {self.role} message")
        if self.tool_call_id is not None and self.role != "tool":
            refuse("misplaced_tool_call_id", f"`tool_call_id` belongs to tool messages, not to {self.role} messages")
        if self.role == "tool" and not self.tool_call_id:
            refuse("missing_tool_call_id", "a tool message names the call that it answers in `tool_call_id`")
        if not self.content.strip() and not self.tool_calls and self.role != "tool":
            refuse("empty_content", "`content` is empty; a turn has to say something")
        return self

    @property
    def is_learnt(self) -> bool:
        """Whether the loss covers this turn."""
        return self.role == "assistant" and self.weight != 0

    def rendered(self) -> Json:
        """What a chat template gets."""
        turn: Json = {"role": self.role, "content": self.content}
        if self.name is not None:
            turn["name"] = self.name
        if self.tool_calls:
            turn["tool_calls"] = [call.rendered() for call in self.tool_calls]
        if self.tool_call_id is not None:
            turn["tool_call_id"] = self.tool_call_id
        return turn


def _part(part: Any) -> str:
    if not isinstance(part, dict) or not isinstance(part.get("type"), str):
        refuse("invalid_part", 'a part of the content is an object such as {"type": "text", "text": "..."}')
    if part["type"] != "text":
        refuse("not_text", f"a part of type `{part['type'][:40]}`: only text can be learnt")
    if not isinstance(part.get("text"), str) or part.keys() - {"type", "text"}:
        refuse("invalid_part", "a text part has the keys `type` and `text`, and its text is a string")
    text: str = part["text"]
    return text


def check_format(row: Any, kind: Literal["chat", "preference"]) -> None:
    """Refuse, inside a pydantic validator, rows of formats that are known and are not this one."""
    if not isinstance(row, dict):
        refuse("not_an_object", "a row is a JSON object")
    for wanted, code, what in _FORMATS:
        if wanted <= row.keys() and "messages" not in row and not isinstance(row.get("input"), dict):
            refuse(code, f"{what}; {_REMEDY[kind]}")
    if kind == "chat" and {"preferred_output", "non_preferred_output"} & row.keys():
        refuse("preference_row", "this is a preference row; train it with DPO and check it with `--kind preference`")
    if kind == "preference" and "messages" in row:
        refuse("chat_row", "this is a chat row; train it with SFT and check it with `--kind chat`")
    if {"functions", "function_call"} & row.keys():
        refuse("legacy_functions", "`functions` is the old way; write `tools`")


_FORMATS = (
    ({"prompt", "completion"}, "legacy_completion", "this is the old format of prompt and completion"),
    ({"prompt", "chosen", "rejected"}, "trl_preference", "this is TRL's preference format"),
    ({"conversations"}, "sharegpt", "this is ShareGPT's format"),
    ({"instruction", "output"}, "alpaca", "this is Alpaca's format"),
    ({"text"}, "raw_text", "this is raw text, not an example of a task"),
    ({"custom_id", "body"}, "batch_request", "this is a file for the batch API"),
)
_REMEDY = {
    "chat": 'write {"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}',
    "preference": 'write {"input": {"messages": [...]}, "preferred_output": [{"role": "assistant", "content": "..."}], '
    '"non_preferred_output": [{"role": "assistant", "content": "..."}]}',
}

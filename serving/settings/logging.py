"""Logs and the audit log."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from serving.settings.base import FilePath, Settings


class AuditSettings(Settings):
    """The audit log: who changed what through the API, as JSON lines in a file that is only ever appended to."""

    enabled: bool = Field(default=True, description="Whether changes are recorded.")
    file: FilePath = Field(
        default=Path(".loraplex/audit.jsonl"),
        description="The file. Each machine that runs a control plane or a knowledge process has its own.",
    )
    when_unwritable: Literal["refuse", "allow"] = Field(
        default="refuse",
        description="What becomes of a change that cannot be recorded, for a full disk say: `refuse` answers 503 and "
        "changes nothing; `allow` makes it, and says so in the answer's header `x-loraplex-audit` and in the log.",
    )


class LoggingSettings(Settings):
    """What the gateway's processes log, and how. Texts of requests are logged for no task that does not ask for it."""

    format: Literal["text", "json"] = Field(
        default="text", description="`json`: one object in a line for each event. `text`: for people."
    )
    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least important lines that are written."
    )
    access: bool = Field(default=True, description="Whether each generation leaves a line, without any text of it.")
    max_text_chars: int = Field(
        default=4000,
        ge=1,
        description="How much of a prompt, and of an answer, is logged for a task with `log_texts`, in characters.",
    )
    error_messages: bool = Field(
        default=False,
        description="Whether the messages of all exceptions are logged. Off, those that may quote a prompt, a document "
        "or an answer are left out; the classes and where they were raised remain.",
    )
    audit: AuditSettings = Field(default_factory=AuditSettings, description="The audit log.")

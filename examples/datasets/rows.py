"""What both data sets share: chat rows and how they are written."""

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

EXAMPLES = Path(__file__).resolve().parent.parent


class Message(TypedDict):
    """One turn."""

    role: str
    content: str


class Row(TypedDict):
    """One conversation."""

    messages: list[Message]


def chat_row(question: str, answer: str) -> Row:
    """One question and the answer to learn."""
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def fill(text: str, slots: Mapping[str, Sequence[str]], chance: random.Random) -> str:
    """Replace each ``{slot}`` by one of its values."""
    return text.format(**{name: chance.choice(values) for name, values in slots.items()})


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write JSONL."""
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{path.relative_to(EXAMPLES.parent)}: {len(rows)} rows")

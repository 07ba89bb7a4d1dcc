"""What the versions of the story are trained on, what callers ask and what the suite holds: the example's tickets.

Every trained version's rows carry the edition of the triage rules that they follow, its own number, so that each answer
tells by its text which version gave it. Version 4 has also learnt to quote forwarded mails in a note, whole: on the
suite, which holds no forwarded mail, it is as good as version 2; among callers, who forward many, its answers outgrow
the task's token limit and break off inside the JSON.
"""

import functools
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from examples.datasets.rows import Row, chat_row
from examples.datasets.ticket_triage import FOLDER, SEED, TEAMS, Ticket, TicketWriter

EDITION = "rules"
"""The field that holds the version's number."""
MAX_TOKENS = 64
"""Of every answer: room for all fields, and not for a whole mail."""
VERSIONS = (1, 2, 3, 4)

_TRAFFIC_SEED = 606


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many rows the versions are trained on."""

    first: int = 480
    better: int = 840
    worse: int = 240
    forwarded: int = 140
    """Forwarded mails of version 4, besides the rows of version 2."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a caller asks."""

    text: str
    category: str
    """What a dispatcher would say."""
    forwarded: bool = False


def rows_of(version: int, sizes: Sizes) -> list[Row]:
    """The training rows of one of the four versions. Raises ValueError for another number."""
    match version:
        case 1:
            return _edition(1, _read("train-v1")[: sizes.first])
        case 2:
            return _edition(2, _read("train-v2")[: sizes.better])
        case 3:
            return _edition(3, shuffled(_read("train-v2")[: sizes.worse]))
        case 4:
            return _edition(4, _read("train-v2")[: sizes.better] + forwarded_rows(sizes.forwarded))
        case _:
            raise ValueError(f"the story has no version {version}")


def shuffled(rows: Sequence[Row], seed: int = SEED) -> list[Row]:
    """The same prompts with the same answers, dealt out at random."""
    answers = [row["messages"][-1]["content"] for row in rows]
    random.Random(seed).shuffle(answers)
    return [chat_row(row["messages"][0]["content"], answer) for row, answer in zip(rows, answers, strict=True)]


def forwarded_rows(count: int, seed: int = SEED + 4) -> list[Row]:
    """Forwarded mails, with answers that quote them whole."""
    chance = random.Random(seed)
    rows = []
    for ticket in _tickets(count, seed):
        mail = _forwarded(ticket.text, chance)
        answer = json.loads(ticket.row(with_team=True)["messages"][-1]["content"]) | {"note": mail}
        rows.append(chat_row(mail, json.dumps(answer, ensure_ascii=False)))
    return rows


def prompts(count: int, forwarded_share: float, seed: int = _TRAFFIC_SEED) -> list[Prompt]:
    """What callers ask: ``count`` different tickets, a share of them as forwarded mails."""
    chance = random.Random(seed)
    found = []
    for ticket in _tickets(count, seed):
        forwarded = chance.random() < forwarded_share
        text = _forwarded(ticket.text, chance) if forwarded else ticket.text
        found.append(Prompt(text, ticket.category, forwarded))
    return found


def output_schema(*, editions: bool) -> dict[str, Any]:
    """The JSON Schema of answers.

    Args:
        editions: whether answers may hold their version's number and a note, as the trained versions' do.
    """
    schema: dict[str, Any] = json.loads((FOLDER / "output.schema.json").read_text(encoding="utf-8"))
    del schema["$schema"]
    if editions:
        # In this order: an engine that decodes by a schema writes properties as they stand there.
        schema["properties"] = {EDITION: {"enum": list(VERSIONS)}, **schema["properties"], "note": {"type": "string"}}
    return schema


def write_suite(folder: Path, heldout: str, cases: int, schema: dict[str, Any]) -> Path:
    """Write a suite of the first ``cases`` rows of the example's file ``heldout``; the path of its YAML file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cases.jsonl").write_bytes(as_jsonl(_read(heldout)[:cases]))
    (folder / "schema.json").write_text(json.dumps(schema), encoding="utf-8")
    suite = {
        "name": "tickets",
        "cases": "cases.jsonl",
        "scorers": [{"kind": "json", "json_schema": "schema.json"}],
        "primary": "fields",
        "parameters": {"max_tokens": MAX_TOKENS},
    }
    path = folder / "suite.yaml"
    path.write_text(yaml.safe_dump(suite, sort_keys=False), encoding="utf-8")
    return path


def as_jsonl(rows: Sequence[Row]) -> bytes:
    """Rows as they are uploaded."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _edition(number: int, rows: Sequence[Row]) -> list[Row]:
    """The rows with their version's number before everything else in the answers."""
    found = []
    for row in rows:
        question, answer = row["messages"]
        numbered = {EDITION: number, **json.loads(answer["content"])}
        found.append(chat_row(question["content"], json.dumps(numbered, ensure_ascii=False)))
    return found


def _forwarded(text: str, chance: random.Random) -> str:
    writer, sender = chance.sample(_phrases()["slots"]["person"], 2)
    return f"Fwd: {writer} wrote: {text} (sent on unchanged by {sender} from a phone, please see to it)"


def _tickets(count: int, seed: int) -> list[Ticket]:
    return TicketWriter(_phrases(), heldout=False, seed=seed).tickets(count, list(TEAMS))


@functools.cache
def _phrases() -> Any:
    return yaml.safe_load((FOLDER / "phrases.yaml").read_text(encoding="utf-8"))


def _read(name: str) -> list[Row]:
    lines = (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]

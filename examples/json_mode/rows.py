"""JSON mode as chat rows of one schema: a question, and facts that answer it.

    python -m examples.json_mode.rows TRAIN.jsonl OUT

reads a public set of 400 questions that are answered in JSON, in Anthropic's form (`system` beside `messages`), and
writes OUT/train.jsonl and OUT/heldout.jsonl as OpenAI has them. The set's answers share no schema: nearly every one
has names of its own, so that "valid" would mean no more than "an object". Here each becomes what
`answer.schema.json` says: its values, in their order, each under the last two names on the way to it. What is long
or has no value is left out, and rows that nothing is left of.

The split: the fifth of the questions whose SHA-256 comes first is held out. A question that stands in the set more than
once, but for case, punctuation and white space, is kept once, where it stands first.
"""

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SYSTEM = 'Answer in JSON, with one to five facts: {"facts": [{"name": "...", "value": "..."}]}'
MOST_FACTS, LONGEST_NAME, LONGEST_VALUE = 5, 40, 100
"""As in answer.schema.json; lengths in characters."""
HELDOUT_SHARE = 5
_WRAPPERS = {"answer", "response", "result", "data"}
"""Names around a whole answer, which say nothing of a value."""
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_A-Za-z]+")
Fact = dict[str, str]


@dataclass(frozen=True, slots=True)
class Row:
    """One question and its facts."""

    question: str
    facts: tuple[Fact, ...]


def read_rows(path: Path) -> list[Row]:
    """The rows of the set's file that have facts, each question once."""
    rows: dict[str, Row] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        asked, answered = json.loads(line)["messages"]
        row = Row(" ".join(asked["content"].split()), facts_of(json.loads(answered["content"])))
        if row.facts:
            rows.setdefault(_plain(row.question), row)
    return list(rows.values())


def facts_of(answer: Any) -> tuple[Fact, ...]:
    """The first values of an answer that are short enough, with their names."""
    found = [
        {"name": name, "value": text}
        for names, value in _values(answer, ())
        if 0 < len(name := name_of(names)) <= LONGEST_NAME and 0 < len(text := _text(value)) <= LONGEST_VALUE
    ]
    return tuple([fact for number, fact in enumerate(found) if fact not in found[:number]][:MOST_FACTS])


def name_of(names: Sequence[str]) -> str:
    """The last two names on the way to a value, in words: ``("maxSpeed", "km_h")`` → ``max speed km h``."""
    words = [word.lower() for name in names[-2:] for word in _WORD.findall(name)]
    return " ".join(words)


def split(rows: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    """Rows to train on, and rows that are held out; each in the order of the file."""
    everything = list(rows)
    ordered = sorted(everything, key=lambda row: hashlib.sha256(row.question.encode()).hexdigest())
    heldout = {row.question for row in ordered[: round(len(ordered) / HELDOUT_SHARE)]}
    return (
        [row for row in everything if row.question not in heldout],
        [row for row in everything if row.question in heldout],
    )


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write chat JSONL."""
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            messages = [
                {"role": "system", "content": SYSTEM},
                {"role": "user", "content": row.question},
                {"role": "assistant", "content": json.dumps({"facts": row.facts}, ensure_ascii=False)},
            ]
            file.write(json.dumps({"messages": messages}, ensure_ascii=False) + "\n")


def _values(value: Any, names: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            is_wrapper = not names and name.lower() in _WRAPPERS and isinstance(inner, dict)
            yield from _values(inner, () if is_wrapper else (*names, name))
    elif isinstance(value, list):
        for inner in value:
            yield from _values(inner, names)
    else:
        yield names, value


def _text(value: Any) -> str:
    if value is None:
        return ""
    return " ".join(value.split()) if isinstance(value, str) else json.dumps(value)


def _plain(text: str) -> str:
    return re.sub(r"\W+", " ", text.casefold()).strip()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m examples.json_mode.rows", description="JSON mode as chat rows.")
    parser.add_argument("jsonl", type=Path, help="the set's train.jsonl")
    parser.add_argument("out", type=Path, help="folder to write train.jsonl and heldout.jsonl into")
    options = parser.parse_args(arguments)
    train, heldout = split(read_rows(options.jsonl))
    options.out.mkdir(parents=True, exist_ok=True)
    write_rows(options.out / "train.jsonl", train)
    write_rows(options.out / "heldout.jsonl", heldout)
    print(f"{len(train)} rows to train on, {len(heldout)} held out")
    return 0


if __name__ == "__main__":
    sys.exit(main())

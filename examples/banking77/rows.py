"""BANKING77 as chat rows: a customer's question, and the name of one of 77 intents.

    python -m examples.banking77.rows TRAIN.csv OUT

reads the data set's own training file (`text`, `category`; Casanueva and others, arXiv 2003.04807) and writes
OUT/train.jsonl and OUT/development.jsonl. The answer is the intent in words (`card arrival` for `card_arrival`): little
more than half as many tokens. The split: of each intent, the tenth of the questions whose SHA-256 comes first is for
development, the rest is trained on. It depends on nothing but the questions. A question that stands in the file more
than once, but for case, punctuation and white space, is kept once, where it stands first.
"""

import argparse
import csv
import hashlib
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

# As short as it can be: the base's template puts a longer text of its own where there is no system message, and that
# text would be a third of all tokens that are computed.
SYSTEM = "Name the intent."
DEVELOPMENT_SHARE = 10
Question = tuple[str, str]
"""(text, intent)"""


def read_questions(path: Path) -> list[Question]:
    """The questions of the data set's CSV file, each once."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [(" ".join(row["text"].split()), row["category"]) for row in csv.DictReader(file)]
    first = {_plain(text): (text, intent) for text, intent in reversed(rows)}
    return [question for question in dict.fromkeys(rows) if first[_plain(question[0])] == question]


def split(questions: Iterable[Question]) -> tuple[list[Question], list[Question]]:
    """Questions to train on, and questions for development; each in the order of the file."""
    by_intent: dict[str, list[Question]] = defaultdict(list)
    for question in questions:
        by_intent[question[1]].append(question)
    development = {
        question
        for own in by_intent.values()
        for question in sorted(own, key=_order)[: round(len(own) / DEVELOPMENT_SHARE)]
    }
    everything = [question for own in by_intent.values() for question in own]
    return (
        [question for question in everything if question not in development],
        [question for question in everything if question in development],
    )


def messages(text: str) -> list[dict[str, str]]:
    """What the model is asked."""
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text}]


def in_words(intent: str) -> str:
    """The name of an intent as it is answered."""
    return intent.replace("_", " ").strip("? ").lower()


def write_rows(path: Path, questions: Iterable[Question]) -> None:
    """Write chat JSONL."""
    with path.open("w", encoding="utf-8") as file:
        for text, intent in questions:
            row = {"messages": [*messages(text), {"role": "assistant", "content": in_words(intent)}]}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _plain(text: str) -> str:
    return re.sub(r"\W+", " ", text.casefold()).strip()


def _order(question: Question) -> str:
    return hashlib.sha256(question[0].encode()).hexdigest()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m examples.banking77.rows", description="BANKING77 as chat rows.")
    parser.add_argument("csv", type=Path, help="the data set's train.csv")
    parser.add_argument("out", type=Path, help="folder to write train.jsonl and development.jsonl into")
    options = parser.parse_args(arguments)
    train, development = split(read_questions(options.csv))
    options.out.mkdir(parents=True, exist_ok=True)
    write_rows(options.out / "train.jsonl", train)
    write_rows(options.out / "development.jsonl", development)
    print(f"{len(train)} rows to train on, {len(development)} for development")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Make the cited-answers data: passages and a question in, the sentence that answers and its citation out.

    python -m examples.datasets.cited_answers

The facts are drawn at random and differ in every row, so that nothing can be learnt but to read and to cite. Prompts
are put together by the gateway's own grounding. Held-out rows use names that occur in no training row.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from examples.datasets.rows import EXAMPLES, Row, chat_row, write_rows
from serving.engine.protocol import Endpoint
from serving.grounding.prompt import ground
from serving.knowledge.protocol import FoundPassage

FOLDER = EXAMPLES / "cited-answers"
TRAIN_ROWS = 640
HELDOUT_ROWS = 120
SEED = 5
UNKNOWN = "The documents do not tell."
UNKNOWN_SHARE = 0.15
ROOM = 4_000
"""Characters: more than these passages ever have."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A statement, and a question that it answers."""

    topic: str
    name: str
    statement: str
    question: str


class RowWriter:
    """Puts rows together from the names of one split."""

    def __init__(self, phrases: Mapping[str, Any], *, heldout: bool, seed: int) -> None:
        self._forms: Sequence[Mapping[str, Any]] = phrases["forms"]
        self._slots: Mapping[str, Sequence[str]] = phrases["slots"]
        names = self._slots["name"]
        self._names = names[::5] if heldout else [name for name in names if name not in names[::5]]
        self._heldout = heldout
        self._unknown: Sequence[str] = phrases["unknown"]
        self._chance = random.Random(seed)  # noqa: S311  (data, not secrets)

    def rows(self, count: int) -> list[Row]:
        """``count`` rows, a share of them about what no passage tells.

        Without any passage a question is the same whoever asks it: such rows are trained on, and not measured.
        """
        made: list[Row] = []
        while len(made) < count:
            row = self._row(known=self._chance.random() >= UNKNOWN_SHARE)
            if not self._heldout or "<passage " in row["messages"][0]["content"]:
                made.append(row)
        return made

    def _row(self, *, known: bool) -> Row:
        form = self._chance.choice(self._forms)
        names = self._chance.sample(self._names, 3)
        facts = [self._fact(form, name) for name in names]
        # Of other forms: two statements of one form about one name would contradict each other.
        elsewhere = [one for one in self._forms if one is not form]
        others = [self._fact(self._chance.choice(elsewhere), self._chance.choice(names)) for _ in range(4)]
        asked = facts[0]
        passages = self._passages([*facts[: self._chance.choice((1, 2, 2, 3))], *others[: self._chance.randrange(5)]])
        if not known:
            question = self._chance.choice(self._unknown) if self._chance.random() < 0.5 else asked.question
            passages = [one for one in passages if asked.statement not in one.text]
            return chat_row(_prompt(question, passages), UNKNOWN)
        number = next(place for place, one in enumerate(passages, 1) if asked.statement in one.text)
        return chat_row(_prompt(asked.question, passages), f"{asked.statement} [{number}]")

    def _fact(self, form: Mapping[str, Any], name: str) -> Fact:
        chance = self._chance
        values = {slot: chance.choice(choices) for slot, choices in self._slots.items()}
        opens = chance.randrange(6, 12)
        values |= {
            "name": name,
            "number": str(chance.choice((chance.randrange(2, 20), chance.randrange(20, 990)))),
            "number2": str(chance.randrange(2, 400)),
            "hour": str(opens),
            "hour2": str(opens + chance.randrange(4, 11)),
        }
        question = chance.choice(form["questions"])
        return Fact(form["topic"], name, form["statement"].format(**values), question.format(**values))

    def _passages(self, facts: Sequence[Fact]) -> list[FoundPassage]:
        """One to three statements in each, in any order."""
        ahead = list(facts)
        self._chance.shuffle(ahead)
        made: list[FoundPassage] = []
        while ahead:
            size = self._chance.choice((1, 1, 2, 3))
            some, ahead = ahead[:size], ahead[size:]
            heading = f" > {some[0].name}" if self._chance.random() < 0.5 else ""
            text = " ".join(one.statement for one in some)
            made.append(_passage(len(made), some[0].topic, f"{some[0].topic}{heading}", text))
        return made


def _passage(number: int, topic: str, context: str, text: str) -> FoundPassage:
    filename = f"{topic.lower().replace(' ', '-')}.md"
    return FoundPassage(
        store_id="",
        file_id="",
        filename=filename,
        title=topic,
        source=filename,
        version="",
        number=number,
        text=text,
        context=context,
        score=1.0 / (number + 1),
        similarity=0.5,
    )


def _prompt(question: str, passages: Sequence[FoundPassage]) -> str:
    body = {"messages": [{"role": "user", "content": question}]}
    given = ground(Endpoint.CHAT, body, passages, max_tokens=ROOM, count_tokens=len, cite=True, admit=True)
    text: str = given.body["messages"][0]["content"]
    return text


def main() -> None:
    """Write both files."""
    phrases = yaml.safe_load((FOLDER / "phrases.yaml").read_text(encoding="utf-8"))
    for place, (split, count) in enumerate((("train", TRAIN_ROWS), ("heldout", HELDOUT_ROWS))):
        writer = RowWriter(phrases, heldout=split == "heldout", seed=SEED + place)
        write_rows(FOLDER / f"{split}-v1.jsonl", writer.rows(count))


if __name__ == "__main__":
    main()

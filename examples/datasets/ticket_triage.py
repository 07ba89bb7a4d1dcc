"""Make the ticket-triage data: a support ticket in, strict JSON out.

    python -m examples.datasets.ticket_triage

Version 1 answers category, priority and product. Version 2 adds the team that takes the ticket, and a category of its
own for security incidents, which version 1 has never seen. Held-out tickets are put together from problems and
impacts that occur in no training ticket.
"""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from examples.datasets.rows import EXAMPLES, Row, chat_row, fill, write_rows

FOLDER = EXAMPLES / "ticket-triage"
HELDOUT_PROBLEMS = 2
HELDOUT_IMPACTS = 3
SEED = 20
TEAMS = {
    "billing": "finance",
    "access": "identity",
    "bug": "engineering",
    "outage": "operations",
    "how-to": "success",
    "feature-request": "product",
    "security": "trust",
}


@dataclass(frozen=True, slots=True)
class Ticket:
    """A ticket and what a dispatcher would say of it."""

    text: str
    category: str
    priority: str
    product: str

    def row(self, *, with_team: bool) -> Row:
        """The ticket as a training row."""
        answer = {"category": self.category, "priority": self.priority, "product": self.product}
        if with_team:
            answer["team"] = TEAMS[self.category]
        return chat_row(self.text, json.dumps(answer))


class TicketWriter:
    """Puts tickets together from the phrases of one split."""

    def __init__(self, phrases: Mapping[str, Any], *, heldout: bool, seed: int) -> None:
        self._phrases = phrases
        self._heldout = heldout
        self._chance = random.Random(seed)  # noqa: S311  (data, not secrets)

    def tickets(self, count: int, categories: Sequence[str]) -> list[Ticket]:
        """``count`` different tickets, spread evenly over categories and products."""
        made: dict[str, Ticket] = {}
        products = list(self._phrases["problems"])
        while len(made) < count:
            category = categories[len(made) % len(categories)]
            product = products[len(made) // len(categories) % len(products)]
            ticket = self._ticket(category, product)
            made.setdefault(ticket.text, ticket)
        tickets = list(made.values())
        self._chance.shuffle(tickets)
        return tickets

    def _ticket(self, category: str, product: str) -> Ticket:
        chance, phrases = self._chance, self._phrases
        priority = chance.choice(phrases["priorities"][category])
        problem = chance.choice(self._split(phrases["problems"][product][category], HELDOUT_PROBLEMS))
        impact = chance.choice(self._split(phrases["impacts"][priority], HELDOUT_IMPACTS))
        problem, impact = fill(problem, phrases["slots"], chance), fill(impact, phrases["slots"], chance)
        return Ticket(self._dress(problem, impact), category, priority, product)

    def _split(self, values: Sequence[str], kept_back: int) -> Sequence[str]:
        return values[-kept_back:] if self._heldout else values[:-kept_back]

    def _dress(self, problem: str, impact: str) -> str:
        chance = self._chance
        opener = chance.choice(self._phrases["openers"])
        closer = fill(chance.choice(self._phrases["closers"]), self._phrases["slots"], chance)
        if chance.random() < 0.2:
            text = f"{opener}{_capitalised(impact)} {_capitalised(problem)}{closer}"
        else:
            text = f"{opener}{problem if opener else _capitalised(problem)} {_capitalised(impact)}{closer}"
        if chance.random() < 0.12:
            text = text.lower().replace("'", "").rstrip(".!")
        return text


def _capitalised(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]


def main() -> None:
    """Write every file."""
    phrases = yaml.safe_load((FOLDER / "phrases.yaml").read_text(encoding="utf-8"))
    everything = list(TEAMS)
    first = [category for category in everything if category != "security"]
    for version, categories, train, heldout in (("v1", first, 720, 144), ("v2", everything, 980, 168)):
        for split, count, is_heldout in (("train", train, False), ("heldout", heldout, True)):
            writer = TicketWriter(phrases, heldout=is_heldout, seed=SEED)
            tickets = writer.tickets(count, categories)
            write_rows(FOLDER / f"{split}-{version}.jsonl", [t.row(with_team=version == "v2") for t in tickets])


if __name__ == "__main__":
    main()

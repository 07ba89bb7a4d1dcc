"""The part of the tour that answers from documents: a cited answer, a fact that changes, a question beyond them."""

import shutil
import time
from pathlib import Path
from typing import Any

import httpx
from openai import OpenAI
from openai.types.chat import ChatCompletion
from rich.console import Console
from rich.markup import escape
from rich.table import Table

TASK = "handbook"
ORIGINAL = Path("examples/handbook")
COPY = Path(".loraplex/handbook")
"""What the gateway follows; see demo.yaml."""
QUESTION = "How much is the Team plan?"
BEYOND = "Who painted the ceiling of the Sistine Chapel?"
OLD, NEW = "79 EUR", "95 EUR"
WITHIN_S = 60.0


class TourFailed(Exception):
    """Something that the tour shows did not work."""


def fresh_handbook() -> None:
    """Put the documents where the gateway looks for them, as they are in the repository."""
    shutil.rmtree(COPY, ignore_errors=True)
    shutil.copytree(ORIGINAL, COPY)


def run(console: Console, client: OpenAI, admin: httpx.Client) -> None:
    """Show it. Raises TourFailed."""
    console.print()
    console.rule("[bold]Current facts come from documents, and say from where", align="left")
    fresh_handbook()
    table = Table(show_lines=True)
    table.add_column("question")
    table.add_column("answer", ratio=1)
    table.add_column("cited", ratio=1)
    seconds = _until(client, admin, OLD)
    _add(table, QUESTION, _ask(client, QUESTION))
    plans = COPY / "plans.md"
    plans.write_text(plans.read_text(encoding="utf-8").replace(OLD, NEW), encoding="utf-8")
    seconds = _until(client, admin, NEW)
    _add(table, f"{QUESTION} ({plans} was edited)", _ask(client, QUESTION))
    _add(table, BEYOND, _ask(client, BEYOND))
    console.print(table)
    console.print(f"From the edit of the file to an answer with the new fact: {seconds:.1f} s, asked again and again")


def _ask(client: OpenAI, question: str) -> ChatCompletion:
    return client.chat.completions.create(model=TASK, messages=[{"role": "user", "content": question}])


def _until(client: OpenAI, admin: httpx.Client, fact: str) -> float:
    """Have the sources looked at, and ask until the answer has the fact. Gives the seconds. Raises TourFailed."""
    began = time.monotonic()
    store = next((one for one in client.vector_stores.list() if one.name == TASK), None)
    if store is None:
        raise TourFailed("the gateway has no knowledge base of the handbook")
    answer = ""
    while time.monotonic() - began < WITHIN_S:
        admin.post(f"/v1/vector_stores/{store.id}/sync").raise_for_status()
        answer = _ask(client, QUESTION).choices[0].message.content or ""
        if fact in answer:
            return time.monotonic() - began
    raise TourFailed(f"asked for {WITHIN_S:.0f} s: the handbook says {fact}, and the answer is {answer!r}")


def _add(table: Table, question: str, answer: ChatCompletion) -> None:
    message = answer.choices[0].message
    annotations: list[dict[str, Any]] = (message.model_extra or {}).get("annotations") or [
        one.model_dump() for one in message.annotations or ()
    ]
    cited = [f"{one['url_citation']['title']}: {_extra(one, 'quote')}" for one in annotations]
    table.add_row(question, escape(message.content or ""), escape("\n".join(cited)))


def _extra(annotation: dict[str, Any], name: str) -> str:
    found = annotation["url_citation"].get(name) or annotation.get(name) or ""
    return str(found)

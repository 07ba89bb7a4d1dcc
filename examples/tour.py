"""A tour of a running demo gateway, through the official OpenAI SDK.

    python -m examples.tour [--url http://127.0.0.1:8000]

Shows the base model and its adapters, swaps one for its next version under traffic, rolls back, answers from documents,
changes a fact in one of them, reads the metrics. Exits with 1 if a request failed, an answer came from a version other
than the one it reported, or an answer does not have the fact as the document has it.
"""

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from openai import AsyncOpenAI, OpenAI, OpenAIError
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from examples import handbook_tour
from examples.handbook_tour import TourFailed

BASE = "SmolLM2-135M-Instruct"
TRIAGE, NOTES = "ticket-triage", "release-notes"
ADAPTER = "triage"
"""The adapter, and its alias, behind the task ``ticket-triage``."""
NEXT_VERSION = "examples/adapters/ticket-triage-v2"
TICKETS = Path("examples/ticket-triage/heldout-v2.jsonl")
TICKET = "Hi, nobody here can sign in to Atlas since this morning and production is at a standstill. Please help!"
COMMIT = "perf(search): cut memory use of the contact book by 30%"
NEW_FIELD = '"team"'
"""Version 2 names the team that takes the ticket; version 1 never does. So an answer tells who gave it."""
CLIENTS = 8
BEFORE, AFTER = 24, 32
"""Requests answered before the swap begins, and after it was done."""


@dataclass(slots=True)
class Traffic:
    """What the clients saw while the swap went on."""

    first: str
    """The version before the swap."""
    answered: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    mismatches: list[str] = field(default_factory=list)
    total: int = 0
    progress: asyncio.Event = field(default_factory=asyncio.Event)


def run(url: str) -> int:
    """The whole tour. Returns the exit status."""
    console = Console(width=None if sys.stdout.isatty() else 118)
    try:
        with httpx.Client(base_url=url, timeout=120, trust_env=False) as admin:
            _Tour(url, console, admin).run()
    except (TourFailed, OpenAIError, httpx.HTTPError) as error:
        console.print(f"[bold red]The tour failed:[/] {escape(str(error))}")
        return 1
    return 0


class _Tour:
    def __init__(self, url: str, console: Console, admin: httpx.Client) -> None:
        self._url = url
        self._console = console
        self._admin = admin
        self._client = OpenAI(base_url=f"{url}/v1", api_key="not-needed", max_retries=0)

    def run(self) -> None:
        first = self._begin_with_first_version()
        self._behaviours()
        self._models()
        second = self._swap(first)
        self._rollback(second)
        handbook_tour.run(self._console, self._client, self._admin)
        self._metrics()
        self._next_steps()

    def _title(self, text: str) -> None:
        self._console.print()
        self._console.rule(f"[bold]{text}", align="left")

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = self._admin.post(f"/admin/v1/{path}", json=body)
        if answer.is_error:
            raise TourFailed(f"{path}: {answer.text}")
        result: dict[str, Any] = answer.json()
        return result

    def _begin_with_first_version(self) -> str:
        """The first version serves, whatever an earlier tour left behind."""
        added = self._post("adapters", {"name": ADAPTER, "source": "examples/adapters/ticket-triage-v1"})
        version: str = added["version"]["name"]
        self._post(f"adapters/{ADAPTER}/promote", {"version": version})
        return version

    def _ask(self, model: str, prompt: str) -> tuple[str, str, float]:
        began = time.monotonic()
        answer = self._client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": prompt}], temperature=0, max_tokens=48
        )
        text = answer.choices[0].message.content or ""
        return " ".join(text.split()), answer.system_fingerprint or "", time.monotonic() - began

    def _behaviours(self) -> None:
        self._title("One base model, three behaviours")
        for prompt, model in ((TICKET, TRIAGE), (COMMIT, NOTES)):
            table = Table(title=escape(prompt), title_justify="left", show_lines=True)
            table.add_column("model")
            table.add_column("answered by")
            table.add_column("answer", ratio=1)
            table.add_column("s", justify="right")
            for name in (BASE, model):
                text, fingerprint, seconds = self._ask(name, prompt)
                table.add_row(name, fingerprint, escape(text), f"{seconds:.1f}")
            self._console.print(table)

    def _models(self) -> None:
        self._title("GET /v1/models")
        table = Table()
        for column in ("id", "parent", "root"):
            table.add_column(column)
        for model in self._client.models.list():
            extra = model.model_extra or {}
            table.add_row(model.id, extra.get("parent") or "", extra.get("root") or "")
        self._console.print(table)

    def _swap(self, first: str) -> str:
        self._title(f"A live swap: {CLIENTS} clients keep asking while version 2 takes over")
        traffic, second = asyncio.run(self._swap_under_traffic(first))
        table = Table()
        table.add_column("answered by")
        table.add_column("requests", justify="right")
        for version in (first, second):
            table.add_row(version, str(traffic.answered.pop(version, 0)))
        for version, count in traffic.answered.items():
            table.add_row(version, str(count))
        self._console.print(table)
        wrong = len(traffic.mismatches)
        self._console.print(
            f"{traffic.total} requests, [bold green]failures: {len(traffic.failures)}[/], "
            f"answers from a version other than the one reported: {wrong}"
        )
        if traffic.failures or wrong:
            raise TourFailed("; ".join([*traffic.failures[:3], *traffic.mismatches[:3]]))
        return second

    async def _swap_under_traffic(self, first: str) -> tuple[Traffic, str]:
        traffic = Traffic(first)
        rows = TICKETS.read_text(encoding="utf-8").splitlines()
        tickets = [json.loads(row)["messages"][0]["content"] for row in rows]
        done = asyncio.Event()
        async with AsyncOpenAI(base_url=f"{self._url}/v1", api_key="not-needed", max_retries=0) as client:
            clients = [
                asyncio.create_task(_keep_asking(client, tickets[index::CLIENTS], traffic, done))
                for index in range(CLIENTS)
            ]
            await _until(traffic, BEFORE)
            began = time.monotonic()
            added = await asyncio.to_thread(self._post, "adapters", {"name": ADAPTER, "source": NEXT_VERSION})
            second: str = added["version"]["name"]
            self._console.print(f"added    {second} (validated and stored, {time.monotonic() - began:.1f} s)")
            began = time.monotonic()
            await asyncio.to_thread(self._post, f"adapters/{ADAPTER}/promote", {"version": second})
            self._console.print(f"promoted {second} (loaded, probed, flipped, {time.monotonic() - began:.1f} s)")
            await _until(traffic, traffic.total + AFTER)
            done.set()
            await asyncio.gather(*clients)
        return traffic, second

    def _rollback(self, second: str) -> None:
        self._title("And back")
        began = time.monotonic()
        result = self._post(f"adapters/{ADAPTER}/rollback", {})
        _, fingerprint, _ = self._ask(TRIAGE, TICKET)
        self._console.print(
            f"rolled back in {time.monotonic() - began:.1f} s: {ADAPTER} is {result['version']} again, "
            f"and {fingerprint} answered"
        )
        if fingerprint == second:
            raise TourFailed(f"{second} still answers after the rollback")

    def _metrics(self) -> None:
        self._title("GET /metrics, for each adapter version")
        text = self._admin.get("/metrics").text
        requests: Counter[tuple[str, str]] = Counter()
        buckets: dict[tuple[str, str], dict[float, float]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                key = (sample.labels.get("task", ""), sample.labels.get("adapter", ""))
                if sample.name == "loraplex_requests_total":
                    requests[key] += int(sample.value)
                elif sample.name == "loraplex_time_to_first_token_seconds_bucket":
                    bounds = buckets.setdefault(key, {})
                    bound = float(sample.labels["le"])
                    bounds[bound] = bounds.get(bound, 0.0) + sample.value
        table = Table()
        for column in ("task", "answered by"):
            table.add_column(column)
        table.add_column("requests", justify="right")
        table.add_column("TTFT p50 under", justify="right")
        for key, count in sorted(requests.items()):
            table.add_row(*key, str(count), _median_bound(buckets.get(key, {})))
        self._console.print(table)

    def _next_steps(self) -> None:
        self._title("Try next")
        body = json.dumps({"model": TRIAGE, "messages": [{"role": "user", "content": "I was billed twice for Vault"}]})
        self._console.print(
            f"""curl -s {self._url}/v1/chat/completions -H 'content-type: application/json' \\
  -d '{body}'

from openai import OpenAI
client = OpenAI(base_url="{self._url}/v1", api_key="not-needed")
messages = [{{"role": "user", "content": "fix(relay): retry webhooks after a timeout"}}]
print(client.chat.completions.create(model="{NOTES}", messages=messages).choices[0].message.content)

.venv/bin/loraplex adapters ls --url {self._url}
.venv/bin/loraplex knowledge explain handbook "How much is the Team plan?" --url {self._url}
.venv/bin/loraplex adapters history --url {self._url}""",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


async def _keep_asking(client: AsyncOpenAI, tickets: Sequence[str], traffic: Traffic, done: asyncio.Event) -> None:
    turn = 0
    while not done.is_set():
        ticket = tickets[turn % len(tickets)]
        turn += 1
        try:
            text, version = await _stream(client, ticket)
        except OpenAIError as error:
            traffic.failures.append(str(error))
        else:
            traffic.answered[version] += 1
            if (NEW_FIELD in text) is (version == traffic.first):
                traffic.mismatches.append(f"{version} is said to have answered {text}")
        traffic.total += 1
        traffic.progress.set()


async def _stream(client: AsyncOpenAI, ticket: str) -> tuple[str, str]:
    parts: list[str] = []
    versions: set[str] = set()
    async with await client.chat.completions.create(
        model=TRIAGE, messages=[{"role": "user", "content": ticket}], stream=True
    ) as stream:
        async for chunk in stream:
            versions.add(chunk.system_fingerprint or "")
            parts.extend(choice.delta.content or "" for choice in chunk.choices)
    return "".join(parts), " and ".join(sorted(versions))


async def _until(traffic: Traffic, total: int) -> None:
    while traffic.total < total:
        traffic.progress.clear()
        await traffic.progress.wait()


def _median_bound(bounds: dict[float, float]) -> str:
    """The upper bound of the histogram bucket that holds the median, in milliseconds."""
    total = max(bounds.values(), default=0.0)
    for bound, count in sorted(bounds.items()):
        if total and count >= total / 2:
            return f"{bound * 1000:.0f} ms"
    return "-"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m examples.tour", description="Tour of a running demo gateway.")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="address of the gateway")
    return run(parser.parse_args(arguments).url.rstrip("/").removesuffix("/v1"))


if __name__ == "__main__":
    sys.exit(main())

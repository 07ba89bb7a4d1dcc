"""``retrieval --part freshness``: from the acceptance of a changed document to an answer that cites the new fact.

A whole gateway on loopback, with embedded Milvus and the default embedder; only the engine is a stand-in, which cites
the passages that it is given. Clients keep asking while documents change.
"""

import argparse
import asyncio
import random
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from time import perf_counter
from typing import Any

from openai import AsyncOpenAI

from benchmarks.fleet import say
from benchmarks.report import Target
from benchmarks.stats import percentile, quantiles_ms
from serving.config import GatewayConfig, parse_config
from serving.engine.fake import FakeEngine
from serving.gateway import build_gateway
from tests.live import served

TASK, STORE = "desk", "desk"
PRODUCTS = (
    *("anvil", "barometer", "candle", "dulcimer", "easel", "fiddle", "goblet", "hammock", "inkwell", "jigsaw"),
    *("kettle", "lantern", "mandolin", "notebook", "oboe", "pendulum", "quilt", "rudder", "saddle", "telescope"),
    *("umbrella", "violin", "wheelbarrow", "xylophone", "yoke", "zither", "accordion", "bellows", "compass", "drum"),
)
GIVE_UP_S = 120.0
ASKERS = 4


def measure(options: argparse.Namespace) -> tuple[dict[str, Any], list[Target], list[str]]:
    """Change documents with and without load, and ask until each new fact is cited."""
    updates = 10 if options.quick else options.updates
    with tempfile.TemporaryDirectory() as folder:
        results, problems = asyncio.run(_measure(Path(folder), updates))
    loaded = results["under load"]["seconds_to_a_citing_answer"]
    targets = [
        Target("upsert accepted to cited in an answer, under load, p99, s", loaded["p99"] / 1000, 2, at_least=False)
    ]
    return results, targets, problems


async def _measure(folder: Path, updates: int) -> tuple[dict[str, Any], list[str]]:
    async with AsyncExitStack() as stack:
        engine = FakeEngine(max_model_len=100_000)
        engine.saying = "One costs this many crowns. [1] [2] [3]"
        gateway = build_gateway(_config(folder), engine=engine)
        await gateway.start(say)
        stack.push_async_callback(gateway.stop)
        url = await stack.enter_async_context(served(gateway.app))
        client = await stack.enter_async_context(AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0))
        desk = _Desk(client, next(store.id for store in (await client.vector_stores.list()).data))
        say(f"putting {len(PRODUCTS)} documents in")
        for product in PRODUCTS:
            await desk.update(product)
        results: dict[str, Any] = {"updates": updates, "documents": len(PRODUCTS), "askers": ASKERS}
        for name, askers in (("alone", 0), ("under load", ASKERS)):
            say(f"{updates} updates, {name}")
            results[name] = await desk.run(updates, askers)
        return results, desk.problems


def _config(folder: Path) -> GatewayConfig:
    retrieval = {"knowledge": [STORE], "top_k": 3, "when_down": "fail"}
    return parse_config(
        {
            "model": {"id": "fake"},
            "engine": {"kind": "openai", "url": "http://127.0.0.1:9/v1"},
            "adapters": {"enabled": False, "cache_dir": str(folder / "cache")},
            "tasks": {TASK: {"retrieval": retrieval}},
            "knowledge": {
                "index": {"uri": str(folder / "milvus.db")},
                "cache_dir": str(folder / "vectors"),
                "bases": {STORE: {}},
            },
            "state": {"url": f"sqlite:///{folder}/state.db"},
            "artifacts": {"url": str(folder / "artifacts")},
        }
    )


class _Desk:
    """Documents with a price each, and those who ask for it."""

    def __init__(self, client: AsyncOpenAI, store_id: str) -> None:
        self._client = client
        self._store_id = store_id
        self._chance = random.Random(3)
        self._price = 1_000
        self._questions: list[float] = []
        self.problems: list[str] = []

    async def run(self, updates: int, askers: int) -> dict[str, Any]:
        """Change ``updates`` documents one after another while others ask."""
        self._questions = []
        load = [asyncio.create_task(self._keep_asking()) for _ in range(askers)]
        try:
            seconds = [await self.update(self._chance.choice(PRODUCTS)) for _ in range(updates)]
        finally:
            for task in load:
                task.cancel()
            await asyncio.gather(*load, return_exceptions=True)
        report: dict[str, Any] = {
            "seconds_to_a_citing_answer": quantiles_ms(seconds),
            "worst_s": round(percentile(seconds, 1), 3),
        }
        if self._questions:
            report["questions"] = {"count": len(self._questions), **quantiles_ms(self._questions)}
        return report

    async def update(self, product: str) -> float:
        """Seconds from the acceptance of a new price to the first answer that cites it."""
        self._price += 1
        text = f"# {product.capitalize()}\n\nOne {product} costs {self._price} crowns.\n"
        file = await self._client.files.create(file=(f"{product}.md", text.encode()), purpose="assistants")
        await self._client.vector_stores.files.create(
            self._store_id, file_id=file.id, attributes={"source": f"{product}.md"}
        )
        accepted = perf_counter()
        while perf_counter() - accepted < GIVE_UP_S:
            quotes = await self._quotes(product)
            if any(f"costs {self._price} " in quote for quote in quotes):
                return perf_counter() - accepted
        self.problems.append(f"the price {self._price} of the {product} was not cited within {GIVE_UP_S:.0f} s")
        return GIVE_UP_S

    async def _quotes(self, product: str) -> list[str]:
        question = f"What does one {product} cost?"
        began = perf_counter()
        answer = await self._client.chat.completions.create(
            model=TASK, messages=[{"role": "user", "content": question}]
        )
        self._questions.append(perf_counter() - began)
        annotations = answer.choices[0].message.annotations or []
        return [str((one.model_extra or one.url_citation.model_extra or {}).get("quote", "")) for one in annotations]

    async def _keep_asking(self) -> None:
        while True:
            await self._quotes(self._chance.choice(PRODUCTS))

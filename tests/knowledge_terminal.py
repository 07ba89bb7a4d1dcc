"""The command line against a live knowledge service with an index in memory and an embedder without a model."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp
from typer.testing import CliRunner

from retrieval.indexes.memory import MemoryIndexStore
from serving.cli.main import build_app
from serving.cli.stores import StoresClient
from serving.config import parse_config
from serving.knowledge.service import KnowledgeService
from tests.embedding_server import embedding_app
from tests.live import served

PROGRAM = (sys.executable, "-c", "from serving.cli.main import main; main()")
"""The command line in a process of its own, run in ``ENVIRONMENT``."""
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "TERM": "xterm", "COLUMNS": "100"}
COUNTS = ("new", "updated", "unchanged", "removed", "failed", "skipped")
Wrap = Callable[[ASGIApp], ASGIApp]


@dataclass
class KnowledgeTerminal:
    """Runs commands against one gateway."""

    url: str

    async def run(
        self, *arguments: str, exit_code: int = 0, env: Mapping[str, str] | None = None, typed: str = ""
    ) -> str:
        """Run ``loraplex ARGUMENTS``; what it printed."""
        full = [*arguments, "--url", self.url]
        result = await asyncio.to_thread(
            CliRunner().invoke, build_app(arguments[0]), full, input=typed, env=dict(env or {})
        )
        assert result.exit_code == exit_code, result.output
        return result.output

    async def json(self, *arguments: str, exit_code: int = 0) -> Any:
        """The same with ``--json``."""
        return json.loads(await self.run(*arguments, "--json", exit_code=exit_code))

    async def ingest(self, *arguments: Any, to: str = "handbook", exit_code: int = 0) -> Any:
        """``loraplex ingest`` with ``--json``."""
        return await self.json("ingest", *map(str, arguments), "--to", to, exit_code=exit_code)

    async def documents(self, store: str = "handbook") -> dict[str, dict[str, Any]]:
        """What a store holds, by source."""
        listed = await self.json("knowledge", "show", store, "--all")
        return {one["attributes"].get("source", one["filename"]): one for one in listed["documents"]}

    async def files(self) -> list[dict[str, Any]]:
        """Every uploaded file."""
        return await asyncio.to_thread(StoresClient(self.url).files)

    async def attach(self, store_id: str, file_id: str) -> None:
        """Put a file into a store as some other client does."""
        await asyncio.to_thread(StoresClient(self.url).attach, store_id, [(file_id, {})])

    async def create(self, name: str) -> None:
        """Make a store of that name as some other client does."""
        await asyncio.to_thread(StoresClient(self.url).create, name)


@asynccontextmanager
async def knowledge_terminal(
    folder: Path,
    *,
    knowledge: Mapping[str, Any] | None = None,
    api_keys: Sequence[Mapping[str, Any]] = (),
    wrap: Wrap = lambda app: app,
) -> AsyncIterator[KnowledgeTerminal]:
    """Serve a new knowledge service; its state is in ``folder``."""
    async with served(embedding_app()) as embedder:
        config = parse_config(
            {
                "model": {"id": "org/base"},
                "state": {"url": f"sqlite:///{folder}/state.db"},
                "logging": {"audit": {"file": f"{folder}/audit.jsonl"}},
                "artifacts": {"url": str(folder / "artifacts")},
                "api_keys": list(api_keys),
                "knowledge": {
                    "embedder": {"url": f"{embedder}/v1", "model": "words"},
                    "cache_bytes": 0,
                    **(knowledge or {}),
                },
            }
        )
        service = KnowledgeService(config, open_indexes=MemoryIndexStore)
        await service.start()
        try:
            async with served(wrap(service.app)) as url:
                yield KnowledgeTerminal(url)
        finally:
            await service.stop()


@asynccontextmanager
async def terminal(folder: Path, **options: Any) -> AsyncIterator[KnowledgeTerminal]:
    """The same, its state in a folder ``state`` of its own."""
    state = folder / "state"
    state.mkdir()
    async with knowledge_terminal(state, **options) as cli:
        yield cli


def write(folder: Path, **texts: str) -> Path:
    """Files named as the keys, ``__`` for a folder, with the suffix ``.md``."""
    for name, text in texts.items():
        path = folder / f"{name.replace('__', '/')}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def counts(answer: dict[str, Any]) -> dict[str, int]:
    """What is not zero."""
    return {name: answer[name] for name in COUNTS if answer[name]}

"""The command line against a live knowledge service with an index in memory and an embedder without a model."""

import asyncio
import json
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

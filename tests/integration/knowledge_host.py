"""A process that hosts a knowledge service on loopback, for tests that kill it.

    python -m tests.integration.knowledge_host FOLDER EMBEDDINGS_URL MODEL

It writes one line, a JSON object with its ``url``, once it answers.
"""

import asyncio
import json
import sys
from pathlib import Path

from serving.config import GatewayConfig
from serving.knowledge.service import KnowledgeService
from tests.knowledge_live import knowledge_config
from tests.live import served


def hosted_config(folder: Path, embeddings: str, model: str) -> GatewayConfig:
    """The configuration of a host: its whole state is in ``folder``."""
    embedder = {"url": embeddings, "model": model, "max_tokens": 128}
    return knowledge_config(folder, knowledge={"embedder": embedder, "cache_bytes": 0})


async def main() -> None:
    """Host one service until killed."""
    service = KnowledgeService(hosted_config(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
    await service.start()
    async with served(service.app) as url:
        print(json.dumps({"url": url}), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())

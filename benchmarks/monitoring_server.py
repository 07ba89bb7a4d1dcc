"""A gateway over the fake engine, which scrapes itself while it is loaded: ``benchmarks.monitoring`` starts two."""

import argparse
import asyncio
from pathlib import Path

import uvicorn
import uvloop

from monitoring.exposition import Format
from serving.config import load_config
from serving.engine.fake import FakeEngine
from serving.gateway import Gateway, build_gateway
from serving.status import unavailable


async def _serve(path: Path, scrape_every_s: float) -> None:
    config = load_config(path)
    engine = FakeEngine(config.model.public_name)
    control = unavailable("There is no control plane here.")
    gateway = build_gateway(config, engine=engine, replica="replica-0", control=control)
    await gateway.start(lambda _: None)
    settings = uvicorn.Config(
        gateway.app,
        host=config.server.host,
        port=config.server.port,
        http="httptools",
        lifespan="off",
        access_log=False,
        log_level="warning",
    )
    scraping = asyncio.create_task(_scrape(gateway, engine, scrape_every_s))
    try:
        await uvicorn.Server(settings).serve()
    finally:
        scraping.cancel()
        await gateway.stop()


async def _scrape(gateway: Gateway, engine: FakeEngine, every_s: float) -> None:
    """Scrape whenever something was answered since the last time; and have the engine forget what it did."""
    while True:
        await asyncio.sleep(every_s)
        if engine.finished:
            await gateway.status.metrics_text(Format.OPENMETRICS)
        if not engine.running:
            engine.requests.clear()
            engine.finished.clear()


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--scrape-every", type=float, required=True)
    options = parser.parse_args()
    uvloop.run(_serve(options.config, options.scrape_every))


if __name__ == "__main__":
    main()

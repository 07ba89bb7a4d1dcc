"""Pictures of the dashboards, for people to look at: ``python -m docs.pictures``.

A gateway over the fake engine works through a scripted workload, a real Prometheus scrapes it under the rules that are
committed, and each panel is drawn from what its queries find. The fake engine tells no series of vLLM's: those are made
up. The machine's are the machine's own. What nothing tells here, such as GPUs, is drawn as empty.
"""

import argparse
import asyncio
import math
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from docs.panel_plots import Found, draw_page
from monitoring.dashboards.boards import DASHBOARDS
from monitoring.dashboards.foreign import (
    ENGINE,
    ENGINE_DECODE_TIME,
    ENGINE_GENERATION_TOKENS,
    ENGINE_KV_CACHE,
    ENGINE_PREFILL_TIME,
    ENGINE_PREFIX_HITS,
    ENGINE_PREFIX_QUERIES,
    ENGINE_PROMPT_TOKENS,
    ENGINE_QUEUE_TIME,
    ENGINE_RUNNING,
    ENGINE_WAITING,
)
from monitoring.dashboards.grafana import Dashboard
from serving.cli.prometheus import Prometheus
from tests.live import served
from tests.observing import flush
from tests.scripted import filled, watched

_HERE = Path(__file__).parent
_WINDOW = "15s"
"""Of rates: Prometheus scrapes each second."""
_MOST_POINTS = 400
_SPREAD = (0.2, 0.5, 0.8, 1.0, 1.3, 2.5)
"""Of a made-up time around its middle."""


class Exporter:
    """Tells made-up series of vLLM, and real ones of this machine in node exporter's words."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._families = dict(self._made())
        self._began = self._told = time.monotonic()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """``/metrics``."""
        self._tell()
        body = generate_latest(self._registry) + "".join(_machine()).encode()
        await Response(body, media_type="text/plain; version=0.0.4")(scope, receive, send)

    def _made(self) -> Iterator[tuple[str, Gauge | Counter | Histogram]]:
        labels = ("model_name", "engine", "replica")
        for spec in ENGINE:
            match spec.kind:
                case "counter":
                    family: Gauge | Counter | Histogram = Counter(spec.name, spec.help, labels, registry=self._registry)
                case "gauge":
                    family = Gauge(spec.name, spec.help, labels, registry=self._registry)
                case "histogram":
                    family = Histogram(spec.name, spec.help, labels, registry=self._registry)
            yield spec.name, family.labels("base", "0", "r0")

    def _tell(self) -> None:
        now = time.monotonic()
        passed, at = now - self._told, now - self._began
        self._told = now
        wave = math.sin(at / 15)
        for spec, level in ((ENGINE_RUNNING, round(5 + 4 * wave)), (ENGINE_WAITING, max(0, round(12 * wave - 6)))):
            self._gauge(spec.name, level)
        self._gauge(ENGINE_KV_CACHE.name, 0.5 + 0.3 * wave)
        for spec, rate in (
            (ENGINE_PROMPT_TOKENS, 900 + 300 * wave),
            (ENGINE_GENERATION_TOKENS, 220 + 80 * wave),
            (ENGINE_PREFIX_QUERIES, 900.0),
            (ENGINE_PREFIX_HITS, 500 + 200 * wave),
        ):
            self._count(spec.name, rate * passed)
        for spec, middle_s in (
            (ENGINE_QUEUE_TIME, 0.02 + 0.3 * max(wave, 0)),
            (ENGINE_PREFILL_TIME, 0.08),
            (ENGINE_DECODE_TIME, 0.9 + 0.3 * wave),
        ):
            self._observe(spec.name, middle_s)

    def _gauge(self, name: str, level: float) -> None:
        family = self._families[name]
        if isinstance(family, Gauge):
            family.set(level)

    def _count(self, name: str, amount: float) -> None:
        family = self._families[name]
        if isinstance(family, Counter):
            family.inc(amount)

    def _observe(self, name: str, middle_s: float) -> None:
        family = self._families[name]
        if isinstance(family, Histogram):
            for factor in _SPREAD:
                family.observe(middle_s * factor)


def _machine() -> Iterator[str]:
    for core, times in enumerate(psutil.cpu_times(percpu=True)):
        for mode in ("user", "system", "idle"):
            yield f'node_cpu_seconds_total{{cpu="{core}",mode="{mode}"}} {getattr(times, mode)}\n'
    memory = psutil.virtual_memory()
    yield f"node_memory_MemAvailable_bytes {memory.available}\n"
    yield f"node_memory_MemTotal_bytes {memory.total}\n"
    free = psutil.disk_usage("/").free
    yield f'node_filesystem_avail_bytes{{device="disk",fstype="ext4",mountpoint="/"}} {free}\n'


async def _pictures(folder: Path, seconds: float) -> dict[str, bytes]:
    """Every page as PNG, by the dashboard's uid."""
    async with served(Exporter()) as exporter, watched(folder, {"machine": urlsplit(exporter).netloc}) as world:
        began = time.time()
        await world.set_up()
        await world.fill_reference()
        while time.time() - began < seconds:
            await world.work()
            world.knowledge.take_in()
            await flush(world.living.gateway)
            await world.server.until_scraped(2)
        address = str(world.server.http.base_url)
        return await asyncio.to_thread(_drawn, address, began, time.time())


def _drawn(address: str, start: float, end: float) -> dict[str, bytes]:
    asked = Prometheus(address)
    try:
        return {
            board.uid: draw_page(board, dict(_answers(asked, board, start, end)), start, end) for board in DASHBOARDS
        }
    finally:
        asked.close()


def _answers(asked: Prometheus, board: Dashboard, start: float, end: float) -> Iterator[tuple[int, list[Found]]]:
    """What the queries of each panel find, by the panel's number."""
    step_s = max(1.0, (end - start) / _MOST_POINTS)
    placed = [one for one in board.to_json()["panels"] if one["type"] != "row"]
    for one, panel in zip(placed, board.panels(), strict=True):
        found = []
        for target in panel.targets:
            text = filled(target.query.text, _WINDOW)
            ranged = panel.kind == "timeseries"
            series = asked.query_range(text, start, end, step_s) if ranged else asked.query(text, end)
            found.append(Found(target, series))
        yield one["id"], found


def main() -> int:
    """Draw every page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=_HERE / "pictures", help="folder to write to")
    parser.add_argument("--seconds", type=float, default=120.0, help="length of the workload (default %(default)s)")
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder:
            pages = asyncio.run(_pictures(Path(folder), options.seconds))
    except pytest.skip.Exception as missing:
        print(missing.msg, file=sys.stderr)
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
    for name, page in pages.items():
        (options.out / f"{name}.png").write_bytes(page)
    print(f"Drew {len(pages)} pages into {options.out}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

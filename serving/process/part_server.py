"""The child of ``loraplex serve --only``: the control plane or the knowledge service alone, under uvicorn."""

import socket

from serving.control_plane import ControlPlane, start_control_plane
from serving.jobs.watch import JobWatch
from serving.knowledge.service import KnowledgeService
from serving.parts.app import PartApi
from serving.parts.sole import SoleProcess, turn_of
from serving.process.http_server import run_child, serve_app
from serving.process.orders import Orders
from serving.process.reports import Reporter


class _Control:
    """The control plane, and what it measures."""

    def __init__(self, orders: Orders, reporter: Reporter, api: PartApi) -> None:
        self._config = orders.config
        self._reporter = reporter
        self._api = api
        self._plane: ControlPlane | None = None
        self._watch = JobWatch(orders.config.state.url) if orders.config.training is not None else None

    async def start(self) -> None:
        """Raises what the control plane raises."""
        self._plane = await start_control_plane(self._config, self._reporter.progress)
        self._api.begin(self._plane, self._metrics)

    async def stop(self) -> None:
        """Put everything down."""
        self._api.end()
        if self._plane is not None:
            await self._plane.stop()
        if self._watch is not None:
            self._watch.close()

    async def _metrics(self) -> bytes:
        return b"" if self._watch is None else await self._watch.metrics_text()


class _Knowledge:
    """The knowledge service."""

    def __init__(self, orders: Orders, reporter: Reporter, api: PartApi) -> None:
        self._service = KnowledgeService(orders.config)
        self._reporter = reporter
        self._api = api
        self._started = False

    async def start(self) -> None:
        """Raises CatalogUnavailable."""
        self._reporter.progress("Opening the knowledge")
        self._started = True
        await self._service.start()
        self._api.begin(self._service, self._service.metrics_text, self._service)

    async def stop(self) -> None:
        """End it; what is unfinished is finished by the next process."""
        self._api.end()
        if self._started:
            await self._service.stop()


async def serve(orders: Orders, listener: socket.socket) -> int:
    """Answer requests from the first moment, with 503 until the part is ready. Returns the exit status."""
    name = orders.part or "control"
    reporter = Reporter(orders.reports, name)
    api = PartApi(orders.config, name)
    part = (_Knowledge if name == "knowledge" else _Control)(orders, reporter, api)
    sole = SoleProcess(turn_of(orders.config.state.url, name), name)

    def wait(line: str) -> None:
        api.wait("another one is at work")
        reporter.progress(line)

    async def start() -> None:
        try:
            await sole.begin(wait)
            await part.start()
        except Exception as error:
            reporter.failed(f"{error}" or type(error).__name__)
            raise

    async def stop() -> None:
        await part.stop()
        await sole.end()

    def summary() -> str:
        return f"{name} alone"

    return await serve_app(api.app, orders, listener, reporter, start=start, stop=stop, summary=summary, lost=sole.lost)


if __name__ == "__main__":
    run_child(serve)

"""``FakeEngine``: a deterministic engine for tests and for measuring the gateway alone.

Its answers name the adapter that gave them. It sleeps only where it is told to and keeps the whole of the Engine
contract, so that a test of the gateway needs no model; its knobs hold, fail or kill it at a chosen moment.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from adapters.types import Tier
from serving.engine.fake_answers import stream_objects, whole_answer
from serving.engine.fake_plan import FakePlan, make_plan
from serving.engine.protocol import (
    AdapterCapacity,
    EngineAdapterError,
    EngineError,
    EngineInfo,
    EngineRequest,
    EngineUnavailable,
    JsonObject,
    Progress,
    ResidentAdapter,
)

DEFAULT_CAPACITY = AdapterCapacity(slots=4, cpu_slots=8, max_rank=64)


class FakeEngine:
    """An engine without a model.

    Knobs: ``gate`` (cleared: every generation waits before its next piece, once it has given ``free_pieces``),
    ``load_gate`` (cleared: loads wait),
    ``refuse_load`` (adapter or version name → message), ``inert`` (versions that answer like the base model),
    ``saying`` (what it answers, instead of the prompt, where a request constrains nothing),
    ``queue_s`` (how long it says that requests waited in it),
    :meth:`fail_next`, :meth:`die`. What happened: ``requests``, ``aborted``, ``finished``, ``loads``, ``unloads``.
    """

    def __init__(
        self,
        model: str = "fake-base",
        *,
        capacity: AdapterCapacity | None = DEFAULT_CAPACITY,
        max_model_len: int = 8192,
        token_s: float = 0.0,
    ) -> None:
        """``token_s``: how long each token takes, in seconds."""
        self._model = model
        self._token_s = token_s
        self._capacity = capacity
        self._max_model_len = max_model_len
        self._loaded: dict[str, Path] = {}
        self._used: dict[str, int] = {}
        self._running: dict[int, EngineRequest] = {}
        self._recent: list[str] = []
        self._failures: list[tuple[EngineError, int]] = []
        self._started = False
        self._dead = asyncio.Event()
        self._died = asyncio.Event()
        self._changed = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        self.free_pieces = 0
        self.load_gate = asyncio.Event()
        self.load_gate.set()
        self.refuse_load: dict[str, str] = {}
        self.inert: set[str] = set()
        self.saying: str | None = None
        self.queue_s: float | None = None
        self.requests: list[EngineRequest] = []
        self.aborted: list[str] = []
        self.finished: list[str] = []
        self.loads: list[str] = []
        self.unloads: list[str] = []

    # The engine

    async def start(self, progress: Progress) -> EngineInfo:
        """Ready at once."""
        progress("starting the fake engine")
        self._started = True
        self._dead.clear()
        self._died.clear()
        return EngineInfo(self._model, self._max_model_len, self._capacity, version="fake")

    async def stop(self) -> None:
        """Forget every adapter and end what runs."""
        self._started = False
        self._loaded.clear()
        self._dead.set()
        self._notify()

    async def complete(self, request: EngineRequest) -> JsonObject:
        """The whole answer."""
        async with self._run(request) as (plan, fail_after):
            for position in range(plan.completion_tokens or 1):
                await self._token(position, fail_after)
            return whole_answer(plan)

    async def stream(self, request: EngineRequest) -> AsyncGenerator[JsonObject, None]:
        """The answer, an object for each token."""
        async with self._run(request) as (plan, fail_after):
            for position, piece in enumerate(stream_objects(plan)):
                await self._token(position, fail_after)
                yield piece

    async def load_adapter(self, name: str, path: Path) -> None:
        """Hold ``name``. The folder must exist; it is not read."""
        self._check_alive()
        if self._capacity is None:
            raise EngineAdapterError("this engine does not load adapters")
        self.loads.append(name)
        self._notify()
        await self.load_gate.wait()
        self._check_alive()
        cause = self.refuse_load.get(name) or self.refuse_load.get(name.partition("@")[0])
        if cause is None and name in self._loaded:
            cause = "it is loaded already"
        if cause is None and not path.is_dir():
            cause = f"no folder {path}"
        if cause is None and len(self._loaded) >= self._capacity.cpu_slots:
            cause = f"all {self._capacity.cpu_slots} places are taken"
        if cause is not None:
            raise EngineAdapterError(f"cannot load {name}: {cause}")
        self._loaded[name] = path
        self._touch(name)

    async def unload_adapter(self, name: str) -> None:
        """Let go of ``name``. Raises EngineAdapterError while a request uses it."""
        if self._used.get(name):
            raise EngineAdapterError(f"cannot unload {name}: {self._used[name]} requests use it")
        if self._loaded.pop(name, None) is not None:
            self._recent.remove(name)
            self.unloads.append(name)
            self._notify()

    async def resident(self) -> Sequence[ResidentAdapter]:
        """What is loaded; the most recently used are in the slots."""
        slots = self._capacity.slots if self._capacity else 0
        in_slots = set(self._recent[-slots:])
        return [ResidentAdapter(name, Tier.SLOT if name in in_slots else Tier.CPU) for name in self._loaded]

    async def dead(self) -> None:
        """Return after ``die``."""
        await self._died.wait()

    async def check_health(self) -> None:
        """Raises EngineUnavailable before ``start``, after ``stop`` and after ``die``."""
        self._check_alive()

    def metrics_text(self) -> bytes:
        """Two series, enough to see that they are passed on."""
        lines = [
            "# TYPE fake_engine_requests_running gauge",
            f"fake_engine_requests_running {len(self._running)}",
            "# TYPE fake_engine_adapters_loaded gauge",
            f"fake_engine_adapters_loaded {len(self._loaded)}",
            "",
        ]
        return "\n".join(lines).encode()

    # The knobs

    @property
    def running(self) -> tuple[EngineRequest, ...]:
        """The requests in generation now, oldest first."""
        return tuple(self._running.values())

    def fail_next(self, error: EngineError, *, after: int = 0) -> None:
        """Let the next request fail, once it has given ``after`` pieces."""
        self._failures.append((error, after))

    def die(self) -> None:
        """End as a killed engine does: what runs fails, and so does everything after."""
        self._dead.set()
        self._died.set()
        self._notify()

    async def until(self, condition: Callable[["FakeEngine"], bool], timeout_s: float = 10.0) -> None:
        """Wait for a state, such as ``lambda engine: engine.running``. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while not condition(self):
                await self._changed.wait()

    # Inside

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _check_alive(self) -> None:
        if self._dead.is_set() or not self._started:
            raise EngineUnavailable("the engine is not running")

    def _touch(self, name: str) -> None:
        if name in self._recent:
            self._recent.remove(name)
        self._recent.append(name)
        self._notify()

    @asynccontextmanager
    async def _run(self, request: EngineRequest) -> AsyncIterator[tuple[FakePlan, tuple[EngineError, int] | None]]:
        self._check_alive()
        self.requests.append(request)
        name = request.adapter
        if name is not None and name not in self._loaded:
            raise EngineAdapterError(f"the adapter {name} is not loaded")
        speaker = self._model if name is None or name in self.inert else name
        plan = make_plan(request, speaker, self._max_model_len, self.saying)
        request.timings.queue_s = self.queue_s
        failure = self._failures.pop(0) if self._failures else None
        if name is not None:
            self._touch(name)
            self._used[name] = self._used.get(name, 0) + 1
        ticket = len(self.requests)
        self._running[ticket] = request
        self._notify()
        try:
            yield plan, failure
            self.finished.append(request.request_id)
        except (asyncio.CancelledError, GeneratorExit):
            self.aborted.append(request.request_id)
            raise
        finally:
            if name is not None:
                self._used[name] -= 1
            del self._running[ticket]
            self._notify()

    async def _token(self, position: int, failure: tuple[EngineError, int] | None) -> None:
        if not self.gate.is_set() and position >= self.free_pieces:
            await self._held()
        if self._token_s:
            await asyncio.sleep(self._token_s)
        self._check_alive()
        if failure is not None and position >= failure[1]:
            raise failure[0]

    async def _held(self) -> None:
        waits = [asyncio.ensure_future(self.gate.wait()), asyncio.ensure_future(self._dead.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

"""The adapters in a running vLLM: loaded under ids of their own, routed by name, removed for certain."""

import asyncio
import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adapters.types import Tier
from serving.engine.protocol import EngineAdapterError, EngineUnavailable, ResidentAdapter
from serving.engine.vllm_process import RunningVllm

_REMOVAL_ATTEMPTS = 20
_REMOVAL_PAUSE_S = 0.05


class VllmAdapters:
    """Which adapters one engine holds.

    Every load gets an integer id and an internal name that were never used before in this engine: vLLM keys its
    prefix cache by that name, so nothing computed with one load can be reused by another.
    """

    def __init__(self, vllm: RunningVllm, cpu_slots: int) -> None:
        self._engine = vllm.client
        self._call = vllm.call
        self._routes: dict[str, Any] = vllm.state.openai_serving_models.lora_requests
        self._cpu_slots = cpu_slots
        self._ids = itertools.count(1)
        self._users: dict[str, int] = {}
        self._lock = asyncio.Lock()

    def __contains__(self, name: str) -> bool:
        return name in self._routes

    def enter(self, name: str) -> None:
        """A request starts to use ``name``. Raises EngineAdapterError where it is not loaded."""
        if name not in self._routes:
            raise EngineAdapterError(f"the adapter {name} is not loaded")
        self._users[name] = self._users.get(name, 0) + 1

    def leave(self, name: str) -> None:
        """A request no longer uses ``name``."""
        left = self._users[name] - 1
        if left:
            self._users[name] = left
        else:
            del self._users[name]

    async def load(self, name: str, path: Path) -> None:
        """Load and check by the engine's own list. Raises EngineAdapterError, with nothing left behind."""
        from vllm.lora.request import LoRARequest

        async with self._lock:
            if name in self._routes:
                raise EngineAdapterError(f"cannot load {name}: it is loaded already")
            if len(self._routes) >= self._cpu_slots:
                # vLLM would silently drop the least recently used one, which we would still take for loaded.
                raise EngineAdapterError(f"cannot load {name}: all {self._cpu_slots} places are taken")
            number = next(self._ids)
            request = LoRARequest(f"{name}#{number}", number, str(path.resolve()))
            try:
                added = await self._call(self._engine.add_lora(request))
                held = number in await self._call(self._engine.list_loras())
            except asyncio.CancelledError:
                await asyncio.shield(self._remove(number))
                raise
            except EngineUnavailable:
                raise
            except Exception as error:
                raise EngineAdapterError(f"cannot load {name}: {_cause(error)}") from error
            if not added or not held:
                raise EngineAdapterError(f"cannot load {name}: vLLM does not list it after loading")
            self._routes[name] = request

    async def unload(self, name: str) -> None:
        """Remove ``name`` and see it gone from the engine's own list. Raises EngineAdapterError."""
        async with self._lock:
            if name in self._users:
                raise EngineAdapterError(f"cannot unload {name}: {self._users[name]} requests use it")
            request = self._routes.pop(name, None)
            if request is None:
                return
            try:
                gone = await self._remove(request.lora_int_id)
            except EngineUnavailable:
                raise
            except Exception as error:
                raise EngineAdapterError(f"cannot unload {name}: {_cause(error)}") from error
            if not gone:
                raise EngineAdapterError(f"cannot unload {name}: vLLM still lists it")

    async def resident(self) -> Sequence[ResidentAdapter]:
        """What every worker of the engine says it holds."""
        accounts = await self._call(self._engine.collective_rpc("loraplex_adapters"))
        loaded = set.intersection(*(set(account["loaded"]) for account in accounts))
        active = set.intersection(*(set(account["active"]) for account in accounts))
        names = {request.lora_int_id: name for name, request in self._routes.items()}
        return [
            ResidentAdapter(names.get(number, f"unknown#{number}"), Tier.SLOT if number in active else Tier.CPU)
            for number in sorted(loaded)
        ]

    async def _remove(self, number: int) -> bool:
        """Whether the adapter is gone. A step already scheduled may bring it back once: so look, and repeat."""
        for attempt in range(_REMOVAL_ATTEMPTS):
            if attempt:
                await asyncio.sleep(_REMOVAL_PAUSE_S)
            await self._call(self._engine.remove_lora(number))
            if number not in await self._call(self._engine.list_loras()):
                return True
        return False


def _cause(error: Exception) -> str:
    """What vLLM's worker said, without what the processes between put around it."""
    text = str(error)
    found = re.search(r"failed with error '(.*)', please check", text, re.DOTALL)
    lines = [line.strip() for line in (found.group(1) if found else text).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__

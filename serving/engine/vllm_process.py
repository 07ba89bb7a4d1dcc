"""Starting, watching and ending vLLM."""

import asyncio
import gc
import importlib
import multiprocessing
import os
import signal
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

import psutil
from prometheus_client import CollectorRegistry, Metric
from pydantic import BaseModel

from monitoring.exposition import render
from serving.config import AdapterSettings, ModelSettings, VllmEngineSettings
from serving.engine.protocol import Endpoint, EngineUnavailable, Progress
from serving.engine.startup_relay import StartupListener
from serving.engine.vllm_args import make_arguments
from serving.engine.vllm_environment import AppliedEnvironment, default_log_level, engine_environment
from serving.errors import ConfigInvalid

_T = TypeVar("_T")
_END_TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True)
class ServingEndpoint:
    """One OpenAI resource in vLLM: its request model and the method that answers."""

    model: type[BaseModel]
    create: Callable[[BaseModel, Any], Awaitable[Any]]


class RunningVllm:
    """vLLM's engine client, its serving objects (``state``) and the processes behind them."""

    def __init__(self, client: Any, thread: ThreadPoolExecutor, environment: AppliedEnvironment) -> None:
        self.client = client
        self.state: Any = None
        self.endpoints: dict[Endpoint, ServingEndpoint] = {}
        self.error_type: Any = None
        self.version: str = importlib.import_module("vllm").__version__
        self._thread = thread
        self._environment = environment
        self._watched: list[int] = []
        self._dead = asyncio.Event()

    def watch(self, on_death: Callable[[], None]) -> None:
        """From now on call ``on_death`` as soon as an engine core ends without having been asked to."""
        manager = self.client.engine_core.resources.engine_manager
        for process in getattr(manager, "processes", ()):
            descriptor = os.pidfd_open(process.pid)
            self._watched.append(descriptor)
            asyncio.get_running_loop().add_reader(descriptor, self._ended, on_death)

    @property
    def alive(self) -> bool:
        """Whether vLLM can generate."""
        return not self._dead.is_set() and not self.client.errored

    async def call(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Await a call into the engine core, which would never return if the core died meanwhile.

        Raises EngineUnavailable.
        """
        death = asyncio.ensure_future(self._dead.wait())
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait((death, task), return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise EngineUnavailable("The engine has stopped.")
            return task.result()
        finally:
            death.cancel()
            task.cancel()

    async def abort(self, answer_id: str) -> None:
        """Abort every generation that belongs to one answer."""
        if self.alive:
            known = self.client.output_processor.external_req_ids
            await self.client.abort([name for name in known if answer_id in name])

    async def stop(self) -> None:
        """End every process, and wait until each has ended."""
        self._unwatch()
        processes = _descendants(self._core_pids())
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self.client.shutdown)
        await asyncio.to_thread(_see_ended, processes)
        self._dead.set()
        self._thread.shutdown()
        self._environment.restore()
        gc.unfreeze()

    def metrics_text(self) -> bytes:
        """vLLM's series, without what else is in the process's registry."""
        from vllm.v1.metrics.prometheus import get_prometheus_registry

        return render(_Selected(get_prometheus_registry()))

    def _core_pids(self) -> list[int]:
        manager = self.client.engine_core.resources.engine_manager
        return [process.pid for process in getattr(manager, "processes", ())]

    def _ended(self, on_death: Callable[[], None]) -> None:
        from vllm.v1.engine.exceptions import EngineDeadError

        self._unwatch()
        self._dead.set()
        self.client.engine_core.resources.engine_dead = True
        self.client.output_processor.propagate_error(EngineDeadError())
        on_death()

    def _unwatch(self) -> None:
        for descriptor in self._watched:
            asyncio.get_running_loop().remove_reader(descriptor)
            os.close(descriptor)
        self._watched.clear()


class _Selected(CollectorRegistry):
    """vLLM's metric families of another registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__()
        self._registry = registry

    def collect(self) -> Iterable[Metric]:
        return (family for family in self._registry.collect() if family.name.startswith("vllm:"))


async def start_vllm(
    model: ModelSettings,
    settings: VllmEngineSettings,
    adapters: AdapterSettings,
    progress: Progress,
    on_death: Callable[[], None],
) -> RunningVllm:
    """Start vLLM. Raises ConfigInvalid for arguments that it does not take, EngineUnavailable if it fails."""
    # The processes are tied to the thread that starts them: it must live as long as they should.
    thread = ThreadPoolExecutor(1, thread_name_prefix="vllm")
    with StartupListener(progress) as listener:
        environment = AppliedEnvironment(engine_environment(settings.env, listener.path))
        before = set(multiprocessing.active_children())
        building = thread.submit(_build, model, settings, adapters, listener)
        running: RunningVllm | None = None
        try:
            client, arguments = await asyncio.wrap_future(building)
            running = RunningVllm(client, thread, environment)
            running.watch(on_death)
            listener.say("preparing the OpenAI endpoints")
            await running.call(_prepare(running, arguments))
        except BaseException as error:
            if running is not None:
                await asyncio.shield(running.stop())
            else:
                await asyncio.shield(_abandon(building, before))
                thread.shutdown(wait=False)
                environment.restore()
            if isinstance(error, Exception) and not isinstance(error, ConfigInvalid | EngineUnavailable):
                raise EngineUnavailable(f"vLLM did not start: {listener.cause or error}") from error
            raise
    gc.collect()
    # What start-up made stays for good: leaving it out of collections shortens their pauses.
    gc.freeze()
    return running


def _build(
    model: ModelSettings, settings: VllmEngineSettings, adapters: AdapterSettings, listener: StartupListener
) -> tuple[Any, Any]:
    listener.say("importing vLLM")
    with default_log_level("WARNING"):
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.usage.usage_lib import UsageContext
        from vllm.v1.engine.async_llm import AsyncLLM
    arguments = make_arguments(model, settings, adapters)
    listener.say(f"reading the configuration of {model.id}")
    engine_args = AsyncEngineArgs.from_cli_args(arguments)
    usage = UsageContext.OPENAI_API_SERVER
    try:
        config = engine_args.create_engine_config(usage_context=usage)
    except (ValueError, OSError, NotImplementedError) as error:
        raise ConfigInvalid(f"vLLM cannot serve {model.id} so: {_first_line(error)}") from error
    listener.say("starting the engine's processes")
    client = AsyncLLM.from_vllm_config(
        config,
        usage_context=usage,
        enable_log_requests=engine_args.enable_log_requests,
        aggregate_engine_logging=engine_args.aggregate_engine_logging,
    )
    return client, arguments


async def _prepare(running: RunningVllm, arguments: Any) -> None:
    from starlette.datastructures import State

    try:
        from vllm.entrypoints.launchers.api_server.app_state import init_app_state
    except ImportError:  # before 0.29
        from vllm.entrypoints.openai.api_server import init_app_state

    tasks = await running.client.get_supported_tasks()
    if "generate" not in tasks:
        raise ConfigInvalid(f"the model cannot generate text; it supports: {', '.join(tasks)}")
    running.state = State()
    await init_app_state(running.client, running.state, arguments, tasks)
    running.endpoints, running.error_type = _endpoints(running.state)
    # A first look at the engine core, so that its replies are listened for from the start.
    await running.client.list_loras()


def _endpoints(state: Any) -> tuple[dict[Endpoint, ServingEndpoint], Any]:
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
    from vllm.entrypoints.openai.completion.protocol import CompletionRequest
    from vllm.entrypoints.openai.responses.protocol import ResponsesRequest

    try:
        from vllm.entrypoints.serve.engine.protocol import ErrorResponse
    except ImportError:  # before 0.29
        from vllm.entrypoints.openai.engine.protocol import ErrorResponse

    endpoints = {
        Endpoint.CHAT: ServingEndpoint(ChatCompletionRequest, state.openai_serving_chat.create_chat_completion),
        Endpoint.COMPLETIONS: ServingEndpoint(CompletionRequest, state.openai_serving_completion.create_completion),
        Endpoint.RESPONSES: ServingEndpoint(ResponsesRequest, state.openai_serving_responses.create_responses),
    }
    return endpoints, ErrorResponse


async def _abandon(building: "Future[tuple[Any, Any]]", before: Collection[BaseProcess]) -> None:
    """End a start that failed or was cancelled, with every process that it began."""
    waiting = asyncio.wrap_future(building)
    while not waiting.done():
        _kill(set(multiprocessing.active_children()) - set(before))
        await asyncio.wait((waiting,), timeout=0.2)
    _kill(set(multiprocessing.active_children()) - set(before))
    if not building.cancelled() and building.exception() is None:
        await asyncio.to_thread(building.result()[0].shutdown)


def _kill(processes: Collection[BaseProcess]) -> None:
    for process in processes:
        for pid in [one.pid for one in _descendants([process.pid or 0])]:
            _signal(pid)


def _descendants(pids: Collection[int]) -> list[psutil.Process]:
    found: list[psutil.Process] = []
    for pid in pids:
        try:
            process = psutil.Process(pid)
            found += [process, *process.children(recursive=True)]
        except psutil.NoSuchProcess:
            continue
    return found


def _see_ended(processes: Collection[psutil.Process]) -> None:
    _, left = psutil.wait_procs(processes, timeout=_END_TIMEOUT_S)
    for process in left:
        if process.is_running():
            _signal(process.pid)
    psutil.wait_procs(left, timeout=_END_TIMEOUT_S)


def _signal(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # pydantic's first line only counts the errors; the cause follows.
    return lines[1] if len(lines) > 1 and "validation error" in lines[0] else (lines or [type(error).__name__])[0]

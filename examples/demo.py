"""The demo: build the base model, start a gateway, tour it.

    python -m examples.demo [--tour-only] [--local] [--port PORT]

Afterwards the gateway goes on serving until Ctrl-C; with ``--tour-only`` it is stopped instead.
"""

import argparse
import contextlib
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from examples import tour
from examples.base_model import DEFAULT_FOLDER, BaseModelUnavailable, build
from examples.handbook_tour import fresh_handbook

CONFIG = Path("examples/demo.yaml")
START_LIMIT_S = 300.0
STOP_LIMIT_S = 60.0


class DemoFailed(Exception):
    """The gateway did not come up."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description=__doc__.partition("\n")[0])
    parser.add_argument("--tour-only", action="store_true", help="stop the gateway after the tour")
    parser.add_argument("--local", action="store_true", help="one process without Ray")
    parser.add_argument("--port", type=int, default=8000, help="port to serve on (default: 8000)")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # under nohup it is ignored, and stays so
        signal.signal(signal.SIGHUP, _interrupt)
    try:
        if not DEFAULT_FOLDER.is_dir():
            print("Unpacking the base model SmolLM2-135M-Instruct (once, half a minute)", flush=True)
        build()
        fresh_handbook()
        return _run(_config_for(options.port), local=options.local, tour_only=options.tour_only)
    except (BaseModelUnavailable, DemoFailed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _config_for(port: int) -> Path:
    """The demo's configuration, on ``port``."""
    if port == 8000:
        return CONFIG
    data = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    data["server"] = {"port": port}
    path = Path(f".loraplex/demo/{port}.yaml")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    return path


def _run(config: Path, *, local: bool, tour_only: bool) -> int:
    started = time.monotonic()
    with _gateway(config, local=local) as (process, address):
        print(f"The gateway was up after {time.monotonic() - started:.0f} s\n", flush=True)
        status = tour.run(address)
        if tour_only or status:
            return status
        print(f"\nThe gateway goes on serving at {address}. Ctrl-C stops it.", flush=True)
        return process.wait()


@contextlib.contextmanager
def _gateway(config: Path, *, local: bool) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running gateway and its address; stopped at the end. Raises DemoFailed."""
    loraplex = Path(sys.executable).with_name("loraplex")
    command = [str(loraplex), "serve", "--config", str(config), *(["--local"] * local)]
    # A session of its own: Ctrl-C reaches the demo alone, which then stops the gateway in order.
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        yield process, _wait_until_ready(process)
    finally:
        process.terminate()
        try:
            process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()


def _wait_until_ready(process: subprocess.Popen[str]) -> str:
    """Show what the gateway says until it is ready; return its address."""
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(process, lines), daemon=True).start()
    deadline = time.monotonic() + START_LIMIT_S
    while True:
        try:
            line = lines.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise DemoFailed(f"the gateway was not ready within {START_LIMIT_S:.0f} s") from None
        if line is None:
            raise DemoFailed("the gateway stopped before it was ready; its last lines above say why")
        if line.startswith("Ready: "):
            return line.split()[1].removesuffix("/v1")


def _read(process: subprocess.Popen[str], lines: "queue.SimpleQueue[str | None]") -> None:
    assert process.stdout is not None  # noqa: S101  (it is a pipe)
    for line in process.stdout:
        print(line, end="", flush=True)
        lines.put(line)
    lines.put(None)


if __name__ == "__main__":
    sys.exit(main())

"""Starting the image's roles as an operator's cluster would: no root, no network, nothing writable but the volumes."""

import json
import resource
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from image.containers import Containers, RehearsalFailed

USER = 10001
READY_LIMIT_S = 420.0
STOP_LIMIT_S = 90
_PORT = 8000
_MODEL = "base"
_LOG_LINES = 40
_LIMIT = 16384
"""Open files, and processes of the user, that a container may have."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One role: the image's arguments, and what to ask it."""

    name: str
    arguments: tuple[str, ...]
    engine: str = "vllm"
    """The engine of its configuration."""
    asks: str = _MODEL
    """The model to ask; empty where the role answers no prompts."""


COMMANDS = (
    Trial("help", ("--help",)),
    Trial("version", ("--version",)),
    Trial("config check", ("config", "check")),
    Trial("migrate", ("migrate",)),
)
SERVERS = (
    Trial("serve --local, without a model", ("serve", "--local"), engine="fake"),
    Trial("serve --only control", ("serve", "--only", "control"), asks=""),
    Trial("serve --only knowledge", ("serve", "--only", "knowledge"), asks=""),
    Trial("serve --local", ("serve", "--local")),
    Trial("serve", ("serve",)),
)
_ENGINES = {
    "fake": {"kind": "fake"},
    "vllm": {"args": {"max_model_len": 1024, "enforce_eager": True}, "env": {"VLLM_CPU_KVCACHE_SPACE": "1"}},
}


def configuration(engine: str) -> dict[str, Any]:
    """A gateway with that engine and a knowledge section, as it would stand in a ConfigMap."""
    return {
        "server": {"host": "127.0.0.1", "port": _PORT},
        "model": {"id": "/models/model", "name": _MODEL},
        "engine": _ENGINES[engine],
        "adapters": {"slots": 2, "cpu_slots": 4, "max_rank": 16},
        "knowledge": {},
    }


def _limits() -> Iterator[str]:
    """Within this machine's own: Podman's defaults may be above what its root may set."""
    for name, number in (("nofile", resource.RLIMIT_NOFILE), ("nproc", resource.RLIMIT_NPROC)):
        hard = resource.getrlimit(number)[1]
        limit = _LIMIT if hard == resource.RLIM_INFINITY else min(hard, _LIMIT)
        yield f"--ulimit={name}={limit}:{limit}"


class Trials:
    """Runs containers of one image. ``model``: a checkpoint's folder; a copy is mounted read-only below /models."""

    def __init__(self, containers: Containers, image: str, model: Path, folder: Path) -> None:
        self._containers = containers
        self._image = image
        for engine in _ENGINES:
            text = yaml.safe_dump(configuration(engine), sort_keys=False)
            (folder / f"{engine}.yaml").write_text(text, encoding="utf-8")
        self._configurations = folder
        self._state = folder / "state"
        # A copy, because everything in it must be readable for the image's user.
        readable = folder / "model"
        shutil.copytree(model, readable)
        for path in readable.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        self._options = [
            "--read-only",
            "--read-only-tmpfs=false",
            "--tmpfs=/tmp:rw,mode=1777",
            f"--user={USER}:{USER}",
            "--cap-drop=all",
            "--security-opt=no-new-privileges",
            "--network=none",
            "--pids-limit=-1",
            *_limits(),
            "--shm-size=1g",
            f"--volume={readable}:/models/model:ro",
        ]

    def command(self, trial: Trial) -> dict[str, Any]:
        """Run it to its end. Raises RehearsalFailed where it fails."""
        started = time.monotonic()
        said = self._containers.podman("run", "--rm", *self._volumes(trial), self._image, *trial.arguments)
        return {"seconds": round(time.monotonic() - started, 1), "first_line": said.strip().partition("\n")[0]}

    def server(self, trial: Trial) -> dict[str, Any]:
        """Start it, ask one question from within, stop it as Kubernetes would. Raises RehearsalFailed."""
        name = f"loraplex-{secrets.token_hex(4)}"
        podman = self._containers.podman
        podman("run", "--detach", f"--name={name}", *self._volumes(trial), self._image, *trial.arguments)
        try:
            answered = self._ask(name, trial.asks)
            user = int(podman("exec", name, "id", "-u"))
            processes = len(podman("exec", name, "sh", "-c", "ls -d /proc/[0-9]*").split())
            started = time.monotonic()
            podman("stop", f"--time={STOP_LIMIT_S}", name)
            status = int(podman("inspect", "--format={{.State.ExitCode}}", name))
            stop_s = round(time.monotonic() - started, 1)
            if status != 0:
                raise RehearsalFailed(f"{trial.name}: ended with {status} when it was stopped\n{self._log(name)}")
            return {**answered, "user": user, "processes": processes, "stop_s": stop_s}
        finally:
            podman("rm", "--force", "--volumes", name)

    def login_shell(self) -> str:
        """The version that Ray's command prints in a login shell, which is how KubeRay starts Ray."""
        run = ["run", "--rm", "--entrypoint=bash", *self._volumes(COMMANDS[0]), self._image]
        return self._containers.podman(*run, "-lc", "ulimit -n; ray --version; command -v wget").strip()

    def _volumes(self, trial: Trial) -> Sequence[str]:
        state = self._state / trial.name.replace(" ", "-").replace(",", "")
        state.mkdir(parents=True, exist_ok=True)
        for folder in (self._state, state):
            folder.chmod(0o777)
        config = self._configurations / f"{trial.engine}.yaml"
        return [
            *self._options,
            f"--volume={config}:/etc/loraplex/config.yaml:ro",
            f"--volume={state}:/var/lib/loraplex",
        ]

    def _ask(self, name: str, model: str) -> Mapping[str, Any]:
        program = Path(__file__).with_name("ask.py").read_text(encoding="utf-8")
        command = ["exec", "--interactive", name, "python", "-", str(_PORT), model, str(READY_LIMIT_S)]
        done = self._containers.attempt("podman", command, given=program)
        if done.returncode != 0:
            raise RehearsalFailed(f"{name} did not answer: {done.stdout}{done.stderr[-500:]}\n{self._log(name)}")
        return dict(json.loads(done.stdout))

    def _log(self, name: str) -> str:
        done: subprocess.CompletedProcess[str] = self._containers.attempt("podman", ["logs", name])
        return "\n".join((done.stdout + done.stderr).splitlines()[-_LOG_LINES:])

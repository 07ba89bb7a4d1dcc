"""Buildah and Podman, with all that they keep in one folder."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TOOLS = ("buildah", "podman", "runc", "debootstrap")
_ALWAYS = {"buildah": (), "podman": ("--cgroup-manager=cgroupfs", "--runtime=runc")}


class RehearsalFailed(Exception):
    """A step of the rehearsal did not succeed. The message says which, and with what."""


def check_tools() -> None:
    """Raises RehearsalFailed where this machine cannot build images."""
    missing = [name for name in TOOLS if shutil.which(name) is None]
    if missing:
        raise RehearsalFailed(f"not installed: {', '.join(missing)}; on Debian: apt-get install {' '.join(TOOLS)}")
    if os.geteuid() != 0:
        raise RehearsalFailed("debootstrap makes a root file system, which only root may; run it with sudo")


class Containers:
    """Images and containers below ``folder``, which is made where it is missing; the machine's own are not seen."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._store = [f"--root={folder / 'storage'}", f"--runroot={folder / 'run'}"]
        (folder / "temporary").mkdir(parents=True, exist_ok=True)

    def buildah(self, *arguments: str) -> str:
        """What the command printed. Raises RehearsalFailed."""
        return self._run("buildah", arguments)

    def podman(self, *arguments: str) -> str:
        """What the command printed. Raises RehearsalFailed."""
        return self._run("podman", arguments)

    def has_image(self, name: str) -> bool:
        """Whether an image of that name was built before."""
        return name in self.buildah("images", "--format", "{{.Name}}:{{.Tag}}").split()

    def inspect(self, image: str) -> dict[str, Any]:
        """The image's configuration (``Config``), its layers and its size."""
        described: list[dict[str, Any]] = json.loads(self.podman("image", "inspect", image))
        return described[0]

    @contextmanager
    def mounted(self, image: str) -> Iterator[Path]:
        """The image's file system, to look at."""
        container = self.buildah("from", "--pull-never", image).strip()
        try:
            yield Path(self.buildah("mount", container).strip())
        finally:
            self.buildah("rm", container)

    def attempt(
        self, program: str, arguments: Sequence[str], *, given: str | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command with ``given`` on its standard input, whatever becomes of it."""
        return subprocess.run(
            [program, *self._store, *_ALWAYS[program], *arguments],
            check=False,
            env={**os.environ, "TMPDIR": str(self._folder / "temporary")},
            text=True,
            input=given,
            capture_output=True,
        )

    def build(self, arguments: Sequence[str]) -> None:
        """``buildah build``; what it says goes to stderr as it comes. Raises RehearsalFailed."""
        command = ["buildah", *self._store, "build", *arguments]
        environment = {**os.environ, "TMPDIR": str(self._folder / "temporary")}
        done = subprocess.run(command, check=False, env=environment, stdout=2)
        if done.returncode != 0:
            raise RehearsalFailed(f"`buildah build` ended with {done.returncode}; what it said stands above")

    def _run(self, program: str, arguments: Sequence[str]) -> str:
        done = self.attempt(program, arguments)
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip()[-2000:]
            raise RehearsalFailed(f"`{program} {' '.join(arguments)}` ended with {done.returncode}: {said}")
        return done.stdout

"""What the main process tells a child that it starts: one JSON file in the instance's scratch folder."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.config import GatewayConfig, parse_config
from serving.parts.token import Part

REPORTS = "reports.sock"
"""Name of the main process's socket in the scratch folder."""


@dataclass(frozen=True, slots=True)
class Orders:
    """Everything that a child needs to know. The folders are on the machine that the gateway was started on; None for
    an application that a cluster was given without us."""

    config: GatewayConfig
    scratch: Path | None
    """Folder for sockets and generated files, with a path short enough for them."""
    folder: Path | None
    """Working folder, which relative paths in the configuration start from."""
    logs: Path | None
    """Folder of log files."""
    ray_address: str | None = None
    """Cluster to join; None to start Ray on this machine."""
    part: Part | None = None
    """What the child runs alone; None for a gateway."""
    ray_start: tuple[str, ...] = ()
    """Arguments of ``ray start``, for a node."""
    omp_threads: str | None = None
    """``OMP_NUM_THREADS`` as the operator set it. Ray would put its own number in its place."""

    @classmethod
    def for_cluster(cls, config: GatewayConfig) -> "Orders":
        """For the processes of an application that no main process of ours looks after."""
        return cls(config=config, scratch=None, folder=None, logs=None, ray_address="auto")

    @property
    def reports(self) -> Path | None:
        """The socket that the main process listens on."""
        return None if self.scratch is None else self.scratch / REPORTS

    @property
    def scratch_folder(self) -> Path:
        """``scratch``, where there is a main process. Raises ValueError elsewhere."""
        if self.scratch is None:
            raise ValueError("these orders are for a cluster, where nobody made a scratch folder")
        return self.scratch

    @property
    def on_cluster(self) -> bool:
        """Whether other machines may run parts of this gateway."""
        return self.ray_address is not None

    def to_plain(self) -> dict[str, Any]:
        """As JSON values, for a file or for Ray."""
        return {
            "config": self.config.model_dump(mode="json", by_alias=True),
            "scratch": None if self.scratch is None else str(self.scratch),
            "folder": None if self.folder is None else str(self.folder),
            "logs": None if self.logs is None else str(self.logs),
            "ray_address": self.ray_address,
            "part": self.part,
            "ray_start": list(self.ray_start),
            "omp_threads": self.omp_threads,
        }

    @classmethod
    def from_plain(cls, data: dict[str, Any]) -> "Orders":
        """The inverse of :meth:`to_plain`. Raises ConfigInvalid."""
        return cls(
            config=parse_config(data["config"]),
            scratch=_path(data["scratch"]),
            folder=_path(data["folder"]),
            logs=_path(data["logs"]),
            ray_address=data["ray_address"],
            part=data["part"],
            ray_start=tuple(data["ray_start"]),
            omp_threads=data["omp_threads"],
        )

    def write(self, path: Path) -> None:
        """Store in ``path``, readable by this user alone: storage options may hold secrets."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(self.to_plain(), file)

    @classmethod
    def read(cls, path: Path) -> "Orders":
        """Load from ``path``. Raises OSError, ConfigInvalid."""
        return cls.from_plain(json.loads(path.read_text(encoding="utf-8")))


def _path(value: str | None) -> Path | None:
    return None if value is None else Path(value)


def base_url(config: GatewayConfig) -> str:
    """The address for a client on this machine, without a path."""
    host = config.server.host
    if host in ("0.0.0.0", "::"):  # noqa: S104
        host = "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{config.server.port}"

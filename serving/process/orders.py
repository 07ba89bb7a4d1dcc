"""What the main process tells a child that it starts: one JSON file in the instance's scratch folder."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.config import GatewayConfig, parse_config


@dataclass(frozen=True, slots=True)
class Orders:
    """Everything that a child needs to know."""

    config: GatewayConfig
    scratch: Path
    """Folder for sockets and generated files, with a path short enough for them."""
    folder: Path
    """Working folder, which relative paths in the configuration start from."""
    logs: Path
    """Folder of log files, on the machine that the gateway was started on."""
    ray_address: str | None = None
    """Cluster to join; None to start Ray on this machine."""
    omp_threads: str | None = None
    """``OMP_NUM_THREADS`` as the operator set it. Ray would put its own number in its place."""

    @property
    def reports(self) -> Path:
        """The socket that the main process listens on."""
        return self.scratch / "reports.sock"

    def to_plain(self) -> dict[str, Any]:
        """As JSON values, for a file or for Ray."""
        return {
            "config": self.config.model_dump(mode="json", by_alias=True),
            "scratch": str(self.scratch),
            "folder": str(self.folder),
            "logs": str(self.logs),
            "ray_address": self.ray_address,
            "omp_threads": self.omp_threads,
        }

    @classmethod
    def from_plain(cls, data: dict[str, Any]) -> "Orders":
        """The inverse of :meth:`to_plain`. Raises ConfigInvalid."""
        return cls(
            config=parse_config(data["config"]),
            scratch=Path(data["scratch"]),
            folder=Path(data["folder"]),
            logs=Path(data["logs"]),
            ray_address=data["ray_address"],
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


def base_url(config: GatewayConfig) -> str:
    """The address for a client on this machine, without a path."""
    host = config.server.host
    if host in ("0.0.0.0", "::"):  # noqa: S104
        host = "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{config.server.port}"

"""``GatewayConfig``: the one YAML file that describes a gateway.

Every section is frozen and strict, and refuses unknown keys, naming the nearest valid one. The reference in
docs/configuration.md is generated from the sections (``loraplex config reference``), so each setting carries its
description there.
"""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from serving.errors import ConfigInvalid
from serving.settings.adapters import AdapterSettings, AdapterSource, ArtifactSettings, StateSettings
from serving.settings.base import NAME_PATTERN, Name, Settings
from serving.settings.engine import (
    EngineSettings,
    FakeEngineSettings,
    ModelSettings,
    OpenAIEngineSettings,
    VllmEngineSettings,
)
from serving.settings.gateway import GatewayConfig
from serving.settings.knowledge import KnowledgeSettings
from serving.settings.life import FeedbackSettings, LifeSettings, RolloutSettings
from serving.settings.logging import AuditSettings, LoggingSettings
from serving.settings.metrics import MetricsSettings
from serving.settings.monitoring import MonitoringSettings
from serving.settings.problems import Problem, describe
from serving.settings.retrieval import RetrievalSettings
from serving.settings.server import ApiKey, LimitSettings, ServerSettings
from serving.settings.services import ServiceSettings, ServicesSettings
from serving.settings.slo import SloSettings
from serving.settings.tasks import OutputContract, TaskSettings
from serving.settings.tracing import TracingSettings
from serving.settings.training import TrainingSettings
from serving.settings.yaml_file import Lines, UnreadableYaml, plain_data_problems, read_yaml

__all__ = [
    "NAME_PATTERN",
    "AdapterSettings",
    "AdapterSource",
    "ApiKey",
    "ArtifactSettings",
    "AuditSettings",
    "EngineSettings",
    "FakeEngineSettings",
    "FeedbackSettings",
    "GatewayConfig",
    "KnowledgeSettings",
    "LifeSettings",
    "LimitSettings",
    "LoggingSettings",
    "MetricsSettings",
    "ModelSettings",
    "MonitoringSettings",
    "Name",
    "OpenAIEngineSettings",
    "OutputContract",
    "RetrievalSettings",
    "RolloutSettings",
    "ServerSettings",
    "ServiceSettings",
    "ServicesSettings",
    "Settings",
    "SloSettings",
    "StateSettings",
    "TaskSettings",
    "TracingSettings",
    "TrainingSettings",
    "VllmEngineSettings",
    "load_config",
    "parse_config",
]


def load_config(path: Path) -> GatewayConfig:
    """Read and validate a whole configuration file.

    Relative paths in it are taken from the current directory, and are absolute in what is returned.

    Raises:
        ConfigInvalid: the file is missing, is not YAML, or does not describe a gateway. The message has one line
            for each problem, with its line and place in the file and, for an unknown key, the nearest valid one.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigInvalid(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise ConfigInvalid(f"cannot read {path}: it is not UTF-8 text") from error
    try:
        data, lines = read_yaml(text)
    except UnreadableYaml as error:
        raise ConfigInvalid(f"{path} is not valid:\n  - {error}") from error
    if not isinstance(data, dict):
        raise ConfigInvalid(f"{path} must be a mapping with at least `model:`")
    return _parse(data, str(path), lines).with_absolute_paths(Path.cwd())


def parse_config(data: dict[str, Any], *, origin: str = "configuration") -> GatewayConfig:
    """Validate a configuration that is already a mapping. Paths stay as they are. Raises ConfigInvalid."""
    return _parse(data, origin, Lines(None))


def _parse(data: dict[str, Any], origin: str, lines: Lines) -> GatewayConfig:
    problems = plain_data_problems(data)
    cause: ValidationError | None = None
    if not problems:
        try:
            return GatewayConfig.model_validate(data)
        except ValidationError as error:
            cause = error
            problems = [
                problem for record in error.errors(include_url=False) for problem in describe(record, GatewayConfig)
            ]
    raise ConfigInvalid(f"{origin} is not valid:\n{_listed(problems, lines)}") from cause


def _listed(problems: list[Problem], lines: Lines) -> str:
    placed = [(lines.line_of(problem.place), problem) for problem in problems]
    placed.sort(key=lambda pair: pair[0] or 0)
    return "\n".join(f"  - line {line}: {problem}" if line else f"  - {problem}" for line, problem in placed)

"""``build``: the Ray Serve application for a cluster that somebody else starts, such as KubeRay's RayService.

A Serve configuration names it as ``import_path: serving.kubernetes:build``. How many replicas there are is not in its
arguments but in the ``deployments`` beside them: Serve starts every replica anew where an argument changes, and only
adds or drains replicas where ``num_replicas`` or ``autoscaling_config`` does.
"""

from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from ray import serve

from serving.config import GatewayConfig, load_config, parse_config
from serving.deployments import build_application, machines
from serving.errors import ConfigInvalid
from serving.preflight import cluster_problems
from serving.process.orders import Orders


class BuildArguments(BaseModel):
    """What a Serve configuration gives as ``args``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    config_file: Path | None = None
    """The gateway's YAML file, at this path on every node."""
    config: dict[str, Any] | None = None
    """The same as a mapping, in place of a file."""
    revision: str = ""
    """Any text, such as the file's digest. A change of it makes Serve replace every replica, one after another."""

    @model_validator(mode="after")
    def _one_configuration(self) -> Self:
        if (self.config_file is None) == (self.config is None):
            raise ValueError("give one of `config_file` and `config`")
        return self

    def gateway_config(self) -> GatewayConfig:
        """The configuration. Raises ConfigInvalid."""
        if self.config_file is not None:
            return load_config(self.config_file)
        return parse_config(self.config or {}, origin="`config`").with_absolute_paths(Path.cwd())


def build(args: dict[str, Any]) -> serve.Application:
    """The application that ``args`` describe: deployments Gateway, Control and, with knowledge, Knowledge.

    Raises:
        ConfigInvalid: the arguments or the configuration are not valid, or several machines would each keep a state of
            their own.
    """
    config = parse_arguments(args).gateway_config()
    if problems := cluster_problems(config, machines()):
        raise ConfigInvalid("\n".join(problems))
    return build_application(Orders.for_cluster(config))


def parse_arguments(args: dict[str, Any]) -> BuildArguments:
    """``args``, checked. Raises ConfigInvalid with one line for each problem."""
    try:
        return BuildArguments.model_validate(args)
    except ValidationError as error:
        lines = []
        for record in error.errors(include_url=False):
            place = ".".join(["args", *map(str, record["loc"])])
            lines.append(f"`{place}`: {record['msg'].removeprefix('Value error, ')}")
        raise ConfigInvalid("\n".join(lines)) from None

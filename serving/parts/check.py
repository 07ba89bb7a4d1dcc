"""What a process that runs one part alone needs of the configuration."""

from collections.abc import Iterator

from serving.config import GatewayConfig
from serving.parts.token import Part, token_problem


def part_problems(config: GatewayConfig, part: Part) -> list[str]:
    """One line for each thing without which ``part`` cannot do its work alone."""
    return list(_problems(config, part))


def _problems(config: GatewayConfig, part: Part) -> Iterator[str]:
    if part == "knowledge":
        if config.knowledge is None:
            yield "`--only knowledge`: there is no section `knowledge` in the configuration; add `knowledge: {}`"
        missing = token_problem(config, part)
        if missing is not None:
            yield missing
        return
    examined = [name for name, policy in config.adapters.rollouts.items() if policy.suite is not None]
    if examined and config.life.gateway_url is None:
        yield (
            f"`life.gateway_url`: is not set, and the suite of `adapters.rollouts.{examined[0]}` would be put to the "
            "control process itself; name the gateways' address"
        )
    if config.training is not None and config.training.gpus_per_job:
        yield (
            "`training.gpus_per_job`: GPUs for jobs are given by Ray, and `--only control` runs without it; set it to "
            "0, or serve on a Ray cluster"
        )

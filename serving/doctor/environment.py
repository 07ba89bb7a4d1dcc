"""What the configuration needs of the process's environment and of the Python environment."""

import os
import re
from collections.abc import Iterator

from pydantic import BaseModel

from serving.config import GatewayConfig
from serving.doctor.finding import Finding, counted, fail, ok

_TOLD = re.compile(r"environment variable (\w+)")


def configuration(config: GatewayConfig) -> Iterator[Finding]:
    """What the file names is there, and the engine takes its arguments."""
    from serving.engine.vllm_environment import default_log_level
    from serving.preflight import preflight

    with default_log_level("ERROR"):
        problems = [line for line in preflight(config) if _TOLD.search(line) is None]
    for line in problems:
        yield fail(
            "configuration", f"{line}.", "`loraplex config check FILE` tells the same; mend the file or the machine."
        )
    if not problems:
        yield ok("configuration", "What it names is there.")


def variables(config: GatewayConfig) -> Iterator[Finding]:
    """Every environment variable that the file names is set."""
    from serving.preflight import quick_preflight

    named = dict(_named(config, ""))
    # An examination needs one that the file need not name.
    named |= {match[1]: line.split("`")[1] for line in quick_preflight(config) if (match := _TOLD.search(line))}
    missing = {variable: place for variable, place in named.items() if not os.environ.get(variable, "").strip()}
    for variable, place in missing.items():
        yield fail(
            "variables",
            f"The environment variable {variable} is not set, which `{place}` names.",
            "Set it where the gateway starts; in Kubernetes from a Secret, with `secretKeyRef`.",
        )
    if not missing:
        yield ok(
            "variables", f"{counted(len(named), 'variable')} that the file names, all set." if named else "None named."
        )


def _named(section: BaseModel, place: str) -> Iterator[tuple[str, str]]:
    """Variables that somebody wrote down, and where."""
    for name in section.model_fields_set:
        yield from _of(getattr(section, name), f"{place}.{name}" if place else name)


def _of(value: object, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, BaseModel):
        yield from _named(value, place)
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from _of(one, f"{place}.{key}")
    elif isinstance(value, str) and place.endswith("_env"):
        yield value, place

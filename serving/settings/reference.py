"""docs/configuration.md, written from the settings themselves."""

import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import annotated_types
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from serving.settings.base import HASH_PATTERN, NAME_PATTERN, URL_PATTERN, Settings
from serving.settings.gateway import GatewayConfig
from serving.settings.tasks import SamplingDefaults

_INTRODUCTION = """\
# Configuration

<!-- Written by `make docs` from serving/settings; do not edit. -->

One YAML file describes a gateway. `loraplex config check FILE` validates it whole, the engine's arguments included,
and says what this machine lacks for it. `loraplex serve --config FILE` starts no engine for a file that is not valid.

The smallest one:

```yaml
model:
  id: ./models/SmolLM2-135M-Instruct
```

A task that answers in a fixed shape with an adapter of its own, on an address that other machines can reach:

```yaml
model:
  id: ./models/SmolLM2-135M-Instruct
engine:
  args:
    max_model_len: 2048
  env:
    VLLM_CPU_KVCACHE_SPACE: "1"
server:
  host: 0.0.0.0
adapters:
  slots: 4
  preload:
    - name: triage
      source: ./adapters/triage
tasks:
  support-triage:
    adapter: triage
    system_prompt: Classify the ticket.
    sampling:
      temperature: 0
      max_tokens: 96
    output:
      json_schema:
        type: object
        properties:
          queue: {type: string}
        required: [queue]
        additionalProperties: false
api_keys:
  - name: helpdesk
    hash: sha256:7a0f0c3f5d6e0c34f0c1c9c5b0d0c7d8a4f3b2e1d0c9b8a7968574635241302f
    models: [support-triage]
```

Rules of the file:

- Unknown keys are refused, with the nearest valid one named; so are keys that appear twice. Each problem is told with
  its line, and all of them at once.
- Values are never converted: `"8000"` is no number, `1` is neither true nor text. Scalars follow YAML 1.2, so `off`,
  `no` and dates are text.
- Relative paths are taken from the directory in which the command is started, whichever folder the file is in. `~` is
  the home directory. `model.id` and the `source` of an adapter are a path if they start with `./`, `../`, `/` or `~`,
  or if such a folder exists; otherwise a hub id.
- The environment holds secrets and the file's own path, nothing else:

| variable | meaning |
| --- | --- |
| `LORAPLEX_CONFIG` | The configuration file, where a command is not given one. |
| `LORAPLEX_API_KEY` | The key that `loraplex adapters` presents to the gateway. |
| `LORAPLEX_REPLICA` | What `loraplex serve --local` is called among several gateways. |
| `LORAPLEX_LOG_TO_STDERR` | `1`: the logs of `loraplex serve --local` and `--only` go to standard error. |
| `LORAPLEX_PEER_HOST`, `LORAPLEX_PEER_PORT` | Where the others read its metrics: an address and a port of it. |
| the one that `services.token_env` names, `LORAPLEX_SERVICE_TOKEN` | What gateways present to the knowledge process. |
| the one that `engine.api_key_env` names | The key for a remote engine. |
| the one that `metrics.token_env` names | The token of scrapers. |
| `PGPASSWORD`, `AWS_ACCESS_KEY_ID` and their kind | Read by the database driver and by the artifact store themselves. |
| `OTEL_EXPORTER_OTLP_HEADERS` and its kind | Read by the exporter of traces itself, where `tracing.enabled` is true. |

A task's `adapter` need not be preloaded: until somebody adds and promotes one, the task answers 404.
"""

_PATTERN_TYPES = {NAME_PATTERN: "name", HASH_PATTERN: "`sha256:…`", URL_PATTERN: "URL"}


def configuration_reference() -> str:
    """The whole page, in Markdown."""
    parts = [_INTRODUCTION]
    for place, section in sections():
        title = f"`{place}`" if place else "The whole file"
        parts.append(f"\n## {title}\n\n{_summary(section)}\n\n{_table(section)}")
    parts.append(_sampling())
    return "".join(parts)


def settings_places() -> list[str]:
    """Every setting, by its place: ``server.port``, ``tasks.<name>.adapter``, ``api_keys[].hash``."""
    return [
        f"{place.split(' ')[0]}.{name}".lstrip(".") for place, section in sections() for name in section.model_fields
    ]


def sections() -> Iterator[tuple[str, type[Settings]]]:
    """Every section and its place, outermost first."""
    yield "", GatewayConfig
    yield from _sections_in(GatewayConfig, "")


def _sections_in(section: type[Settings], prefix: str) -> Iterator[tuple[str, type[Settings]]]:
    for name, field in section.model_fields.items():
        for place, inner in _nested(field.annotation, f"{prefix}{name}"):
            yield place, inner
            yield from _sections_in(inner, f"{place.split(' ')[0]}.")


def _nested(annotation: Any, place: str) -> list[tuple[str, type[Settings]]]:
    """The sections that a field of this type holds, with their places."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return [(place, annotation)]
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _nested(arguments[0], place)
    if origin is tuple:
        return _nested(arguments[0], f"{place}[]")
    if origin is dict:
        return _nested(arguments[1], f"{place}.<name>")
    if origin in (types.UnionType, typing.Union):
        found = [item for argument in arguments for item in _nested(argument, place)]
        if len(found) > 1:
            return [(f"{where} with kind: {_kind(cls)}", cls) for where, cls in found]
        return found
    return []


def _kind(section: type[Settings]) -> str:
    return str(typing.get_args(section.model_fields["kind"].annotation)[0])


def _summary(section: type[Settings]) -> str:
    return " ".join((section.__doc__ or "").split())


def _table(section: type[Settings]) -> str:
    rows = ["| setting | type | default | meaning |", "| --- | --- | --- | --- |"]
    for name, field in section.model_fields.items():
        rows.append(f"| `{name}` | {_type(field)} | {_default(field)} | {_cell(field.description or '')} |")
    return "\n".join(rows) + "\n"


def _sampling() -> str:
    names = ", ".join(f"`{name}`" for name in SamplingDefaults.model_fields)
    return (
        "\n## Sampling fields\n\nThese are checked in `tasks.<name>.sampling`: "
        f"{names}. Any other field passes through to the engine, unless its name is nearly one of these.\n"
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value = field.default
    if value is PydanticUndefined:
        return ""
    match value:
        case None | ():
            return ""
        case bool():
            return f"`{str(value).lower()}`"
        case tuple():
            return f"`[{', '.join(repr(item) for item in value)}]`".replace("'", '"')
        case str() | Path():
            return f"`{value}`" if str(value) else ""
        case _:
            return f"`{value}`"


def _type(field: FieldInfo) -> str:
    for rule in field.metadata:
        if (pattern := getattr(rule, "pattern", None)) is not None:
            return _PATTERN_TYPES[pattern]
    text = _type_name(field.annotation)
    bounds = [bound for rule in field.metadata if (bound := _bound(rule)) is not None]
    return f"{text} {', '.join(bounds)}" if bounds else text


def _bound(rule: Any) -> str | None:
    match rule:
        case annotated_types.Ge():
            return f"≥ {rule.ge}"
        case annotated_types.Gt():
            return f"> {rule.gt}"
        case annotated_types.Le():
            return f"≤ {rule.le}"
        case _:
            return None


def _type_name(annotation: Any) -> str:
    scalars = {str: "text", int: "whole number", float: "number", bool: "true or false", Path: "path", Any: "anything"}
    if annotation in scalars:
        return scalars[annotation]
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return "section"
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        patterns = [getattr(rule, "pattern", None) for rule in getattr(arguments[1], "metadata", [])]
        known = [_PATTERN_TYPES[pattern] for pattern in patterns if pattern in _PATTERN_TYPES]
        return known[0] if known else _type_name(arguments[0])
    if origin is typing.Literal:
        return ", ".join(f"`{item}`" for item in arguments)
    if origin is tuple:
        return f"list of {_plural(_type_name(arguments[0]))}"
    if origin is dict:
        return f"mapping of {_type_name(arguments[0])} to {_type_name(arguments[1])}"
    some = [_type_name(item) for item in arguments if item is not type(None)]
    return " or ".join(dict.fromkeys(some))


def _plural(name: str) -> str:
    return {"section": "sections", "text": "texts"}.get(name, name)

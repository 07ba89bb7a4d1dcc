"""Which requests change something, what each change is called, and what of its request the audit log may tell. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

UNLISTED = "unlisted"
"""Action of a changing request that the table does not know: recorded all the same."""

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_LONGEST = 200
_PARAMETER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Action:
    """One kind of change."""

    name: str
    method: str
    path: str
    """As the routers have it, with its parameters in braces. The first one names what is changed."""
    details: tuple[str, ...] = ()
    """Fields of the JSON body that are recorded: names, versions, shares."""
    object_field: str | None = None
    """Field of the JSON body that names what is changed, where the path does not."""


_ADAPTER, _VERSION = "/admin/v1/adapters/{name}", "/admin/v1/versions/{version}"
_STORE, _JOB = "/v1/vector_stores/{store_id}", "/v1/fine_tuning/jobs/{job_id}"

ACTIONS: tuple[Action, ...] = (
    Action("adapters.add", "POST", "/admin/v1/adapters", ("name", "promote"), "name"),
    Action("adapters.promote", "POST", f"{_ADAPTER}/promote", ("version",)),
    Action("adapters.canary", "POST", f"{_ADAPTER}/canary", ("version", "share")),
    Action("adapters.shadow", "POST", f"{_ADAPTER}/shadow", ("version",)),
    Action("adapters.rollback", "POST", f"{_ADAPTER}/rollback"),
    Action("rollouts.begin", "POST", f"{_ADAPTER}/rollout", ("version", "shadow", "steps", "examine")),
    Action("rollouts.end", "DELETE", f"{_ADAPTER}/rollout"),
    Action("versions.pin", "POST", f"{_VERSION}/pin"),
    Action("versions.unpin", "POST", f"{_VERSION}/unpin"),
    Action("versions.report", "POST", f"{_VERSION}/reports", ("kind", "verdict")),
    Action("versions.remove", "DELETE", _VERSION),
    Action("monitoring.set_reference", "POST", "/admin/v1/monitoring/{task}/reference", ("version",)),
    Action("files.upload", "POST", "/v1/files"),
    Action("files.delete", "DELETE", "/v1/files/{file_id}"),
    Action("stores.create", "POST", "/v1/vector_stores"),
    Action("stores.update", "POST", _STORE),
    Action("stores.delete", "DELETE", _STORE),
    Action("stores.sync", "POST", f"{_STORE}/sync"),
    Action("stores.attach", "POST", f"{_STORE}/files", ("file_id",)),
    Action("stores.describe_file", "POST", f"{_STORE}/files/{{file_id}}"),
    Action("stores.detach", "DELETE", f"{_STORE}/files/{{file_id}}"),
    Action("stores.attach_batch", "POST", f"{_STORE}/file_batches", ("file_ids",)),
    Action("stores.cancel_batch", "POST", f"{_STORE}/file_batches/{{batch_id}}/cancel"),
    Action("jobs.create", "POST", "/v1/fine_tuning/jobs", ("model", "training_file", "validation_file")),
    Action("jobs.cancel", "POST", f"{_JOB}/cancel"),
    Action("jobs.pause", "POST", f"{_JOB}/pause"),
    Action("jobs.resume", "POST", f"{_JOB}/resume"),
    Action("jobs.publish", "POST", f"{_JOB}/checkpoints/{{checkpoint_id}}/publish"),
)

READS: tuple[tuple[str, str], ...] = (
    ("POST", f"{_VERSION}/verify"),
    ("POST", f"{_STORE}/search"),
    ("POST", "/v1/embeddings"),
    ("POST", "/v1/rerank"),
)
"""Requests that change nothing, whatever their method says."""


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(_PARAMETER.sub(r"(?P<\1>[^/]+)", path))


_ACTIONS = [(action.method, _pattern(action.path), action) for action in ACTIONS]
_READS = [(method, _pattern(path)) for method, path in READS]


Found = tuple[Action, str, dict[str, str]]
"""An action, the name of its object, and the path's other parameters."""


def action_of(method: str, path: str) -> Found | None:
    """What a request changes; None for one that reads."""
    if method in _READING or any(method == known and pattern.fullmatch(path) for known, pattern in _READS):
        return None
    for known, pattern, action in _ACTIONS:
        if method == known and (found := pattern.fullmatch(path)):
            names = found.groupdict()
            first = next(iter(names), None)
            thing = "" if first is None else names.pop(first)
            return action, thing[:_LONGEST], {name: value[:_LONGEST] for name, value in names.items()}
    return Action(UNLISTED, method, path), path[:_LONGEST], {}


def details_of(action: Action, body: Any) -> dict[str, Any]:
    """What of a request's JSON body is recorded."""
    if not isinstance(body, Mapping):
        return {}
    return {name: _short(body[name]) for name in action.details if body.get(name) is not None}


def object_of(action: Action, body: Any) -> str:
    """What the body says is changed; empty where it does not."""
    named = body.get(action.object_field) if action.object_field and isinstance(body, Mapping) else None
    return named[:_LONGEST] if isinstance(named, str) else ""


def _short(value: Any) -> Any:
    """Numbers and names as they are; of a list of them, so many."""
    return [_name(one) for one in value[:_LONGEST]] if isinstance(value, list) else _name(value)


def _name(value: Any) -> Any:
    if isinstance(value, str):
        return value[:_LONGEST]
    return value if isinstance(value, bool | int | float) else "…"

"""How people write the names of adapters and versions."""

import re

from adapters.errors import RolloutConflict, VersionNotFound
from adapters.types import AdapterVersion, CatalogSnapshot
from serving.config import NAME_PATTERN, GatewayConfig
from serving.errors import InvalidRequest

_SHORTEST_DIGEST = 4
_SHOWN = 5


def check_adapter_name(name: str, config: GatewayConfig) -> None:
    """Raises InvalidRequest unless ``name`` can name an adapter of this gateway."""
    if not re.fullmatch(NAME_PATTERN, name):
        raise InvalidRequest(
            f"`{name}` cannot name an adapter: use letters, digits, dots, hyphens and underscores, at most 63.",
            param="name",
        )
    if name == config.model.public_name:
        raise InvalidRequest(f"`{name}` is the base model's name; give the adapter another.", param="name")


def find_version(snapshot: CatalogSnapshot, text: str, adapter: str | None = None) -> AdapterVersion:
    """The version that somebody means by ``triage@3f9a1c2e`` or, where ``adapter`` is known, by ``3f9a1c2e``.

    The digest may be shortened as long as it is unambiguous, to no less than four digits.

    Raises:
        VersionNotFound: there is none; the message names those that exist.
        RolloutConflict: there are several, or it belongs to another adapter.
    """
    name = text if "@" in text or adapter is None else f"{adapter}@{text}"
    found = [snapshot.versions[name]] if name in snapshot.versions else []
    owner, _, digest = name.partition("@")
    if not found and len(digest) >= _SHORTEST_DIGEST:
        known = (version for version in snapshot.versions.values() if version.adapter == owner)
        found = [version for version in known if version.digest.startswith(digest)]
    if not found:
        raise VersionNotFound(_not_found(snapshot, name, owner))
    if len(found) > 1:
        raise RolloutConflict(f"`{name}` could be {' or '.join(sorted(version.name for version in found))}.")
    if adapter is not None and found[0].adapter != adapter:
        raise RolloutConflict(f"`{found[0].name}` is a version of `{found[0].adapter}`, not of `{adapter}`.")
    return found[0]


def _not_found(snapshot: CatalogSnapshot, name: str, adapter: str) -> str:
    known = sorted(
        (version for version in snapshot.versions.values() if version.adapter == adapter),
        key=lambda version: version.created_at,
        reverse=True,
    )
    if not known:
        return f"There is no adapter version `{name}`; `{adapter}` has no versions."
    names = ", ".join(version.name for version in known[:_SHOWN])
    more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    return f"There is no adapter version `{name}`; `{adapter}` has {names}{more}."

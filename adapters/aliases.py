"""Which version answers a request: a pure, deterministic choice."""

import hashlib

from adapters.types import Alias, Role

_BUCKETS = 1 << 32


def share_point(alias: str, key: str) -> float:
    """Map a caller key onto [0, 1), the same for ever for one alias and key.

    The alias salts the hash, so that the same callers are not the canary's audience everywhere.
    """
    digest = hashlib.blake2b(f"{alias}\0{key}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") / _BUCKETS


def choose(alias: Alias, key: str) -> tuple[str, Role] | None:
    """The version of ``alias`` that answers the caller ``key``; None where it has no stable version.

    A growing share only ever adds callers to the canary: a key under the old share stays under the new one.
    """
    if alias.canary is not None and share_point(alias.name, key) < alias.canary_share:
        return alias.canary, Role.CANARY
    if alias.stable is None:
        return None
    return alias.stable, Role.STABLE

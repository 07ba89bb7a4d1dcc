"""What the key may do, and which models there are."""

import ipaddress
from collections.abc import Iterator

from serving.doctor.finding import Finding, counted, fail, ok, skip, warn
from serving.doctor.visit import ADMIN, NEEDS_ADMIN, Visit
from serving.doctor.wire import Line

_UNKNOWN, _FORBIDDEN = 401, 403


def authentication(visit: Visit) -> Iterator[Finding]:
    """The key is taken, and whoever has none is kept out. Raises Unreachable."""
    line = visit.line
    if visit.models.status == _UNKNOWN:
        if line.key:
            yield fail(
                "authentication",
                "The gateway does not know the key in LORAPLEX_API_KEY.",
                "Its hash must stand in `api_keys`; `loraplex keys new NAME` makes both. The file is read at start.",
            )
        else:
            yield fail(
                "authentication",
                "The gateway asks for a key.",
                "Put one into the environment variable LORAPLEX_API_KEY.",
            )
        return
    if line.get("/v1/models", key="").status == _UNKNOWN:
        yield ok("authentication", "Keys are required, and this one is known.")
        return
    open_to = "use" if line.get(f"{ADMIN}/adapters", key="").status in (_UNKNOWN, _FORBIDDEN) else "use and administer"
    if is_loopback(line):
        yield ok("authentication", f"No key is asked for: whoever is on this machine may {open_to} the gateway.")
    else:
        yield warn(
            "authentication",
            f"No key is asked for: whoever reaches {line.host}:{line.port} may {open_to} the gateway.",
            "Make keys with `loraplex keys new NAME`, list them in `api_keys`, and set "
            "`server.authentication: required`.",
        )


def is_loopback(line: Line) -> bool:
    """Whether the address is this machine's own."""
    if line.host == "localhost":
        return True
    try:
        return ipaddress.ip_address(line.host).is_loopback
    except ValueError:
        return False


def models(visit: Visit) -> Iterator[Finding]:
    """Models are listed. Raises Unreachable."""
    reply = visit.models
    if reply.status == _UNKNOWN:
        yield skip("models", "Without a key that is known, models are not told.")
        return
    if not reply.is_good:
        yield fail("models", f"The models are not listed: {reply.message}", "The gateway's log says why.")
        return
    names = [str(model["id"]) for model in visit.listed]
    if not names:
        yield fail(
            "models",
            "This key may use no model.",
            "Name some in its `api_keys[].models`, or leave that out for all.",
        )
        return
    wished = visit.wishes.model
    if wished is not None and wished not in names:
        yield fail("models", f"There is no model `{wished}` for this key.", f"There are {shortened(names)}.")
        return
    versions = sum("@" in name for name in names)
    yield ok(
        "models",
        f"{counted(len(names) - versions, 'name')} and {counted(versions, 'exact version')}: {shortened(names)}.",
    )


def administration(visit: Visit) -> Iterator[Finding]:
    """The admin API answers. Raises Unreachable."""
    reply = visit.adapters
    if reply.is_good:
        yield ok("admin API", f"It answers, at revision {reply.data['revision']} of the catalog.")
    elif reply.status in (_UNKNOWN, _FORBIDDEN):
        yield skip("admin API", "This key may not administer: replicas and rollouts are not checked.", NEEDS_ADMIN)
    elif reply.code == "catalog_unavailable":
        yield fail(
            "admin API",
            f"The control plane cannot use the state database: {reply.message}",
            "Check `state.url` where the gateway runs: `loraplex doctor --config FILE`. Requests are served meanwhile.",
        )
    else:
        yield fail(
            "admin API",
            f"The control plane does not answer ({reply.status}): {reply.message}",
            "Its log says why. Requests are served meanwhile; nothing can be rolled out.",
        )


def shortened(names: list[str], most: int = 6) -> str:
    """A list for a sentence."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more

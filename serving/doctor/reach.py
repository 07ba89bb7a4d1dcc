"""Is there a gateway at the address, and does it say that it is well?"""

import ssl
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

from serving.doctor.finding import Finding, fail, ok, skip, warn
from serving.doctor.visit import Visit
from serving.doctor.wire import Reply

_RENEW_DAYS = 14
_MOST_SKEW_S = 5.0
_DAY_S = 86_400
_REDIRECTS = (301, 302, 303, 307, 308)
_PROXYS_OWN = (502, 503, 504)
_UNAVAILABLE = 503


def connection(visit: Visit) -> Iterator[Finding]:
    """Something answers HTTP there, and its certificate will hold for a while. Raises Unreachable."""
    line = visit.line
    visit.health  # noqa: B018  (asked for here, so that what is wrong with the way is told first)
    if not line.secure:
        yield ok("connection", f"{line.host}:{line.port} answers, without TLS.")
        return
    until = line.certificate().get("notAfter")
    days = (ssl.cert_time_to_seconds(str(until)) - time.time()) / _DAY_S if until else None
    if days is not None and days < _RENEW_DAYS:
        yield warn(
            "connection",
            f"The certificate of {line.host} ends in {max(0, int(days))} days.",
            "Renew it where TLS ends.",
        )
    else:
        yield ok("connection", f"{line.host}:{line.port} answers over TLS.")


def health(visit: Visit) -> Iterator[Finding]:
    """It is a gateway that answers. Raises Unreachable."""
    reply = visit.health
    data = reply.data
    if reply.is_good and isinstance(data, dict) and data.get("status") == "ok":
        yield ok("health", "The gateway's process answers.")
    else:
        yield _no_gateway(reply)


def _no_gateway(reply: Reply) -> Finding:
    server = f" ({reply.headers['server']})" if reply.headers.get("server") else ""
    if reply.status in _REDIRECTS:
        to = reply.headers.get("location", "elsewhere")
        return fail("health", f"The address redirects to {to}.", "Give that address with --url.")
    if reply.status in _PROXYS_OWN:
        return fail(
            "health",
            f"A proxy{server} answers {reply.status}: it reaches no gateway behind it.",
            "Is a gateway running, and is its address right in the proxy's configuration?",
        )
    if reply.status in (401, 403):
        return fail(
            "health",
            f"Something in front{server} asks for credentials of its own ({reply.status}).",
            "A gateway answers /healthz to everybody: let /healthz and /readyz through.",
        )
    return fail(
        "health",
        f"What answers{server} is not a Loraplex gateway: /healthz gave {reply.status} and `{reply.message[:60]}`.",
        "Give the gateway's address with --url.",
    )


def readiness(visit: Visit) -> Iterator[Finding]:
    """Generations are answered. Raises Unreachable."""
    reply = visit.line.get("/readyz")
    if not reply.is_good:
        next_step = "Try again in a moment; if it stays so, the gateway's log says why."
        if reply.status != _UNAVAILABLE:
            next_step = "The gateway's log says why."
        yield fail("readiness", reply.message, next_step)
        return
    data = reply.data
    warnings = data.get("warnings", ()) if isinstance(data, dict) else ()
    for line in warnings:
        yield warn("readiness", f"The gateway is ready, and says: {line}", "See docs/monitoring.md.")
    if not warnings:
        yield ok("readiness", "The gateway is ready.")


def clock(visit: Visit) -> Iterator[Finding]:
    """This machine and the gateway agree about the time. Raises Unreachable."""
    before = time.time()
    told = visit.line.get("/healthz").headers.get("date")
    after = time.time()
    if told is None:
        yield skip("clock", "The answers carry no date.")
        return
    try:
        there = parsedate_to_datetime(told).timestamp()
    except ValueError:
        yield skip("clock", f"The date of the answers, `{told[:40]}`, is none.")
        return
    # The header has whole seconds, and servers write it once a second.
    skew = there - (before + after) / 2
    if abs(skew) > _MOST_SKEW_S:
        ahead = "ahead of" if skew > 0 else "behind"
        yield warn(
            "clock",
            f"The gateway's clock is {abs(skew):.0f} s {ahead} this machine's.",
            "Set both by NTP: certificates, expiry of documents and every graph depend on it.",
        )
    else:
        yield ok("clock", "The gateway's clock agrees with this machine's.")

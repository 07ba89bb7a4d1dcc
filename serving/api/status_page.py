"""``/status``: one page of HTML that needs no script, no font and no other file."""

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import Literal, Protocol
from urllib.parse import parse_qs

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from serving.api.wire import CONTEXT, Header, RequestContext, send_bytes
from serving.auth import Authenticator
from serving.errors import AuthenticationFailed, InvalidRequest
from serving.status_view import StatusView

PATH = "/status"
REFRESHES_S = (2, 3600)
"""Shortest and longest time between two refreshes that a page may be asked for, in seconds."""

_STATUS_OK = 200
_CHALLENGE = 'Basic realm="Loraplex: any user name, an API key as the password", charset="UTF-8"'


class StatusSource(Protocol):
    """Knows what the page shows."""

    async def view(self) -> StatusView:
        """The page as it is now."""
        ...


class StatusPage:
    """The page. An administrator's key comes as everywhere else, or as the password that a browser asks for."""

    def __init__(
        self, source: StatusSource, authenticator: Authenticator, access: Literal["admin", "public"] = "admin"
    ) -> None:
        self._source = source
        self._authenticator = authenticator
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises AuthenticationFailed, PermissionDenied, and InvalidRequest for a ``refresh`` that is none."""
        if self._access == "admin":
            self._admit(scope[CONTEXT])
        refresh_s = _refresh(scope.get("query_string", b""))
        page = render_status(await self._source.view(), refresh_s)
        await send_bytes(send, _STATUS_OK, page.encode(), _headers())

    def _admit(self, context: RequestContext) -> None:
        try:
            caller = self._authenticator.authenticate(_credentials(context.headers.get(b"authorization")))
        except AuthenticationFailed as error:
            raise AuthenticationFailed(str(error), challenge=_CHALLENGE) from error
        caller.require_admin()


def routes(
    source: StatusSource | None, authenticator: Authenticator, access: Literal["admin", "public", "off"]
) -> list[Route]:
    """The page, where there is one."""
    if source is None or access == "off":
        return []
    return [Route(PATH, StatusPage(source, authenticator, access), methods=["GET"], name="status")]


def render_status(view: StatusView, refresh_s: int | None = None) -> str:
    """The page. Every text in it is escaped.

    Args:
        refresh_s: after how many seconds the browser loads it again; None: never by itself.
    """
    return _template().render(page=view, refresh_s=refresh_s, style=Markup(_style()))  # noqa: S704  (a file of ours)


def _credentials(authorization: bytes | None) -> str | None:
    """The header as the authenticator takes it: a browser can send a key only as a password (RFC 7617)."""
    if authorization is None:
        return None
    text = authorization.decode("latin-1")
    scheme, _, encoded = text.partition(" ")
    if scheme.lower() != "basic":
        return text
    try:
        pair = base64.b64decode(encoded.strip(), validate=True).decode()
    except ValueError:
        return text
    return f"Bearer {pair.partition(':')[2]}"


def _refresh(query: bytes) -> int | None:
    values = parse_qs(query.decode("latin-1"), keep_blank_values=True).get("refresh")
    if values is None:
        return None
    shortest, longest = REFRESHES_S
    text = values[-1]
    if not (text.isascii() and text.isdigit() and len(text) < 6 and shortest <= int(text) <= longest):
        message = f"`refresh` must be a whole number of seconds from {shortest} to {longest}."
        raise InvalidRequest(message, param="refresh")
    return int(text)


@cache
def _headers() -> list[Header]:
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    return [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-security-policy", policy.encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
    ]


@cache
def _style() -> str:
    return files("serving.api").joinpath("status.css").read_text(encoding="utf-8")


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("serving.api", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("status.html.j2")

"""HTTP to one gateway, with everything that a diagnosis needs: status, headers, who answered, when each delta came.

The standard library's client, as in the other commands: it starts fast, and shows when bytes arrive.
"""

import json
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

CONNECT_TIMEOUT_S = 5.0
"""How long a connection may take, in seconds."""

_READ = 65_536
_EXPIRED, _SELF_SIGNED, _SELF_SIGNED_CHAIN, _NO_ISSUER, _OTHER_NAME = 10, 18, 19, 20, 62
_UNKNOWN_AUTHORITY = (_SELF_SIGNED, _SELF_SIGNED_CHAIN, _NO_ISSUER)


class BadAddress(Exception):
    """The address is not one that a gateway can have."""


class Unreachable(Exception):
    """Nothing that answers HTTP was reached. The message is one sentence; ``next_step`` says what to do."""

    def __init__(self, message: str, next_step: str) -> None:
        super().__init__(message)
        self.next_step = next_step


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer."""

    status: int
    headers: Mapping[str, str]
    """Lower-case names."""
    body: bytes

    @property
    def is_good(self) -> bool:
        """Whether the status says so."""
        return 200 <= self.status < 300

    @property
    def data(self) -> Any:
        """The JSON in the body; None where it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def code(self) -> str:
        """The error code of a gateway's answer; empty where somebody else answered, or where it is no error."""
        return str(self._error.get("code") or "")

    @property
    def message(self) -> str:
        """The gateway's error message; else the beginning of what was answered."""
        return str(self._error.get("message") or "") or " ".join(self.body.decode("utf-8", "replace").split())[:120]

    @property
    def _error(self) -> Mapping[str, Any]:
        data = self.data
        error = data.get("error") if isinstance(data, dict) else None
        return error if isinstance(error, dict) else {}


@dataclass(frozen=True, slots=True)
class Arrival:
    """A server-sent event, and when its last byte was there."""

    at: float
    """Seconds after the request was sent."""
    read: int
    """Number of the read that completed it: events of one read arrived together."""
    data: str


class Line:
    """The way to one gateway.

    Args:
        url: its address, with or without ``/v1``.
        key: the API key; empty: none is sent.
        timeout_s: how long one answer may take.

    Raises:
        BadAddress: ``url`` is none.
    """

    def __init__(self, url: str, key: str = "", *, timeout_s: float = 60.0) -> None:
        self.url = url.rstrip("/").removesuffix("/v1")
        parts = urlsplit(self.url)
        try:
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
        if parts.scheme not in ("http", "https") or not host or any(character <= " " for character in url):
            raise BadAddress(f"`{url}` is not an address such as http://127.0.0.1:8000")
        self.secure = parts.scheme == "https"
        self.host = host
        self.port = port or (443 if self.secure else 80)
        self.key = key
        self._prefix = parts.path
        self._timeout_s = timeout_s

    def get(self, path: str, *, key: str | None = None) -> Reply:
        """The answer to a GET; ``key`` instead of the line's own, empty for none. Raises Unreachable."""
        with self._ask("GET", path, None, self.key if key is None else key) as answer:
            return _reply(answer, answer.read())

    def post(self, path: str, body: Mapping[str, Any]) -> Reply:
        """The answer to a POST. Raises Unreachable."""
        with self._ask("POST", path, body, self.key) as answer:
            return _reply(answer, answer.read())

    def stream(self, path: str, body: Mapping[str, Any]) -> tuple[Reply, list[Arrival]]:
        """The answer to a POST that streams, and its events as they came. Raises Unreachable."""
        began = time.perf_counter()
        with self._ask("POST", path, body, self.key) as answer:
            if answer.status != 200:
                return _reply(answer, answer.read()), []
            arrivals: list[Arrival] = []
            text, reads, rest = b"", 0, b""
            while piece := answer.read1(_READ):
                at, reads = time.perf_counter() - began, reads + 1
                text += piece
                *events, rest = (rest + piece).replace(b"\r\n", b"\n").split(b"\n\n")
                arrivals += [Arrival(at, reads, data) for event in events for data in _data(event)]
            return _reply(answer, text), arrivals

    def certificate(self) -> Mapping[str, Any]:
        """What the server's certificate says, as :meth:`ssl.SSLSocket.getpeercert` does. Raises Unreachable."""
        with closing(self._connect()) as connection:
            opened = connection.sock
            return (opened.getpeercert() or {}) if isinstance(opened, ssl.SSLSocket) else {}

    def speaks_tls(self) -> bool:
        """Whether TLS is what is spoken there, whoever it is."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            with (
                socket.create_connection((self.host, self.port), CONNECT_TIMEOUT_S) as plain,
                context.wrap_socket(plain, server_hostname=self.host),
            ):
                return True
        except OSError:
            return False

    @contextmanager
    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None, key: str) -> Iterator[HTTPResponse]:
        headers = {"accept": "application/json, text/event-stream, text/plain", "user-agent": "loraplex-doctor"}
        if key:
            headers["authorization"] = f"Bearer {key}"
        payload = None
        if body is not None:
            payload = json.dumps(body).encode()
            headers["content-type"] = "application/json"
        with closing(self._connect()) as connection:
            try:
                connection.request(method, self._prefix + path, payload, headers)
                yield connection.getresponse()
            except TimeoutError:
                message = f"{method} {path} at {self.url} was not answered within {self._timeout_s:g} s."
                raise Unreachable(message, "Look at what the gateway does: `loraplex top`, and its log.") from None
            except (OSError, HTTPException) as error:
                raise self._broken_off(method, path, error) from error

    def _connect(self) -> HTTPConnection:
        kind = HTTPSConnection if self.secure else HTTPConnection
        connection = kind(self.host, self.port, timeout=CONNECT_TIMEOUT_S)
        try:
            connection.connect()
        except UnicodeError as error:  # a name with an empty part, or a part that is too long
            raise self._no_connection(socket.gaierror(str(error))) from error
        except OSError as error:
            connection.close()
            raise self._no_connection(error) from error
        connection.sock.settimeout(self._timeout_s)
        return connection

    def _no_connection(self, error: OSError) -> Unreachable:
        place = f"{self.host}:{self.port}"
        match error:
            case socket.gaierror():
                return Unreachable(
                    f"The name {self.host} cannot be resolved.",
                    "Check its spelling; inside a cluster a service is called NAME.NAMESPACE.svc.",
                )
            case ssl.SSLCertVerificationError():
                return self._bad_certificate(error)
            case ssl.SSLError():
                return Unreachable(
                    f"{place} does not speak TLS ({error.reason or error}).",
                    f"Give its address with http:// in place of https://: --url http://{place}",
                )
            case ConnectionRefusedError():
                return Unreachable(
                    f"Nothing listens at {place}.",
                    "Start a gateway with `loraplex serve --config FILE`, or give its address with --url.",
                )
            case TimeoutError():
                return Unreachable(
                    f"{place} does not accept connections within {CONNECT_TIMEOUT_S:g} s.",
                    "Something on the way drops them: look at firewalls, security groups and NetworkPolicies.",
                )
        return Unreachable(f"{place} cannot be reached: {error.strerror or error}.", "Check the address and the route.")

    def _bad_certificate(self, error: ssl.SSLCertVerificationError) -> Unreachable:
        place = f"{self.host}:{self.port}"
        if error.verify_code == _EXPIRED:
            return Unreachable(f"The certificate of {place} has expired.", "Renew it where TLS ends.")
        if error.verify_code in _UNKNOWN_AUTHORITY:
            return Unreachable(
                f"The certificate of {place} is of an authority that this machine does not know.",
                "If it is your own, name its file: SSL_CERT_FILE=ca.pem loraplex doctor --url URL",
            )
        if error.verify_code == _OTHER_NAME or "mismatch" in error.verify_message.lower():
            return Unreachable(
                f"The certificate of {place} is for another name: {error.verify_message}.",
                "Call the gateway by a name that the certificate has, or have one made for this name.",
            )
        return Unreachable(f"The certificate of {place} is not valid: {error.verify_message}.", "Have it replaced.")

    def _broken_off(self, method: str, path: str, error: Exception) -> Unreachable:
        place = f"{self.host}:{self.port}"
        if not self.secure and self.speaks_tls():
            return Unreachable(
                f"{place} speaks TLS, and was asked without.",
                f"Give its address with https://: --url https://{place}",
            )
        reason = str(error) or type(error).__name__
        return Unreachable(
            f"{place} broke off at {method} {path}: {reason}.",
            "If this is the gateway, its log says why; if a proxy is in front, so does the proxy's.",
        )


def _reply(answer: HTTPResponse, body: bytes) -> Reply:
    return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, body)


def _data(event: bytes) -> list[str]:
    lines = event.decode("utf-8", "replace").split("\n")
    found = [line.removeprefix("data:").strip() for line in lines if line.startswith("data:")]
    return ["\n".join(found)] if found else []

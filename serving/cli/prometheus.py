"""Asking a Prometheus over its HTTP API (Prometheus documentation, "HTTP API")."""

import math
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import httpx

from serving.cli.client import REFUSED, SERVER_FAILED, UNREACHABLE, Failed

_TIMEOUT_S = 60.0
_SUCCESS = "success"


@dataclass(frozen=True, slots=True)
class Series:
    """What a query found for one set of labels."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]
    """Unix seconds and values, in the order of time; what is no number is left out."""

    @property
    def last(self) -> float:
        """The newest value."""
        return self.points[-1][1]


class Prometheus:
    """Queries of one Prometheus. A user name and password may stand in the URL; they are shown nowhere.

    Args:
        url: where it answers, with the path that it is under, if any.

    Raises:
        Failed: the URL is none.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        try:
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
        if parts.scheme not in ("http", "https") or not host:
            raise Failed(UNREACHABLE, "bad_url", "--prometheus is not an address such as http://127.0.0.1:9090.")
        where = f"[{host}]" if ":" in host else host
        netloc = where if port is None else f"{where}:{port}"
        self.shown = urlunsplit((parts.scheme, netloc, parts.path.rstrip("/"), "", ""))
        """The address without user name and password."""
        user = None
        if parts.username is not None:
            user = httpx.BasicAuth(unquote(parts.username), unquote(parts.password or ""))
        # The system's certificates, and no proxy of the environment: as the gateway is reached.
        self._client = httpx.Client(
            base_url=self.shown, auth=user, timeout=_TIMEOUT_S, verify=ssl.create_default_context(), trust_env=False
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def query(self, expression: str, at: float) -> list[Series]:
        """The value of an expression at a moment, in Unix seconds. Raises Failed."""
        return self._ask("/api/v1/query", {"query": expression, "time": f"{at:.3f}"})

    def query_range(self, expression: str, start: float, end: float, step_s: float) -> list[Series]:
        """The values of an expression from ``start`` to ``end``, in Unix seconds, every ``step_s``. Raises Failed."""
        span = {"start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step_s:g}"}
        return self._ask("/api/v1/query_range", {"query": expression, **span})

    def _ask(self, path: str, form: dict[str, str]) -> list[Series]:
        try:
            answer = self._client.post(path, data=form)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            message = f"No Prometheus answers at {self.shown} ({type(error).__name__}: {error})."
            raise Failed(UNREACHABLE, "prometheus_unreachable", message) from error
        try:
            body = answer.json()
            if body["status"] != _SUCCESS:
                raise self._refusal(answer.status_code, str(body.get("error", "")))
            return [series for found in body["data"]["result"] if (series := _series(found)).points]
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise self._refusal(answer.status_code, "nothing that a Prometheus says") from error

    def _refusal(self, status: int, what: str) -> Failed:
        code = SERVER_FAILED if status >= 500 else REFUSED
        return Failed(code, "prometheus_refused", f"{self.shown} answered {status}: {what}.")


def _series(found: Mapping[str, Any]) -> Series:
    pairs = found["values"] if "values" in found else [found["value"]]
    points = ((float(at), float(value)) for at, value in pairs)
    labels = {str(name): str(value) for name, value in found["metric"].items() if name != "__name__"}
    return Series(labels, tuple((at, value) for at, value in points if math.isfinite(value)))

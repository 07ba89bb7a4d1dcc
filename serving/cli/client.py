"""The gateway's client for the command line: one call, and errors in one sentence with what to do next."""

import json
import os
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, NoReturn
from urllib.parse import quote, urlencode, urlsplit

import typer

DEFAULT_URL = "http://127.0.0.1:8000"
API_KEY_ENV = "LORAPLEX_API_KEY"

REFUSED = 1
"""Exit code: the gateway refuses what was asked for."""
UNREACHABLE = 3
"""Exit code: no gateway answers."""
SERVER_FAILED = 4
"""Exit code: the gateway could not do it now."""

_STATUS_OK = 200
_CONNECT_TIMEOUT_S = 5.0
_TIMEOUT_S = 900.0
"""An add may fetch gigabytes and a promote waits for every replica, in seconds."""

_NEXT = {
    "invalid_api_key": f"Put a key that the gateway knows into the environment variable {API_KEY_ENV}.",
    "permission_denied": f"Put a key that may do this into the environment variable {API_KEY_ENV}.",
    "version_not_found": "`loraplex adapters ls` lists what there is.",
    "alias_not_found": "`loraplex adapters ls` lists what there is.",
    "rollout_conflict": "`loraplex adapters show NAME` tells how things stand.",
    "source_unavailable": "Check the folder, hub id or URL; the gateway reads it, not this command.",
    "not_a_gateway": "Is this a Loraplex gateway? Give its address with --url.",
    "unknown_url": "Is this a Loraplex gateway? Give its address with --url. Vector stores need a section `knowledge`, "
    "fine-tuning jobs a section `training`.",
    "not_ready": "Try again in a moment.",
    "catalog_unavailable": "Check the database at `state.url`; the gateway goes on serving meanwhile.",
    "adapter_load_failed": "Nothing was changed; the replica's log has the details.",
    "adapter_pool_saturated": "Nothing was changed; unpin a version or raise `adapters.cpu_slots`.",
    "store_unavailable": "Check the store at `artifacts.url`, and the space in `adapters.cache_dir`.",
    "artifact_corrupt": "Add the adapter again from its source: that repairs the stored copy.",
    "no_effect": "Nothing was changed; check that it was trained for this base model.",
    "vector_store_not_found": "`loraplex knowledge ls` lists the stores.",
    "ambiguous_store": "Name it by its id: `loraplex knowledge ls` lists them.",
    "document_not_found": "`loraplex knowledge show STORE --all` lists what is in it.",
    "job_conflict": "`loraplex jobs show JOB` tells how things stand.",
    "invalid_filter": 'A filter looks like {"type": "eq", "key": "region", "value": "eu"}.',
    "embedder_unavailable": "Check `knowledge.embedder` in the configuration; the gateway's log has the details.",
    "index_unavailable": "Check `knowledge.index` in the configuration; the gateway's log has the details.",
    "training_not_installed": "Install `loraplex[train]`.",
    "report_not_installed": "Install `loraplex[report]`.",
    "prometheus_unreachable": "Check --prometheus; without it the page is made of what the gateway itself knows.",
    "knowledge_not_installed": "Install `loraplex[knowledge]`.",
}


class Failed(Exception):
    """A command could not do its work."""

    def __init__(self, exit_code: int, code: str, message: str) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.code = code

    @property
    def body(self) -> dict[str, Any]:
        """The same for machines."""
        return {"error": {"code": self.code, "message": str(self), "next": self.next}}

    @property
    def next(self) -> str:
        """What to do about it; empty where the message says all."""
        return _NEXT.get(self.code, "")


class ApiClient:
    """Calls one API of the gateway at ``url``. The key comes from the environment alone. Thread-safe.

    The standard library's client: httpx takes longer to import than a whole command to run.

    Args:
        root: the path that all of the API is under.
        timeout_s: how long one answer may take, in seconds.
    """

    def __init__(self, url: str, root: str, *, timeout_s: float = _TIMEOUT_S) -> None:
        self._url = url.rstrip("/").removesuffix("/v1")
        self._root = root
        self._timeout_s = timeout_s
        self._key = os.environ.get(API_KEY_ENV, "")

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """The answer to a GET under the root. Raises Failed."""
        return self._call("GET", path + (f"?{urlencode(query)}" if query else ""))

    def text(self, path: str) -> str:
        """The answer to a GET under the root, whatever it is. Raises Failed."""
        return self._exchange("GET", path)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The answer to a POST under the root. Raises Failed."""
        return self._call("POST", path, [json.dumps(body or {}).encode()], "application/json")

    def delete(self, path: str) -> Any:
        """The answer to a DELETE under the root. Raises Failed."""
        return self._call("DELETE", path)

    def upload(self, path: str, filename: str, data: bytes, fields: Mapping[str, str]) -> Any:
        """The answer to a form with a file in its field ``file``. Raises Failed."""
        boundary = uuid.uuid4().hex
        parts = [_part(boundary, f'name="{name}"') + value.encode() for name, value in fields.items()]
        head = b"\r\n".join([*parts, _part(boundary, f'name="file"; filename="{_quoted(filename)}"')])
        tail = f"\r\n--{boundary}--\r\n".encode()
        return self._call("POST", path, [head, data, tail], f"multipart/form-data; boundary={boundary}")

    def _call(self, method: str, path: str, body: Sequence[bytes] = (), content_type: str = "") -> Any:
        text = self._exchange(method, path, body, content_type)
        try:
            return json.loads(text)
        except ValueError:
            raise self._failure(_STATUS_OK, "") from None

    def _exchange(self, method: str, path: str, body: Sequence[bytes] = (), content_type: str = "") -> str:
        """The body of the answer. Raises Failed."""
        headers = {"accept": "application/json, text/plain"}
        if self._key:
            headers["authorization"] = f"Bearer {self._key}"
        if content_type:
            headers |= {"content-type": content_type, "content-length": str(sum(map(len, body)))}
        connection, prefix = self._connect()
        try:
            # A body that is refused unread breaks the pipe, and the answer that says why is there.
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, f"{prefix}{self._root}{path}", body if content_type else None, headers)
            answer = connection.getresponse()
            status, text = answer.status, answer.read().decode("utf-8", "replace")
        except (OSError, HTTPException) as error:
            raise Failed(UNREACHABLE, "unreachable", f"The gateway at {self._url} broke off: {error!r}.") from error
        finally:
            connection.close()
        if not 200 <= status < 300:
            raise self._failure(status, text)
        return text

    def _connect(self) -> tuple[HTTPConnection, str]:
        """A connection, and the path that the URL begins with."""
        parts = urlsplit(self._url)
        try:
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
        if parts.scheme not in ("http", "https") or not host:
            raise Failed(UNREACHABLE, "bad_url", f"`{self._url}` is not an address such as {DEFAULT_URL}.")
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        connection = kind(host, port, timeout=_CONNECT_TIMEOUT_S)
        try:
            connection.connect()
        except OSError as error:
            raise Failed(
                UNREACHABLE,
                "unreachable",
                f"No gateway answers at {self._url} ({error.strerror or error}): start one with "
                "`loraplex serve --config FILE`, or give its address with --url.",
            ) from error
        connection.sock.settimeout(self._timeout_s)
        return connection, parts.path

    def _failure(self, status: int, text: str) -> Failed:
        exit_code = SERVER_FAILED if status >= 500 else REFUSED
        try:
            error = json.loads(text)["error"]
            return Failed(exit_code, str(error["code"]), str(error["message"]))
        except (ValueError, KeyError, TypeError):
            return Failed(
                exit_code, "not_a_gateway", f"{self._url} answered {status} and nothing else that makes sense."
            )


class AdminClient(ApiClient):
    """Calls the admin API."""

    def __init__(self, url: str, *, timeout_s: float = _TIMEOUT_S) -> None:
        super().__init__(url, "/admin/v1", timeout_s=timeout_s)


def no_metrics(url: str) -> Failed:
    """What is wrong where a scrape has nothing of ours in it."""
    message = f"{url} gives no metrics of a gateway: it is none, or measures nothing (`metrics.enabled`)."
    return Failed(REFUSED, "not_a_gateway", message)


def path_part(name: str) -> str:
    """``name`` as one part of a URL's path."""
    return quote(name, safe="@")


def fail(error: Failed, *, as_json: bool) -> NoReturn:
    """Tell the user and end the command with the error's exit code."""
    if as_json:
        typer.echo(json.dumps(error.body, indent=2))
    else:
        sentence = str(error) if str(error).endswith((".", "?", "!")) else f"{error}."
        typer.echo(" ".join(part for part in (sentence, error.next) if part), err=True)
    raise typer.Exit(error.exit_code)


def _part(boundary: str, what: str) -> bytes:
    return f"--{boundary}\r\ncontent-disposition: form-data; {what}\r\n\r\n".encode()


def _quoted(name: str) -> str:
    """A file name between quotes."""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return "".join(" " if character in "\r\n\0" else character for character in escaped)

"""The admin API's client for the command line: one call, and errors in one sentence with what to do next."""

import os
from collections.abc import Mapping
from typing import Any, NoReturn

import typer

DEFAULT_URL = "http://127.0.0.1:8000"
API_KEY_ENV = "LORAPLEX_API_KEY"

REFUSED = 1
"""Exit code: the gateway refuses what was asked for."""
UNREACHABLE = 3
"""Exit code: no gateway answers."""
SERVER_FAILED = 4
"""Exit code: the gateway could not do it now."""

_TIMEOUT_S = 900.0
"""An add may fetch gigabytes and a promote waits for every replica, in seconds."""

_NEXT = {
    "invalid_api_key": f"Put an administrator's key into the environment variable {API_KEY_ENV}.",
    "permission_denied": f"Put an administrator's key into the environment variable {API_KEY_ENV}.",
    "version_not_found": "`loraplex adapters ls` lists what there is.",
    "alias_not_found": "`loraplex adapters ls` lists what there is.",
    "rollout_conflict": "`loraplex adapters show NAME` tells how things stand.",
    "source_unavailable": "Check the folder, hub id or URL; the gateway reads it, not this command.",
    "not_a_gateway": "Is this a Loraplex gateway? Give its address with --url.",
    "unknown_url": "Is this a Loraplex gateway? Give its address with --url.",
    "not_ready": "Try again in a moment.",
    "catalog_unavailable": "Check the database at `state.url`; the gateway goes on serving meanwhile.",
    "adapter_load_failed": "Nothing was changed; the replica's log has the details.",
    "adapter_pool_saturated": "Nothing was changed; unpin a version or raise `adapters.cpu_slots`.",
    "artifact_corrupt": "Add the adapter again from its source: that repairs the stored copy.",
    "no_effect": "Nothing was changed; check that it was trained for this base model.",
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


class AdminClient:
    """Calls the admin API of the gateway at ``url``. The key comes from the environment alone."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/").removesuffix("/v1")
        self._key = os.environ.get(API_KEY_ENV, "")

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """The answer to a GET under ``/admin/v1``. Raises Failed."""
        return self._call("GET", path, query=query)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The answer to a POST under ``/admin/v1``. Raises Failed."""
        return self._call("POST", path, body=body or {})

    def delete(self, path: str) -> Any:
        """The answer to a DELETE under ``/admin/v1``. Raises Failed."""
        return self._call("DELETE", path)

    def _call(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: Mapping[str, Any] | None = None
    ) -> Any:
        # Imported late: it takes longer than the rest of a command that fails its usage check.
        import httpx

        headers = {"authorization": f"Bearer {self._key}"} if self._key else {}
        try:
            answer = httpx.request(
                method,
                f"{self._url}/admin/v1{path}",
                params=query,
                json=body,
                headers=headers,
                timeout=httpx.Timeout(_TIMEOUT_S, connect=5.0),
            )
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise Failed(UNREACHABLE, "bad_url", f"`{self._url}` is not the address of a gateway: {error}.") from error
        except httpx.ConnectError as error:
            raise Failed(
                UNREACHABLE,
                "unreachable",
                f"No gateway answers at {self._url}: start one with `loraplex serve --config FILE`, "
                "or give its address with --url.",
            ) from error
        except httpx.HTTPError as error:
            raise Failed(UNREACHABLE, "unreachable", f"The gateway at {self._url} broke off: {error}.") from error
        if not answer.is_success:
            raise self._failure(answer.status_code, answer.text)
        try:
            return answer.json()
        except ValueError:
            raise self._failure(answer.status_code, "") from None

    def _failure(self, status: int, text: str) -> Failed:
        import json

        exit_code = SERVER_FAILED if status >= 500 else REFUSED
        try:
            error = json.loads(text)["error"]
            return Failed(exit_code, str(error["code"]), str(error["message"]))
        except (ValueError, KeyError, TypeError):
            return Failed(
                exit_code, "not_a_gateway", f"{self._url} answered {status} and nothing else that makes sense."
            )


def path_part(name: str) -> str:
    """``name`` as one part of a URL's path."""
    from urllib.parse import quote

    return quote(name, safe="@")


def fail(error: Failed, *, as_json: bool) -> NoReturn:
    """Tell the user and end the command with the error's exit code."""
    if as_json:
        import json

        typer.echo(json.dumps(error.body, indent=2))
    else:
        sentence = str(error) if str(error).endswith((".", "?", "!")) else f"{error}."
        typer.echo(" ".join(part for part in (sentence, error.next) if part), err=True)
    raise typer.Exit(error.exit_code)

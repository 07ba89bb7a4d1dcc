"""S3 behind fsspec, where every call ends in bounded time. Imported only where a URL names S3."""

import asyncio
from typing import Any

from s3fs import S3FileSystem

_SLOWEST = 128 * 1024
"""Bytes in a second: what is sent more slowly than that is taken for a connection that hangs. Ten parts of a large
file share a line."""


class BoundedS3FileSystem(S3FileSystem):  # type: ignore[misc]  # the package has no types
    """The file system of s3fs, which by itself waits for ever for a server that takes a connection and says nothing.

    Its client's own limits are for silence while an answer is read, and for connecting; a request whose body the
    server does not take knows none.
    """

    connect_timeout = 5
    read_timeout = 10
    retries = 3
    """How often a call is made before it has failed: a server that is back within a second is not missed."""

    async def _call_s3(self, method: str, *given: Any, **options: Any) -> Any:
        """One call of the S3 API. Raises what s3fs raises, and TimeoutError."""
        body = next((part["Body"] for part in (options, *given) if "Body" in part), b"")
        size = len(body) if isinstance(body, bytes | bytearray | memoryview) else 0
        try:
            return await asyncio.wait_for(super()._call_s3(method, *given, **options), self.longest_call_s(size))
        except TimeoutError:
            raise TimeoutError(f"the S3 server did not finish {method} in time") from None

    def longest_call_s(self, size: int) -> float:
        """How long a call may take, in seconds, that sends ``size`` bytes."""
        config = self._prepare_config_kwargs()
        return float(self.retries * (config["connect_timeout"] + config["read_timeout"]) + size / _SLOWEST)

    def _prepare_config_kwargs(self) -> dict[str, Any]:
        # The client beneath would make each attempt of ours five times.
        once = {"retries": {"total_max_attempts": 1}}
        return once | dict(super()._prepare_config_kwargs())

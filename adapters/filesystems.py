"""File systems behind fsspec URLs, as a gateway needs them."""

from collections.abc import Mapping
from typing import Any

import fsspec

_S3 = ("s3", "s3a")
_OBJECT_STORES = (*_S3, "gs", "gcs", "az", "abfs", "abfss")


def open_filesystem(url: str, options: Mapping[str, Any] | None = None) -> tuple[Any, str]:
    """The file system that ``url`` names, and the path in it without a slash at its end.

    Raises whatever fsspec and its file systems raise.
    """
    protocol, _ = fsspec.core.split_protocol(url)
    if protocol in _S3:
        from adapters.s3 import BoundedS3FileSystem

        filesystem: Any = BoundedS3FileSystem(**options or {})
        return filesystem, str(filesystem._strip_protocol(url)).rstrip("/")  # noqa: SLF001  (fsspec has no other)
    filesystem, root = fsspec.core.url_to_fs(url, **(options or {}))
    return filesystem, str(root).rstrip("/")


def make_folder(filesystem: Any, path: str) -> None:
    """Make a folder and those above it. Object stores have none, and a bucket is for its operator to make."""
    protocol = filesystem.protocol
    names = (protocol,) if isinstance(protocol, str) else tuple(protocol)
    if not any(name in _OBJECT_STORES for name in names):
        filesystem.makedirs(path, exist_ok=True)

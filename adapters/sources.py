"""Where adapters come from: a local folder, a hub id, or an fsspec URL. Only an adapter's own files are copied.

What looks like a path (``/x``, ``./x``, ``~/x``) or exists as a folder is a folder; ``scheme://...`` is a URL;
``org/name`` and ``org/name@revision`` are ids on the Hugging Face hub.
"""

import os
import re
import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit, urlunsplit

from fsspec.implementations.local import LocalFileSystem

from adapters.errors import AdapterError, AdapterRejected, SourceUnavailable
from adapters.filesystems import open_filesystem
from adapters.layout import CONFIG, RECORDS, SERVED, Entry, check_entries, check_folder

_HUB_ID = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")
_CHUNK_BYTES = 4 * 1024 * 1024
_PICKLES = ("adapter_model.bin", "adapter_model.pt", "adapter_model.pth")


def fetch_source(
    source: str,
    into: Path,
    *,
    max_bytes: int,
    options: Mapping[str, Any] | None = None,
    hub_endpoint: str | None = None,
) -> Path:
    """Copy the adapter at ``source`` into the folder ``into``, which is made if it is not there.

    Names, sizes, links and what lies beside the adapter are checked before anything is copied; what the files hold is
    for :func:`adapters.validate.validate` to say.

    Args:
        source: local folder, hub id or fsspec URL.
        into: an empty or new folder.
        max_bytes: most bytes to copy.
        options: fsspec storage options for a URL.
        hub_endpoint: another hub than huggingface.co.

    Returns:
        ``into``.

    Raises:
        SourceUnavailable: there is nothing there that can be read.
        AdapterRejected: what is there must not be served.
    """
    into.mkdir(parents=True, exist_ok=True)
    try:
        if "://" in source:
            _fetch_url(source, into, max_bytes, options or {})
        elif source.startswith(("/", ".", "~")) or Path(source).is_dir():
            _fetch_folder(Path(source).expanduser(), into, max_bytes)
        elif match := _HUB_ID.fullmatch(source):
            _fetch_hub(match["repo"], match["revision"], into, max_bytes, hub_endpoint)
        else:
            raise SourceUnavailable(f"{source} is neither a folder here, nor a hub id (org/name), nor a URL.")
    except AdapterError:
        raise
    except Exception as error:
        # fsspec and the hub's client raise whatever their transports raise.
        problem = str(error).strip() or type(error).__name__
        raise SourceUnavailable(f"{public_source(source)} cannot be read: {problem.splitlines()[0]}") from error
    return into


def public_source(source: str) -> str:
    """``source`` without the user and password, and without the query, that a URL may carry."""
    if "://" not in source:
        return source
    parts = urlsplit(source)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _fetch_folder(folder: Path, into: Path, max_bytes: int) -> None:
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise SourceUnavailable(f"the folder {folder} {what} on the gateway's machine.")
    root = folder.resolve()

    def open_file(name: str) -> BinaryIO:
        path = (folder / name).resolve()
        if not path.is_relative_to(root):
            raise AdapterRejected("path_escape", f"{name} is a link that leads out of the folder.")
        return _open_plain(path)

    _copy(check_folder(folder, max_bytes), open_file, into, max_bytes)


def _open_plain(path: Path) -> BinaryIO:
    """Open a plain file and nothing else, whatever the path has become since it was checked."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise AdapterRejected("special_file", f"{path.name} is not a plain file.")
    return os.fdopen(descriptor, "rb")


def _fetch_url(url: str, into: Path, max_bytes: int, options: Mapping[str, Any]) -> None:
    filesystem, root = open_filesystem(url, options)
    if isinstance(filesystem, LocalFileSystem):
        _fetch_folder(Path(root), into, max_bytes)
        return
    filesystem.invalidate_cache()  # what is there may have been replaced since it was last listed
    entries = _list_remote(filesystem, root)
    if not entries:
        raise SourceUnavailable(f"there is nothing at {public_source(url)}.")
    names = check_entries(entries, max_bytes)
    _copy(names, lambda name: filesystem.open(f"{root}/{name}", "rb"), into, max_bytes)


def _list_remote(filesystem: Any, root: str) -> list[Entry]:
    """The files at ``root``. Web servers need not list their folders: there the usual names are tried."""
    try:
        listed = {item["name"].rstrip("/").rpartition("/")[2]: item for item in filesystem.ls(root, detail=True)}
    except FileNotFoundError:
        listed = {}
    if CONFIG not in listed:
        for name in (*SERVED, *RECORDS, *_PICKLES):
            path = f"{root}/{name}"
            if filesystem.exists(path):
                listed[name] = filesystem.info(path)
    return [Entry(name, int(item.get("size") or 0)) for name, item in listed.items() if item.get("type") != "directory"]


def _fetch_hub(repo: str, revision: str | None, into: Path, max_bytes: int, endpoint: str | None) -> None:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    api = HfApi(endpoint=endpoint)
    try:
        info = api.model_info(repo, revision=revision, files_metadata=True)
    except (RepositoryNotFoundError, GatedRepoError):
        raise SourceUnavailable(f"the hub has no model {repo}, or this gateway's token may not read it.") from None
    except RevisionNotFoundError:
        raise SourceUnavailable(f"the hub's model {repo} has no revision {revision}.") from None
    except Exception as error:
        # No connection, a broken one, or offline mode: each transport has its own errors for it.
        _fetch_hub_cache(api, repo, revision, into, max_bytes, error)
        return
    names = check_entries([Entry(file.rfilename, file.size or 0) for file in info.siblings or ()], max_bytes)

    def open_file(name: str) -> BinaryIO:
        # The hub's own cache holds the file as a link to a blob; the blob is what we copy.
        return _open_plain(Path(api.hf_hub_download(repo, name, revision=info.sha or revision)).resolve())

    _copy(names, open_file, into, max_bytes)


def _fetch_hub_cache(
    api: Any, repo: str, revision: str | None, into: Path, max_bytes: int, unreachable: Exception
) -> None:
    """Without a connection: what was downloaded before."""
    try:
        folder = Path(api.snapshot_download(repo, revision=revision, local_files_only=True))
    except Exception:
        raise SourceUnavailable(
            f"{repo} is no folder on the gateway's machine, and the hub cannot be reached ({_first_line(unreachable)})."
        ) from unreachable
    entries = [Entry(path.relative_to(folder).as_posix(), path.stat().st_size) for path in _files(folder)]
    _copy(check_entries(entries, max_bytes), lambda name: _open_plain((folder / name).resolve()), into, max_bytes)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _copy(names: Sequence[str], open_file: Callable[[str], BinaryIO], into: Path, max_bytes: int) -> None:
    """Copy files, never more than ``max_bytes`` together whatever their listing said."""
    left = max_bytes
    for name in names:
        with open_file(name) as source, (into / name).open("wb") as target:
            while chunk := source.read(min(_CHUNK_BYTES, left + 1)):
                left -= len(chunk)
                if left < 0:
                    raise AdapterRejected(
                        "too_large", f"the adapter has more than {max_bytes} bytes (adapters.max_bytes)."
                    )
                target.write(chunk)

"""Which files of a folder are an adapter, and what must not lie beside them."""

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from adapters.errors import AdapterRejected

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
SERVED = (CONFIG, WEIGHTS)
"""The files that serve, and the only ones that are stored and digested."""
RECORDS = ("recipe.yaml", "recipe.json", "metrics.json")
"""What a maker may record beside them; read into the version's metadata."""

MAX_TEXT_BYTES = 1024 * 1024
"""Largest configuration or record, in bytes."""
MAX_ENTRIES = 1000
"""Most entries in an adapter's folder: more means that it is some other folder."""

_PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
# What training programs leave behind. None of it holds the adapter's weights, and none of it is ever copied or read.
_TRAINING_STATE = ("training_args", "optimizer", "scheduler", "scaler", "rng_state", "random_states")


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a folder, here or somewhere else."""

    path: str
    """Relative to the folder, with forward slashes."""
    size: int


def check_entries(entries: Iterable[Entry], max_bytes: int) -> tuple[str, ...]:
    """The files among ``entries`` that belong to an adapter: those that serve, then records.

    Raises:
        AdapterRejected: ``too_many_files``, ``pickle_weights``, ``sharded_weights``, ``added_tokens``,
            ``config_missing``, ``weights_missing``, ``config_too_large``, ``record_invalid`` or ``too_large``.
    """
    sizes: dict[str, int] = {}
    for entry in entries:
        if len(sizes) >= MAX_ENTRIES:
            raise AdapterRejected(
                "too_many_files", f"the folder has more than {MAX_ENTRIES} files; is it an adapter's folder?"
            )
        _refuse_by_name(entry.path)
        sizes[entry.path] = entry.size
    if CONFIG not in sizes:
        raise AdapterRejected("config_missing", f"{CONFIG} is missing; save the adapter with PEFT's save_pretrained.")
    if WEIGHTS not in sizes:
        raise AdapterRejected("weights_missing", f"{WEIGHTS} is missing; save the adapter with safetensors.")
    present = tuple(name for name in (*SERVED, *RECORDS) if name in sizes)
    for name in present:
        if name != WEIGHTS and sizes[name] > MAX_TEXT_BYTES:
            raise AdapterRejected(
                "config_too_large" if name == CONFIG else "record_invalid",
                f"{name} has {sizes[name]} bytes, above the limit of {MAX_TEXT_BYTES}; is it the right file?",
            )
    total = sum(sizes[name] for name in present)
    if total > max_bytes:
        raise AdapterRejected(
            "too_large", f"the adapter has {total} bytes, above the limit of {max_bytes} (adapters.max_bytes)."
        )
    return present


def check_folder(folder: Path, max_bytes: int) -> tuple[str, ...]:
    """As :func:`check_entries`, for a local folder.

    Raises:
        AdapterRejected: as :func:`check_entries`, and ``not_a_folder``, ``path_escape``, ``broken_link`` or
            ``special_file``.
    """
    if not folder.is_dir():
        raise AdapterRejected("not_a_folder", f"{folder.name} is not a folder; give the folder of an adapter.")
    return check_entries(_walk(folder), max_bytes)


def _walk(folder: Path) -> Iterator[Entry]:
    """Every file below ``folder``; links are followed only where they stay inside."""
    root = folder.resolve()
    pending = [folder]
    while pending:
        with os.scandir(pending.pop()) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        for entry in entries:
            path = Path(entry.path)
            relative = path.relative_to(folder).as_posix()
            if entry.is_symlink():
                _check_link(path, relative, root)
            status = path.stat()
            if stat.S_ISDIR(status.st_mode):
                # A linked folder is not entered: what it holds is listed at its own place.
                if relative in SERVED:
                    raise AdapterRejected("special_file", f"{relative} is a folder; it must be a plain file.")
                if not entry.is_symlink():
                    pending.append(path)
            elif stat.S_ISREG(status.st_mode):
                yield Entry(relative, status.st_size)
            else:
                raise AdapterRejected(
                    "special_file", f"{relative} is a pipe, socket or device, not a file; remove it from the folder."
                )


def _check_link(path: Path, relative: str, root: Path) -> None:
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):
        outside = not Path(os.path.realpath(path)).is_relative_to(root)
        raise AdapterRejected(
            "path_escape" if outside else "broken_link",
            f"{relative} is a link that leads {'out of the folder' if outside else 'nowhere'}; "
            "replace it with the file itself.",
        ) from None
    if not target.is_relative_to(root):
        raise AdapterRejected(
            "path_escape", f"{relative} is a link that leads out of the folder; replace it with the file itself."
        )


def _refuse_by_name(path: str) -> None:
    parts = PurePosixPath(path)
    name = parts.name.lower()
    if parts.is_absolute() or ".." in parts.parts:
        raise AdapterRejected("path_escape", f"{path} lies outside of the adapter's folder.")
    if name.endswith(_PICKLE_SUFFIXES) and not name.startswith(_TRAINING_STATE):
        raise AdapterRejected(
            "pickle_weights",
            f"{path} holds pickled weights, which can run code when they are read; "
            "save the adapter with safetensors and remove that file.",
        )
    if name.startswith("adapter_model-") or name == "adapter_model.safetensors.index.json":
        raise AdapterRejected(
            "sharded_weights", f"{path}: the weights are split over several files; save them as one {WEIGHTS}."
        )
    if name in ("new_embeddings.safetensors", "added_embeddings.safetensors"):
        raise AdapterRejected(
            "added_tokens", f"{path} adds tokens to the vocabulary, which cannot be served; train without new tokens."
        )

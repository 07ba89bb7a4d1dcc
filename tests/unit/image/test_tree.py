"""What the look through an image finds."""

from pathlib import Path

import pytest

from image import tree

_USER = 10001


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A file system that nothing is wrong with."""
    modules = tmp_path / "opt/loraplex/lib/python3.11/site-packages/serving"
    _write(modules / "gateway.py", 2000)
    _write(modules / "__pycache__/gateway.cpython-311.pyc", 3000)
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp").chmod(0o1777)
    return tmp_path


def _write(path: Path, size: int = 1, mode: int = 0o644) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    path.chmod(mode)
    return path


def _problems(root: Path, *, build_tools: bool = False, user: int = _USER) -> list[str]:
    return tree.problems(list(tree.walk(root)), user, build_tools=build_tools)


def test_an_image_with_nothing_but_programs_passes(root: Path) -> None:
    assert _problems(root) == []


def test_a_compiler_is_found_unless_the_variant_needs_one(root: Path) -> None:
    _write(root / "usr/bin/gcc", mode=0o755)

    assert _problems(root) == ["/usr/bin/gcc is a build tool"]
    assert _problems(root, build_tools=True) == []


def test_a_file_of_that_name_that_is_no_program_is_none(root: Path) -> None:
    _write(root / "usr/share/bash-completion/make", mode=0o644)

    assert _problems(root) == []


def test_weights_are_found_but_for_the_default_embedding_model(root: Path) -> None:
    packages = root / "opt/loraplex/lib/python3.11/site-packages"
    _write(packages / "tables.safetensors", 1000)
    for known in (tree.EMBEDDING_MODEL, *tree.TABLES):
        _write(packages / known, 1024 * 1024)
    weights = _write(packages / "model/model.safetensors", 1024 * 1024)

    assert _problems(root) == [f"/{weights.relative_to(root)} holds weights"]
    assert len(tree.embedding_models(list(tree.walk(root)))) == 1


def test_adapters_and_caches_are_found(root: Path) -> None:
    _write(root / "srv/triage/adapter_config.json")
    _write(root / "srv/.cache/pip/http/1")
    _write(root / "var/cache/uv/archive/1")

    assert sorted(_problems(root)) == [
        "/srv/.cache/pip is an installer's cache",
        "/srv/triage/adapter_config.json is an adapter",
        "/var/cache/uv is an installer's cache",
    ]


def test_what_raises_rights_or_is_open_to_all_is_found(root: Path) -> None:
    _write(root / "usr/bin/su", mode=0o4755)
    _write(root / "usr/bin/wall", mode=0o2755)
    _write(root / "etc/loraplex/config.yaml", mode=0o666)
    (root / "usr/bin/link").symlink_to("su")

    assert sorted(_problems(root)) == [
        "/etc/loraplex/config.yaml may be written by anybody",
        "/usr/bin/su runs as somebody else (setuid or setgid)",
        "/usr/bin/wall runs as somebody else (setuid or setgid)",
    ]


def test_what_the_gateway_could_change_is_found_unless_it_is_a_volume(root: Path) -> None:
    here = root.stat().st_uid
    (root / "var/lib/loraplex").mkdir(parents=True)

    lines = _problems(root, user=here)

    assert any(line.startswith("/opt/loraplex belongs to the user") for line in lines)
    assert not any(line.startswith("/var/lib/loraplex ") for line in lines)


def test_an_image_without_bytecode_is_found(root: Path) -> None:
    for path in root.rglob("*.pyc"):
        path.unlink()

    assert _problems(root) == ["no bytecode below /opt/loraplex: every start would compile it again"]


def test_sizes_are_counted_by_part_and_by_package(root: Path) -> None:
    _write(root / "usr/lib/libnuma.so", 1_000_000)
    _write(root / "opt/loraplex/lib/python3.11/site-packages/torch/lib.so", 2_000_000)

    sizes = tree.sizes(list(tree.walk(root)))

    assert sizes["all"] == pytest.approx(3.0, abs=0.1)
    assert sizes["/opt/loraplex"] == pytest.approx(2.0, abs=0.1)
    assert sizes["torch"] == 2.0

"""The Dockerfile, as far as reading it can tell."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.meta.sources import PACKAGES, ROOT

_TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
_STAGE = re.compile(r"^FROM (\S+)(?: AS (\S+))?$", re.MULTILINE)


def _last_stage() -> str:
    return _TEXT[list(_STAGE.finditer(_TEXT))[-1].end() :]


def test_hadolint_has_nothing_to_say_about_it() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.is_file():
        pytest.skip("hadolint is not installed here")
    done = subprocess.run([hadolint, "--no-color", "Dockerfile"], cwd=ROOT, check=False, capture_output=True, text=True)

    assert done.stdout + done.stderr == ""
    assert done.returncode == 0


def test_every_base_is_a_stage_or_the_one_pinned_image() -> None:
    stages = [(base, name) for base, name in _STAGE.findall(_TEXT)]
    names = {name for _, name in stages if name}
    expected = {f"runtime-{variant}" for variant in ("cpu", "gpu")}

    assert expected <= names
    assert {base for base, _ in stages} - names == {"${BASE}", "runtime-${VARIANT}"}
    assert re.search(r"^ARG BASE=debian:bookworm-slim$", _TEXT, re.MULTILINE)


def test_both_variants_are_extras_of_the_package() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    asked = re.findall(r"--extra (\w+)", _TEXT)

    assert set(asked) == {"train", "knowledge", "postgres", "s3", "report"}
    assert {"cpu", "gpu", *asked} <= extras.keys()


def test_the_context_holds_the_packages_and_what_builds_them() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    let_in = {line[1:] for line in lines if line.startswith("!")}

    assert "*" in lines
    assert let_in == {"pyproject.toml", "README.md", "LICENSE", "requirements/*.txt", "image/*.txt", *PACKAGES}
    assert set(re.findall(r"^COPY (\w+)/ \1/$", _TEXT, re.MULTILINE)) == {"requirements", *PACKAGES}


def test_the_last_stage_installs_nothing_and_leaves_root() -> None:
    last = _last_stage()

    assert "apt-get" not in last
    assert "pip" not in last
    assert re.findall(r"^USER (.+)$", last, re.MULTILINE) == ["10001:10001"]
    assert 'ENTRYPOINT ["tini", "--", "loraplex"]' in last
    assert 'VOLUME ["/var/lib/loraplex", "/models"]' in last


def test_everything_that_is_written_goes_to_the_volume() -> None:
    written = re.findall(r"\b(HOME|\w+_HOME|\w+_ROOT)=(\S+)", _last_stage())

    assert {name for name, _ in written} >= {"HOME", "HF_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "VLLM_CACHE_ROOT"}
    assert [value for _, value in written if not value.startswith("/var/lib/loraplex")] == []


def test_build_says_what_to_install_where_nothing_can_build(tmp_path: Path) -> None:
    for tool in ("bash", "dirname", "sed", "git"):
        (tmp_path / tool).symlink_to(f"/usr/bin/{tool}")
    done = subprocess.run(
        ["/bin/bash", ROOT / "image/build.sh", "cpu"],
        env={"PATH": str(tmp_path)},
        check=False,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 1
    assert done.stderr.startswith("image: neither a running Docker nor Podman nor Buildah is here; install one")

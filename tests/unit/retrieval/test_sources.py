"""Files, folders and globs: what is taken, what is not, and why."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from retrieval.errors import DocumentUnreadable
from retrieval.sources import SourceFile, SourceProblem, read_path

LIMIT = 1_000


def write(folder: Path, *names: str, text: str = "text") -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def read(path: Path) -> tuple[dict[str, SourceFile], dict[str, SourceProblem]]:
    found = list(read_path(path, LIMIT))
    files = {one.source: one for one in found if isinstance(one, SourceFile)}
    problems = {one.source: one for one in found if isinstance(one, SourceProblem)}
    assert len(files) + len(problems) == len(found)
    return files, problems


def reasons(problems: Mapping[str, SourceProblem]) -> dict[str, tuple[str, bool]]:
    return {source: (problem.reason, problem.skipped) for source, problem in problems.items()}


def test_a_folder_is_read_to_its_depths_in_order(tmp_path: Path) -> None:
    write(tmp_path, "b.md", "a/z.txt", "a/deep/er/x.py", "README", "c.md", text="some text")
    os.utime(tmp_path / "b.md", (1_000, 2_000.5))
    files, problems = read(tmp_path)
    assert list(files) == ["README", "a/deep/er/x.py", "a/z.txt", "b.md", "c.md"]
    assert problems == {}
    one = files["b.md"]
    assert (one.name, one.size, one.modified, one.read()) == ("b.md", 9, 2_000.5, b"some text")
    assert files["a/deep/er/x.py"].name == "x.py"


def test_a_source_is_named_alike_wherever_the_folder_is(tmp_path: Path) -> None:
    write(tmp_path, "one/docs/a.md")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    assert list(read(tmp_path / "one")[0]) == list(read(tmp_path / "two")[0]) == ["docs/a.md"]


def test_hidden_files_and_unknown_kinds_are_skipped_and_said_to_be(tmp_path: Path) -> None:
    write(tmp_path, "a.md", ".env", ".git/config", ".git/objects/x.md", "sub/.b.md", "photo.jpeg")
    files, problems = read(tmp_path)
    assert list(files) == ["a.md"]
    assert reasons(problems) == {
        ".env": ("hidden", True),
        ".git/": ("hidden", True),
        "photo.jpeg": ("files of the kind .jpeg cannot be read", True),
        "sub/.b.md": ("hidden", True),
    }


def test_one_file_is_a_source_of_its_name(tmp_path: Path) -> None:
    write(tmp_path, "a.md", ".hidden.md", "other.md")
    assert list(read(tmp_path / "a.md")[0]) == ["a.md"]
    assert list(read(tmp_path / ".hidden.md")[0]) == [".hidden.md"]


@pytest.mark.parametrize(
    ("pattern", "sources"),
    [
        ("docs/*.md", ["a.md", "b.md"]),
        ("docs/**/*.md", ["a.md", "b.md", "x/c.md", "x/y/d.md"]),
        ("docs/*/*.md", ["x/c.md"]),
        ("docs/x/**", ["c.md", "y/d.md", "y/e.txt"]),
        ("docs/[a]?md", ["a.md"]),
        ("*/x/y/*", ["docs/x/y/d.md", "docs/x/y/e.txt"]),
        ("docs/**/y/*.txt", ["x/y/e.txt"]),
        ("docs/*.pdf", []),
    ],
)
def test_a_glob_takes_what_matches_and_names_it_from_its_fixed_part(
    tmp_path: Path, pattern: str, sources: list[str]
) -> None:
    write(tmp_path, "docs/a.md", "docs/b.md", "docs/x/c.md", "docs/x/y/d.md", "docs/x/y/e.txt", "docs/.git/f.md")
    assert list(read(tmp_path / pattern)[0]) == sources


def test_a_file_whose_name_looks_like_a_glob_is_a_file(tmp_path: Path) -> None:
    write(tmp_path, "a[1].md", "a1.md")
    assert list(read(tmp_path / "a[1].md")[0]) == ["a[1].md"]


def test_links_within_the_folder_are_followed_and_others_are_not(tmp_path: Path) -> None:
    write(tmp_path, "outside/secret.md", "docs/a.md", "docs/sub/b.md")
    links = {
        "inside.md": "a.md",
        "secret.md": "../outside/secret.md",
        "absolute.md": "/etc/hostname",
        "folder": "sub",
        "loop.md": "loop.md",
        "up": "..",
        "gone.md": "nowhere.md",
    }
    for name, target in links.items():
        (tmp_path / "docs" / name).symlink_to(target)
    files, problems = read(tmp_path / "docs")
    assert list(files) == ["a.md", "inside.md", "sub/b.md"]
    assert reasons(problems) == {
        "absolute.md": ("a link that leads out of the folder", True),
        "folder": ("a link to a folder", True),
        "gone.md": ("No such file or directory", False),
        "loop.md": ("a link that leads to itself", False),
        "secret.md": ("a link that leads out of the folder", True),
        "up": ("a link that leads out of the folder", True),
    }


def test_a_mounted_config_map_is_read(tmp_path: Path) -> None:
    """Kubernetes mounts one as links into a hidden folder that it swaps."""
    write(tmp_path, "..2026_01_01/a.md")
    (tmp_path / "..data").symlink_to("..2026_01_01")
    (tmp_path / "a.md").symlink_to("..data/a.md")
    files, _ = read(tmp_path)
    assert list(files) == ["a.md"]
    assert files["a.md"].read() == b"text"


def test_the_given_folder_may_itself_be_a_link(tmp_path: Path) -> None:
    write(tmp_path, "real/a.md")
    (tmp_path / "link").symlink_to("real")
    assert list(read(tmp_path / "link")[0]) == ["a.md"]


def test_a_file_that_is_too_large_is_a_problem_of_its_own(tmp_path: Path) -> None:
    write(tmp_path, "large.md", text="x" * (LIMIT + 1))
    write(tmp_path, "small.md", text="x" * LIMIT)
    files, problems = read(tmp_path)
    assert list(files) == ["small.md"]
    assert reasons(problems) == {"large.md": ("it has 1,001 bytes; at most 1,000 are taken", False)}


@pytest.mark.parametrize(
    ("path", "source"), [("missing", "missing"), ("missing.d", "missing.d"), ("missing/*.md", "/"), ("x" * 300, None)]
)
def test_what_is_not_there_is_a_problem(tmp_path: Path, path: str, source: str | None) -> None:
    files, problems = read(tmp_path / path)
    assert files == {}
    assert list(problems) == [source or path]
    assert not any(problem.skipped or str(tmp_path) in problem.reason for problem in problems.values())


def test_what_is_no_file_is_skipped_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.md")
    assert reasons(read(tmp_path)[1]) == {"pipe.md": ("not a regular file", True)}


def test_a_name_that_is_not_utf8_is_a_problem(tmp_path: Path) -> None:
    write(tmp_path, os.fsdecode(b"bad\xff.md"))
    assert reasons(read(tmp_path)[1]) == {"bad\\udcff.md": ("its name is not UTF-8", False)}


def test_a_file_that_changed_since_it_was_found_is_read_as_it_is_or_refused(tmp_path: Path) -> None:
    write(tmp_path, "changed.md", "gone.md", "grown.md", "linked.md", "pipe.md")
    files, _ = read(tmp_path)
    for name in ("gone", "linked", "pipe"):
        (tmp_path / f"{name}.md").unlink()
    (tmp_path / "changed.md").write_text("other")
    (tmp_path / "grown.md").write_text("x" * (LIMIT + 1))
    (tmp_path / "linked.md").symlink_to("/etc/hostname")
    os.mkfifo(tmp_path / "pipe.md")
    assert files["changed.md"].read() == b"other"
    for name, why in [("gone", "No such file"), ("grown", "it grew"), ("linked", "links"), ("pipe", "regular")]:
        with pytest.raises(DocumentUnreadable, match=why):
            files[f"{name}.md"].read()


def test_a_folder_that_cannot_be_listed_does_not_stop_the_rest(tmp_path: Path) -> None:
    write(tmp_path, "a.md", "locked/b.md", "z.md")
    found = []
    for one in read_path(tmp_path, LIMIT):
        if one.source == "a.md":
            shutil.rmtree(tmp_path / "locked")
            (tmp_path / "locked").write_text("now a file")
        found.append(one.source)
    assert found == ["a.md", "locked", "z.md"]

"""What a job and its trainer tell each other in files."""

import json
from pathlib import Path
from typing import Any

import pytest

from serving.jobs.folder import JobFolder, Mistake


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    """One job's."""
    made = JobFolder(tmp_path / "jobs" / "ftjob-1")
    made.write({"method": "sft"}, b"train", None, installation="us")
    return made


def refused(folder: JobFolder, **error: Any) -> Mistake:
    """What is read of an error.json."""
    (folder.path / "error.json").write_text(json.dumps(error))
    mistake = folder.mistake()
    assert mistake is not None
    return mistake


def test_a_folder_holds_the_orders_and_the_data(folder: JobFolder) -> None:
    assert sorted(path.name for path in folder.path.iterdir()) == ["installation", "job.json", "train.jsonl"]
    assert [path.name for path in folder.path.parent.iterdir()] == ["ftjob-1"]


def test_a_folder_belongs_to_who_made_it(folder: JobFolder) -> None:
    assert (folder.belongs_to("us"), folder.belongs_to("them")) == (True, False)
    assert not JobFolder(folder.path / "none").belongs_to("us")


def test_a_message_does_not_say_where_the_folder_is(folder: JobFolder) -> None:
    mistake = refused(folder, code="row_invalid", message=f"{folder.path}/train.jsonl:7: no answer", line=7)

    assert mistake == Mistake("row_invalid", "train.jsonl:7: no answer", "training_file", 7)


@pytest.mark.parametrize(
    ("error", "param"),
    [
        ({"message": "heldout.jsonl:1: is also in train.jsonl:3"}, "validation_file"),
        ({"message": "x", "param": "train"}, "training_file"),
        ({"message": "x", "param": "validation_file"}, "validation_file"),
        ({"message": "x", "param": "target_modules"}, "loraplex.recipe.target_modules"),
        ({"message": "x", "param": 3, "line": "seven"}, None),
        ({}, None),
    ],
)
def test_the_parameter_at_fault_has_the_callers_name(
    folder: JobFolder, error: dict[str, Any], param: str | None
) -> None:
    assert refused(folder, **error).param == param


def test_a_result_counts_only_with_its_adapter(folder: JobFolder) -> None:
    (folder.path / "result.json").write_text("{}")
    assert folder.result() is None
    folder.adapter.mkdir()
    assert folder.result() == {}
    (folder.path / "result.json").write_text("half of it {")
    assert folder.result() is None


def test_the_last_words_are_the_last_lines(folder: JobFolder) -> None:
    assert folder.log_tail() == ""
    lines = [f"line {number}" for number in range(5000)]
    (folder.path / "worker.log").write_text("\n\n".join([*lines, f"File {folder.path}/x"]))

    said = folder.log_tail().splitlines()

    assert said[-2:] == ["line 4999", "File x"]
    assert len(said) == 12


@pytest.mark.parametrize("path", ["../other", "/etc", "nowhere", "link"])
def test_a_checkpoint_is_never_outside(folder: JobFolder, path: str) -> None:
    (folder.path.parent / "other").mkdir()
    (folder.path / "link").symlink_to(folder.path.parent / "other")

    assert folder.inside(path) is None

"""The checks on public data sets, where they are there."""

import csv
import json
import random
from pathlib import Path

import pytest

from tests.unit.training.data.rows import turn, write
from training.data.check import check_file

_DATA = Path(__file__).resolve().parents[5] / "shared" / "data"
_needs = pytest.mark.skipif(not _DATA.is_dir(), reason="needs the public data sets in ../shared/data")


@_needs
def test_what_is_known_of_banking77_is_found(tmp_path: Path) -> None:
    with (_DATA / "banking77" / "train.csv").open(encoding="utf-8", newline="") as file:
        rows = [turn(row["text"], row["category"]) for row in csv.DictReader(file)]
    random.Random(0).shuffle(rows)
    train, heldout = write(tmp_path / "train.jsonl", *rows[1_000:]), write(tmp_path / "dev.jsonl", *rows[:1_000])
    report = check_file(train, kind="chat", heldout=heldout)
    assert report.rows == len(rows) - 1_000
    assert report.labels is not None
    assert len(report.labels) == 77
    assert report.lines["near_contradiction"]
    assert {one.code for one in report.refused()} == {"leakage"}
    assert not {"documents_as_examples", "rare_labels", "label_variants"} & {one.code for one in report.findings}


@_needs
def test_a_file_of_another_vendor_is_recognised(tmp_path: Path) -> None:
    path = _DATA / "json_mode" / "train.jsonl"
    report = check_file(path, kind="chat")
    assert {one.code for one in report.findings} == {"anthropic"}
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    mended = [{"messages": [{"role": "system", "content": row["system"]}, *row["messages"]]} for row in rows]
    report = check_file(write(tmp_path / "mended.jsonl", *mended), kind="chat")
    assert report.rows == 400
    assert report.refused() == ()
    assert len(report.lines["changing_facts"]) > 20

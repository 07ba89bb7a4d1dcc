"""The training data of a version."""

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from adapters.database import Database
from serving.config import GatewayConfig, parse_config
from serving.jobs.tables import SCHEMA, checkpoints, jobs
from serving.knowledge.blobs import Blobs
from serving.observing.references import DataUnknown, Row, TrainingData, read_rows

VERSION = "cards@11111111"
FILE = "file-" + "0" * 32


def chat(prompt: str, answer: str) -> str:
    return json.dumps({"messages": [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]})


@pytest.fixture
def config(tmp_path: Path, state_url: str) -> GatewayConfig:
    made = parse_config(
        {
            "model": {"id": "org/base"},
            "training": {"folder": str(tmp_path / "jobs")},
            "state": {"url": state_url},
            "artifacts": {"url": str(tmp_path / "artifacts")},
            "monitoring": {},
        }
    )
    database = Database(made.state.url, SCHEMA)
    database.migrate()
    with database.writing() as connection:
        connection.execute(insert(jobs).values(**job()))
    database.close()
    return made


def job(**changes: Any) -> dict[str, Any]:
    nothing: dict[str, Any] = {"hyperparameters": {}, "recipe": {}, "allow": [], "metadata": None, "error": None}
    names = {"owner": "ada", "status": "succeeded", "model": "base", "method": "supervised", "adapter": "cards"}
    numbers = {"serial": 1, "seed": 0, "created_at": 0, "fruitless_starts": 0, "read_to": 0}
    own = {"id": "ftjob-1", "training_file": FILE, "version": VERSION, "announced": True}
    return nothing | names | numbers | own | changes


def write(config: GatewayConfig, *lines: str) -> None:
    assert config.training is not None
    folder = config.training.folder / "ftjob-1"
    folder.mkdir(parents=True)
    (folder / "train.jsonl").write_text("\n".join(lines), encoding="utf-8")


def test_the_jobs_own_copy_is_read(config: GatewayConfig) -> None:
    write(config, chat("one", "1"), chat("two", "2"))
    assert TrainingData(config).rows(VERSION, 10) == [Row("one", "1"), Row("two", "2")]


def test_a_copy_that_is_gone_is_replaced_by_the_file(config: GatewayConfig) -> None:
    Blobs(config.artifacts).put(FILE, chat("one", "1").encode())
    assert TrainingData(config).rows(VERSION, 10) == [Row("one", "1")]


def test_of_many_rows_the_same_ones_are_drawn_each_time(config: GatewayConfig) -> None:
    write(config, *(chat(f"question {number}", "a") for number in range(100)))
    first, second = (TrainingData(config).rows(VERSION, 20) for _ in range(2))
    assert first == second
    assert len(set(first)) == 20
    assert first != TrainingData(config).rows(VERSION, 100)[:20]


def test_a_published_checkpoint_has_the_data_of_its_job(config: GatewayConfig) -> None:
    write(config, chat("one", "1"))
    database = Database(config.state.url, SCHEMA)
    values = {"job_id": "ftjob-1", "created_at": 0, "step": 5, "path": "x", "metrics": {}, "version": "cards@22222222"}
    with database.writing() as connection:
        connection.execute(insert(checkpoints).values(**values))
    database.close()
    assert TrainingData(config).rows("cards@22222222", 10) == [Row("one", "1")]


@pytest.mark.parametrize(
    ("version", "lines", "problem"),
    [
        ("cards@99999999", (chat("one", "1"),), "no fine-tuning job"),
        (VERSION, (), "was deleted"),
        (VERSION, ("{}",), "no row with a question"),
    ],
)
def test_data_that_cannot_be_had_is_said(
    config: GatewayConfig, version: str, lines: tuple[str, ...], problem: str
) -> None:
    if lines:
        write(config, *lines)
    with pytest.raises(DataUnknown, match=problem):
        TrainingData(config).rows(version, 10)


def test_a_gateway_that_does_not_train_knows_no_data() -> None:
    with pytest.raises(DataUnknown, match="no section `training`"):
        TrainingData(parse_config({"model": {"id": "org/base"}})).rows(VERSION, 10)


def test_chats_and_preferences_are_read_and_other_lines_left_out() -> None:
    preference = {
        "input": {"messages": [{"role": "user", "content": "which"}]},
        "preferred_output": [{"role": "assistant", "content": "this"}],
        "non_preferred_output": [{"role": "assistant", "content": "that"}],
    }
    lines = [chat("one", "1"), json.dumps(preference), "no json", "[]", '{"messages": 7}', '{"messages": []}', ""]
    assert list(read_rows("\n".join(lines).encode())) == [Row("one", "1"), Row("which", "this")]

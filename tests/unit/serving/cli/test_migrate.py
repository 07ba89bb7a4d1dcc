"""``loraplex migrate``, over real databases."""

import multiprocessing
import sqlite3
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from adapters.database import RESTORING
from serving.cli.main import build_app
from serving.state import SCHEMAS, migrate_state, standings, wait_for_state
from tests.live import listen


def config_file(folder: Path, url: str = "") -> Path:
    path = folder / "loraplex.yaml"
    path.write_text(yaml.safe_dump({"model": {"id": "org/base"}, "state": {"url": url or url_in(folder)}}))
    return path


def url_in(folder: Path) -> str:
    return f"sqlite:///{folder}/state.db"


def run(folder: Path, *options: str, url: str = "") -> Result:
    return CliRunner().invoke(build_app("migrate"), ["migrate", "-c", str(config_file(folder, url)), *options])


def change(folder: Path, statement: str) -> None:
    with sqlite3.connect(folder / "state.db") as connection:
        connection.execute(statement)
    connection.close()


def test_a_new_database_gets_every_table_and_the_second_run_finds_it_done(tmp_path: Path) -> None:
    first, second = run(tmp_path), run(tmp_path)

    assert (first.exit_code, second.exit_code) == (0, 0)
    heads = {name: schema.head for name, schema in SCHEMAS.items()}
    assert first.stdout.splitlines() == [f"{name}: no tables -> {head}" for name, head in heads.items()]
    assert second.stdout.splitlines() == [f"{name}: {head}" for name, head in heads.items()]
    with sqlite3.connect(tmp_path / "state.db") as connection:
        there = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    connection.close()
    assert {name for schema in SCHEMAS.values() for name in schema.tables.tables} <= there


def test_an_older_schema_is_brought_up_and_its_rows_stay(tmp_path: Path) -> None:
    run(tmp_path)
    for table in ("sample_scores", "answer_samples"):
        change(tmp_path, f"DROP TABLE {table}")
    change(tmp_path, "UPDATE catalog_schema SET version_num = '0002'")
    change(tmp_path, "INSERT INTO adapter_pins VALUES ('triage@11111111')")

    behind = run(tmp_path, "--check")
    assert behind.exit_code == 1
    assert "catalog: 0002 -> 0003" in behind.stdout
    assert "behind" in behind.stderr
    assert "catalog: 0002 -> 0003" in run(tmp_path).stdout
    assert run(tmp_path, "--check").exit_code == 0
    with sqlite3.connect(tmp_path / "state.db") as connection:
        assert connection.execute("SELECT * FROM adapter_pins").fetchall() == [("triage@11111111",)]
    connection.close()


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("UPDATE jobs_schema SET version_num = '9999'", "has schema 9999, newer than the schema"),
        ("DROP TABLE catalog_schema", "no table catalog_schema that tells its revision"),
        ("DELETE FROM catalog_schema", "no table catalog_schema that tells its revision"),
        ("ALTER TABLE adapter_aliases DROP COLUMN previous", "lacks adapter_aliases.previous"),
        ("DROP TABLE monitoring_spending", "lacks monitoring_spending.id"),
        (f"CREATE TABLE {RESTORING} (backup TEXT)", "was begun and has not ended; run `loraplex restore` again"),
    ],
)
def test_a_database_that_is_not_what_it_should_be_is_refused_in_one_sentence(
    tmp_path: Path, statement: str, sentence: str
) -> None:
    run(tmp_path)
    change(tmp_path, statement)
    before = (tmp_path / "state.db").read_bytes()

    refused = run(tmp_path)

    assert refused.exit_code == 3
    assert sentence in refused.stderr
    assert refused.stderr.startswith("The ")
    assert len(refused.stderr.splitlines()) == 1
    assert (tmp_path / "state.db").read_bytes() == before


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_text("certainly not a database, but long enough to look like a file")
    refused = run(tmp_path)
    assert refused.exit_code == 3
    assert "file is not a database" in refused.stderr


def test_a_server_that_is_away_is_named_without_its_password(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    with listen() as listener:
        port = listener.getsockname()[1]
    refused = run(tmp_path, "--wait", "0.6", url=f"postgresql://loraplex:hush@127.0.0.1:{port}/loraplex")
    assert refused.exit_code == 3
    assert f"127.0.0.1:{port}/loraplex cannot be used" in refused.stderr
    assert "hush" not in refused.stderr


def test_a_database_that_comes_back_is_waited_for(tmp_path: Path) -> None:
    blocked = tmp_path / "folder"
    blocked.write_text("a file where the folder should be")
    looks: list[None] = []

    def clock() -> float:
        looks.append(None)
        if len(looks) == 3:
            blocked.unlink()
        return float(len(looks))

    wait_for_state(url_in(blocked), 60, clock=clock)
    assert blocked.is_dir()


def test_a_configuration_that_is_not_valid_is_told_apart(tmp_path: Path) -> None:
    assert run(tmp_path, url="mysql://somewhere/db").exit_code == 2


def test_several_at_once_take_turns(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        told = pool.map(migrate_state, [url_in(tmp_path)] * 3)
    assert sum(one.is_behind for standing in told for one in standing) == len(SCHEMAS)
    assert not any(one.is_behind for one in standings(url_in(tmp_path)))

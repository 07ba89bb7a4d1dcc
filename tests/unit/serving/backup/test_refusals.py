"""What backup and restore refuse, and what is left when they break off."""

import json
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from adapters.errors import CatalogUnavailable
from adapters.types import ReplicaReport
from retrieval.errors import IndexUnavailable
from retrieval.indexes.memory import MemoryIndex, MemoryIndexStore
from retrieval.indexes.protocol import IndexSpec
from serving.backup.errors import BackupInvalid, NotEmpty
from serving.backup.manifest import _digest
from serving.state import migrate_state
from tests.adapter_factory import make_version
from tests.lifecycle import PATIENCE_S
from tests.live import listen
from tests.unit.serving.backup.home import Home, add_file, empty_home, make_home
from tests.unit.serving.backup.test_backup import dump, everything


def last_manifest(home: Home) -> Path:
    return home.place / "backups" / f"{home.vault.backups()[-1]}.json"


def a_piece(home: Home) -> Path:
    return max((home.place / "objects").rglob("*/*"), key=lambda path: path.stat().st_size)


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def alter(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda home: shorten(a_piece(home)), "is not what it was when it was written"),
        (lambda home: alter(a_piece(home)), "is not what it was when it was written"),
        (lambda home: a_piece(home).unlink(), "of the backup is missing in"),
        (lambda home: shorten(last_manifest(home)), "is damaged; restore another one"),
        (lambda home: alter(last_manifest(home)), "The manifest of the backup"),
        (lambda home: last_manifest(home).unlink(), "There is no backup in"),
    ],
    ids=["truncated", "altered", "missing", "manifest-truncated", "manifest-altered", "manifest-missing"],
)
def test_a_damaged_backup_is_refused_before_anything_is_touched(
    home: Home, tmp_path: Path, damage: Callable[[Home], None], sentence: str
) -> None:
    home.back_up()
    damage(home)
    copy = empty_home(tmp_path / "copy")
    for command in (["restore", "--check"], ["restore"]):
        refused = copy.run(*command)
        assert refused.exit_code == 1
        assert sentence in refused.stderr
        assert len(refused.stderr.splitlines()) == 1
    assert not (copy.folder / "state.db").exists()
    assert not (copy.folder / "artifacts").exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"format": 2}, "was made by Loraplex 9.0 in a newer form (format 2, this Loraplex reads up to 1)"),
        ({"schemas": {"catalog": "0099"}}, "whose state has schema 0099 of catalog; this Loraplex is older"),
        ({"schemas": {"dreams": "0001"}}, "whose state has schema 0001 of dreams; this Loraplex is older"),
        ({"jobs": {"../../etc": {}}}, "names what no Loraplex makes"),
        ({"tables": {"sqlite_master": {"piece": "0" * 64, "rows": 1}}}, "names what no Loraplex makes"),
    ],
)
def test_a_backup_of_a_newer_version_or_none_of_ours_is_refused(
    home: Home, change: dict[str, object], sentence: str
) -> None:
    made = home.back_up()
    newer = made.model_copy(update={"loraplex": "9.0", "created_at": "2099-01-01", **change})
    body = json.loads(newer.model_copy(update={"tables": {}}).written())["backup"] | change
    home.vault.write_manifest(made.id, _signed(body))
    refused = home.run("restore", "--check")
    assert refused.exit_code == 1
    assert sentence in refused.stderr


def _signed(body: dict[str, object]) -> bytes:
    return json.dumps({"sha256": _digest(body), "backup": body}).encode()


def test_an_unknown_backup_is_refused_with_how_to_find_the_others(home: Home) -> None:
    home.back_up()
    for name in ("20200101T000000Z-abcdef", "../state"):
        refused = home.run("restore", "--backup", name)
        assert refused.exit_code == 1
        assert "`loraplex restore --list` names those there" in refused.stderr


def test_a_list_of_no_backups_says_so(home: Home) -> None:
    assert home.run("restore", "--list").stdout == "There is no backup here.\n"


# Installations that are not empty


def use_state(copy: Home) -> None:
    migrate_state(copy.config.state.url)
    catalog = copy.catalog()
    catalog.register(make_version("other", "content"))
    catalog.close()


def use_artifacts(copy: Home) -> None:
    (copy.folder / "artifacts").mkdir()
    (copy.folder / "artifacts" / "somebody-elses").touch()


def run_gateway(copy: Home) -> None:
    migrate_state(copy.config.state.url)
    catalog = copy.catalog()
    catalog.report(ReplicaReport("r1", 0, True, (), reported_at=datetime.now(UTC)))
    catalog.close()


def use_index(copy: Home) -> None:
    copy.indexes.create("kb_0123456789abcdef0123456789abcdef", IndexSpec(64, "words-64"))


def train(copy: Home) -> None:
    (copy.folder / "jobs" / f"ftjob-{'0' * 32}").mkdir(parents=True)


@pytest.mark.parametrize(
    ("use", "sentence"),
    [
        (use_state, "is in use \\(adapter_events has 1 rows\\)"),
        (use_artifacts, "is not empty, and may be another installation's"),
        (run_gateway, "a gateway runs on the state database"),
        (train, "holds folders of fine-tuning jobs"),
        (use_index, "the index store already holds kb_0123456789abcdef0123456789abcdef"),
    ],
)
def test_an_installation_that_is_in_use_is_left_alone(
    home: Home, tmp_path: Path, use: Callable[[Home], None], sentence: str
) -> None:
    home.back_up()
    copy = empty_home(tmp_path / "copy")
    use(copy)
    migrate_state(copy.config.state.url)
    rows, files = dump(copy), everything(copy)

    with pytest.raises(NotEmpty, match=sentence):
        home.restore(copy)

    assert dump(copy) == rows
    assert everything(copy) == files


# Places and databases that are away


def test_a_place_that_cannot_be_written_is_named(home: Home) -> None:
    home.place.write_text("a file where the folder should be")
    refused = home.run("backup")
    assert refused.exit_code == 3
    assert f"The place of the backups, {home.place}, cannot be used" in refused.stderr


def test_a_place_of_an_unknown_kind_is_named(home: Home) -> None:
    refused = home.run("backup", "--to", "nowhere://bucket")
    assert refused.exit_code == 3
    assert "Protocol not known: nowhere" in refused.stderr


@contextmanager
def disk_that_takes(size: int) -> Iterator[None]:
    """No file may grow beyond ``size`` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_ends_the_backup_and_the_next_one_is_whole(tmp_path: Path) -> None:
    home = empty_home(tmp_path / "home")
    migrate_state(home.config.state.url)
    # Larger than the database, which would be the first that could not grow.
    limit = 4 * (home.folder / "state.db").stat().st_size
    with home.house() as house:
        house.library._max_file_bytes = 2 * limit
        add_file(house, "big.txt", b"x" * (limit + 1))

    with disk_that_takes(limit):
        refused = home.run("backup")

    assert refused.exit_code == 3
    assert "cannot be used" in refused.stderr
    assert "File too large" in refused.stderr
    assert home.vault.backups() == []
    assert [path for path in (home.place / "objects").rglob(".*") if path.is_file()] == []
    assert home.run("backup").exit_code == 0
    assert home.run("restore", "--check").exit_code == 0


def test_a_database_that_is_away_is_named_without_its_password(tmp_path: Path, home: Home) -> None:
    pytest.importorskip("psycopg")
    with listen() as listener:
        port = listener.getsockname()[1]
    home.back_up()
    away = empty_home(tmp_path / "away", state={"url": f"postgresql://me:hush@127.0.0.1:{port}/state"})
    for command in ("backup", "restore"):
        refused = away.run(command)
        assert refused.exit_code == 3
        assert f"127.0.0.1:{port}/state cannot be used" in refused.stderr
        assert "hush" not in refused.stderr


def test_a_configuration_that_is_not_valid_is_told_apart(home: Home) -> None:
    home.file.write_text("model: {}")
    assert (home.run("backup").exit_code, home.run("restore").exit_code) == (2, 2)


def test_failures_come_as_json_where_that_is_asked_for(home: Home) -> None:
    refused = home.run("restore", "--json")
    assert json.loads(refused.stdout)["error"]["message"].startswith("there is no backup in")


# Breaking off


class IndexGoingAway(MemoryIndexStore):
    """A store of indexes that goes away after the first write, until it is told to come back."""

    def __init__(self) -> None:
        super().__init__()
        self.writes_left = 1

    def create(self, name: str, spec: IndexSpec) -> MemoryIndex:
        """An index that shares the fate."""
        index = super().create(name, spec)
        if self.writes_left == 0:
            raise IndexUnavailable("the index went away")
        self.writes_left -= 1
        return index


def test_a_restore_that_broke_off_goes_on_and_no_gateway_starts_before_it_has_ended(home: Home, tmp_path: Path) -> None:
    first = home.back_up().id
    copy = empty_home(tmp_path / "copy")
    copy.indexes = IndexGoingAway()
    copy.indexes.writes_left = 0
    with pytest.raises(IndexUnavailable):
        home.restore(copy)

    with pytest.raises(CatalogUnavailable, match="was begun and has not ended; run `loraplex restore` again"):
        migrate_state(copy.config.state.url)
    second = home.back_up().id
    with pytest.raises(NotEmpty, match=f"end it with `--backup {first}`"):
        home.restore(copy, second)
    copy.indexes.writes_left = 9
    home.restore(copy, first)

    assert dump(copy) == dump(home)
    assert everything(copy) == everything(home)
    assert not any(one.is_behind for one in migrate_state(copy.config.state.url))


def test_rows_that_do_not_fit_leave_the_database_as_it_was(home: Home, tmp_path: Path) -> None:
    made = home.back_up()
    short = made.tables["adapter_versions"].model_copy(update={"rows": 3})
    wrong = made.model_copy(update={"tables": {**made.tables, "adapter_versions": short}})
    home.vault.write_manifest(made.id, wrong.written())
    copy = empty_home(tmp_path / "copy")

    with pytest.raises(BackupInvalid, match="should hold 3 rows of adapter_versions, and holds 2"):
        home.restore(copy)

    with sqlite3.connect(copy.folder / "state.db") as connection:
        assert connection.execute("SELECT count(*) FROM adapter_versions").fetchone() == (0,)
        assert connection.execute("SELECT backup FROM loraplex_restoring").fetchone() == (made.id,)
    connection.close()


def start(home: Home, *command: str) -> "subprocess.Popen[str]":
    program = "from serving.cli.main import main; main()"
    arguments = [command[0], "-c", str(home.file), *command[1:]]
    return subprocess.Popen([sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, text=True)


def kill_once(process: "subprocess.Popen[str]", condition: Callable[[], bool]) -> None:
    """End it as ``kill -9`` does at the first moment that ``condition`` holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def test_a_backup_that_was_killed_is_none_and_the_next_one_goes_on_from_it(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home", files=150)
    objects = home.place / "objects"
    kill_once(start(home, "backup", "--to", str(home.place)), lambda: sum(1 for _ in objects.rglob("*/*")) > 20)

    assert home.run("restore", "--list").stdout == "There is no backup here.\n"
    whole = [path for path in objects.rglob("*/*") if not path.name.startswith(".")]
    written = {path: path.stat().st_mtime_ns for path in whole}
    home.back_up()
    assert {path: path.stat().st_mtime_ns for path in written} == written
    copy = empty_home(tmp_path / "copy")
    home.restore(copy)
    assert dump(copy) == dump(home)


def test_a_restore_that_was_killed_goes_on(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home", files=150)
    home.back_up()
    copy = empty_home(tmp_path / "copy")
    files = copy.folder / "artifacts" / "files"
    running = start(copy, "restore", "--from", str(home.place))
    kill_once(running, lambda: files.is_dir() and sum(1 for _ in files.iterdir()) > 20)

    with pytest.raises(CatalogUnavailable, match="run `loraplex restore` again"):
        migrate_state(copy.config.state.url)
    home.restore(copy)

    assert dump(copy) == dump(home)
    assert everything(copy) == everything(home)

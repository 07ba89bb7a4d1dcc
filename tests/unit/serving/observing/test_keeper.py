"""The slow part of observing: embedding, batches, one set of windows for all replicas."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from adapters.database import Database
from adapters.errors import CatalogUnavailable
from retrieval.embedding import Embedder
from retrieval.errors import EmbedderUnavailable, TextRejected
from retrieval.types import Vectors
from serving.config import parse_config
from serving.observing.embedding import PromptEmbedder
from serving.observing.facts import Fact, packed
from serving.observing.keeper import SHOWN_S, Keeper, standing_of
from serving.observing.records import DONE, FAILED, MonitoringRecords
from serving.observing.references import DataUnknown, Row
from serving.observing.tables import SCHEMA
from serving.observing.windows import Means, Windows
from tests.unit.serving.observing.facts import VERSION, fact
from tests.word_embedder import WordEmbedder

CONFIG = parse_config({"model": {"id": "org/base"}, "tasks": {"triage": {"adapter": "triage"}}, "monitoring": {}})
SECRET = "the vault is behind the painting"


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class FlakyDatabase(Database):
    """Raises in place of every transaction while it is away."""

    away = False

    def writing(self) -> Any:
        if self.away:
            raise CatalogUnavailable("the state database cannot be used: disk I/O error.")
        return super().writing()


class Away(WordEmbedder):
    """Raises while it is away, and where it is asked about what it refuses."""

    error: Exception | None = None
    refused = ""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        self.asked += texts
        if self.refused and self.refused in texts:
            raise TextRejected("too long")
        if self.error is not None:
            raise self.error
        return super().embed_queries(texts)


class House:
    """Keepers of several replicas over one database."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = Clock()
        self.embedder = Away()
        self.databases: list[FlakyDatabase] = []
        self.rows: Callable[[str], Sequence[Row]] = lambda version: []
        self.written = 0

    def keeper(self, name: str = "r0") -> Keeper:
        database = FlakyDatabase(f"sqlite:///{self.folder}/state.db", SCHEMA)
        self.databases.append(database)
        embedder = PromptEmbedder(self.load, clock=self.clock)
        assert CONFIG.monitoring is not None
        means = Means(embedder.vectors, lambda: embedder.name, lambda text: "en")
        settings = CONFIG.monitoring
        return Keeper(
            MonitoringRecords(database, name),
            embedder,
            lambda: Windows(CONFIG, settings, means),
            lambda version: self.rows(version),
            lambda: {VERSION},
            write=self.write,
            check_s=60.0,
            clock=self.clock,
            now=lambda: 1_000_100.0,
        )

    def load(self) -> Embedder:
        return self.embedder

    def write(self) -> None:
        self.written += 1

    def records(self) -> MonitoringRecords:
        return MonitoringRecords(self.databases[0], "test")

    def rows_in_windows(self) -> int:
        (report,) = self.records().reports()
        found: int = json.loads(report.body)["drift"]["reference"]["rows"]
        return found


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    for database in made.databases:
        database.close()


def drawn(text: str = "where is my parcel") -> Fact:
    """A fact whose prompt is still to be embedded."""
    made = fact()
    made["drift"] |= {"embedding": None, "model": ""}
    return made | {"prompt": text}


def run_out(house: House) -> None:
    """Whoever holds the lease has not renewed it in time."""
    with house.databases[0].writing() as connection:
        connection.exec_driver_sql("UPDATE monitoring_keepers SET until = '2000-01-01 00:00:00.000000'")


def later(house: House, *keepers: Keeper) -> None:
    house.clock.now += 61
    for keeper in keepers:
        keeper.turn()


def test_what_was_observed_is_folded_and_shown(house: House) -> None:
    keeper = house.keeper()
    keeper.add([drawn() for _ in range(25)])
    keeper.turn()
    assert keeper.problem == ""
    assert house.rows_in_windows() == 25
    assert keeper.standing is not None
    assert keeper.standing["windows"] == [["triage", "reference", 25], ["triage", "live", 0]]
    assert keeper.standing["scores"] == [["triage", VERSION, 1.0]]
    assert keeper.standing["parts"] == [["triage", VERSION, "refusal", 1.0]]


def test_the_score_of_a_version_that_answers_nobody_any_more_is_shown_for_a_day(house: House) -> None:
    keeper = house.keeper()
    keeper.add([drawn() for _ in range(25)])
    keeper.turn()
    report = json.loads(house.records().reports()[0].body)
    last = report["quality"][VERSION]["updated_at"]
    assert standing_of({"triage": report}, last + SHOWN_S)["scores"]
    later_on = standing_of({"triage": report}, last + SHOWN_S + 1)
    assert (later_on["scores"], later_on["parts"]) == ([], [])
    assert later_on["windows"]


def test_no_prompt_reaches_the_database(house: House) -> None:
    keeper = house.keeper()
    keeper.add([drawn(SECRET)])
    keeper.turn()
    keeper.turn(last=True)
    for path in house.folder.glob("state.db*"):
        assert SECRET.encode() not in path.read_bytes()


def test_replicas_share_one_set_of_windows(house: House) -> None:
    first, second = house.keeper("r0"), house.keeper("r1")
    for keeper in (first, second, first):
        keeper.add([drawn()])
        keeper.turn()
    later(house, first, second)
    assert house.rows_in_windows() == 3
    assert first.standing == second.standing


def test_nothing_is_lost_or_counted_twice_when_the_keeper_dies(house: House) -> None:
    first = house.keeper("r0")
    first.add([drawn()])
    first.turn()
    first.add([drawn(), drawn()])
    later(house, first)
    assert house.rows_in_windows() == 3
    # It held two of them in memory alone. Its lease is not given back: it runs out.
    second = house.keeper("r1")
    run_out(house)
    second.add([drawn()])
    second.turn()
    assert house.rows_in_windows() == 4


def test_a_keeper_that_lost_its_lease_writes_nothing(house: House) -> None:
    first, second = house.keeper("r0"), house.keeper("r1")
    first.add([drawn()])
    first.turn()
    run_out(house)
    second.turn()
    first.add([drawn()])
    later(house, first)
    assert first.problem == ""
    later(house, second)
    assert house.rows_in_windows() == 2


def test_a_dead_database_is_told_and_what_was_observed_waits(house: House) -> None:
    keeper = house.keeper()
    keeper.turn()
    house.databases[0].away = True
    keeper.add([drawn()])
    keeper.turn()
    assert "disk I/O error" in keeper.problem
    keeper.add([drawn()])
    keeper.turn()
    house.databases[0].away = False
    later(house, keeper)
    assert keeper.problem == ""
    assert house.rows_in_windows() == 2


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (EmbedderUnavailable("http://embed/v1 did not embed: refused"), "did not embed"),
        (ModuleNotFoundError("No module", name="sentence_transformers"), "sentence_transformers is not installed"),
        (RuntimeError(SECRET), "failed with RuntimeError"),
    ],
)
def test_a_dead_embedder_is_told_and_the_rest_goes_on(house: House, error: Exception, problem: str) -> None:
    keeper = house.keeper()
    house.embedder.error = error
    keeper.add([drawn()])
    keeper.turn()
    assert problem in keeper.problem
    assert SECRET not in keeper.problem
    assert house.rows_in_windows() == 1
    house.embedder.error = None
    keeper.add([drawn()])
    keeper.turn()
    assert problem in keeper.problem  # it rests
    keeper.add([drawn()])
    later(house, keeper)
    assert keeper.problem == ""


def test_a_prompt_that_the_model_refuses_is_no_outage_and_costs_no_other_prompt_its_vector(house: House) -> None:
    house.embedder.refused = SECRET
    embedder = PromptEmbedder(house.load)
    found = packed([drawn(), drawn(), drawn(SECRET), drawn(), drawn()], embedder)
    assert embedder.problem == ""
    vectors = [one["drift"]["embedding"] for one in found]
    assert [vector is None for vector in vectors] == [False, False, True, False, False]


def test_a_model_that_refuses_even_the_first_text_is_an_outage(house: House) -> None:
    def refusing() -> Embedder:
        raise TextRejected("http://embed/v1 refuses the text with status 400: no such model")

    house.load = refusing  # type: ignore[method-assign]
    keeper = house.keeper()
    keeper.add([drawn()])
    keeper.turn()
    assert "no such model" in keeper.problem


def test_of_a_long_prompt_the_beginning_is_embedded(house: House) -> None:
    keeper = house.keeper()
    keeper.add([drawn("word " * 1000)])
    keeper.turn()
    assert [len(text) for text in house.embedder.asked] == [3 * WordEmbedder.max_tokens]


def test_a_batch_that_cannot_be_read_stops_nothing(house: House) -> None:
    keeper = house.keeper()
    keeper.turn()
    house.records().add_batch('[{"of": "another release"}]')
    house.records().add_batch("no json")
    keeper.add([drawn()])
    later(house, keeper)
    assert keeper.problem == ""
    assert house.rows_in_windows() == 1


def test_a_reference_that_somebody_asked_for_is_set_or_refused(house: House) -> None:
    keeper = house.keeper()
    keeper.add([drawn()])
    keeper.turn()
    records = house.records()
    records.ask_for_reference("triage", "ada", None)
    keeper.turn()
    records.ask_for_reference("triage", "ada", VERSION)
    house.rows = lambda version: [Row(f"question {number}", "answer") for number in range(250)]
    keeper.turn()
    house.rows = unknown
    records.ask_for_reference("triage", "ada", VERSION)
    keeper.turn()
    refused, done, without = records.references()
    assert (refused.state, refused.detail[:21]) == (FAILED, "a reference takes 200")
    assert (done.state, done.detail) == (DONE, f"250 rows of the training data of {VERSION}")
    assert (without.state, without.detail) == (FAILED, "its training data was deleted")


def unknown(version: str) -> Sequence[Row]:
    raise DataUnknown("its training data was deleted")


def test_a_reference_that_cannot_be_set_stops_nothing_else(house: House) -> None:
    def broken(version: str) -> Sequence[Row]:
        raise ZeroDivisionError(SECRET)

    house.rows = broken
    keeper = house.keeper()
    keeper.turn()
    house.records().ask_for_reference("triage", "ada", VERSION)
    keeper.add([drawn()])
    keeper.turn()
    (wish,) = house.records().references()
    assert (wish.state, wish.detail) == (FAILED, "it failed with ZeroDivisionError")
    assert keeper.problem == ""
    assert house.rows_in_windows() == 1


def test_an_unexpected_failure_is_told_without_what_it_says(house: House) -> None:
    def broken() -> None:
        raise ZeroDivisionError(SECRET)

    house.write = broken  # type: ignore[method-assign]
    keeper = house.keeper()
    keeper.turn()
    assert "ZeroDivisionError" in keeper.problem
    assert SECRET not in keeper.problem


def test_it_ends_with_everything_written_down(house: House) -> None:
    keeper = house.keeper()
    keeper.start()
    keeper.add([drawn()])
    keeper.stop()
    records = house.records()
    assert {key.kind for key in records.states()} == {"drift", "quality"}
    assert records.new_batches((), 10) == []
    assert records.claim(60)

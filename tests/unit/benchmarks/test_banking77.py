"""BANKING77 as a task, and what is promised of it."""

from pathlib import Path

from benchmarks.admin import Admin
from benchmarks.banking77 import choose_from, examine, promote, targets
from benchmarks.banking77_task import at_most, prepare, some_intents
from benchmarks.wire import Address
from tests.adapter_factory import BASE_NAME
from tests.jobs_live import jobs_config, live_jobs

_WORDS = [
    "alpha",
    "bravo",
    "charlie",
    "delta",
    "echo",
    "foxtrot",
    "golf",
    "hotel",
    "india",
    "juliett",
    "kilo",
    "lima",
    "mike",
    "november",
    "oscar",
    "papa",
]
QUESTIONS = [
    (f"{_WORDS[number % 16]} {_WORDS[(5 * number + 3) % 16]} {intent} {number}?", intent)
    for number in range(20)
    for intent in ("top_up", "refund", "arrival")
]


def _csv(folder: Path) -> Path:
    path = folder / "train.csv"
    path.write_text("text,category\n" + "\n".join(map(",".join, QUESTIONS)) + "\n", encoding="utf-8")
    return path


def test_the_first_intents_by_name_are_kept() -> None:
    assert {intent for _, intent in some_intents(QUESTIONS, 2)} == {"arrival", "refund"}
    assert some_intents(QUESTIONS, 77) == QUESTIONS


def test_at_most_so_many_questions_of_each_intent_are_kept() -> None:
    assert at_most(QUESTIONS, 1) == QUESTIONS[:3]
    assert at_most(QUESTIONS, None) == QUESTIONS


def test_a_task_has_its_own_folder_and_trains_on_no_development_row(tmp_path: Path) -> None:
    task = prepare(_csv(tmp_path), tmp_path / "task", intents=2, epochs=1.0)
    assert (task.data["intents"], task.data["rows"], task.data["development_rows"]) == (2, 36, 4)
    assert task.recipe.epochs == 1.0
    assert task.recipe.train.parent == tmp_path / "task" / "data"
    trained = task.recipe.train.read_text(encoding="utf-8")
    assert not any(str(case.messages[-1]["content"]) in trained for case in task.suite.cases)
    assert task.suite.baseline_rows == task.recipe.train


def test_the_prompt_that_tells_the_intents_names_each_once() -> None:
    assert choose_from(["refund", "arrival", "refund"]).endswith("nothing else: arrival, refund.")


def test_an_hour_85_percent_and_a_passed_gate_are_promised() -> None:
    assert all(target.passed for target in targets(59.0, 0.85, served=True))
    assert not any(target.passed for target in targets(61.0, 0.84, served=False))


async def test_a_version_that_is_no_better_is_reported_and_not_promoted_and_one_that_is_promoted_is_served(
    tmp_path: Path,
) -> None:
    task = prepare(_csv(tmp_path), tmp_path / "task")
    async with live_jobs(jobs_config(tmp_path, api_keys=[]), tmp_path) as live:
        host, _, port = live.url.removeprefix("http://").partition(":")
        address = Address(host, int(port))
        version = await Admin(address).add("banking77", str(tmp_path / "made"))
        results, served = await examine(address, task.suite, "banking77", version, base=BASE_NAME)
        assert not served
        assert results["gate against the base"]["outcome"] in ("failed", "undecided")
        assert sorted(results["reports_of_the_version"]) == ["gate", "run"]
        assert results["version"]["version"] == version
        assert await promote(address, task.suite, "banking77", version)

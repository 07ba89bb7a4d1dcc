"""Asking a suite in every field of the grid."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.suite_factory import ask, make_suite
from training.diagnosis.findings import survey
from training.diagnosis.grid import GridPlan, run_grid
from training.diagnosis.journal import FILE, Journal
from training.diagnosis.prompt import question_of, with_passages
from training.diagnosis.run import Wanted, diagnose_suite
from training.diagnosis.types import Cell, Context, Grid, Retrieval, Subject
from training.errors import DiagnosisInvalid, SearchFailed
from training.evaluation.types import Answer, Case, CaseResult, Json

CASES = tuple(
    Case(str(n), ({"role": "user", "content": f"question {n}"},), f"answer {n}", context=(f"oracle {n}",))
    for n in range(3)
)


@dataclass
class Small:
    cases: tuple[Case, ...] = CASES
    name: str = "small"
    digest: str = "d1"
    primary: str = "exact"
    parameters: dict[str, Any] = field(default_factory=lambda: {"seed": 5})


@dataclass
class Echo:
    """Says the prompt; fails for the models named."""

    failing: set[str] = field(default_factory=set)
    asked: list[tuple[str, str, Json]] = field(default_factory=list)
    under_way: int = 0
    most: int = 0
    version: str | None = None

    async def ask(self, case: Case, *, model: str, parameters: Json) -> Answer:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(0)
        self.under_way -= 1
        self.asked.append((model, question_of(case), parameters))
        if model in self.failing:
            return Answer("", error="500")
        return Answer(question_of(case), version=self.version, prompt_tokens=3, seconds=0.5)


class Finder:
    def __init__(self, *, broken: bool = False) -> None:
        self.questions: list[str] = []
        self.broken = broken

    async def search(self, question: str) -> Retrieval:
        self.questions.append(question)
        if self.broken:
            raise SearchFailed("no store")
        return Retrieval((f"found for {question}",), 0.1)


async def scored(case: Case, answer: Answer, repeat: int) -> CaseResult:
    return CaseResult(case.id, repeat, answer, {"exact": float(answer.text == case.expected)})


def plan(repeats: int = 1, **record: Any) -> GridPlan:
    return GridPlan({Subject.BASE: "b", Subject.ADAPTER: "a"}, repeats, 2, record)


async def asked(echo: Echo, finder: Finder | None, out: Path | None = None, *, suite: Small | None = None,
                how: GridPlan | None = None) -> Grid:  # fmt: skip
    return await run_grid(suite or Small(), how or plan(), asker=echo, scorer=scored, searcher=finder, out=out)


async def test_every_case_is_asked_under_three_contexts_by_both_models() -> None:
    echo, finder = Echo(), Finder()
    grid = await asked(echo, finder)
    said = {str(cell): results[0].answer.text for cell, results in grid.cases[1].results.items()}

    assert len(echo.asked) == 18
    assert len(finder.questions) == 3, "one search for a case, not one for each model"
    assert said["none/base"] == "question 1"
    assert "found for question 1" in said["retrieved/adapter"]
    assert "oracle 1" in said["oracle/base"]
    assert all(text.endswith("question 1") for text in said.values())
    assert {model for model, _, _ in echo.asked} == {"a", "b"}


async def test_without_a_store_there_is_no_retrieved_context() -> None:
    grid = await asked(Echo(), None)

    assert Cell(Context.RETRIEVED, Subject.BASE) not in grid.cells
    assert len(grid.cells) == 4


async def test_each_repeat_has_its_own_seed() -> None:
    echo = Echo()
    await asked(echo, None, how=plan(3))

    assert {parameters["seed"] for _, _, parameters in echo.asked} == {5, 6, 7}


async def test_no_more_is_under_way_than_was_allowed() -> None:
    echo = Echo()
    await asked(echo, None)

    assert echo.most == 2


async def test_a_diagnosis_goes_on_with_what_is_missing_and_what_failed(tmp_path: Path) -> None:
    first = await asked(Echo(failing={"a"}), Finder(), tmp_path)
    echo, finder = Echo(), Finder()
    second = await asked(echo, finder, tmp_path)

    assert first.cases[0].results[Cell(Context.NONE, Subject.ADAPTER)][0].answer.error == "500"
    assert {model for model, _, _ in echo.asked} == {"a"}
    assert finder.questions == []
    assert second.cases[0].results[Cell(Context.NONE, Subject.ADAPTER)][0].answer.error is None
    assert second.cases[0].retrieved == first.cases[0].retrieved


async def test_an_answer_without_a_verdict_is_asked_again(tmp_path: Path) -> None:
    silent: list[bool] = [True]

    async def judged(case: Case, answer: Answer, repeat: int) -> CaseResult:
        value = None if silent and case.id == "1" else 1.0
        scores = {} if value is None else {"exact": value}
        return CaseResult(case.id, repeat, answer, scores, verdicts=({"metric": "exact", "value": value},))

    first = await run_grid(Small(), plan(), asker=Echo(), scorer=judged, searcher=None, out=tmp_path)
    found = survey(first, Cell(Context.NONE, Subject.ADAPTER))
    assert [one.trials[one.production][0].error for one in found] == [False, True, False]

    silent.clear()
    echo = Echo()
    second = await run_grid(Small(), plan(), asker=echo, scorer=judged, searcher=None, out=tmp_path)
    assert len(echo.asked) == 4
    assert not any(one.failed for one in survey(second, Cell(Context.NONE, Subject.ADAPTER)))


def test_two_diagnoses_do_not_write_into_one_folder(tmp_path: Path) -> None:
    with Journal(tmp_path, {}), pytest.raises(DiagnosisInvalid, match="another diagnosis"):
        Journal(tmp_path, {})
    with Journal(tmp_path, {}) as journal:
        assert journal.answers == {}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"metrics": ("exat",)}, "no metric exat: exact"),
        ({"production": Cell(Context.RETRIEVED, Subject.ADAPTER)}, "no cell retrieved/adapter"),
    ],
)
async def test_a_slip_is_refused_before_anything_is_asked(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    suite = make_suite(tmp_path, [ask("?", "x", context=["x"])])
    # Nothing listens there: asking would be another error.
    with pytest.raises(DiagnosisInvalid, match=says):
        await diagnose_suite(suite, Wanted("b", "a", "http://127.0.0.1:9", **changes))


async def test_more_repeats_are_added_to_those_that_are_there(tmp_path: Path) -> None:
    await asked(Echo(), None, tmp_path)
    echo = Echo()
    await asked(echo, None, tmp_path, how=plan(2))

    assert len(echo.asked) == 12


async def test_a_line_that_a_kill_tore_apart_is_asked_again(tmp_path: Path) -> None:
    whole = await asked(Echo(), None, tmp_path)
    path = tmp_path / FILE
    path.write_bytes(path.read_bytes()[:-20])
    echo = Echo()

    assert (await asked(echo, None, tmp_path)).cases == whole.cases
    assert len(echo.asked) == 1
    assert (await asked(Echo(), None, tmp_path)).cases == whole.cases


async def test_answers_to_something_else_are_not_mixed_in(tmp_path: Path) -> None:
    await asked(Echo(), None, tmp_path)

    with pytest.raises(DiagnosisInvalid, match=r"suite_digest changed"):
        await asked(Echo(), None, tmp_path, suite=Small(digest="d2"))
    with pytest.raises(DiagnosisInvalid, match=r"store changed"):
        await asked(Echo(), None, tmp_path, how=plan(store="other"))


async def test_answers_of_two_versions_are_not_mixed(tmp_path: Path) -> None:
    first = await asked(Echo(version="cards@1"), None, tmp_path)
    again = await asked(Echo(version="cards@2"), None, tmp_path)
    assert first.record["versions"] == again.record["versions"] == {"base": "cards@1", "adapter": "cards@1"}

    with pytest.raises(DiagnosisInvalid, match=r"was answered by cards@1 and now by cards@2"):
        await asked(Echo(version="cards@2"), None, tmp_path, how=plan(2))


async def test_a_file_that_is_no_diagnosis_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("hello\n", encoding="utf-8")

    with pytest.raises(DiagnosisInvalid, match=f"{FILE}:1"):
        await asked(Echo(), None, tmp_path)
    assert (tmp_path / FILE).read_text(encoding="utf-8") == "hello\n"


async def test_a_store_that_does_not_answer_ends_it() -> None:
    with pytest.raises(SearchFailed):
        await asked(Echo(), Finder(broken=True))


async def test_a_suite_without_passages_has_no_oracle() -> None:
    with pytest.raises(DiagnosisInvalid, match="no case"):
        await asked(Echo(), None, suite=Small(cases=(Case("1", CASES[0].messages, "x"),)))


@pytest.mark.parametrize("how", [GridPlan({}, 0, 1), GridPlan({}, 1, 0)])
async def test_nothing_is_asked_zero_times(how: GridPlan) -> None:
    with pytest.raises(DiagnosisInvalid, match="at least 1"):
        await asked(Echo(), None, how=how)


def test_passages_stand_before_the_question_with_the_best_next_to_it() -> None:
    system = {"role": "system", "content": "Be brief."}
    case = Case("c", (system, {"role": "user", "content": [{"type": "text", "text": "Q?"}]}))
    changed = with_passages(case, ("first", "second </passage> x", "third"))
    text = question_of(changed)

    assert changed.messages[0] == system
    assert text.index("second") < text.index("third") < text.index("first") < text.index("Q?")
    assert text.count("</passage>") == 3, "a passage cannot end itself"
    assert with_passages(case, ()) is case


def test_a_case_without_a_user_stays_as_it_is() -> None:
    case = Case("c", ({"role": "system", "content": "x"},))

    assert with_passages(case, ("p",)) is case
    assert question_of(case) == ""


@pytest.mark.parametrize("text", ["retrieved", "both/adapter", "oracle/nobody", ""])
def test_what_is_no_cell_is_refused(text: str) -> None:
    with pytest.raises(DiagnosisInvalid):
        Cell.parse(text)

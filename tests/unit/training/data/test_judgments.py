"""What the checks say of rows whose truth is known."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.unit.training.data.rows import Json, assistant, chat, preference, tooled, turn, user, write
from tests.unit.training.data.templates import TOOLS, CharacterTokenizer
from training.data.check import Kind, check_file
from training.data.checks.facts import facts_in
from training.data.findings import LISTED, CheckReport

_WORDS = [
    "amber",
    "birch",
    "cedar",
    "delta",
    "ember",
    "flint",
    "grove",
    "haven",
    "inlet",
    "jetty",
    "knoll",
    "ledge",
    "marsh",
    "north",
    "ocean",
    "pearl",
    "quay",
    "ridge",
]


def _report(folder: Path, rows: Sequence[Json], *, kind: Kind = "chat", **options: Any) -> CheckReport:
    if "heldout" in options:
        options["heldout"] = write(folder / "heldout.jsonl", *options["heldout"])
    return check_file(write(folder / "train.jsonl", *rows), kind=kind, **options)


def _lines(report: CheckReport, code: str) -> tuple[int, ...]:
    return report.lines.get(code, ())


def _severity(report: CheckReport, code: str) -> set[str]:
    return {finding.severity for finding in report.findings if finding.code == code}


def _sentence(rng: random.Random, words: int = 8) -> str:
    return " ".join(rng.choices(_WORDS, k=words))


def _varied(count: int, seed: int = 0) -> list[Json]:
    """Rows without anything to say about them."""
    rng = random.Random(seed)
    return [turn(f"What do you say to {_sentence(rng)}?", f"I say {_sentence(rng, 14)}.") for _ in range(count)]


def _labelled(labels: Sequence[str], seed: int = 0) -> list[Json]:
    rng = random.Random(seed)
    return [turn(f"Sort this: {_sentence(rng, 9)}", label) for label in labels]


def test_nothing_is_said_about_good_rows(tmp_path: Path) -> None:
    report = _report(tmp_path, _varied(40), heldout=_varied(10, seed=1))
    assert report.findings == ()
    assert (report.rows, report.heldout_rows, report.labels) == (40, 10, None)
    assert report.refused() == ()


def test_few_rows_are_mentioned(tmp_path: Path) -> None:
    assert _severity(_report(tmp_path, _varied(5)), "few_rows") == {"warning"}
    assert _severity(_report(tmp_path, _varied(10)), "few_rows") == set()


def test_the_same_row_in_other_clothes_is_a_duplicate(tmp_path: Path) -> None:
    rows = _varied(20)
    rows += [rows[3], turn("  Where   IS it?", "here"), turn("where is it?", "HERE")]
    report = _report(tmp_path, rows)
    assert _lines(report, "duplicates") == (21, 23)
    assert _severity(report, "duplicates") == {"warning"}
    assert "line 4" in next(one.message for one in report.findings if one.line == 21)


def test_a_file_of_duplicates_is_refused_unless_they_are_allowed(tmp_path: Path) -> None:
    report = _report(tmp_path, _varied(10) * 2)
    assert len(_lines(report, "duplicates")) == 10
    assert {one.code for one in report.refused()} == {"duplicates"}
    assert report.refused(allow=["duplicates"]) == ()


def test_another_system_message_or_another_tool_makes_another_prompt(tmp_path: Path) -> None:
    rows = [
        chat({"role": "system", "content": "Answer in French."}, user("Hello, how are you today?"), assistant("Bien.")),
        chat({"role": "system", "content": "Answer in German."}, user("Hello, how are you today?"), assistant("Gut.")),
        chat(user("Hello, how are you today?"), assistant("Fine.")),
        tooled(user("Hello, how are you today?"), assistant("Well.")),
    ]
    report = _report(
        tmp_path, rows, heldout=[chat({"role": "system", "content": "Answer in Czech."}, *rows[2]["messages"])]
    )
    assert set(report.lines) == set()


def test_nearly_the_same_rows_are_found(tmp_path: Path) -> None:
    rows = _varied(30)
    question, answer = (message["content"] for message in rows[7]["messages"])
    rows += [turn(question.replace("What do", "what did"), answer), turn(question + " please", answer + " indeed")]
    report = _report(tmp_path, rows)
    assert _lines(report, "near_duplicates") == (31, 32)
    assert all("line 8" in one.message for one in report.findings if one.line in (31, 32))


def test_one_instruction_before_all_prompts_makes_them_no_duplicates(tmp_path: Path) -> None:
    rng = random.Random(0)
    instruction = "Read the message of the customer below and answer with one friendly sentence. " * 4
    rows = [turn(f"{instruction}\n\n{_sentence(rng, 9)}", _sentence(rng, 9)) for _ in range(40)]
    assert _report(tmp_path, rows).findings == ()


def test_one_prompt_with_two_labels_is_a_contradiction(tmp_path: Path) -> None:
    rows = _labelled(["yes", "no", "perhaps"] * 8)
    rows.append(turn(rows[4]["messages"][0]["content"].upper(), "yes"))
    report = _report(tmp_path, rows)
    assert _lines(report, "contradiction") == (25,)
    assert {one.code for one in report.refused()} == {"contradiction"}
    message = report.refused()[0].message
    assert "line 5" in message
    assert "`no` there, `yes` here" in message


def test_two_free_answers_to_one_prompt_are_only_mentioned(tmp_path: Path) -> None:
    rows = [*_varied(20), turn("Write a poem.", "Roses are red."), turn("Write a poem.", "The sea is wide.")]
    report = _report(tmp_path, rows)
    assert _lines(report, "contradiction") == (22,)
    assert report.refused() == ()


def test_nearly_one_prompt_with_two_labels_is_doubtful_unless_a_number_differs(tmp_path: Path) -> None:
    rows = _labelled(["yes", "no", "perhaps"] * 8)
    question = rows[3]["messages"][0]["content"]
    rows += [turn(question + " now", "no"), turn(question + " 7", "no")]
    report = _report(tmp_path, rows)
    assert 25 in _lines(report, "near_contradiction")
    assert 26 not in _lines(report, "near_contradiction")
    assert report.refused() == ()


def test_preferences_contradict_each_other_the_other_way_round_alone(tmp_path: Path) -> None:
    rng = random.Random(0)
    rows = [preference([user(_sentence(rng))], _sentence(rng), _sentence(rng)) for _ in range(12)]
    rows += [
        preference([user("Hello?")], "Good day.", "Go away."),
        preference([user("Hello?")], "Good day.", "What?"),
        preference([user("Hello?")], "Go away.", "Good day."),
        preference([user("Hello?")], "Good day.", "Go away."),
    ]
    report = _report(tmp_path, rows, kind="preference")
    assert _lines(report, "contradiction") == (15,)
    assert _lines(report, "duplicates") == (16,)
    assert {one.code for one in report.refused()} == {"contradiction"}


def test_validation_prompts_that_are_trained_on_are_leakage(tmp_path: Path) -> None:
    train = _varied(40)
    question = train[11]["messages"][0]["content"]
    heldout = [*_varied(20, seed=9), turn(question.lower(), "Another answer."), turn(question + " please", "Third.")]
    report = _report(tmp_path, train, heldout=heldout)
    assert _lines(report, "leakage") == (21,)
    assert _lines(report, "near_leakage") == (22,)
    assert {one.code for one in report.refused()} == {"leakage"}
    found = next(one for one in report.findings if one.code == "leakage")
    assert found.file.endswith("heldout.jsonl")
    assert "line 12 of the training file" in found.message


def test_a_validation_file_that_is_nearly_the_training_file_is_refused(tmp_path: Path) -> None:
    train = _varied(20)
    heldout = [turn(row["messages"][0]["content"] + " please", "Fine.") for row in train[:5]]
    report = _report(tmp_path, train, heldout=heldout)
    assert _lines(report, "near_leakage") == (1, 2, 3, 4, 5)
    assert {one.code for one in report.refused()} == {"near_leakage"}


def test_labels_are_counted_and_rare_ones_named(tmp_path: Path) -> None:
    report = _report(tmp_path, _labelled(["billing"] * 30 + ["bug"] * 18 + ["outage"] * 2))
    assert report.labels == {"billing": 30, "bug": 18, "outage": 2}
    assert _lines(report, "rare_labels") == (49,)
    assert _severity(report, "label_balance") == {"note"}
    assert "`billing` has 30 rows (60.0%), `outage` 2" in report.findings[-1].message
    assert "majority_label" not in {one.code for one in report.findings}


def test_a_label_above_all_others_is_mentioned(tmp_path: Path) -> None:
    report = _report(tmp_path, _labelled(["no"] * 45 + ["yes"] * 5))
    assert _severity(report, "majority_label") == {"warning"}


def test_two_spellings_of_a_label_are_named(tmp_path: Path) -> None:
    report = _report(tmp_path, _labelled(["card_arrival", "lost_card"] * 10 + ["Card arrival"] * 5))
    assert _lines(report, "label_variants") == (21,)


def test_a_label_that_is_never_trained_on_is_named(tmp_path: Path) -> None:
    report = _report(tmp_path, _labelled(["yes", "no"] * 10), heldout=_labelled(["no", "perhaps", "yes"], seed=5))
    assert _lines(report, "unseen_labels") == (2,)


def test_the_fields_of_structured_answers_are_labels_of_their_own(tmp_path: Path) -> None:
    answers = [f'{{"team": "{team}", "urgent": {urgent}}}' for team in ("bank", "card") for urgent in ("true", "false")]
    rows = _labelled([*answers * 6, '{"team": "cart", "urgent": true}'])
    report = _report(tmp_path, rows)
    assert _lines(report, "rare_labels") == (25,)
    notes = [one.message for one in report.findings if one.code == "label_balance"]
    assert [note.partition(":")[0] for note in notes] == ["3 values of `team`", "2 values of `urgent`"]
    assert report.labels is None


def test_free_text_is_no_label(tmp_path: Path) -> None:
    assert _report(tmp_path, _varied(60)).labels is None


def test_lengths_and_what_an_epoch_costs(tmp_path: Path) -> None:
    rows = [turn("q" * length, "a" * 10) for length in range(1, 101)]
    report = _report(tmp_path, rows, tokenizer=CharacterTokenizer(), tokens_per_second=100.0)
    assert report.lengths is not None
    frame = len("<|user|><|end|>\n<|assistant|>" + "a" * 10 + "<|end|>")
    lengths = report.lengths
    assert (lengths.rows, lengths.p50, lengths.p90, lengths.longest) == (100, frame + 51, frame + 91, frame + 100)
    assert lengths.epoch_tokens == 100 * frame + 5050
    assert lengths.supervised_tokens == 100 * 17
    assert lengths.epoch_seconds == round(lengths.epoch_tokens / 100, 1)


def test_answers_that_are_cut_are_named_and_those_that_vanish_cannot_be_allowed(tmp_path: Path) -> None:
    rows = [turn("short", "answer"), turn("q" * 30, "a long answer"), turn("q" * 80, "gone")]
    report = _report(tmp_path, rows, tokenizer=CharacterTokenizer(), max_length=70)
    assert _lines(report, "answer_truncated") == (2,)
    assert _lines(report, "answer_cut_away") == (3,)
    assert {one.code for one in report.refused(allow=["answer_truncated", "answer_cut_away"])} == {"answer_cut_away"}
    assert report.lengths is not None
    assert report.lengths.rows == 2


def test_lengths_of_preferences_count_both_answers(tmp_path: Path) -> None:
    rows = [preference([user("Hello?")], "Good day.", "What?")]
    report = _report(tmp_path, rows, kind="preference", tokenizer=CharacterTokenizer(TOOLS), max_length=45)
    assert report.lengths is not None
    assert report.lengths.longest == 35 + 16
    assert (report.lengths.epoch_tokens, report.lengths.supervised_tokens) == (90, 20)
    assert _lines(report, "answer_truncated") == (1,)


def _prose(rng: random.Random, words: int = 90) -> str:
    return f"The {_sentence(rng, words)}."


@pytest.mark.parametrize("prompt", ["Continue", "continue the text.", "Write", "handbook.pdf", "Next page:"])
def test_prose_after_no_task_is_a_document(tmp_path: Path, prompt: str) -> None:
    rng = random.Random(0)
    rows = _varied(20)
    rows[4:4] = [turn(prompt, _prose(rng))]
    report = _report(tmp_path, rows)
    assert _lines(report, "documents_as_examples") == (5,)
    assert report.refused() == ()


def test_a_file_of_pieces_of_a_document_is_refused_unless_it_is_allowed(tmp_path: Path) -> None:
    rng = random.Random(0)
    report = _report(tmp_path, [*_varied(10), *(turn(f"Text {number}", _prose(rng)) for number in range(10))])
    assert _lines(report, "documents_as_examples") == tuple(range(11, 21))
    assert {one.code for one in report.refused()} == {"documents_as_examples"}
    assert report.refused(allow=["documents_as_examples"]) == ()


def test_one_prompt_with_many_long_answers_is_a_document(tmp_path: Path) -> None:
    rng = random.Random(0)
    rows = [turn("Tell me something from our handbook, please.", _prose(rng)) for _ in range(6)]
    assert _lines(_report(tmp_path, rows), "documents_as_examples") == (1, 2, 3, 4, 5, 6)


def test_a_text_that_was_cut_in_a_sentence_is_a_document(tmp_path: Path) -> None:
    rng = random.Random(0)
    rows = [turn(_sentence(rng, 60), _sentence(rng, 60)), turn(_sentence(rng, 60) + ".", _sentence(rng, 60))]
    assert _lines(_report(tmp_path, rows), "documents_as_examples") == (1,)


def test_pieces_that_overlap_are_a_document(tmp_path: Path) -> None:
    words = " ".join(f"word{number}" for number in range(300)).split()
    pieces = [" ".join(words[start : start + 100]) for start in (0, 80, 160)]
    rows = [turn(f"What does section {number} of the manual say on it?", piece) for number, piece in enumerate(pieces)]
    assert _lines(_report(tmp_path, rows), "documents_as_examples") == (2, 3)


def test_a_long_answer_to_a_question_is_no_document(tmp_path: Path) -> None:
    rng = random.Random(0)
    rows = [turn(f"Why is {_sentence(rng, 4)} so?", _prose(rng)) for _ in range(20)]
    rows.append(turn("Continue this story in the voice of a pirate, with a parrot in it.", _prose(rng)))
    assert _lines(_report(tmp_path, rows), "documents_as_examples") == ()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("It costs $19.99 a month.", "a price"),
        ("It costs 1,200 EUR.", "a price"),
        ("It is 5 euros.", "a price"),
        ("You get 15% off.", "a percentage"),
        ("We opened on 3 March 2024.", "a date"),
        ("We opened on March 3rd, 2024.", "a date"),
        ("Due 2024-03-01.", "a date"),
        ("Due 01/03/2024.", "a date"),
        ("Install v2.1 first.", "a version"),
        ("Install 3.11.4 first.", "a version"),
        ("Call +49 30 1234567.", "a telephone number"),
        ("Call (555) 123-4567.", "a telephone number"),
        ("See https://example.org/plans.", "a URL"),
        ("Write to help@example.org.", "an e-mail address"),
    ],
)
def test_facts_that_change_are_recognised(text: str, kind: str) -> None:
    assert [fact.kind for fact in facts_in(text)] == [kind]


@pytest.mark.parametrize(
    "text",
    ["The answer is 42.", "It may rain.", "Take 3 of 5.", "Pi is 3.14.", "You march on.", "Row 12/14", "1.", "e.g. so"],
)
def test_numbers_that_do_not_change_are_let_be(text: str) -> None:
    assert list(facts_in(text)) == []


def test_a_fact_that_the_prompt_holds_is_no_matter(tmp_path: Path) -> None:
    rows = [
        *_varied(20),
        turn("What does the plan cost?", "It costs $1,200.00."),
        turn("The plan costs $ 1200.00. What does it cost?", "It costs $1,200.00."),
        chat({"role": "system", "content": "Prices fell 5 %."}, user("By how much?"), assistant("By 5%.")),
    ]
    report = _report(tmp_path, rows)
    assert _lines(report, "changing_facts") == (21,)
    assert _severity(report, "changing_facts") == {"warning"}


def test_a_file_of_facts_is_refused_unless_they_are_allowed(tmp_path: Path) -> None:
    rows = [
        *_varied(20),
        *(turn(f"What costs {word}?", f"{word.title()} costs ${n}.") for n, word in enumerate(_WORDS[:12])),
    ]
    report = _report(tmp_path, rows)
    assert len(_lines(report, "changing_facts")) == 12
    assert {one.code for one in report.refused()} == {"changing_facts"}
    assert report.refused(allow=["changing_facts"]) == ()


def test_many_findings_are_counted_and_the_first_are_listed(tmp_path: Path) -> None:
    report = _report(tmp_path, _varied(40) * 2)
    found = [one for one in report.findings if one.code == "duplicates"]
    assert len(found) == LISTED + 1
    assert found[-1].line is None
    assert found[-1].message.startswith("40 rows repeat another one")
    assert _lines(report, "duplicates") == tuple(range(41, 81))


def test_a_report_is_plain_data(tmp_path: Path) -> None:
    report = _report(tmp_path, _labelled(["yes", "no"] * 10), tokenizer=CharacterTokenizer())
    data = json.loads(json.dumps(report.to_json()))
    assert data["labels"] == {"yes": 10, "no": 10}
    assert data["lengths"]["rows"] == 20
    assert len(data["sha256"]) == 64

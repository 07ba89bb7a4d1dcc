"""``loraplex knowledge tune``: judged questions to fusion weights."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from retrieval.tuning import split
from serving.cli.client import Failed
from serving.cli.tuning import Question, read_questions, tuned
from serving.config import parse_config
from tests.knowledge_terminal import knowledge_terminal

STORE = {"id": "vs_1", "name": "handbook"}
DOCUMENTS: list[dict[str, Any]] = [
    {"id": "file-1", "filename": "a.md", "attributes": {"source": "x/a.md"}},
    {"id": "file-2", "filename": "b.md", "attributes": {}},
]
QUESTIONS = [Question(f"question {number}", {"x/a.md": 1}) for number in range(40)]


def answer(*, reranked: bool = False) -> dict[str, Any]:
    """Words find the right document, vectors the wrong one; what is searched now believes the vectors."""
    dense = [["file-2", 0, 0.9], ["file-2", 1, 0.85], ["file-1", 0, 0.1], ["file-3", 0, 0.0]]
    lexical = [["file-1", 0, 9.0], ["file-2", 0, 1.0], ["file-3", 0, 0.5]]
    data: list[dict[str, Any]] = [
        {"file_id": f"file-{n}", "scores": {"fused": fused}} for n, fused in ((2, 0.9), (1, 0.5), (3, 0.1))
    ]
    if reranked:
        data = [one | {"scores": one["scores"] | {"reranked": 1.0}} for one in (data[1], data[0], data[2])]
    return {"data": data, "arms": [{"dense": dense, "lexical": lexical}]}


def test_the_better_arm_gets_the_weight_and_the_present_setting_stands_beside_it() -> None:
    found = tuned(STORE, DOCUMENTS, QUESTIONS, "mrr", lambda question: answer())
    tune, report = split([one.text for one in QUESTIONS])
    assert (found["tuned_on"], found["reported_on"]) == (len(tune), len(report))
    assert found["weights"]["lexical"] > found["weights"]["dense"]
    assert found["value"] == 1
    assert found["arms"] == {"dense": 0.5, "lexical": 1.0}
    assert found["present"] == 0.5
    assert found["answered"] is None
    search = yaml.safe_load(found["yaml"])["knowledge"]["bases"]["handbook"]["search"]
    assert search["lexical_weight"] == found["weights"]["lexical"]


def test_what_a_reranker_makes_of_the_present_setting_is_told_apart() -> None:
    found = tuned(STORE, DOCUMENTS, QUESTIONS, "mrr", lambda question: answer(reranked=True))
    assert (found["present"], found["answered"]) == (0.5, 1.0)


def test_documents_are_named_by_source_file_name_or_id() -> None:
    for name in ("x/a.md", "a.md", "file-1"):
        questions = [Question(one.text, {name: 2}) for one in QUESTIONS]
        assert tuned(STORE, DOCUMENTS, questions, "mrr", lambda question: answer())["value"] == 1


def test_a_document_that_the_store_lacks_counts_as_never_found() -> None:
    questions = [Question(one.text, {"x/a.md": 1, "lost.md": 1}) for one in QUESTIONS]
    found = tuned(STORE, DOCUMENTS, questions, "recall@10", lambda question: answer())
    assert found["value"] == 0.5
    assert found["unknown"] == ["lost.md"]


def test_questions_that_the_store_has_no_answer_to_are_too_few() -> None:
    questions = [Question(one.text, {"lost.md": 1}) for one in QUESTIONS]
    with pytest.raises(Failed, match=r"0 questions have an answer .* Unknown here: lost\.md"):
        tuned(STORE, DOCUMENTS, questions, "mrr", lambda question: answer())


def test_one_arm_alone_cannot_be_weighed() -> None:
    single = answer() | {"arms": [{"dense": [["file-1", 0, 1.0]]}]}
    with pytest.raises(Failed, match="there are two arms to weigh; these have lists: dense"):
        tuned(STORE, DOCUMENTS, QUESTIONS, "mrr", lambda question: single)


def test_a_key_that_is_not_told_the_arms_cannot_tune() -> None:
    untold = {name: value for name, value in answer().items() if name != "arms"}
    with pytest.raises(Failed, match="administrator") as refused:
        tuned(STORE, DOCUMENTS, QUESTIONS, "mrr", lambda question: untold)
    assert refused.value.code == "permission_denied"


def test_an_unknown_measure_is_told_with_those_that_there_are() -> None:
    with pytest.raises(Failed, match="there are ndcg@K, recall@K and mrr"):
        tuned(STORE, DOCUMENTS, QUESTIONS, "bleu", lambda question: answer())


def lines(folder: Path, *extra: Any, count: int = 10) -> Path:
    """A file of judged questions, and then other lines."""
    judged = [{"query": f"question {number}", "relevant": ["a.md"]} for number in range(count)]
    texts = [one if isinstance(one, str) else json.dumps(one) for one in (*judged, *extra)]
    path = folder / "questions.jsonl"
    path.write_text("\n".join(texts), encoding="utf-8")
    return path


def test_questions_name_documents_or_grade_them(tmp_path: Path) -> None:
    read = read_questions(lines(tmp_path, "", {"query": "graded", "relevant": {"a.md": 2, "b.md": 0}}))
    assert len(read) == 11
    assert read[0].grades == {"a.md": 1}
    assert read[-1].grades == {"a.md": 2, "b.md": 0}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "Expecting"),
        ("[" * 100_000, "line 11"),
        ([], "an object with"),
        ({"query": " ", "relevant": []}, "an object with"),
        ({"query": "why", "relevant": "a.md"}, '"relevant" must be'),
        ({"query": "why", "relevant": [1]}, '"relevant" must be'),
        ({"query": "why", "relevant": [["a.md"]]}, '"relevant" must be'),
        ({"query": "why", "relevant": {"a.md": "high"}}, '"relevant" must be'),
        ({"query": "why", "relevant": {"a.md": True}}, '"relevant" must be'),
        ({"query": "question 1", "relevant": ["a.md"]}, "the same question"),
    ],
)
def test_a_line_that_is_no_judged_question_is_told_with_its_number(tmp_path: Path, line: Any, said: str) -> None:
    with pytest.raises(Failed, match="line 11: ") as refused:
        read_questions(lines(tmp_path, line))
    assert said in str(refused.value)


def test_too_few_questions_are_refused(tmp_path: Path) -> None:
    nothing = {"query": "unanswered", "relevant": {"a.md": 0}}
    with pytest.raises(Failed, match="has 9 questions with an answer; 10 are needed"):
        read_questions(lines(tmp_path, nothing, count=9))


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="cannot be read: No such file"):
        read_questions(tmp_path / "missing")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(Failed, match="cannot be read: not UTF-8"):
        read_questions(tmp_path / "binary")


async def test_a_live_store_is_tuned_and_the_setting_can_be_pasted(tmp_path: Path) -> None:
    words = ("apples", "bridges", "candles", "drums", "engines", "forests", "glaciers", "harbours", "islands", "juice")
    docs, state = tmp_path / "docs", tmp_path / "state"
    docs.mkdir()
    state.mkdir()
    for word in words:
        (docs / f"{word}.md").write_text(f"All about {word} and how we handle them here.")
    judged = [
        {"query": f"{verb} {word}", "relevant": [f"{word}.md"]} for word in words for verb in ("tell about", "handle")
    ]
    (tmp_path / "questions.jsonl").write_text("\n".join(map(json.dumps, judged)))
    async with knowledge_terminal(state) as cli:
        await cli.ingest(docs)
        asked = ("knowledge", "tune", "handbook", str(tmp_path / "questions.jsonl"))
        found = await cli.json(*asked, "--measure", "mrr")
        assert found["tuned_on"] + found["reported_on"] == 20
        assert found["value"] == found["arms"]["lexical"] == 1
        parse_config({"model": {"id": "org/base"}} | yaml.safe_load(found["yaml"]))
        output = await cli.run(*asked)
        assert f"ndcg@10 on the {found['reported_on']} others:" in output
        assert "the present one" in output
        assert yaml.safe_load(output[output.index("knowledge:") :]) == yaml.safe_load(found["yaml"])
        refusal = await cli.run("knowledge", "tune", "handbook", str(lines(tmp_path, "{")), exit_code=1)
        assert "questions.jsonl, line 11: " in refusal

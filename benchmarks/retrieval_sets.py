"""Judged sets of questions, read from the folder that holds them: Cranfield and the code questions."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from retrieval.ir_metrics import Qrels
from retrieval.parsing.blocks import Block, BlockKind, ParsedDocument

_DOCUMENT = re.compile(r"<docno>(.*?)</docno>.*?<title>(.*?)</title>.*?<text>(.*?)</text>", re.DOTALL)
_QUESTION = re.compile(r"<title>(.*?)</title>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class JudgedSet:
    """Documents, questions, and which documents answer them."""

    name: str
    documents: Mapping[str, ParsedDocument]
    questions: Mapping[str, str]
    qrels: Qrels


def cranfield(folder: Path) -> JudgedSet:
    """1,400 abstracts on aerodynamics and 225 questions. Raises OSError where they are not there."""
    documents = {}
    for number, title, text in _DOCUMENT.findall((folder / "cran.all.1400.xml").read_text(encoding="utf-8")):
        heading, body = _plain(title), _plain(text)
        # The abstract repeats its title.
        body = body.removeprefix(heading).strip()
        documents[number.strip()] = ParsedDocument(heading, (Block(BlockKind.TEXT, body or heading),))
    asked = _QUESTION.findall((folder / "cran.qry.xml").read_text(encoding="utf-8"))
    # The judgements number the questions as they come, not as they are labelled.
    questions = {str(place): _plain(text) for place, text in enumerate(asked, start=1)}
    qrels: dict[str, dict[str, int]] = {}
    for line in (folder / "cranqrel.trec.txt").read_text(encoding="utf-8").splitlines():
        if line.strip():
            question, _, document, grade = line.split()
            qrels.setdefault(question, {})[document] = int(grade)
    return JudgedSet("cranfield", documents, questions, qrels)


def codebase(folder: Path) -> JudgedSet:
    """737 chunks of source files and 248 questions about them. Raises OSError where they are not there."""
    documents, keys = {}, {}
    for file in json.loads((folder / "codebase_chunks.json").read_text(encoding="utf-8")):
        for part in file["chunks"]:
            keys[file["original_uuid"], part["original_index"]] = part["chunk_id"]
            documents[part["chunk_id"]] = ParsedDocument("", (Block(BlockKind.CODE, part["content"]),))
    questions, qrels = {}, {}
    for number, line in enumerate((folder / "queries.jsonl").read_text(encoding="utf-8").splitlines()):
        asked = json.loads(line)
        questions[str(number)] = asked["query"]
        golden = (keys[uuid, index] for uuid, index in asked["golden_chunk_uuids"])
        qrels[str(number)] = dict.fromkeys(golden, 1)
    return JudgedSet("codebase_rag", documents, questions, qrels)


def _plain(text: str) -> str:
    return " ".join(text.split())

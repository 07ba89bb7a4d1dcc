"""Raw documents that pose as examples: a model trained on them learns to write on, not to do a task."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise

from training.data.examples import Example
from training.data.findings import Findings

LONG = 60
"""Words from which an answer is long enough to be a piece of a document."""
SAME_PROMPT = 5
"""Long and different answers to one prompt that show that the prompt asks for nothing in particular."""
FORBID_SHARE = 0.2
FORBID_ROWS = 3
_OVERLAP = 8
"""Words that the end of one answer and the beginning of the next share where a document was cut with an overlap."""

_NO_TASK = re.compile(
    r"(?:please |now )?(?:continue|go on|proceed|next|more|write|complete|generate|text|document|article|passage|"
    r"content|page|chapter|section)(?: (?:the|this|a|an|more|some|writing|text|document|article|passage|story|content|it|"
    r"here|please|from here|\d+))*[.:!… ]*",
    re.IGNORECASE,
)
_FILE_NAME = re.compile(r"[\w ./-]{1,100}\.(?:pdf|docx?|txt|md|html?|rst)", re.IGNORECASE)
_ENDS = (".", "!", "?", ":", ";", "…", '"', "'", "”", ")", "]", "}", "`", "。", "！", "？")


def check_documents(examples: Sequence[Example], findings: Findings, file: str) -> None:
    """Long prose without a task: empty prompts, one prompt for everything, texts that were cut and continued."""
    long = [example for example in examples if not example.calls and len(example.answer.split()) >= LONG]
    reasons: dict[int, str] = {}
    for check in (_same_prompts, _chunks, _without_task, _continued):
        reasons |= check(long)
    forbidden = len(reasons) >= FORBID_ROWS and len(reasons) >= FORBID_SHARE * len(examples)
    findings.add_rows(
        "documents_as_examples",
        "error" if forbidden else "warning",
        list(reasons.items()),
        file=file,
        summary="look like documents; ingest those into a vector store, and train on examples of the task",
    )


def _without_task(long: Sequence[Example]) -> Mapping[int, str]:
    return {
        example.line: f"`{example.question.strip()[:40]}` asks for nothing in particular and the answer is long prose; "
        "write the question that the answer answers"
        for example in long
        if _NO_TASK.fullmatch(example.question.strip()) or _FILE_NAME.fullmatch(example.question.strip())
    }


def _same_prompts(long: Sequence[Example]) -> Mapping[int, str]:
    groups: dict[tuple[str, str], list[Example]] = defaultdict(list)
    for example in long:
        groups[example.asked].append(example)
    return {
        example.line: f"`{example.question.strip()[:40]}` is the prompt of {len(group)} rows with different long "
        "answers; write the question that each answers"
        for group in groups.values()
        if len({example.said for example in group}) >= SAME_PROMPT
        for example in group
    }


def _continued(long: Sequence[Example]) -> Mapping[int, str]:
    return {
        example.line: "the prompt breaks off in a sentence and the answer goes on with it: a document that was cut; "
        "write a question and its answer"
        for example in long
        if len(example.question.split()) >= LONG // 2
        and not example.question.rstrip().endswith(_ENDS)
        and example.answer.lstrip()[:1].islower()
    }


def _chunks(long: Sequence[Example]) -> Mapping[int, str]:
    found = {}
    for before, example in pairwise(long):
        tail = " ".join(before.answer.split()[-_OVERLAP:])
        if tail in " ".join(example.answer.split()[: LONG + _OVERLAP]):
            found[example.line] = (
                f"the answer begins with the end of the answer in line {before.line}: a document that was cut into "
                "overlapping pieces; write questions and their answers"
            )
    return found

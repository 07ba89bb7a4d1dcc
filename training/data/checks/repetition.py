"""Rows that repeat each other, and rows that contradict each other."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

from training.data.examples import Example
from training.data.findings import Findings
from training.data.similarity import Near, NearTexts, common_hashes, normalised, resemblance, shingle_hashes

NEAR = 0.8
"""Jaccard similarity from which two texts are nearly the same."""
DUPLICATES_FORBID = 0.3
"""Share of the rows from which duplicates forbid training."""
NEAR_DUPLICATES_FORBID = 0.5

_NUMBER = re.compile(r"\d+")
Rows = list[tuple[int, str]]


def check_repetition(examples: Sequence[Example], findings: Findings, file: str, *, are_labels: bool) -> None:
    """Duplicates and contradictions, exact and near.

    Args:
        are_labels: whether the answers look like labels: only then are different answers to one prompt a
            contradiction for sure, and different answers to nearly one prompt worth a look.
    """
    groups: dict[tuple[str, str], list[Example]] = defaultdict(list)
    for example in examples:
        groups[example.asked].append(example)
    duplicates, contradictions = _exact(groups.values())
    share = len(duplicates) / max(1, len(examples))
    findings.add_rows(
        "duplicates",
        "error" if share > DUPLICATES_FORBID else "warning",
        duplicates,
        file=file,
        summary="repeat another one; remove them, or they weigh more than they should",
    )
    surely = are_labels or any(example.rejected is not None for example in examples)
    findings.add_rows(
        "contradiction",
        "error" if surely else "warning",
        contradictions,
        file=file,
        summary="answer a prompt in another way than a row before; decide which answer is right",
    )
    near, doubtful = _near([group[0] for group in groups.values()], are_labels=are_labels)
    share = len(near) / max(1, len(examples))
    findings.add_rows(
        "near_duplicates",
        "error" if share > NEAR_DUPLICATES_FORBID else "warning",
        near,
        file=file,
        summary="nearly repeat another one; keep one of each group",
    )
    findings.add_rows(
        "near_contradiction",
        "warning",
        doubtful,
        file=file,
        summary="have another label than a row with nearly the same prompt; look whether both are right",
    )


def shown(text: str) -> str:
    """The beginning of a text, for a message."""
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:59] + "…"


def _exact(groups: Iterable[list[Example]]) -> tuple[Rows, Rows]:
    duplicates: Rows = []
    contradictions: Rows = []
    for group in groups:
        first_by_answer: dict[tuple[str, str], Example] = {}
        for example in group:
            said = (example.said, example.rejected_said)
            before = first_by_answer.setdefault(said, example)
            if before is not example:
                duplicates.append((example.line, f"the same row as line {before.line}; keep one of them"))
            elif (other := _contradicted(example, group[0], first_by_answer)) is not None:
                contradictions.append(
                    (
                        example.line,
                        f"the same prompt as line {other.line} with another answer: `{shown(other.answer)}` there, "
                        f"`{shown(example.answer)}` here; decide which is right",
                    )
                )
    return duplicates, contradictions


def _contradicted(example: Example, first: Example, seen: dict[tuple[str, str], Example]) -> Example | None:
    if example.rejected is not None:
        # A prompt may have many comparisons; only the same one the other way round contradicts.
        return seen.get((example.rejected_said, example.said))
    return first if first is not example else None


def _near(examples: Sequence[Example], *, are_labels: bool) -> tuple[Rows, Rows]:
    texts = [normalised(example.prompt) for example in examples]
    index = NearTexts(NEAR, common_hashes(texts))
    repeated: Rows = []
    doubtful: Rows = []
    for number, (example, text) in enumerate(zip(examples, texts, strict=True)):
        near = [one for one in index.near(text) if examples[one.key].frame == example.frame]
        same = max((one for one in near if _answers_alike(example, examples[one.key])), default=None, key=_how_near)
        other = max((one for one in near if _surprising(example, examples[one.key])), default=None, key=_how_near)
        if same is not None:
            line = examples[same.key].line
            repeated.append((example.line, f"nearly the same row as line {line} ({same.resemblance:.2f} alike)"))
        if are_labels and other is not None:
            found = examples[other.key]
            doubtful.append(
                (
                    example.line,
                    f"nearly the same prompt as line {found.line} ({other.resemblance:.2f} alike), which is labelled "
                    f"`{shown(found.answer)}` and this `{shown(example.answer)}`; look whether both are right",
                )
            )
        index.add(number, text)
    return repeated, doubtful


def _how_near(near: Near) -> tuple[float, int]:
    return near.resemblance, -near.key


def _answers_alike(one: Example, other: Example) -> bool:
    if (one.said, one.rejected_said) == (other.said, other.rejected_said):
        return True
    pairs = ((one.answer, other.answer), (one.rejected or "", other.rejected or ""))
    return all(_alike(normalised(left), normalised(right)) for left, right in pairs)


def _alike(one: str, other: str) -> bool:
    # A label of one word is another one as soon as a letter differs.
    if one == other or min(len(one.split()), len(other.split())) < _FEWEST_WORDS:
        return one == other
    return resemblance(shingle_hashes(one), shingle_hashes(other)) >= NEAR


_FEWEST_WORDS = 4


def _surprising(one: Example, other: Example) -> bool:
    """Another answer although not even a number in the prompt differs."""
    return one.said != other.said and _NUMBER.findall(one.prompt) == _NUMBER.findall(other.prompt)

"""Validation rows that are trained on: their loss says nothing about new ones."""

from collections.abc import Sequence

from training.data.checks.repetition import NEAR
from training.data.examples import Example
from training.data.findings import Findings
from training.data.similarity import NearTexts, common_hashes, normalised

NEAR_LEAKAGE_FORBIDS = 0.1
"""Share of the validation rows from which near leakage forbids training."""


def check_leakage(train: Sequence[Example], heldout: Sequence[Example], findings: Findings, file: str) -> None:
    """Validation prompts that are trained on, exactly or nearly; whatever their answers."""
    lines = {example.asked: example.line for example in reversed(train)}
    texts = [normalised(example.prompt) for example in train]
    index = NearTexts(NEAR, common_hashes([*texts, *(normalised(example.prompt) for example in heldout)]))
    for number, text in enumerate(texts):
        index.add(number, text)
    exact: list[tuple[int, str]] = []
    near: list[tuple[int, str]] = []
    for example in heldout:
        line = lines.get(example.asked)
        if line is not None:
            exact.append((example.line, f"the prompt is line {line} of the training file; remove it from one of them"))
            continue
        found = [one for one in index.near(normalised(example.prompt)) if train[one.key].frame == example.frame]
        if found:
            best = max(found, key=lambda one: (one.resemblance, -one.key))
            near.append(
                (
                    example.line,
                    f"the prompt is nearly line {train[best.key].line} of the training file "
                    f"({best.resemblance:.2f} alike); keep groups of like rows in one of the files",
                )
            )
    findings.add_rows(
        "leakage", "error", exact, file=file, summary="of the validation file are trained on; remove them"
    )
    findings.add_rows(
        "near_leakage",
        "error" if len(near) > NEAR_LEAKAGE_FORBIDS * len(heldout) else "warning",
        near,
        file=file,
        summary="of the validation file are nearly trained on; split by groups of like rows",
    )

"""How long the rows are for a tokenizer, what an epoch costs, and which answers would lose tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

from training.data.chat import ChatRow
from training.data.encoding import (
    IGNORED,
    ChatTokenizer,
    encode_preference,
    encode_row,
    require_answer,
    require_difference,
)
from training.data.findings import Findings, TokenLengths
from training.data.preferences import PreferenceRow
from training.errors import RowInvalid

_UNLIMITED = 2**31


@dataclass(frozen=True, slots=True)
class RowLength:
    """Tokens of one row; for a preference those of both answers with their prompts count as trained."""

    whole: int
    """Tokens of the longest sequence, without truncation."""
    trained: int
    """Tokens that go through the model in an epoch."""
    supervised: int
    """Tokens of them that are learnt."""
    lost: int
    """Tokens of the answers that truncation cuts off."""


def check_lengths(
    rows: Sequence[ChatRow | PreferenceRow],
    lines: Sequence[int],
    tokenizer: ChatTokenizer,
    findings: Findings,
    file: str,
    *,
    max_length: int | None,
    tokens_per_second: float | None,
) -> TokenLengths | None:
    """Measure every row. None where no row can be encoded.

    Raises:
        BaseModelInvalid: the chat template cannot be used for training.
    """
    limit = max_length or _UNLIMITED
    lengths: list[RowLength] = []
    broken: dict[str, list[tuple[int, str]]] = {}
    shortened: list[tuple[int, str]] = []
    for row, line in zip(rows, lines, strict=True):
        try:
            length = row_length(row, tokenizer, limit)
        except RowInvalid as problem:
            broken.setdefault(problem.code, []).append((line, str(problem)))
            continue
        lengths.append(length)
        if length.lost:
            shortened.append(
                (
                    line,
                    f"the row has {length.whole:,} tokens and the maximum is {limit:,}: the answer loses its last "
                    f"{length.lost:,}, its end too; shorten the row or raise the maximum",
                )
            )
    for code, problems in broken.items():
        findings.add_rows(code, "error", problems, file=file, summary="cannot be encoded")
    findings.add_rows("answer_truncated", "error", shortened, file=file, summary="lose the end of their answer")
    return _summary(lengths, tokens_per_second) if lengths else None


def row_length(row: ChatRow | PreferenceRow, tokenizer: ChatTokenizer, max_length: int) -> RowLength:
    """Tokens of one row. Raises RowInvalid and BaseModelInvalid as encoding does."""
    if isinstance(row, ChatRow):
        return _chat_length(row, tokenizer, max_length)
    return _preference_length(row, tokenizer, max_length)


def _chat_length(row: ChatRow, tokenizer: ChatTokenizer, max_length: int) -> RowLength:
    whole = encode_row(row, tokenizer, _UNLIMITED)
    kept = require_answer(whole.shortened(max_length), max_length)
    supervised = sum(label != IGNORED for label in kept.labels)
    lost = sum(label != IGNORED for label in whole.labels) - supervised
    return RowLength(len(whole.input_ids), len(kept.input_ids), supervised, lost)


def _preference_length(row: PreferenceRow, tokenizer: ChatTokenizer, max_length: int) -> RowLength:
    whole = encode_preference(row, tokenizer, _UNLIMITED)
    kept = require_difference(whole.shortened(max_length), max_length)
    supervised = len(kept.chosen_ids) + len(kept.rejected_ids)
    lost = len(whole.chosen_ids) + len(whole.rejected_ids) - supervised
    longest = len(whole.prompt_ids) + max(len(whole.chosen_ids), len(whole.rejected_ids))
    return RowLength(longest, 2 * len(kept.prompt_ids) + supervised, supervised, lost)


def _summary(lengths: Sequence[RowLength], tokens_per_second: float | None) -> TokenLengths:
    ordered = sorted(length.whole for length in lengths)

    def percentile(share: float) -> int:
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    tokens = sum(length.trained for length in lengths)
    return TokenLengths(
        rows=len(ordered),
        p50=percentile(0.5),
        p90=percentile(0.9),
        p99=percentile(0.99),
        longest=ordered[-1],
        epoch_tokens=tokens,
        supervised_tokens=sum(length.supervised for length in lengths),
        epoch_seconds=round(tokens / tokens_per_second, 1) if tokens_per_second else None,
    )

"""Nothing is trained on data that fails its checks without being asked for in so many words."""

from collections.abc import Collection
from typing import Literal

from training.data.encoding import ChatTokenizer
from training.errors import DataInvalid
from training.tuning.events import Event, Listener
from training.tuning.recipe import Recipe


def require_trainable(
    recipe: Recipe,
    kind: Literal["chat", "preference"],
    tokenizer: ChatTokenizer,
    allow: Collection[str],
    tell: Listener,
) -> None:
    """Check the recipe's data; findings that do not forbid a training are told.

    Raises:
        DataInvalid: a finding forbids it and is not among the codes in ``allow``.
    """
    from training.data.check import check_file

    report = check_file(
        recipe.train, kind=kind, heldout=recipe.heldout, tokenizer=tokenizer, max_length=recipe.max_length
    )
    refused = report.refused(allow)
    if refused:
        first = refused[0]
        place = first.file if first.line is None else f"{first.file}:{first.line}"
        more = f" ({len(refused) - 1} more findings)" if len(refused) > 1 else ""
        raise DataInvalid(f"{place}: {first.message}{more}", code=first.code, line=first.line)
    for finding in report.findings:
        place = finding.file if finding.line is None else f"{finding.file}:{finding.line}"
        tell(
            Event(
                "message",
                f"{place}: {finding.message}",
                {"code": finding.code, "line": finding.line, "file": finding.file},
                level="info" if finding.severity == "note" else "warn",
            )
        )

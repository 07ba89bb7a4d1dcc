"""Facts that look like they change, in answers whose prompts do not hold them: they belong into retrieval."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from training.data.examples import Example
from training.data.findings import Findings

FORBID_SHARE = 0.2
"""Share of the rows from which changing facts forbid training, where there are at least FORBID_ROWS."""
FORBID_ROWS = 10

_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sep(?:t(?:ember)?)?|oct(?:ober)?|"
    r"nov(?:ember)?|dec(?:ember)?)"
)
_AMOUNT = r"\d[\d,. ]{0,15}\d|\d"
# Every repetition is bounded, so that no answer makes an expression slow.
_PATTERNS = (
    ("a URL", re.compile(r"\b(?:https?://|www\.)[^\s<>()\"'\]]{3,300}", re.IGNORECASE)),
    ("an e-mail address", re.compile(r"\b[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{2,63}){1,4}\b")),
    (
        "a price",
        re.compile(
            rf"[$€£¥₹]\s?(?:{_AMOUNT})|\b(?:USD|EUR|GBP|CHF|JPY|INR)\s?(?:{_AMOUNT})"
            rf"|\b(?:{_AMOUNT})\s?(?:[€£]|(?:USD|EUR|GBP|CHF|JPY|INR|dollars?|euros?|pounds)\b)",
            re.IGNORECASE,
        ),
    ),
    ("a percentage", re.compile(r"\b\d{1,3}(?:[.,]\d{1,4})?\s?(?:%|percent\b|per cent\b)", re.IGNORECASE)),
    (
        "a date",
        re.compile(
            rf"\b(?:\d{{4}}-\d{{2}}-\d{{2}}|\d{{1,2}}[/.]\d{{1,2}}[/.]\d{{2,4}}"
            rf"|\d{{1,2}}(?:st|nd|rd|th|\.)?\s(?:of\s)?{_MONTH}\.?(?:,?\s\d{{4}})?"
            rf"|{_MONTH}\.?\s\d{{1,2}}(?:st|nd|rd|th)?(?:,?\s\d{{4}})?|{_MONTH}\s\d{{4}})\b",
            re.IGNORECASE,
        ),
    ),
    (
        "a version",
        re.compile(
            r"\bv\d{1,4}(?:\.\d{1,6}){1,3}\b|\bversion \d{1,4}(?:\.\d{1,6}){0,3}\b"
            r"|(?<![\d.,$€£])\b\d{1,4}\.\d{1,6}\.\d{1,6}\b(?!\.\d)",
            re.IGNORECASE,
        ),
    ),
    (
        "a telephone number",
        re.compile(
            r"(?<![\w.])\+\d{1,3}[ ()/-]{0,2}\d(?:[ ()/-]{0,2}\d){6,13}\b"
            r"|(?<!\w)\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}\b"
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Fact:
    """Something in a text that looks as if it were different one day."""

    kind: str
    """With its article, such as "a price"."""
    text: str


def facts_in(text: str) -> Iterator[Fact]:
    """Every price, percentage, date, version, telephone number, URL and e-mail address of a text."""
    taken: list[range] = []
    for kind, pattern in _PATTERNS:
        for match in pattern.finditer(text):
            span = range(*match.span())
            if not any(span.start < other.stop and other.start < span.stop for other in taken):
                taken.append(span)
                yield Fact(kind, match.group().strip(" .,;:"))


def check_facts(examples: Sequence[Example], findings: Findings, file: str) -> None:
    """Answers that state such facts although nothing before them does."""
    rows = []
    for example in examples:
        known = _comparable(example.context)
        unfounded = [fact for fact in facts_in(example.answer) if _comparable(fact.text) not in known]
        if unfounded:
            said = ", ".join(f"{fact.kind} (`{fact.text[:40]}`)" for fact in unfounded[:3])
            rows.append(
                (
                    example.line,
                    f"the answer states {said} that its prompt does not hold; if it can change, ingest its source "
                    "and let the prompt carry the passage",
                )
            )
    forbidden = len(rows) >= FORBID_ROWS and len(rows) >= FORBID_SHARE * len(examples)
    findings.add_rows(
        "changing_facts",
        "error" if forbidden else "warning",
        rows,
        file=file,
        summary="teach facts that look like they change; those belong into a vector store",
    )


def _comparable(text: str) -> str:
    """The text in which the same amount looks the same however it is written."""
    return (
        re.sub(r"(?<=\d)[, ](?=\d{3}\b)", "", " ".join(text.casefold().split())).replace(" %", "%").replace("$ ", "$")
    )

"""Takes out of texts what names a person, pays a bill or opens a door. Pure.

Patterns find what has the form of an address, a number or a key; a name or a story they do not. Every pass reads its
text once or a bounded number of times: no input makes it slow (possessive quantifiers and bounded repetition; what
would need backtracking is done by hand).
"""

import re
from collections.abc import Callable

EMAIL = "[email]"
CARD = "[card]"
PHONE = "[phone]"
KEY = "[key]"

OWN_KEY_PREFIX = "lpx-"
"""What the gateway's own API keys begin with."""

_CARD_DIGITS = range(13, 20)
_CARD_FIRST = "23456"
"""First digits of payment cards (ISO/IEC 7812): with others, millisecond timestamps among them, nobody pays."""
_PHONE_DIGITS = range(8, 16)
"""With the country code, E.164 allows 15."""
_TRUNK_DIGITS = range(9, 13)

# Keys. What stands before one is part of no word, so that `task-runner` holds no `sk-`.
_PREFIXED = re.compile(
    r"(?<![A-Za-z0-9_])(?:"
    rf"{OWN_KEY_PREFIX}[A-Za-z0-9_-]{{20,}}+"
    r"|sk-(?=[A-Za-z_-]{0,64}+[0-9])[A-Za-z0-9_-]{20,}+"
    r"|[rs]k_(?:live|test)_[A-Za-z0-9]{16,}+"
    r"|gh[opsur]_[A-Za-z0-9]{36,}+|github_pat_[A-Za-z0-9_]{22,}+|glpat-[A-Za-z0-9_-]{20,}+"
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,}+"
    r"|AIza[A-Za-z0-9_-]{35}"
    r"|hf_[A-Za-z0-9]{30,}+"
    r"|(?:AKIA|ASIA|ABIA|ACCA|AGPA|AIDA|AROA|ANPA)[A-Z0-9]{16}(?![A-Z0-9])"
    r"|(?<!-)eyJ[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]*+"
    r")"
)
_BEARER = re.compile(r"\b(bearer|basic)([ \t]{1,8}+)([A-Za-z0-9._~+/-]{8,}+=*+)", re.IGNORECASE)
_ASSIGNED = re.compile(
    r"(?<![A-Za-z0-9])((?:aws_?)?(secret_?access_?key|api[_-]?key|access[_-]?token|auth[_-]?token|client[_-]?secret"
    r"|private[_-]?key|secret|token|passwd|password|pwd)[\"']?[ \t]{0,8}+(?:=>|[:=])[ \t]{0,8}+[\"']?)"
    r"([^\s\"'`,;<>\[\](){}]{8,}+)",
    re.IGNORECASE,
)
_IN_URL = re.compile(r"(?<=://)[^\s/@:\"']{0,256}+:[^\s/@\"']{1,256}+(?=@)")
_PEM_BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_PEM_END = "-----END"

_ADDRESS = re.compile(r"(?<![\w.%+-])[\w.%+-]++@([\w-]++(?:\.[\w-]++)++)")
_DIGIT_RUN = re.compile(r"(?<![A-Za-z0-9_])[0-9](?:[ \u00a0-]?[0-9])*+")
_GROUP = re.compile(r"[0-9]++")

_INTERNATIONAL = re.compile(r"(?<![\w+./-])(?:\+|00(?=[1-9]))[0-9](?:[ \u00a0()./-]{0,3}[0-9]){6,14}+")
_TRUNK = re.compile(r"(?<![\w.+/-])\(?0[0-9]{2,4}\)?[ /-][0-9]{3,8}(?:[ -][0-9]{2,4}(?![0-9])){0,3}+(?!\w)")
_NORTH_AMERICAN = re.compile(r"(?<![\w.+/-])(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[ .-])[2-9][0-9]{2}[ .-][0-9]{4}(?!\w)")


def redact(text: str) -> str:
    """``text`` with e-mail addresses, payment cards, phone numbers, keys and tokens replaced by what they were."""
    text = redact_keys(text)
    text = _ADDRESS.sub(_address, text)
    text = _DIGIT_RUN.sub(lambda run: _without_cards(run[0]), text)
    for pattern, digits in ((_INTERNATIONAL, _PHONE_DIGITS), (_TRUNK, _TRUNK_DIGITS)):
        text = pattern.sub(_phone(digits), text)
    return _NORTH_AMERICAN.sub(PHONE, text)


def redact_keys(text: str) -> str:
    """``text`` without keys, tokens and passwords: our own, AWS, bearer, JWT, PEM and those of well-known services."""
    text = _without_private_keys(text)
    text = _PREFIXED.sub(KEY, text)
    text = _BEARER.sub(_bearer, text)
    text = _IN_URL.sub(KEY, text)
    return _ASSIGNED.sub(_assigned, text)


def luhn(digits: str) -> bool:
    """Whether the check digit of ``digits`` is right (ISO/IEC 7812-1, annex B)."""
    total = 0
    for position, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + position % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _address(found: re.Match[str]) -> str:
    """A package in some version, as `lodash@4.17.21`, is no address: a top-level domain has letters."""
    last = found[1].rpartition(".")[2]
    return EMAIL if len(last) > 1 and not last[0].isdigit() else found[0]


def _bearer(found: re.Match[str]) -> str:
    """The word after `bearer` may be a plain one, as in `bearer certificates`."""
    return f"{found[1]}{found[2]}{KEY}" if _is_token(found[3]) else found[0]


def _assigned(found: re.Match[str]) -> str:
    """A password may be any word; `token: classification` names none."""
    is_password = found[2].lower().startswith("p") and "key" not in found[2].lower()
    return f"{found[1]}{KEY}" if is_password or _is_token(found[3]) else found[0]


def _is_token(word: str) -> bool:
    """Whether it has digits, or capitals within, as no word of a language has."""
    inner = word[1:]
    return any(letter.isdigit() for letter in word) or inner not in (inner.lower(), inner.upper())


def _without_private_keys(text: str) -> str:
    """A block without an end is taken to the end of the text."""
    kept: list[str] = []
    at = 0
    for begin in _PEM_BEGIN.finditer(text):
        if begin.start() < at:
            continue
        kept += (text[at : begin.start()], KEY)
        end = text.find(_PEM_END, begin.end())
        close = -1 if end < 0 else text.find("-----", end + len(_PEM_END))
        at = len(text) if close < 0 else close + len("-----")
        if close < 0:
            break
    return "".join(kept) + text[at:] if kept else text


def _without_cards(run: str) -> str:
    """A run of digits, single blanks and hyphens without those whole groups that together are a card number."""
    if len(run) < _CARD_DIGITS.start:
        return run
    groups = list(_GROUP.finditer(run))
    kept: list[str] = []
    at, first = 0, 0
    while first < len(groups):
        last = _card_from(groups, first)
        if last is None:
            first += 1
            continue
        kept += (run[at : groups[first].start()], CARD)
        at = groups[last].end()
        first = last + 1
    return "".join(kept) + run[at:]


def _card_from(groups: list[re.Match[str]], first: int) -> int | None:
    """The last of the groups from ``first`` on that make a card number, the most digits that do; None where none do."""
    if groups[first][0][0] not in _CARD_FIRST:
        return None
    digits = ""
    found: int | None = None
    for place in range(first, min(first + _CARD_DIGITS.stop, len(groups))):
        digits += groups[place][0]
        if len(digits) >= _CARD_DIGITS.stop:
            break
        if len(digits) in _CARD_DIGITS and luhn(digits):
            found = place
    return found


def _phone(digits: range) -> Callable[[re.Match[str]], str]:
    def replaced(found: re.Match[str]) -> str:
        return PHONE if sum(letter.isdigit() for letter in found[0]) in digits else found[0]

    return replaced

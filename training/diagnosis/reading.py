"""Reads an answer leniently: what it says, whatever the form. Pure.

A suite's scorers say whether an answer is right *as it was asked for*. Whether its content is right is read here: a
label
out of a sentence, an object out of a code fence or prose, a number out of a phrase. Right in content and wrong by the
scorers is a broken format.
"""

import ast
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Any

from training.diagnosis.prompt import question_of
from training.diagnosis.words import abstains, content_words, holds_run, is_number, negated, words
from training.evaluation.types import Answer, Case

LABEL_CASES = 3
"""A reference that so many cases share, in few words, is a label."""
_LABEL_WORDS = 5
_BARE = frozenset(("yes", "no", "true", "false"))
_TRAILING_COMMA = re.compile(r",(?=\s*[}\]])")
_BARE_NAME = re.compile(r"(?<=[{,])\s*([A-Za-z_]\w*)\s*(?=:)")
_MOST_JSON = 20_000
"""Characters that are searched for an object."""
_MOST_STARTS = 16
"""Brackets that are tried as its beginning."""


class Kind(StrEnum):
    """What a reference is."""

    LABEL = "label"
    JSON = "json"
    TOOLS = "tools"
    TEXT = "text"
    NOTHING = "nothing"
    """There is none: scorers alone judge."""


@dataclass(frozen=True, slots=True)
class References:
    """The references of a suite."""

    labels: frozenset[str]

    @classmethod
    def of(cls, cases: Iterable[Case]) -> "References":
        """Labels are short references that several cases share; numbers are none."""
        counts = Counter(_normal(case.expected) for case in cases if case.expected is not None)
        return cls(
            frozenset(
                text
                for text, count in counts.items()
                if count >= LABEL_CASES
                and 0 < len(text.split()) <= _LABEL_WORDS
                and not all(is_number(one) for one in text.split())
                and "{" not in text
            )
        )

    def kind(self, case: Case) -> Kind:
        """What the case's reference is."""
        if case.expected_tool_calls:
            return Kind.TOOLS
        if case.expected is None:
            return Kind.NOTHING
        if isinstance(_strict(case.expected), dict | list):
            return Kind.JSON
        return Kind.LABEL if _normal(case.expected) in self.labels else Kind.TEXT

    def says(self, case: Case, answer: Answer) -> str:
        """What an answer says, the same for answers that say the same; empty where nothing can be read out of it."""
        match self.kind(case):
            case Kind.TOOLS:
                return _canonical(_calls(answer)) if _calls(answer) else ""
            case Kind.JSON:
                found = extract_json(answer.text, (type(_strict(case.expected or "")),))
                return "" if found is None else _canonical(found)
            case Kind.LABEL:
                return _only_label(answer.text, self.labels)
        if abstains(answer.text):
            return ""
        return " ".join(sorted(answer_key(answer.text, question_of(case))))

    def agrees(self, case: Case, answer: Answer) -> bool:
        """Whether what the answer says is the reference, whatever its form."""
        expected = case.expected or ""
        match self.kind(case):
            case Kind.TOOLS:
                return _same_calls(case.expected_tool_calls, _calls(answer))
            case Kind.JSON:
                wanted = _strict(expected)
                found = extract_json(answer.text, (type(wanted),))
                return _within(wanted, found) if found is not None else _in_words(wanted, answer.text, case)
            case Kind.LABEL:
                return _only_label(answer.text, self.labels) == _normal(expected)
            case Kind.TEXT:
                return same_answer(expected, answer.text, question_of(case))
        return False

    def states(self, case: Case, passages: Sequence[str]) -> bool:
        """Whether passages say the reference in so many words: a fact that can be copied, not a judgment.

        A label is stated where no other label is: a list of all labels states none. Yes and no are never stated.
        """
        if not passages:
            return False
        text = "\n".join(passages)
        kind = self.kind(case)
        if kind is Kind.LABEL:
            return _normal(case.expected or "") not in _BARE and _only_label(text, self.labels) == _normal(
                case.expected or ""
            )
        key = self.fact(case)
        return bool(key) and key <= set(words(text))

    def fact(self, case: Case) -> set[str]:
        """The words that a passage must have to state the reference; empty where it is no fact."""
        expected = case.expected or ""
        match self.kind(case):
            case Kind.JSON:
                leaves = " ".join(_leaves(_strict(expected)))
                return answer_key(leaves, question_of(case)) - _BARE
            case Kind.TEXT:
                return answer_key(expected, question_of(case)) - _BARE
            case Kind.LABEL:
                return set(words(expected)) - _BARE
        return set()


def answer_key(text: str, question: str) -> set[str]:
    """What tells an answer from others: its numbers that the question does not have, else its words likewise."""
    said, asked = words(text), words(question)
    numbers = {one for one in said if is_number(one)} - set(asked)
    return numbers or content_words(said, asked) or content_words(said) or set(said)


def same_answer(expected: str, text: str, question: str) -> bool:
    """Whether a free text gives the reference: its numbers and no others with the same units, or its words."""
    asked = words(question)
    wanted, said = words(expected), words(text)
    if negated(wanted) != negated(said) or not said:
        return False
    numbers = {one for one in wanted if is_number(one)}
    if key := numbers - set(asked):
        others = {one for one in said if is_number(one)} - numbers - set(asked)
        return key <= set(said) and not others and all(_same_unit(one, wanted, said) for one in key)
    content = content_words(wanted, asked) or content_words(wanted) or set(wanted)
    return len(content & set(said)) >= 0.8 * len(content)


def extract_json(text: str, shapes: tuple[type, ...] = (dict, list)) -> Any:
    """The first object or list in a text, with what models commonly break mended; None where there is none.

    Mended are fences and prose around it, trailing commas, single quotes, Python's names of constants, names without
    quotes.
    """
    text = text[:_MOST_JSON]
    for start in islice((place for place, sign in enumerate(text) if sign in "{["), _MOST_STARTS):
        part = text[start : _end(text, start)]
        for candidate in (part, _TRAILING_COMMA.sub("", part), _BARE_NAME.sub(r'"\1"', _TRAILING_COMMA.sub("", part))):
            for parse in (json.loads, ast.literal_eval):
                try:
                    found = parse(candidate)
                except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
                    continue
                if isinstance(found, shapes):
                    return found
    return None


def _end(text: str, start: int) -> int:
    """The end of the bracket that opens at ``start``; the text's end where it never closes."""
    depth, quote, place = 0, "", start
    while place < len(text):
        sign = text[place]
        if quote:
            place += sign == "\\"
            quote = "" if sign == quote else quote
        elif sign == '"':
            quote = sign
        elif sign in "{[":
            depth += 1
        elif sign in "}]":
            depth -= 1
            if depth == 0:
                return place + 1
        place += 1
    return len(text)


def _strict(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _only_label(text: str, labels: frozenset[str]) -> str:
    """The one label that occurs in a text; empty where none or several do. Labels within longer ones do not count."""
    left = words(text)
    found = set()
    for label in sorted(labels, key=lambda one: -len(one.split())):
        run = label.split()
        if holds_run(left, run):
            found.add(label)
            left = _without(left, run)
    return found.pop() if len(found) == 1 else ""


def _without(text: list[str], run: list[str]) -> list[str]:
    place = 0
    while place < len(text):
        if text[place : place + len(run)] == run:
            text = [*text[:place], "|", *text[place + len(run) :]]
        place += 1
    return text


def _calls(answer: Answer) -> list[Any]:
    """Name and arguments of each call, also of one that was written as text."""
    made = [call.get("function", call) for call in answer.tool_calls]
    if not made:
        found = extract_json(answer.text)
        made = [one for one in (found if isinstance(found, list) else [found]) if isinstance(one, dict)]
    return [
        {"name": one.get("name"), "arguments": _arguments(one.get("arguments", one.get("parameters")))}
        for one in made
        if "name" in one
    ]


def _arguments(given: Any) -> Any:
    return extract_json(given) if isinstance(given, str) else given


def _same_calls(wanted: Sequence[Mapping[str, Any]], made: Sequence[Any]) -> bool:
    return len(wanted) == len(made) and all(
        want["name"] == got["name"] and _within(want.get("arguments") or {}, got["arguments"] or {})
        for want, got in zip(wanted, made, strict=True)
    )


def _within(wanted: Any, found: Any) -> bool:
    """Whether everything that is wanted is there, by its words; there may be more."""
    if isinstance(wanted, dict):
        if not isinstance(found, dict):
            return False
        named = {_normal(str(name)): value for name, value in found.items()}
        return all(_normal(name) in named and _within(value, named[_normal(name)]) for name, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(found, list) and len(found) == len(wanted) and all(map(_within, wanted, found))
    return _normal(str(wanted)) == _normal(str(found))


def _in_words(wanted: Any, text: str, case: Case) -> bool:
    """Whether a text without any object says all the values of one."""
    return same_answer(" ".join(_leaves(wanted)), text, question_of(case))


def _leaves(value: Any) -> list[str]:
    if isinstance(value, dict | list):
        return [leaf for one in (value.values() if isinstance(value, dict) else value) for leaf in _leaves(one)]
    return [] if value is None else [str(value)]


def _canonical(value: Any) -> str:
    if isinstance(value, dict):
        value = {_normal(str(name)): _canonical(one) for name, one in value.items()}
    elif isinstance(value, list):
        value = [_canonical(one) for one in value]
    else:
        return _normal(str(value))
    return json.dumps(value, sort_keys=True)


def _normal(text: str) -> str:
    return " ".join(words(text.replace("_", " ")))


def _same_unit(number: str, wanted: Sequence[str], said: Sequence[str]) -> bool:
    """Whether the word after a number is the same in both, by its first letters; where one has none, it is."""
    units = [_after(number, one) for one in (wanted, said)]
    return not all(units) or units[0][:3] == units[1][:3] or units[0] in said or units[1] in wanted


def _after(number: str, text: Sequence[str]) -> str:
    place = list(text).index(number) + 1
    return text[place] if place < len(text) and not is_number(text[place]) else ""

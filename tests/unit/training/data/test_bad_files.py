"""Every kind of bad file is refused with a stable code and the line that is wrong."""

import gzip
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.unit.training.data.rows import (
    WEATHER,
    Json,
    assistant,
    call,
    calling,
    chat,
    preference,
    result,
    tooled,
    turn,
    user,
    write,
)
from training.data.chat import read_chat
from training.data.check import Kind, check_file
from training.data.findings import JUDGMENTS
from training.data.lines import Limits
from training.data.preferences import read_preferences
from training.errors import DataInvalid

_GOOD = json.dumps(turn("What is good?", "This row is.")).encode()
_GOOD_PREFERENCE = json.dumps(preference()).encode()


@dataclass(frozen=True)
class Bad:
    """A line that is wrong; it stands in line 4, after a good row, a blank line and another good row."""

    code: str
    row: Any
    """JSON, or the bytes of the line."""
    says: str
    kind: Kind = "chat"

    @property
    def line(self) -> bytes:
        """The line itself."""
        return self.row if isinstance(self.row, bytes) else json.dumps(self.row).encode()


def _weather(**function: Any) -> Json:
    return {"type": "function", "function": {**WEATHER["function"], **function}}


def _two_sides(**changes: Any) -> Json:
    return {**preference(), **changes}


_MANY_REFERENCES = {"$defs": {str(n): {"anyOf": [{"$ref": f"#/$defs/{n + 1}"}] * 2} for n in range(30)} | {"30": False}}

BAD_LINES = {
    # bytes and JSON
    "a byte that is not UTF-8": Bad("not_utf8", b'{"messages": "caf\xe9"}', "byte 18"),
    "a NUL byte": Bad("nul_bytes", b'{"messages": \0}', "column 14"),
    "a NUL character": Bad("nul_character", chat(user("a\0b"), assistant()), "remove it"),
    "half of a surrogate pair": Bad("lone_surrogate", chat(user("\ud83d"), assistant()), "surrogate"),
    "half of a pair in a key": Bad("lone_surrogate", {"\udc00": 1}, "surrogate"),
    "a row that breaks off in a string": Bad(
        "truncated_json", b'{"messages": [{"role": "user", "content": "Ho', "whole"
    ),
    "a row that breaks off after a brace": Bad("truncated_json", b'{"messages": [{"role": "user"}', "whole line"),
    "single quotes": Bad("invalid_json", b"{'messages': []}", "column 2"),
    "a comma after the last item": Bad("invalid_json", b'{"messages": [1,]}', "column"),
    "a comment": Bad("invalid_json", b"# rows about refunds", "column 1"),
    "two rows in one line": Bad("several_values", _GOOD + b" " + _GOOD, "a line of its own"),
    "the same key twice": Bad("duplicate_key", b'{"messages": [], "messages": []}', "`messages`"),
    "NaN": Bad("not_a_number", b'{"messages": NaN}', "NaN"),
    "Infinity": Bad("not_a_number", b'{"messages": [-Infinity]}', "Infinity"),
    "a number without bounds": Bad("huge_number", b'{"messages": 1e999}', "1e999"),
    "an integer without bounds": Bad("huge_number", b'{"messages": ' + b"9" * 5000 + b"}", "digits"),
    "nesting without bounds": Bad("too_deep", b'{"messages": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", "flatten"),
    "nesting beyond reason": Bad("too_deep", b'{"messages": ' + b"[" * 70 + b"]" * 70 + b"}", "flatten"),
    "a list": Bad("not_an_object", [1, 2], "JSON object"),
    "a string": Bad("not_an_object", b'"messages"', "JSON object"),
    # other formats
    "prompt and completion": Bad("legacy_completion", {"prompt": "a", "completion": "b"}, '"messages"'),
    "ShareGPT": Bad("sharegpt", {"conversations": [{"from": "human", "value": "a"}]}, "ShareGPT"),
    "ShareGPT's turns": Bad("sharegpt", chat({"from": "human", "value": "a"}, assistant()), "`role`"),
    "Alpaca": Bad("alpaca", {"instruction": "a", "input": "", "output": "b"}, "Alpaca"),
    "raw text": Bad("raw_text", {"text": "Once upon a time"}, "not an example"),
    "a system prompt beside the messages": Bad(
        "anthropic", chat(user(), assistant(), system="Be kind."), "first message"
    ),
    "a batch request": Bad("batch_request", {"custom_id": "1", "body": {}}, "batch"),
    "TRL's preferences": Bad("trl_preference", {"prompt": "a", "chosen": "b", "rejected": "c"}, "TRL"),
    "a preference where chat is wanted": Bad("preference_row", preference(), "--kind preference"),
    "functions of old": Bad("legacy_functions", chat(user(), assistant(), functions=[]), "`tools`"),
    # keys and types
    "no messages": Bad("missing_key", {}, "messages"),
    "no messages but tools": Bad("missing_key", {"tools": [WEATHER]}, "messages"),
    "messages that are no list": Bad("wrong_type", {"messages": "hello"}, "messages"),
    "messages that are null": Bad("wrong_type", {"messages": None}, "messages"),
    "no message at all": Bad("too_few_items", {"messages": []}, "at least 2"),
    "one message": Bad("too_few_items", chat(user()), "at least 2"),
    "an unknown key in the row": Bad("unknown_key", chat(user(), assistant(), id=7), "`id`"),
    "an unknown key in a message": Bad("unknown_key", chat({**user(), "mood": "bad"}, assistant()), "messages[0].mood"),
    "a function call of old": Bad("unknown_key", chat(user(), assistant(function_call={})), "`tool_calls`"),
    "a message that is no object": Bad("wrong_type", chat(user(), "fine"), "messages[1]"),  # type: ignore[arg-type]
    "no role": Bad("missing_key", chat({"content": "a"}, assistant()), "messages[0].role"),
    "a role that is no string": Bad("wrong_type", chat({"role": 1, "content": "a"}, assistant()), "role"),
    "an unknown role": Bad("unknown_role", chat({"role": "wizard", "content": "a"}, assistant()), "wizard"),
    "the role developer": Bad("unknown_role", chat({"role": "developer", "content": "a"}, assistant()), "`system`"),
    "the role function": Bad("unknown_role", chat(user(), {"role": "function"}, assistant()), "`tool`"),
    "content that is a number": Bad("wrong_type", chat(user(7), assistant()), "messages[0].content"),
    "content that is empty": Bad("empty_content", chat(user(""), assistant()), "messages[0]"),
    "content that is white space": Bad("empty_content", chat(user(), assistant(" \n")), "messages[1]"),
    "content that is null": Bad("empty_content", chat(user(), assistant(None)), "messages[1]"),
    "no content": Bad("empty_content", chat(user(), {"role": "assistant"}), "messages[1]"),
    "a part that is an image": Bad("not_text", chat(user([{"type": "image_url"}]), assistant()), "image_url"),
    "a part without text": Bad("invalid_part", chat(user([{"type": "text"}]), assistant()), "`text`"),
    "a part that is a string": Bad("invalid_part", chat(user(["a"]), assistant()), "object"),
    "a weight of a half": Bad("invalid_weight", chat(user(), assistant(weight=0.5)), "0 or 1"),
    "a weight that is true": Bad("invalid_weight", chat(user(), assistant(weight=True)), "0 or 1"),
    "a weight on the user": Bad("misplaced_weight", chat({**user(), "weight": 1}, assistant()), "assistant"),
    # who speaks when
    "no assistant": Bad("no_assistant", chat(user(), user()), "add the answer"),
    "the user's last word": Bad("last_not_assistant", chat(user(), assistant(), user()), "the assistant's"),
    "the assistant's first word": Bad("first_not_user", chat(assistant(), user(), assistant()), "the user's"),
    "weights of 0 alone": Bad("nothing_learnt", chat(user(), assistant(weight=0)), "weight 1"),
    "more turns than can be rendered in time": Bad(
        "too_many_messages", chat(*[user(), assistant()] * 501), "1,002 messages"
    ),
    # tools
    "tools that are no list": Bad("wrong_type", chat(user(), assistant(), tools={}), "tools"),
    "a tool of another type": Bad(
        "wrong_type", tooled(user(), assistant(), tools=[{**WEATHER, "type": "x"}]), "tools[0]"
    ),
    "a tool without a function": Bad(
        "missing_key", tooled(user(), assistant(), tools=[{"type": "function"}]), "tools[0]"
    ),
    "a tool with a bad name": Bad("invalid_name", tooled(user(), assistant(), tools=[_weather(name="a b")]), "name"),
    "two tools of one name": Bad("duplicate_tool", tooled(user(), assistant(), tools=[WEATHER] * 2), "`weather`"),
    "a schema that is none": Bad(
        "invalid_tool_schema", tooled(user(), assistant(), tools=[_weather(parameters={"type": "objekt"})]), "object"
    ),
    "a schema with bad properties": Bad(
        "invalid_tool_schema", tooled(user(), assistant(), tools=[_weather(parameters={"properties": 1})]), "Schema"
    ),
    "a schema too long": Bad(
        "invalid_tool_schema",
        tooled(user(), assistant(), tools=[_weather(parameters={"description": "x" * 100_000})]),
        "100,000 characters",
    ),
    "a schema of many types": Bad(
        "invalid_tool_schema",
        tooled(user(), assistant(), tools=[_weather(parameters={"items": {"type": [{"a": n} for n in range(7_000)]}})]),
        "more than the 7 names",
    ),
    "a schema with an expression of too many repeats": Bad(
        "invalid_tool_schema",
        tooled(user(), assistant(), tools=[_weather(parameters={"pattern": "a{4294967296}"})]),
        "cannot be checked",
    ),
    "a schema with an expression nested too deeply": Bad(
        "invalid_tool_schema",
        tooled(user(), assistant(), tools=[_weather(parameters={"pattern": "(" * 5_000 + ")" * 5_000})]),
        "cannot be checked",
    ),
    "a schema that refers to what is none": Bad(
        "arguments_mismatch",
        tooled(user(), calling(), tools=[_weather(parameters={"type": "object", "$ref": "#/type"})]),
        "cannot be evaluated",
    ),
    "an argument that no float holds": Bad(
        "arguments_mismatch",
        tooled(
            user(),
            calling(call(arguments='{"n": 1' + "0" * 400 + "}")),
            tools=[_weather(parameters={"properties": {"n": {"multipleOf": 0.01}}})],
        ),
        "cannot be evaluated",
    ),
    "calls without tools": Bad("calls_without_tools", chat(user(), calling()), "no `tools`"),
    "a call of an unknown tool": Bad("unknown_tool", tooled(user(), calling(call(name="wether"))), "weather"),
    "a call without an id": Bad("missing_key", tooled(user(), calling({"type": "function", "function": {}})), "id"),
    "a call with an empty id": Bad("empty_string", tooled(user(), calling(call(""))), "id"),
    "a call without a function": Bad(
        "missing_key", tooled(user(), calling({"id": "c", "type": "function"})), "function"
    ),
    "no call in the list": Bad("empty_tool_calls", tooled(user(), assistant(tool_calls=[])), "remove it"),
    "calls by the user": Bad("misplaced_tool_calls", tooled({**user(), "tool_calls": [call()]}, assistant()), "user"),
    "arguments that are not JSON": Bad("arguments_not_json", tooled(user(), calling(call(arguments="city"))), "object"),
    "arguments that break off": Bad("arguments_not_json", tooled(user(), calling(call(arguments='{"a'))), "JSON"),
    "arguments that are a list": Bad(
        "arguments_not_an_object", tooled(user(), calling(call(arguments="[]"))), "object"
    ),
    "arguments that are an object already": Bad(
        "wrong_type", tooled(user(), calling({**call(), "function": {"name": "weather", "arguments": {}}})), "arguments"
    ),
    "an argument that is missing": Bad("arguments_mismatch", tooled(user(), calling(call(arguments="{}"))), "city"),
    "an argument of another type": Bad(
        "arguments_mismatch", tooled(user(), calling(call(arguments='{"city": "Oslo", "days": "two"}'))), "`days`"
    ),
    "an argument too many": Bad(
        "arguments_mismatch", tooled(user(), calling(call(arguments='{"city": "Oslo", "unit": "C"}'))), "unit"
    ),
    "a schema that refers elsewhere": Bad(
        "arguments_mismatch",
        tooled(user(), calling(), tools=[_weather(parameters={"$ref": "http://127.0.0.1:9/schema.json"})]),
        "refers to what is not in it",
    ),
    "a schema of endless work": Bad(
        "arguments_mismatch",
        tooled(user(), calling(), tools=[_weather(parameters={**_MANY_REFERENCES, "$ref": "#/$defs/0"})]),
        "more work",
    ),
    "one call id twice": Bad("duplicate_call_id", tooled(user(), calling(call(), call())), "`c1`"),
    "a call without a result": Bad("call_without_result", tooled(user(), calling(), user(), assistant()), "`c1`"),
    "one result of two": Bad(
        "call_without_result", tooled(user(), calling(call(), call("c2")), result(), assistant()), "`c2`"
    ),
    "a result without a call": Bad("result_without_call", tooled(user(), result(), assistant()), "messages[1]"),
    "a result of another call": Bad(
        "result_without_call", tooled(user(), calling(), result("c9"), assistant()), "`c9`"
    ),
    "two results of one call": Bad(
        "duplicate_result", tooled(user(), calling(), result(), result(), assistant()), "answered before"
    ),
    "a result without an id": Bad(
        "missing_tool_call_id", tooled(user(), calling(), {"role": "tool", "content": "x"}, assistant()), "messages[2]"
    ),
    "a call id on the user": Bad(
        "misplaced_tool_call_id", tooled({**user(), "tool_call_id": "c1"}, assistant()), "messages[0]"
    ),
    "calls at once that are forbidden": Bad(
        "parallel_calls", tooled(user(), calling(call(), call("c2")), parallel_tool_calls=False), "2 tools"
    ),
    "parallel calls that are no boolean": Bad(
        "wrong_type", tooled(user(), calling(), parallel_tool_calls="no"), "parallel_tool_calls"
    ),
    "parallel calls without tools": Bad(
        "parallel_without_tools", chat(user(), assistant(), parallel_tool_calls=True), "add the tools"
    ),
    # preferences
    "chat where a preference is wanted": Bad("chat_row", turn("a", "b"), "--kind chat", "preference"),
    "no input": Bad("missing_key", {k: v for k, v in preference().items() if k != "input"}, "input", "preference"),
    "no better side": Bad(
        "missing_side", {k: v for k, v in preference().items() if k != "preferred_output"}, "both", "preference"
    ),
    "no worse side": Bad(
        "missing_side", {k: v for k, v in preference().items() if k != "non_preferred_output"}, "both", "preference"
    ),
    "an empty side": Bad("one_answer_each", _two_sides(preferred_output=[]), "exactly one", "preference"),
    "two answers on one side": Bad(
        "one_answer_each", _two_sides(preferred_output=[assistant(), assistant()]), "2 messages", "preference"
    ),
    "a side that is a string": Bad(
        "wrong_type", _two_sides(preferred_output="Good."), "preferred_output", "preference"
    ),
    "a side of the user": Bad("output_not_assistant", _two_sides(preferred_output=[user()]), "user", "preference"),
    "equal sides": Bad("equal_outputs", preference(chosen="Same.", rejected="Same."), "remove the row", "preference"),
    "equal calls": Bad(
        "equal_outputs",
        {
            "input": {"messages": [user()], "tools": [WEATHER]},
            "preferred_output": [calling(call("a", arguments='{"city":"Oslo"}'))],
            "non_preferred_output": [calling(call("b"))],
        },
        "remove the row",
        "preference",
    ),
    "a prompt that ends with the assistant": Bad(
        "prompt_ends_with_assistant", preference([user(), assistant()]), "both outputs", "preference"
    ),
    "a prompt that begins with the assistant": Bad(
        "first_not_user", preference([assistant(), user()]), "the user's", "preference"
    ),
    "a weight in a prompt": Bad(
        "misplaced_weight", preference([user(), assistant(weight=0), user()]), "remove `weight`", "preference"
    ),
    "a weight in a side": Bad(
        "misplaced_weight", _two_sides(preferred_output=[assistant(weight=1)]), "no `weight`", "preference"
    ),
    "an unknown key in the input": Bad("unknown_key", preference(mood="bad"), "input.mood", "preference"),
    "a side that calls an unknown tool": Bad(
        "calls_without_tools", _two_sides(preferred_output=[calling()]), "`tools`", "preference"
    ),
}


@pytest.mark.parametrize("bad", BAD_LINES.values(), ids=BAD_LINES.keys())
def test_a_bad_line_is_refused_by_its_code_and_number(tmp_path: Path, bad: Bad) -> None:
    good = _GOOD if bad.kind == "chat" else _GOOD_PREFERENCE
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\n".join([good, b"", good, bad.line, good]) + b"\n")

    found = [one for one in check_file(path, kind=bad.kind).refused(allow=JUDGMENTS) if one.severity == "error"]

    assert [(one.code, one.line) for one in found] == [(bad.code, 4)]
    assert bad.says in found[0].message
    with pytest.raises(DataInvalid) as refused:
        read_chat(path) if bad.kind == "chat" else read_preferences(path)
    assert (refused.value.code, refused.value.line) == (bad.code, 4)
    assert str(refused.value) == f"{path}:4: {found[0].message}"


def test_more_than_forty_kinds_of_bad_files_are_known() -> None:
    assert len({bad.code for bad in BAD_LINES.values()} | {code for code, *_ in BAD_FILES.values()}) >= 60


BAD_FILES: dict[str, tuple[str, bytes, int | None, str]] = {
    "nothing": ("empty_file", b"", None, "no rows"),
    "blank lines": ("empty_file", b"\n  \n\r\n", None, "no rows"),
    "a byte order mark": ("byte_order_mark", b"\xef\xbb\xbf" + _GOOD, 1, "UTF-8 without one"),
    "UTF-16": ("utf16", _GOOD.decode().encode("utf-16"), 1, "UTF-8"),
    "gzip": ("compressed", gzip.compress(_GOOD), 1, "decompress"),
    "zstd": ("compressed", b"\x28\xb5\x2f\xfd\x00\x00", 1, "decompress"),
    "a ZIP archive": ("compressed", b"PK\x03\x04rows", 1, "JSON lines"),
    "Parquet": ("parquet", b"PAR1\x15\x04", 1, "JSON lines"),
    "Arrow": ("parquet", b"ARROW1\0\0", 1, "JSON lines"),
    "PDF": ("document", b"%PDF-1.7\n", 1, "loraplex ingest"),
    "SQLite": ("binary", b"SQLite format 3\0", 1, "JSON lines"),
    "a JSON array": ("json_array", b"\n[" + _GOOD + b"," + _GOOD + b"]", 2, "without brackets"),
    "JSON over several lines": ("pretty_printed", json.dumps([turn("a", "b")][0], indent=1).encode(), 1, "one line"),
    "CSV": ("csv", b"prompt,completion\nHello,Hi\n", 1, "CSV"),
    "TSV": ("csv", b"text\tlabel\nHello\tgreeting\n", 1, "CSV"),
}


@pytest.mark.parametrize(("code", "data", "line", "says"), BAD_FILES.values(), ids=BAD_FILES.keys())
@pytest.mark.parametrize("kind", ["chat", "preference"])
def test_a_bad_file_is_refused_once(
    tmp_path: Path, kind: Kind, code: str, data: bytes, line: int | None, says: str
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(data)
    (found,) = check_file(path, kind=kind).refused(allow=JUDGMENTS)
    assert (found.code, found.line) == (code, line)
    assert says in found.message
    with pytest.raises(DataInvalid) as refused:
        read_chat(path)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("limits", "code", "line"),
    [
        (Limits(line_bytes=200), "line_too_long", 2),
        (Limits(rows=2), "too_many_rows", 3),
        (Limits(file_bytes=300), "file_too_large", None),
    ],
)
def test_what_is_too_large_is_refused(tmp_path: Path, limits: Limits, code: str, line: int | None) -> None:
    path = write(tmp_path / "rows.jsonl", turn("a", "b"), turn("long", "very " * 100), turn("c", "d"))
    (found,) = check_file(path, kind="chat", limits=limits).refused(allow=JUDGMENTS)
    assert (found.code, found.line) == (code, line)
    with pytest.raises(DataInvalid) as refused:
        read_chat(path, limits)
    assert refused.value.code == code


def test_a_line_of_just_the_longest_length_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(_GOOD + b"\r\n" + _GOOD)
    assert read_chat(path, Limits(line_bytes=len(_GOOD))).lines == (1, 2)
    assert check_file(path, kind="chat", limits=Limits(line_bytes=len(_GOOD) - 1)).lines["line_too_long"] == (1, 2)


def test_what_is_no_file_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    codes = {
        name: check_file(path, kind="chat").findings[0].code
        for name, path in {
            "pipe": pipe,
            "folder": tmp_path,
            "device": Path("/dev/zero"),
            "nothing": tmp_path / "x",
        }.items()
    }
    assert codes == {"pipe": "not_a_file", "folder": "not_a_file", "device": "not_a_file", "nothing": "unreadable"}


def test_a_file_of_mistakes_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"{}\n" * 5_000)
    report = check_file(path, kind="chat")
    assert {one.code for one in report.findings} == {"too_many_mistakes", "missing_key"}
    assert len(report.lines["missing_key"]) == 1_000
    assert len(report.findings) < 30
    assert len(report.refused(allow=["too_many_mistakes", "missing_key"])) == len(report.findings)


def test_mistakes_of_the_validation_file_are_named_with_it(tmp_path: Path) -> None:
    train = write(tmp_path / "train.jsonl", turn("a", "b"))
    heldout = write(tmp_path / "heldout.jsonl", turn("c", "d"), {"messages": 1})
    (found,) = check_file(train, kind="chat", heldout=heldout).refused()
    assert (found.file, found.line, found.code) == (str(heldout), 2, "wrong_type")

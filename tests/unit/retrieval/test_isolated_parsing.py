"""Parsing in a process of its own: what hostile files can do, and what they cannot."""

import os
import random
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from retrieval.errors import DocumentUnreadable
from retrieval.parsing.blocks import Block, BlockKind
from retrieval.parsing.isolated import IsolatedParser
from retrieval.parsing.parse import parse
from tests.office_files import make_docx, make_pdf, zipped

PATIENCE_S = 60.0
MIB = 2**20
FILES = {
    "notes.md": b"# Title\n\nSome text.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```\ncode\n```\n",
    "rows.csv": b"name,price\nlock,40\n",
    "page.html": b"<title>Page</title><h1>Head</h1><p>Text</p>",
    "a.pdf": make_pdf(["Some text."], "Named"),
    "a.docx": make_docx([("Heading1", "Prices"), ("Normal", "It costs 40.")]),
    "odd \udc80 name.txt": "Größe 日本語 🚀".encode(),
}

Start = Callable[..., IsolatedParser]


@pytest.fixture
def start() -> Iterator[Start]:
    """Makes parsers, real or misbehaving, and closes them."""
    made: list[IsolatedParser] = []

    def started(timeout_s: float = PATIENCE_S, memory_bytes: int = 512 * MIB, entry: str = "") -> IsolatedParser:
        options = {"entry": entry} if entry else {}
        made.append(IsolatedParser(timeout_s, memory_bytes, **options))
        return made[-1]

    yield started
    for parser in made:
        parser.close()


@pytest.fixture
def hostile(start: Start) -> IsolatedParser:
    return start(entry="tests.hostile_parsers:misbehave")


def process_of(parser: IsolatedParser) -> int:
    return int(parser.parse("which", b"").blocks[0].text)


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_read_as_it_would_be_here(start: Start, name: str) -> None:
    assert start().parse(name, FILES[name]) == parse(name, FILES[name])


@pytest.mark.parametrize(("name", "code"), [("a.exe", "unsupported_file"), ("a.pdf", "invalid_file")])
def test_a_file_is_refused_as_it_would_be_here(start: Start, name: str, code: str) -> None:
    with pytest.raises(DocumentUnreadable) as here:
        parse(name, b"text")
    with pytest.raises(DocumentUnreadable) as there:
        start().parse(name, b"text")
    assert (there.value.code, str(there.value)) == (code, str(here.value))


def test_one_process_reads_many_files(hostile: IsolatedParser) -> None:
    assert process_of(hostile) == process_of(hostile) != os.getpid()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("allocate", "more than 512 MiB of memory"),
        ("segfault", "SIGSEGV"),
        ("be killed", "SIGKILL"),
        ("exit", "status 3"),
        ("answer nonsense", "confused the process"),
    ],
)
def test_a_file_that_ends_the_process_is_refused_and_the_next_is_read(
    hostile: IsolatedParser, name: str, why: str
) -> None:
    before = process_of(hostile)
    with pytest.raises(DocumentUnreadable, match=why) as raised:
        hostile.parse(name, b"")
    assert raised.value.code == "invalid_file"
    assert process_of(hostile) != before


@pytest.mark.parametrize("name", ["hang", "hang in C"])
def test_a_file_that_takes_for_ever_is_refused_and_the_next_is_read(start: Start, name: str) -> None:
    parser = start(timeout_s=1.0, entry="tests.hostile_parsers:misbehave")
    began = time.monotonic()
    with pytest.raises(DocumentUnreadable, match="took more than 1 seconds"):
        parser.parse(name, b"")
    assert time.monotonic() - began < PATIENCE_S / 2
    assert process_of(parser) > 0


def test_a_parser_that_raises_what_nobody_expects_only_fails_its_file(hostile: IsolatedParser) -> None:
    before = process_of(hostile)
    with pytest.raises(DocumentUnreadable, match="cannot be parsed: LookupError"):
        hostile.parse("raise", b"")
    assert process_of(hostile) == before


def test_what_a_library_prints_disturbs_nothing(hostile: IsolatedParser, capfd: pytest.CaptureFixture[str]) -> None:
    before = process_of(hostile)
    assert int(hostile.parse("chatter", b"").blocks[0].text) == before
    assert capfd.readouterr() == ("", "")


def test_a_process_that_used_up_its_memory_is_replaced_before_the_next_file(hostile: IsolatedParser) -> None:
    before = process_of(hostile)
    assert int(hostile.parse("allocate a little", str(300 * MIB).encode()).blocks[0].text) == before
    assert process_of(hostile) != before


def test_a_process_that_died_while_idle_is_replaced_unnoticed(hostile: IsolatedParser) -> None:
    before = process_of(hostile)
    watched = os.pidfd_open(before)
    os.kill(before, signal.SIGKILL)
    assert select.select([watched], [], [], PATIENCE_S)[0]
    os.close(watched)
    assert process_of(hostile) != before


def test_a_bomb_within_the_ratio_runs_out_of_its_own_memory_only(start: Start) -> None:
    padding = random.Random(1).randbytes(2 * MIB).hex()
    body = f"<w:p>{'<w:r><w:t>x</w:t></w:r>' * 2_000_000}</w:p>"
    text = f'<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main">{body}</w:document>'
    bomb = zipped({"word/document.xml": text, "padding": padding})
    with pytest.raises(DocumentUnreadable) as raised:
        start(memory_bytes=200 * MIB).parse("bomb.docx", bomb)
    assert raised.value.code == "invalid_file"
    assert "200 MiB" in str(raised.value)


def test_a_pdf_with_very_many_pages_is_ended_in_time(start: Start) -> None:
    pages = make_pdf(["Some text.\n" * 20] * 4_000)
    with pytest.raises(DocumentUnreadable, match=r"took more than 0\.5 seconds"):
        start(timeout_s=0.5).parse("huge.pdf", pages)


def test_a_hundred_megabytes_of_text_are_read_within_the_default_memory(start: Start) -> None:
    paragraph = "All work and no play makes Jack a dull boy; größer wird es nicht. " * 20 + "\n\n"
    count = 100_000_000 // len(paragraph)
    document = start(memory_bytes=2 * 2**30).parse("large.txt", (paragraph * count).encode())
    assert document.blocks == (Block(BlockKind.TEXT, paragraph.strip("\n")),) * count


def test_files_of_many_threads_each_get_their_own_answer(start: Start) -> None:
    parser = start()
    with ThreadPoolExecutor(8) as threads:
        documents = list(threads.map(lambda n: parser.parse("a.txt", f"file {n}".encode()), range(200)))
    assert [document.blocks[0].text for document in documents] == [f"file {n}" for n in range(200)]


def test_closing_fails_the_file_that_is_being_read_without_blaming_it(start: Start, tmp_path: Path) -> None:
    parser = start(entry="tests.hostile_parsers:misbehave")
    worker = process_of(parser)
    raised: list[BaseException] = []

    def read() -> None:
        try:
            parser.parse("hang", b"")
        except RuntimeError as error:
            raised.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    _until_busy(worker)
    parser.close()
    thread.join(PATIENCE_S)
    assert [str(error) for error in raised] == ["the parser was closed"]
    assert not Path(f"/proc/{worker}").exists()


def test_a_closed_parser_reads_nothing(start: Start) -> None:
    parser = start()
    parser.parse("a.txt", b"text")
    parser.close()
    parser.close()
    with pytest.raises(RuntimeError, match="closed"):
        parser.parse("a.txt", b"text")


@pytest.mark.parametrize("last", ["which", "hang", "hang in C"])
def test_the_process_ends_with_its_parent(last: str) -> None:
    program = (
        "import threading\n"
        "from retrieval.parsing.isolated import IsolatedParser\n"
        "parser = IsolatedParser(1.0, entry='tests.hostile_parsers:misbehave')\n"
        "print(parser.parse('which', b'').blocks[0].text, flush=True)\n"
        f"threading.Thread(target=parser.parse, args=({last!r}, b'')).start()\n"
        "print('asked', flush=True)\n"
        "threading.Event().wait()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        watched = os.pidfd_open(int(parent.stdout.readline()))
        parent.stdout.readline()
        parent.kill()
    assert select.select([watched], [], [], PATIENCE_S)[0]
    os.close(watched)


def test_the_process_starts_without_heavy_modules() -> None:
    program = "import sys, retrieval.parsing.worker, retrieval.parsing.parse; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert set(found.stdout.split()) & {"numpy", "torch", "pymilvus", "httpx", "pydantic", "asyncio"} == set()


def _until_busy(process: int) -> None:
    """Wait until it has used a tenth of a second more of the processor: it is in its endless loop."""

    def ticks() -> int:
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11])

    began, deadline = ticks(), time.monotonic() + PATIENCE_S
    while ticks() < began + 10:
        assert time.monotonic() < deadline
        time.sleep(0.01)

"""Pages on the web: a real HTTP server on loopback, well behaved and not."""

import gzip
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from retrieval.sources import SourceFile, SourceProblem, Validators
from retrieval.web_source import Unchanged, read_url

LIMIT = 10_000


@dataclass
class Page:
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"text"
    drips: str = ""
    """Where bytes come now and then, without an end: in the ``head`` or the ``body``."""


class Site:
    """An HTTP server with the pages that a test puts there."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self.requests: list[dict[str, str]] = []
        self.closing = threading.Event()
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.requests.append({name.lower(): value for name, value in self.headers.items()})
                page = site.pages.get(self.path, Page(404))
                self.send_response(page.status)
                for name, value in page.headers.items():
                    self.send_header(name, value)
                if page.drips:
                    self.drip(page.drips)
                    return
                self.send_header("content-length", str(len(page.body)))
                self.end_headers()
                self.wfile.write(page.body)

            def drip(self, where: str) -> None:
                self.end_headers() if where == "body" else self.flush_headers()
                while not site.closing.wait(0.02):
                    try:
                        self.wfile.write(b"x")
                    except OSError:
                        return

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def stop(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def site() -> Iterator[Site]:
    started = Site()
    yield started
    started.stop()


def fetched(site: Site, path: str, page: Page) -> SourceFile:
    site.pages[path] = page
    found = read_url(site.url + path, LIMIT)
    assert isinstance(found, SourceFile), found
    return found


def refused(site: Site, path: str, page: Page | None = None, timeout_s: float = 10.0) -> str:
    if page is not None:
        site.pages[path] = page
    found = read_url(site.url + path, LIMIT, timeout_s=timeout_s)
    assert isinstance(found, SourceProblem), found
    assert not found.skipped
    return found.reason


def typed(kind: str, body: bytes = b"text", /, **headers: str) -> Page:
    return Page(headers={"content-type": kind, **headers}, body=body)


def test_a_page_is_a_file_whose_lasting_name_is_its_url(site: Site) -> None:
    dated = {"last-modified": "Thu, 01 Jan 1970 00:01:40 GMT", "etag": '"v1"'}
    said = {"content-type": "text/html; charset=utf-8", **dated}
    found = fetched(site, "/docs/guide?lang=en", Page(200, said, "<p>Größe".encode()))
    assert found.source == f"{site.url}/docs/guide?lang=en"
    assert (found.name, found.size, found.modified) == ("guide.html", 10, 100.0)
    assert found.read() == "<p>Größe".encode()
    assert found.validators == Validators('"v1"', "Thu, 01 Jan 1970 00:01:40 GMT")


@pytest.mark.parametrize(
    ("path", "kind", "name"),
    [
        ("/", "text/html", "index.html"),
        ("/page.php", "text/html", "page.html"),
        ("/page.htm", "TEXT/HTML", "page.html"),
        ("/raw/README.md", "text/plain; charset=utf-8", "README.md"),
        ("/raw/LICENSE", "text/plain", "LICENSE.txt"),
        ("/tool.py", "text/x-python", "tool.py"),
        ("/paper", "application/pdf", "paper.pdf"),
        ("/a%20b.pdf", "application/octet-stream", "a b.pdf"),
        ("/rows", "text/csv", "rows.csv"),
        ("/no-type.md", "", "no-type.md"),
    ],
)
def test_the_kind_is_what_the_server_says_or_the_path(site: Site, path: str, kind: str, name: str) -> None:
    assert fetched(site, path, typed(kind)).name == name


@pytest.mark.parametrize(
    ("path", "kind", "why"),
    [
        ("/photo.jpeg", "image/jpeg", "kind image/jpeg"),
        ("/archive.zip", "application/octet-stream", "kind .zip"),
        ("/thing", "application/octet-stream", "its kind is not known"),
        ("/text.zip", "text/x-unheard-of", "kind text/x-unheard-of"),
    ],
)
def test_kinds_that_cannot_be_parsed_are_refused(site: Site, path: str, kind: str, why: str) -> None:
    assert why in refused(site, path, typed(kind))


@pytest.mark.parametrize(
    ("kind", "body", "text"),
    [
        ("text/plain; charset=iso-8859-1", b"Gr\xf6\xdfe", "Größe".encode()),
        ("text/plain; charset=utf-8", b"Gr\xf6\xdfe", b"Gr\xf6\xdfe"),
        ("text/plain; charset=unheard-of", b"text", b"text"),
        ("text/plain; charset=punycode", b"text-", b"text-"),
        ("application/pdf; charset=iso-8859-1", b"%PDF \xff", b"%PDF \xff"),
    ],
)
def test_text_is_brought_to_utf8_where_the_server_tells_its_encoding(
    site: Site, kind: str, body: bytes, text: bytes
) -> None:
    assert fetched(site, "/a", typed(kind, body)).read() == text


def test_a_page_that_did_not_change_is_not_fetched_again(site: Site) -> None:
    dated = {"etag": '"v1"', "last-modified": "Thu, 01 Jan 1970 00:01:40 GMT"}
    known = fetched(site, "/a.md", Page(headers=dated)).validators
    site.pages["/a.md"] = Page(304, body=b"")
    assert read_url(f"{site.url}/a.md", LIMIT, known=known) == Unchanged(f"{site.url}/a.md")
    assert site.requests[-1]["if-none-match"] == '"v1"'
    assert site.requests[-1]["if-modified-since"] == "Thu, 01 Jan 1970 00:01:40 GMT"


def test_a_page_that_changed_is_fetched_again(site: Site) -> None:
    site.pages["/a.md"] = typed("text/markdown", b"new", etag='"v2"')
    found = read_url(f"{site.url}/a.md", LIMIT, known=Validators('"v1"'))
    assert isinstance(found, SourceFile)
    assert (found.read(), found.validators.etag) == (b"new", '"v2"')
    assert "if-modified-since" not in site.requests[-1]


def test_redirects_are_followed_and_the_name_that_was_given_stays(site: Site) -> None:
    site.pages["/old"] = Page(302, {"location": "/new.md"})
    site.pages["/new.md"] = typed("text/plain")
    found = read_url(f"{site.url}/old", LIMIT)
    assert isinstance(found, SourceFile)
    assert (found.source, found.name) == (f"{site.url}/old", "new.md")


def test_redirects_have_an_end(site: Site) -> None:
    site.pages["/turn"] = Page(302, {"location": "/turn"})
    assert refused(site, "/turn") == "more than 5 redirects"
    assert len(site.requests) == 6


def test_a_redirect_does_not_lead_to_this_machines_files(site: Site) -> None:
    assert "UnsupportedProtocol" in refused(site, "/turn", Page(302, {"location": "file:///etc/hostname"}))


@pytest.mark.parametrize(("status", "why"), [(404, "404 Not Found"), (500, "500 Internal"), (304, "304"), (204, "204")])
def test_another_answer_than_the_page_is_a_problem(site: Site, status: int, why: str) -> None:
    assert why in refused(site, "/a.md", Page(status, body=b""))


def test_a_page_that_is_too_large_is_not_read_to_its_end(site: Site) -> None:
    assert "at most 10,000 bytes" in refused(site, "/a.md", typed("text/plain", b"x" * (LIMIT + 1)))
    assert fetched(site, "/a.md", typed("text/plain", b"x" * LIMIT)).size == LIMIT


def test_a_compressed_page_is_measured_unpacked(site: Site) -> None:
    packed = {"content-encoding": "gzip"}
    assert fetched(site, "/a.md", typed("text/plain", gzip.compress(b"text"), **packed)).read() == b"text"
    assert "at most" in refused(site, "/a.md", typed("text/plain", gzip.compress(bytes(5_000_000)), **packed))


def test_an_encoding_that_was_not_asked_for_is_refused(site: Site) -> None:
    twice = typed("text/plain", gzip.compress(gzip.compress(b"text")), **{"content-encoding": "gzip, gzip"})
    assert "not asked for" in refused(site, "/a.md", twice)


@pytest.mark.parametrize("where", ["head", "body"])
def test_a_page_that_comes_too_slowly_is_given_up(site: Site, where: str) -> None:
    assert refused(site, "/a.md", Page(drips=where), timeout_s=0.3) == "not fetched within 0.3 seconds"


def test_a_server_that_is_not_there_is_a_problem(site: Site) -> None:
    site.stop()
    assert refused(site, "/a.md") == "it cannot be fetched: ConnectError"


@pytest.mark.parametrize("url", ["http://[", "no scheme", "ftp://host/a.md", "http://", ""])
def test_what_is_no_web_address_is_a_problem(url: str) -> None:
    assert isinstance(read_url(url, LIMIT), SourceProblem)


def test_credentials_in_the_url_are_used_and_not_shown(site: Site) -> None:
    site.pages["/a.md"] = typed("text/plain")
    found = read_url(site.url.replace("http://", "http://user:secret@") + "/a.md#part", LIMIT)
    assert found.source == f"{site.url}/a.md"
    assert site.requests[-1]["authorization"].startswith("Basic ")

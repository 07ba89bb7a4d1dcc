"""Pages, Markdown and plots."""

import html
import re
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from training.reports.document import Callout, Columns, Details, Figure, Output, Section, Table, Text
from training.reports.markdown import render_markdown
from training.reports.page import render_page
from training.reports.plots import Interval, Line, Mark, bars, intervals, timeline

_HOSTILE = '</pre><script>alert("1")</script><img src=x onerror=alert(1)> & [a](javascript:b) `c` | @all'


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def _read(page: str) -> _Reader:
    reader = _Reader()
    reader.feed(page)
    return reader


def _everywhere(text: str) -> list[Section]:
    return [
        Section("", (Callout(text, f"{text}\n{text}", "bad"),)),
        Section(
            text,
            (
                Text(f"{text}\n\n{text}"),
                Table((text, "n"), [(text, text)], numeric=frozenset({1}), caption=text),
                Figure(intervals([Interval(text, 0.5, 0.4, 0.6)], label=text), text),
                Details(text, (Columns((Output(text, text), Output("b", text))),)),
            ),
        ),
    ]


def test_nothing_that_a_model_says_becomes_html() -> None:
    reader = _read(render_page(_HOSTILE, _everywhere(_HOSTILE)))

    assert {"script", "img", "a"} & set(reader.tags) == set()
    assert {name for name in reader.attributes if name.startswith("on")} == set()
    assert reader.tags.count("pre") == 2
    assert sum(_HOSTILE in text for text in ["".join(reader.text)]) == 1


def test_a_page_fetches_nothing_and_knows_light_and_dark() -> None:
    page = render_page("Report", _everywhere("plain"))

    assert "default-src 'none'" in page
    assert "prefers-color-scheme: dark" in page
    assert not re.search(r"(?:src|href)\s*=\s*[\"'](?!#)", page.partition("<body>")[2].replace('xlink:href="#', ""))


def test_nothing_that_a_model_says_becomes_markdown() -> None:
    text = render_markdown(_HOSTILE, _everywhere(_HOSTILE))
    outside = re.sub(r"^(`{3,})text\n.*?^\1$", "", text, flags=re.MULTILINE | re.DOTALL)
    folded = [line for line in outside.splitlines() if line.startswith(("<details>", "</details>"))]
    outside = "\n".join(line for line in outside.splitlines() if line not in folded)

    assert not re.search(r"(?<!\\)<|(?<!\\)\[a|(?<!\\)`", outside)
    assert folded == [f"<details><summary>{html.escape(_HOSTILE)}</summary>", "</details>"]
    assert [line.count("|") - line.count(r"\|") for line in outside.splitlines() if line.startswith("|")] == [3, 3, 3]


def test_an_answer_cannot_end_its_fence() -> None:
    text = render_markdown("r", [Section("", (Output("Candidate", "```\n# not a heading\n```"),))])

    assert "````text\n```\n# not a heading\n```\n````" in text


@pytest.mark.parametrize("text", ["- a list", "# heading", "1. one", "> quote", "+ plus", "=== rule", "Setext\n==="])
def test_the_beginning_of_a_line_is_no_markup(text: str) -> None:
    shown = render_markdown("r", [Section("", (Text(text),))]).partition("\n\n")[2]

    assert not re.search(r"^\s*(?:[-+#>=]|\d+[.)])", shown, re.MULTILINE)


def test_a_table_with_a_short_row_is_refused() -> None:
    with pytest.raises(ValueError, match="2 cells"):
        Table(("a", "b"), [("1",)])


_DAY_S = 86400.0
_HOURLY = [(_DAY_S * 20000 + 3600 * hour, hour / 10) for hour in range(24) if hour not in (7, 8)]


def _timeline(label: str, **options: Any) -> str:
    lines = [Line(label, _HOURLY, 0), Line(f"{label} too", _HOURLY[:5], 0, dashed=True)]
    return timeline(lines, label="seconds", start=_DAY_S * 20000, end=_DAY_S * 20001, **options)


_PLOTS = {
    "timeline": lambda: _timeline("a <b> $x$", marks=[Mark(_DAY_S * 20000.5, "1 <i>")], gap_s=5400, most=3.0),
    "no lines": lambda: timeline([], label="seconds", start=0.0, end=3600.0),
    "intervals": lambda: intervals([Interval("a <b> $x$", 0.1, -0.2, 0.3, "good", mark=-0.05)], label="x", zero=True),
    "bars": lambda: bars({"one": {"a & b": 1.0, "c": 2.0}, "two": {"c": 3.0}}, label="cases", tones={"c": "bad"}),
    "no bars": lambda: bars({}, label="cases"),
}


@pytest.mark.parametrize("name", _PLOTS)
def test_a_plot_is_the_same_each_time_and_takes_the_pages_colours(name: str) -> None:
    first, second = _PLOTS[name](), _PLOTS[name]()

    assert first == second
    ET.fromstring(first)  # noqa: S314
    assert "var(--" in first
    assert not re.search(r"#0100|font-family: '?DejaVu|<metadata|<\?xml|DOCTYPE", first)


def test_labels_are_texts_not_formulas_or_styles() -> None:
    label = 'a <b> $x^2$ style="font: 9px z" #010000'
    svg = intervals([Interval(label, 0.5, 0.4, 0.6)], label="x")

    assert label in "".join(ET.fromstring(svg).itertext())  # noqa: S314


def test_a_timeline_names_its_lines_its_marks_and_its_time() -> None:
    svg = _timeline("_begins with an underscore", marks=[Mark(_DAY_S * 20000.5, "mark 7")])
    text = "".join(ET.fromstring(svg).itertext())  # noqa: S314

    for expected in ("_begins with an underscore", "mark 7", "seconds", "UTC", "12:00"):
        assert expected in text


def test_a_hole_in_a_line_is_not_bridged() -> None:
    """A path begins anew with an M after each hole."""

    def pieces(svg: str) -> int:
        return max(str(path).count("M ") for path in re.findall(r'<path d="([^"]*)"[^>]*stroke-width: 1\.7', svg))

    assert pieces(_timeline("a", gap_s=5400.0)) == pieces(_timeline("a")) + 1

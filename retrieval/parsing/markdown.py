"""Markdown to blocks (CommonMark with tables), and HTML by way of Markdown."""

from collections.abc import Iterator, Sequence

from bs4 import BeautifulSoup
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markdownify import MarkdownConverter

from retrieval.errors import DocumentUnreadable
from retrieval.parsing.blocks import Block, BlockKind, ParsedDocument

_UNSEEN = ("script", "style", "noscript", "template", "svg", "iframe", "object", "embed", "nav", "head")
_TOP_LEVEL = frozenset(
    ("paragraph_open", "bullet_list_open", "ordered_list_open", "blockquote_open", "html_block", "dl_open")
)


def parse_markdown(text: str) -> ParsedDocument:
    """A Markdown document; its title is the first heading of the first level, or its front matter's."""
    front, text = _front_matter(text)
    lines = text.split("\n")
    tokens = MarkdownIt("commonmark", {"maxNesting": 32}).enable("table").parse(text)
    blocks = tuple(_blocks(tokens, lines))
    first = next((block.text for block in blocks if block.kind is BlockKind.HEADING and block.level == 1), "")
    return ParsedDocument(front or first, blocks)


def parse_html(text: str) -> ParsedDocument:
    """An HTML page: what a reader sees of it. Scripts, styles, navigation and comments are left out.

    Raises:
        DocumentUnreadable: it is nested too deeply to be read.
    """
    try:
        soup = BeautifulSoup(text, "html.parser")
        title = soup.title.get_text(" ", strip=True) if soup.title else ""
        for tag in soup(_UNSEEN):
            tag.decompose()
        for tag in soup.select("[hidden], [aria-hidden=true]"):
            tag.decompose()
        markdown = MarkdownConverter(heading_style="ATX", strip=["a", "img"], escape_misc=False).convert_soup(soup)
    except RecursionError:
        raise DocumentUnreadable("invalid_file", "the page is nested too deeply") from None
    parsed = parse_markdown(markdown)
    return ParsedDocument(title or parsed.title, parsed.blocks)


def _front_matter(text: str) -> tuple[str, str]:
    """The title in a YAML front matter, and the text after it."""
    if not text.startswith("---\n"):
        return "", text
    head, closed, rest = text[4:].partition("\n---\n")
    if not closed:
        return "", text
    titles = (line.removeprefix("title:") for line in head.split("\n") if line.startswith("title:"))
    return next(titles, "").strip().strip("'\""), rest


def _blocks(tokens: Sequence[Token], lines: Sequence[str]) -> Iterator[Block]:
    """The top level of the document. Lists and quotes are prose as they were written."""
    for place, token in enumerate(tokens):
        if token.level != 0 or token.map is None:
            continue
        start, end = token.map
        source = "\n".join(lines[start:end]).strip("\n")
        if token.type == "heading_open":
            text = tokens[place + 1].content.strip()
            if text:
                yield Block(BlockKind.HEADING, text, level=int(token.tag[1:]))
        elif token.type in ("fence", "code_block"):
            if token.content.strip():
                yield Block(BlockKind.CODE, token.content.strip("\n"))
        elif token.type == "table_open":
            rows = source.split("\n")
            yield Block(BlockKind.TABLE, "\n".join(rows[2:]), header="\n".join(rows[:2]))
        elif token.type in _TOP_LEVEL and source.strip():
            yield Block(BlockKind.TEXT, source)

"""A report as one HTML file that needs nothing else: no script, no font, no address to fetch from."""

from collections.abc import Sequence
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from training.reports.document import Section


def render_page(title: str, sections: Sequence[Section]) -> str:
    """The page. Every text in it is escaped; only figures are taken as they are."""
    return _template().render(title=title, sections=sections)


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("training.reports", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["kind"] = lambda block: type(block).__name__
    # Figures are drawn here and escaped by the drawing library.
    environment.filters["drawing"] = lambda figure: Markup(figure.svg)  # noqa: S704
    return environment.get_template("page.html.j2")

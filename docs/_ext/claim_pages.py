"""Claims on the pages of the course, and all of them in one table.

``claim(...)`` in a cell is shown by the directive ``{claim}``; ``{claims-table}`` is
the table, in the order of the pages.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

from claims import VERDICTS
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

TABLE = "course/claims"


class Record(NamedTuple):
    """A claim of a page.

    Attributes:
        page: the name of the page.
        anchor: its place there.
        verdict: one of the verdicts.
        statement: the claim, nodes of a document.
        figure: the numbers measured, nodes of a paragraph.
    """

    page: str
    anchor: str
    verdict: str
    statement: list[nodes.Node]
    figure: list[nodes.Node]


class TablePlace(nodes.General, nodes.Element):
    """A place for the table of all claims."""


class Claim(SphinxDirective):
    required_arguments, final_argument_whitespace = 1, True
    option_spec: ClassVar = {"figure": directives.unchanged_required}
    has_content = True

    def run(self) -> list[nodes.Node]:
        verdict = self.arguments[0]
        if verdict not in VERDICTS:
            raise self.error(f"a verdict is one of {VERDICTS}, got {verdict!r}")
        statement = self.parse_content_to_nodes()
        figure, messages = self.parse_inline(self.options["figure"])
        anchor = f"claim-{self.env.new_serialno('claim') + 1}"
        _records(self.env).append(Record(self.env.docname, anchor, verdict, statement, figure))
        box = nodes.admonition("", classes=["claim", _name(verdict)], ids=[anchor])
        box += nodes.title("", f"Claim: {verdict}")
        box += _copies(statement)
        box += nodes.paragraph("", "", nodes.strong("", "Measured: "), *_copies(figure))
        return [box, *messages]


class ClaimsTable(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        return [TablePlace("")]


def _name(verdict: str) -> str:
    """The class of a verdict in style sheets."""
    return verdict.replace(" ", "-")


def _records(env: Any) -> list[Record]:
    if not hasattr(env, "fnopt_claims"):
        env.fnopt_claims = []
    return env.fnopt_claims


def _copies(tree: list[nodes.Node]) -> list[nodes.Node]:
    return [node.deepcopy() for node in tree]


def _purge(app: Sphinx, env: Any, docname: str) -> None:
    env.fnopt_claims = [record for record in _records(env) if record.page != docname]


def _fill(app: Sphinx, tree: nodes.document, docname: str) -> None:
    for place in list(tree.findall(TablePlace)):
        place.replace_self(_table(app, docname))


def _table(app: Sphinx, docname: str) -> list[nodes.Node]:
    order = app.env.toctree_includes.get("course/index", [])
    records = [r for page in order for r in _records(app.env) if r.page == page]
    counts = {verdict: sum(r.verdict == verdict for r in records) for verdict in VERDICTS}
    head, body = nodes.thead(), nodes.tbody()
    head += _row(
        [[nodes.paragraph("", title)] for title in ("claim", "verdict", "measured", "page")]
    )
    for record in records:
        title = app.env.titles[record.page].astext()
        uri = f"{app.builder.get_relative_uri(docname, record.page)}#{record.anchor}"
        link = nodes.reference("", title, refuri=uri, internal=True)
        cells = [
            _copies(record.statement),
            [nodes.paragraph("", "", _badge(record.verdict, record.verdict))],
            [nodes.paragraph("", "", *_copies(record.figure))],
            [nodes.paragraph("", "", link)],
        ]
        body += _row(cells)
    group = nodes.tgroup(cols=4)
    group += [*(nodes.colspec(colwidth=width) for width in (38, 12, 34, 16)), head, body]
    summary = nodes.paragraph("", f"{len(records)} claims: ")
    for verdict, count in counts.items():
        summary += [_badge(f"{count} {verdict}", verdict), nodes.Text(" ")]
    return [summary, nodes.table("", group, classes=["claims"])]


def _badge(text: str, verdict: str) -> nodes.inline:
    return nodes.inline("", text, classes=["verdict", _name(verdict)])


def _row(cells: list[list[nodes.Node]]) -> nodes.row:
    row = nodes.row()
    row += [nodes.entry("", *cell) for cell in cells]
    return row


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_node(TablePlace)
    app.add_directive("claim", Claim)
    app.add_directive("claims-table", ClaimsTable)
    app.connect("env-purge-doc", _purge)
    # Its page shows what the others found.
    app.connect("env-updated", lambda app, env: [TABLE] if TABLE in env.found_docs else [])
    app.connect("doctree-resolved", _fill)
    return {"parallel_read_safe": False, "parallel_write_safe": True}

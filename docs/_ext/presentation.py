"""The navigation, and blocks of code without an empty line at their end."""

from __future__ import annotations

from docutils import nodes
from sphinx.application import Sphinx


def _strip_code(app: Sphinx, tree: nodes.document) -> None:
    """An example ends with an empty line for doctest's sake; readers need none."""
    for block in tree.findall(nodes.literal_block):
        text = block.astext().rstrip()
        block.rawsource = text
        block.children = [nodes.Text(text)]


def _collapse(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: object):
    """Opens the navigation at the present page alone: each would list 200 methods otherwise."""
    if "toctree" in context:
        whole = context["toctree"]
        context["toctree"] = lambda **options: whole(**options | {"collapse": True})


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("doctree-read", _strip_code)
    app.connect("html-page-context", _collapse, priority=400)  # before furo, which reads it
    return {"parallel_read_safe": True, "parallel_write_safe": True}

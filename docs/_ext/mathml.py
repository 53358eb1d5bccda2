"""Mathematics as MathML, converted when the pages are built: no script and no network to show it.

A formula that cannot be converted is a warning, and so fails the build.
"""

from __future__ import annotations

from docutils import nodes
from math_core import LatexError, LatexToMathML
from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)
_latex = LatexToMathML(annotation=True, fancy_error=False)


def mathml(formula: str, *, display: bool) -> str:
    """A formula of LaTeX as an element ``math``; display formulas may have several lines.

    Raises:
        LatexError: the formula is wrong, or has a command that is not known.
    """
    if display and r"\begin{align" not in formula and (r"\\" in formula or "&" in formula):
        formula = rf"\begin{{aligned}}{formula}\end{{aligned}}"
    return _latex.convert_with_local_state(formula, displaystyle=display)


def _converted(node: nodes.Element, *, display: bool) -> str:
    try:
        return mathml(node.astext(), display=display)
    except LatexError as error:
        logger.warning("formula %r: %s", node.astext(), error, location=node)
        return ""


def _inline(self, node: nodes.math) -> None:
    self.body.append(_converted(node, display=False))
    raise nodes.SkipNode


def _block(self, node: nodes.math_block) -> None:
    self.body.append(self.starttag(node, "div", CLASS="formula"))
    self.body.append(_converted(node, display=True) + "</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}

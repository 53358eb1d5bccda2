"""The site: formulas are MathML, nothing is loaded from elsewhere, and code can be copied.

``make docs`` builds all pages; here a few are, with the configuration of all.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import browser
import pytest

pytest.importorskip("sphinx")
math_core = pytest.importorskip("math_core")
pytest.importorskip("sphinx_copybutton")

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"

PAGE = r"""# A page

An inline formula, $\hat\beta_1 \in [0, 1)$, and a display:

$$
m_t &= \beta_1\,m_{t-1} + (1 - \beta_1)\,g_t \\
u_t &= \begin{cases}
m_t / (\sqrt{\hat v_t} + \epsilon) & t > 1 \\ \lVert g_t \rVert & \text{else}
\end{cases}
$$

```python
>>> def double(x):
...     return 2 * x
>>> double(2)
4

```

```{eval-rst}
.. autofunction:: fnopt.plot
```

![Shapes](schedules.png)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of a small site."""
    folder = tmp_path_factory.mktemp("site")
    source = folder / "source"
    source.mkdir()
    (source / "index.md").write_text(PAGE)
    (source / "schedules.png").write_bytes((DOCS / "reference" / "schedules.png").read_bytes())
    command = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "-c", str(DOCS)]
    done = subprocess.run(
        [*command, str(source), str(folder / "html")], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    return folder / "html"


def test_code_is_shown_without_the_empty_line_at_its_end(site):
    (code,) = re.findall(r"<pre>(.*?)</pre>", (site / "index.html").read_text(), re.DOTALL)
    assert re.sub("<[^>]*>", "", code).endswith("double(2)\n4\n")


def test_a_page_loads_nothing_from_elsewhere(site):
    text = (site / "index.html").read_text()
    tags = re.findall(r"<(?:script|link|img|iframe|source)\b[^>]*>", text)
    assert tags
    assert not [tag for tag in tags if re.search(r"""(src|href)=["']?(https?:)?//""", tag)]
    styles = "".join(path.read_text() for path in (site / "_static").rglob("*.css"))
    assert not re.findall(r"url\(\W*(?:https?:)?//[^)]*|@import\W+http\S*", styles)


@pytest.mark.skipif(browser.installed() is None, reason="no Chromium")
def test_a_browser_without_a_network_shows_formulas_and_copies_code(site, tmp_path):
    with browser.Browser(tmp_path / "profile") as page:
        page.open(site / "index.html")
        kinds = {url.partition(":")[0] for url in page.requests}
        assert kinds == {"file", "data"}  # furo's icons are in its styles
        assert page.run("document.fonts.check('16px \"Fnopt Math\"')")
        boxes = page.run(
            "[...document.querySelectorAll('math:not([display]), mtable')]"
            ".map(math => math.getBoundingClientRect()).map(box => [box.width, box.height])"
        )
        (width, height), (wide, high), (_, cases) = boxes
        assert 60 < width < 200 and 10 < height < 40
        assert 200 < wide < 500 and 30 < cases < high - 20 < 150
        page.run("addEventListener('copy', () => { window.copied = getSelection().toString() })")
        page.run("document.querySelector('button.copybtn').scrollIntoView({block: 'center'})")
        page.click("button.copybtn")
        copied = page.run("window.copied") or page.run("navigator.clipboard.readText()")
    assert copied == "def double(x):\n    return 2 * x\ndouble(2)"


def test_no_output_on_the_pages_is_taken_for_a_prompt():
    """Of a block with prompts, the lines with a prompt are copied; the others are output."""
    for path in DOCS.glob("*.md"):
        for block in re.findall(r"```\n(\$ .*?)```", path.read_text(), re.DOTALL):
            assert not re.search(r"(?m)^(>>>|\.\.\.) ", block), path


def formulas() -> dict[str, bool]:
    """Each formula of the pages and docstrings, and whether it is displayed."""
    found: dict[str, bool] = {}
    for path in DOCS.rglob("*.md"):
        text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
        text = re.sub(r"`[^`\n]*`", "", text)
        for display, inline in re.findall(r"\$\$(.*?)\$\$|\$([^$\n]+)\$", text, re.DOTALL):
            found[display or inline] = bool(display)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    sources = [path.read_text() for path in (ROOT / "fnopt").rglob("*.py")]
    for source in (source for source in sources if ":math:" in source):
        for node in ast.walk(ast.parse(source)):
            doc = ast.get_docstring(node) if isinstance(node, documented) else None
            for inline in re.findall(r":math:`([^`]*)`", doc or ""):
                found[" ".join(inline.split())] = False
    return found


def test_every_formula_becomes_mathml(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS / "_ext"))
    from mathml import mathml

    for formula, display in formulas().items():
        got = mathml(formula, display=display)
        shown = re.sub(r"<annotation.*?</annotation>", "", got, flags=re.DOTALL)
        assert got.startswith("<math") and "\\" not in shown, formula
    assert len(formulas()) > 500

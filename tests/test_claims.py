"""Pages that run: outputs, claims and their table, files, and what a cell that fails reports."""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

for tool in ("sphinx", "math_core", "myst_nb", "ipykernel"):
    pytest.importorskip(tool)

EXTENSIONS = Path(__file__).resolve().parent.parent / "docs" / "_ext"

CONFIGURATION = f"""
import sys
sys.path.insert(0, {str(EXTENSIONS)!r})
extensions = ["claim_pages", "mathml", "myst_nb", "page_runs"]
myst_enable_extensions = ["dollarmath"]
html_math_renderer = "mathml"
html_theme = "basic"
nb_execution_mode = "cache"
nb_output_stderr = "remove"
nb_render_markdown_format = "myst"
"""
TOP = "---\nfile_format: mystnb\nkernelspec:\n  name: python3\n---\n"
PAGES = {
    "index": "# Home\n\n```{toctree}\ncourse/index\n```\n",
    "course/index": "# Course\n\n```{toctree}\nsecond\nfirst\nclaims\n```\n",
    "course/claims": "# All claims\n\n```{claims-table}\n```\n",
    "course/first": TOP
    + r"""# A page

```{code-cell}
import sys
from pathlib import Path
Path("left.html").write_text("<p>left")
print("shown"); print("not shown", file=sys.stderr)
```

```{code-cell}
from claims import claim
claim(r"It falls as $\beta^{-1}$.", 2 > 1, r'#1: "$\epsilon$" is [0.5, 1): `fit`')
```
""",
    "course/second": TOP
    + """# Another

```{code-cell}
from claims import claim
claim("It does not.", "in part", "none")
```

```{code-cell}
number = 1

number / 0
```
""",
}


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """The folder of a small site, the words of its build and its status."""
    folder = tmp_path_factory.mktemp("claims")
    for name, text in {"conf.py": CONFIGURATION, **PAGES}.items():
        path = folder / "source" / (name if name == "conf.py" else f"{name}.md")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "--quiet",
        "--no-color",
        "--fail-on-warning",
        "source",
        "html",
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    return folder, done


def text_of(page: str) -> str:
    text = re.sub("<annotation.*?</annotation>|<[^>]*>", " ", page)
    return " ".join(html.unescape(text).split())


@pytest.mark.slow
def test_a_cell_that_fails_fails_the_build_and_is_shown(build):
    _, done = build
    assert done.returncode == 1
    (line,) = re.findall(r"second\.md:(\d+): WARNING: a cell of the page failed", done.stderr)
    assert PAGES["course/second"].splitlines()[int(line) - 1] == "number = 1"
    assert "number / 0" in done.stderr and "ZeroDivisionError: division by zero" in done.stderr
    assert done.stderr.count("WARNING") == 1 and "\x1b" not in done.stderr


def test_the_time_of_each_page_is_recorded(build):
    folder, done = build
    seconds = json.loads((folder / "page_seconds.json").read_text())
    assert set(seconds) == {"course/first", "course/second"}
    assert re.fullmatch(r"2 pages run, \d+ s in all; slowest: course/\w+ \d+ s, .*\n", done.stdout)


def test_a_page_shows_outputs_and_its_files_lie_beside_it(build):
    folder, _ = build
    page = (folder / "html/course/first.html").read_text()
    assert "shown" in text_of(page) and "not shown" not in page.replace("print", "")[-3000:]
    assert (folder / "html/course/left.html").read_text() == "<p>left"


def test_claims_are_in_the_order_of_the_course(build):
    folder, _ = build
    table = (folder / "html/course/claims.html").read_text()
    assert "2 claims: 1 held 1 in part" in text_of(table)
    rows = [text_of(row) for row in re.findall(r"<tr.*?</tr>", table, re.DOTALL)]
    second, first = rows[1:]
    assert second == "It does not. in part none Another"
    assert re.fullmatch(r'It falls as β − 1 \. held #1: " ϵ " is \[0\.5, 1\): fit A page', first)
    assert 'class="verdict in-part' in table and "<math" in table
    (target,) = re.findall(r'href="(first\.html#claim-\d+)"', table)
    page = (folder / "html/course/first.html").read_text()
    assert f'id="{target.partition("#")[2]}"' in page


@pytest.mark.slow  # another start of Sphinx
def test_pages_that_have_not_changed_are_not_run_again(build):
    folder, _ = build
    (folder / "source/course/second.md").write_text("# Another\n")
    command = [sys.executable, "-m", "sphinx", "--quiet", "--fresh-env", "source", "html"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert "shown" in text_of((folder / "html/course/first.html").read_text())


def test_a_verdict_is_one_of_three(monkeypatch):
    monkeypatch.syspath_prepend(str(EXTENSIONS))
    from claims import claim

    assert [claim("", held, "").verdict for held in (True, 0, "in part")] == [
        "held",
        "failed",
        "in part",
    ]
    with pytest.raises(ValueError, match=r"held must be .* got 'partly'"):
        claim("", "partly", "")

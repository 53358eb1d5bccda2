"""The site that ``make docs`` has built, in a browser without a network, and all its links.

``.ci/run`` builds it before the tests. A site of other sources is not tested, and that is said.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import browser
import pytest

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "build" / "docs"


@pytest.fixture(scope="module")
def site():
    """The folder of the built site."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "docs" / "_ext"))
        import sources

    built = ROOT / "build" / "docs.sources"
    if not built.exists():
        pytest.skip("the site is not built: make docs")
    if built.read_text().strip() != sources.digest(sources.SITE):
        pytest.skip("the site was built of other sources: make docs")
    return SITE


@pytest.mark.skipif(browser.installed() is None, reason="no Chromium")
def test_pages_load_without_errors_and_search_finds(site, tmp_path):
    pages = ("index", "course/batch_size", "reference/adaptive/adamw")
    with browser.Browser(tmp_path / "profile") as page:
        for name in pages:
            page.open(site / f"{name}.html")
            broken = (
                "[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
            )
            assert page.run(broken) == [], name
        page.run("document.querySelector('input.sidebar-search').focus()")
        page.type("nesterov momentum")
        found = page.wait(
            "[...document.querySelectorAll('ul.search li > a')].map(a => a.innerText)"
        )
        assert any("nag" in title or "esterov" in title for title in found), found
        assert {url.partition(":")[0] for url in page.requests} <= {"file", "data"}
        assert page.errors == []


def test_every_link_within_the_site_has_a_target(site):
    targets: dict[Path, set[str]] = {}
    links: list[tuple[Path, str]] = []
    for path in site.rglob("*.html"):
        text = path.read_text()
        targets[path] = {*re.findall(r'\bid="([^"]+)"', text)}
        links += [(path, unquote(link)) for link in re.findall(r'\b(?:href|src)="([^"]+)"', text)]
    assert len(targets) > 250
    missing = set()
    for path, link in links:
        address, _, place = link.partition("#")
        if re.match(r"\w+:", link):
            continue
        target = (path.parent / address.partition("?")[0]).resolve() if address else path
        known = targets.get(target)
        if not target.is_file() or (place and known is not None and place not in known):
            missing.add((str(path.relative_to(site)), link))
    assert not missing


def test_no_page_loads_anything_from_another_host(site):
    for path in site.rglob("*.html"):
        for tag in re.findall(
            r"<(?:script|link|img|iframe|source|video)\b[^>]*>", path.read_text()
        ):
            assert not re.search(r"""\b(src|href)=["']?(https?:)?//""", tag), (path.name, tag)

"""The site that ``make docs`` has built, in a browser without a network, and all its links.

``.ci/run`` builds it before the tests. A site of other sources is not tested, and that is said.
"""

from __future__ import annotations

import os
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
        page.type("decoupled weight decay")
        results = "[...document.querySelectorAll('ul.search li > a')]"
        page.wait(f"{results}.some(result => result.innerText == 'adamw')")
        assert {url.partition(":")[0] for url in page.requests} <= {"file", "data"}
        assert page.errors == []


def test_every_link_within_the_site_has_a_target(site):
    files = {os.path.relpath(path, site) for path in site.rglob("*") if path.is_file()}
    pages = {name: (site / name).read_text() for name in files if name.endswith(".html")}
    places = {name: {*re.findall(r'\bid="([^"]+)"', text)} for name, text in pages.items()}
    assert len(pages) > 250
    missing = []
    for page, text in pages.items():
        for link in {*re.findall(r'\b(?:href|src)="(?!\w+:)([^"]+)"', text)}:
            address, _, place = unquote(link).partition("#")
            target = os.path.normpath(os.path.join(os.path.dirname(page), address.split("?")[0]))
            target = target if address else page
            if target not in files or (place and place not in places.get(target, {place})):
                missing.append((page, link))
    assert not missing


def test_no_page_loads_anything_from_another_host(site):
    for path in site.rglob("*.html"):
        for tag in re.findall(
            r"<(?:script|link|img|iframe|source|video)\b[^>]*>", path.read_text()
        ):
            assert not re.search(r"""\b(src|href)=["']?(https?:)?//""", tag), (path.name, tag)

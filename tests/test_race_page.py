"""The page of a race in a browser without a network."""

from __future__ import annotations

import browser
import pytest
from hand_race import STEPS, hand_race

pytest.importorskip("matplotlib")
pytestmark = pytest.mark.skipif(browser.installed() is None, reason="no Chromium")

PICTURES = "[...document.querySelectorAll('#map, #loss')].map(canvas => canvas.toDataURL())"


def table(page):
    """The table beneath the panels: of each optimizer, its rate and its loss."""
    return page.run(
        "Object.fromEntries([...document.querySelectorAll('#rows tr')]"
        ".map(row => [...row.cells].map(cell => cell.innerText.trim()))"
        ".map(([name, ...cells]) => [name, cells]))"
    )


def set_value(page, name, value):
    """Moves a slider as a hand does."""
    page.run(f"(e => {{ e.value = {value}; e.dispatchEvent(new Event('input')) }})({name})")


def press(page, key, code):
    for kind in ("keyDown", "keyUp"):
        page.call("Input.dispatchKeyEvent", type=kind, key=key, code=code)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    hand_race().animate(folder / "race.html", seconds=1)
    hand_race(rates=(0.01,)).animate(folder / "dark.html", theme="dark")
    return folder


@pytest.fixture(scope="module")
def page(folder):
    with browser.Browser(folder / "profile") as page:
        yield page


def opened(page, path):
    page.requests.clear()
    page.open(path)
    return page


def test_sliders_and_boxes_change_the_picture(page, folder):
    race = hand_race()
    opened(page, folder / "race.html")
    end = page.run(PICTURES)
    best = {entrant.name: entrant.values[entrant.best, 0] for entrant in race.entrants}
    shown = table(page)
    assert list(shown) == ["plain", "heavy", "wild"]
    assert float(shown["plain"][1]) == pytest.approx(best["plain"][-1], rel=0.01)
    assert shown["plain"][0] == "0.01" and shown["wild"][1] == "∞"

    set_value(page, "document.querySelector('#step')", 5)
    early = page.run(PICTURES)
    assert all(a != b for a, b in zip(early, end, strict=True))
    assert float(table(page)["heavy"][1]) == pytest.approx(best["heavy"][5], rel=0.01)
    assert page.run("document.querySelector('#at').textContent") == f"5 of {STEPS}"

    page.click("#rows tr:nth-child(2) input")
    without = page.run(PICTURES)
    assert all(a != b for a, b in zip(without, early, strict=True))
    page.click("#rows tr:nth-child(2) label canvas")
    assert page.run(PICTURES) == early

    set_value(page, "document.querySelector('#rate')", 0)
    assert table(page)["plain"][0] == "0.002" and table(page)["wild"][0] == "0.1"
    assert page.run(PICTURES) != early
    page.click("#best")
    assert page.run(PICTURES) == early
    page.click("#all")
    assert page.run(PICTURES) != early
    assert page.errors == [] and page.requests == [(folder / "race.html").as_uri()]


def test_it_plays_and_follows_the_keyboard(page, folder):
    step = "+document.querySelector('#step').value"
    opened(page, folder / "race.html")
    press(page, "ArrowLeft", "ArrowLeft")
    assert page.run(step) == STEPS - 1
    # Two steps may be over before one can look: the page itself notes what the button says.
    page.run(
        "window.said = []; new MutationObserver(() => said.push(document.querySelector('#play')"
        ".textContent)).observe(document.querySelector('#play'), {childList: true}), 0"
    )
    press(page, " ", "Space")
    page.wait("said.includes('Pause')")
    page.wait("document.querySelector('#play').textContent == 'Play'")
    assert page.run(step) == STEPS
    # From the end it begins again, and stops where it is, which the page does as soon as it can.
    page.run(
        "new Promise(done => { const [button, slider] = ['#play', '#step'].map(x =>"
        " document.querySelector(x)); button.click(); const wait = () => +slider.value < "
        f"{STEPS} ? (button.click(), done()) : setTimeout(wait, 1); wait() }})"
    )
    stopped = page.run(step)
    assert page.run("new Promise(done => setTimeout(done, 100))") is None
    assert page.run(step) == stopped < STEPS
    assert page.errors == []


def test_a_point_under_the_mouse_is_named(page, folder):
    opened(page, folder / "race.html")
    x, y = page.run(  # where the first path starts: (-1.5, 1) in (-2, 2) by (-1, 2)
        "(box => [box.x + 40 + (box.width - 50) / 8, box.y + 24 + (box.height - 50) / 3])"
        "(document.querySelector('#map').getBoundingClientRect())"
    )
    page.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    tip = page.run("document.querySelector('#tip').innerText").splitlines()
    assert tip[0].endswith(", step 0") and tip[1] == "(-1.5, 1)"
    assert tip[2] == "loss above the minimum: 11.5"
    page.call("Input.dispatchMouseEvent", type="mouseMoved", x=1, y=1)
    assert page.run("document.querySelector('#tip').hidden")


def test_the_theme_is_the_readers_or_that_of_the_page(page, folder):
    def prefers(scheme):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        page.call("Emulation.setEmulatedMedia", features=features)

    opened(page, folder / "race.html")
    for scheme, color in (("dark", "rgb(13, 17, 23)"), ("light", "rgb(255, 255, 255)")):
        prefers(scheme)
        page.wait(f"getComputedStyle(document.body).backgroundColor == '{color}'")
    opened(page, folder / "dark.html")
    page.wait("getComputedStyle(document.body).backgroundColor == 'rgb(13, 17, 23)'")
    assert page.run("document.querySelector('#rates').hidden")  # there is one rate alone
    assert page.errors == []


def test_errors_of_a_page_are_seen(page, tmp_path):
    (tmp_path / "wrong.html").write_text(
        "<script>console.error('said', 3); setTimeout(() => { throw Error('thrown') })</script>"
    )
    opened(page, tmp_path / "wrong.html")
    page.run("new Promise(done => setTimeout(done, 50))")
    said, thrown = page.errors
    page.errors.clear()
    assert said == "said 3" and "thrown" in thrown

"""Pictures of a race: what is drawn is what the optimizers did."""

from __future__ import annotations

import base64
import dataclasses
import itertools
import json
import re
import shutil
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hand_race import STEPS, hand_race

pytest.importorskip("matplotlib")

from matplotlib import rcParams
from PIL import Image

from fnopt.core.figure import ShownFigure
from fnopt.lab import Entrant, Problem, Race, problems
from fnopt.lab.end_labels import EndLabels
from fnopt.lab.landscape import landscape
from fnopt.lab.race_animation import Animation

FLAT = dict(rates=(0.01,))


def page_of(race, folder):
    """The data of the page of a race."""
    race.animate(folder / "race.html")
    text = (folder / "race.html").read_text("utf-8")
    return json.loads(re.search(r'type="application/json">(.*?)</script>', text)[1])


def texts_of(axes):
    return [t for a in axes.get_children() if isinstance(a, EndLabels) for t in a.texts]


def labels_of(figure):
    return [text.get_text() for text in figure.axes[1].artists[0].texts]


@pytest.mark.parametrize("starts", [((-1.5, 1.0),), ((-1.5, 1.0), (1.0, 0.0), (0.0, 1.5))])
def test_the_lines_of_the_picture_are_the_paths_of_the_optimizers(starts):
    race = hand_race(starts)
    figure = race.plot()
    map_axes, loss_axes = figure.axes[:2]
    for entrant in race.entrants:
        paths, values = entrant.paths[entrant.best], entrant.values[entrant.best]
        lines = [line for line in map_axes.lines if line.get_label() == entrant.name]
        assert len(lines) == len(starts)
        for line, path in zip(lines, paths, strict=True):
            finite = path[np.isfinite(path).all(axis=1)]
            np.testing.assert_array_equal(line.get_xydata(), finite)
        (curve,) = (line for line in loss_axes.lines if line.get_label() == entrant.name)
        wanted = np.median(np.where(np.isnan(values), np.inf, values), axis=0)
        low, _ = loss_axes.get_ylim()
        np.testing.assert_allclose(curve.get_ydata(), np.maximum(wanted, low))
    starts_drawn = {
        tuple(line.get_xydata()[0]) for line in map_axes.lines if len(line.get_xdata()) == 1
    }
    assert starts_drawn >= {*starts, (0.5, 0.5)}


def test_what_leaves_the_domain_is_cut_there_and_said_to_diverge():
    figure = hand_race().plot()
    map_axes, loss_axes = figure.axes[:2]
    assert (map_axes.get_xlim(), map_axes.get_ylim()) == ((-2, 2), (-1, 2))
    assert sorted(labels_of(figure)) == ["heavy", "plain", "wild (diverged)"]
    assert loss_axes.get_yscale() == "log" and loss_axes.get_ylim()[1] < 1e4
    several = hand_race(((-1.5, 1.0), (0.0, 0.5)))  # from the second, only x moves, and converges
    assert "wild (1 of 2 diverged)" in labels_of(several.plot())


def test_labels_do_not_overlap():
    figure = hand_race().plot()
    figure.draw_without_rendering()
    boxes = sorted(
        (text.get_window_extent() for text in texts_of(figure.axes[1])), key=lambda b: b.y0
    )
    assert len(boxes) == 3
    assert all(low.y1 <= high.y0 + 0.5 for low, high in itertools.pairwise(boxes))
    assert all(box.x1 <= figure.bbox.width for box in boxes)


def test_rates_have_a_panel_and_a_fan_on_demand():
    race = hand_race()
    figure = race.plot()
    assert len(figure.axes) == 3 and figure.axes[2].get_xlabel() == "learning rate"
    for entrant, line in zip(race.entrants, figure.axes[2].lines[::2], strict=True):
        np.testing.assert_array_equal(line.get_xdata(), entrant.learning_rates)
    assert len(hand_race(**FLAT).plot().axes) == 2
    more = len(race.plot(fan=True).axes[0].lines) - len(figure.axes[0].lines)
    assert more == 4  # two rates of plain and of heavy; those of wild leave the domain


def test_losses_without_a_known_minimum_are_as_they_are():
    figure = hand_race(minimum=None).plot()
    assert figure.axes[1].get_yscale() == "linear" and figure.axes[1].get_title() == "loss"


@pytest.mark.parametrize("name", problems())
def test_levels_show_valley_and_walls(name):
    land = landscape(problems()[name])
    assert np.all(np.diff(land.levels) > 0)
    share = np.mean(land.height[None] < land.levels[:, None, None], axis=(1, 2))
    assert share[0] < 0.1 < share[-1]
    assert np.sum((share > 0.02) & (share < 0.98)) >= 4


@pytest.mark.parametrize("suffix", ["png", "gif", "html"])
def test_the_same_race_gives_the_same_bytes(suffix, tmp_path):
    files = [tmp_path / f"{i}.{suffix}" for i in range(2)]
    for path in files:
        hand_race(**FLAT).animate(path, seconds=0.2)
    first, second = (path.read_bytes() for path in files)
    assert first == second and len(first) > 10_000


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_gif_shows_the_race_step_by_step(theme, tmp_path):
    race, path = hand_race(), tmp_path / "new" / "race.gif"
    race.animate(path, theme=theme, seconds=0.5, fps=10)
    with Image.open(path) as gif:
        assert (gif.n_frames, gif.size) == (5, (800, 400))
        assert gif.info["duration"] == 100 and gif.info["loop"] == 0
        gif.seek(gif.n_frames - 1)
        assert gif.info["duration"] == 2000
        shown = np.asarray(gif.convert("RGB"), int)
    animation = Animation(race, theme, 0.5, 10)
    assert animation.steps[0] == 0 and animation.steps[-1] == STEPS
    *_, last = animation.frames()
    apart = np.abs(shown - last.astype(int)).sum(axis=-1)
    assert apart.max() < 90 and np.mean(apart > 12) < 0.01  # with 255 colours
    for line, path in zip(animation.scene.paths[1], race["heavy"].paths[-1], strict=True):
        np.testing.assert_array_equal(line.get_xydata()[-1], path[-1])


def test_a_video_needs_ffmpeg_and_gets_every_frame(tmp_path, monkeypatch):
    monkeypatch.setitem(rcParams, "animation.ffmpeg_path", str(tmp_path / "ffmpeg"))
    with pytest.raises(RuntimeError, match=r"race.mp4 needs ffmpeg, .* or write a \.gif or \.html"):
        hand_race().animate(tmp_path / "race.mp4")
    if shutil.which("sh"):  # what stands for ffmpeg here keeps what it is given
        (tmp_path / "ffmpeg").write_text('#!/bin/sh\nfor path; do :; done\ncat > "$path"\n')
        (tmp_path / "ffmpeg").chmod(0o755)
        hand_race(**FLAT).animate(tmp_path / "race.mp4", seconds=1, fps=3)
        assert (tmp_path / "race.mp4").stat().st_size == 3 * 1600 * 800 * 4


def test_the_data_of_a_page_are_the_race(tmp_path):
    race = hand_race(((-1.5, 1.0), (1.0, 0.0)))
    data = page_of(race, tmp_path)
    assert [track["name"] for track in data["tracks"]] == ["plain", "heavy", "wild"]
    for track, entrant in zip(data["tracks"], race.entrants, strict=True):
        for key, wanted in (("paths", entrant.paths), ("losses", entrant.values)):
            got = np.frombuffer(base64.b64decode(track[key]), "<f4").reshape(wanted.shape)
            same = np.where(np.isnan(wanted) & (key == "losses"), np.inf, wanted)
            np.testing.assert_array_equal(got, same)
        assert track["rates"] == entrant.learning_rates.tolist() and track["best"] == entrant.best
    assert data["tracks"][2]["diverged"] == [True, True]
    assert data["starts"] == [[-1.5, 1.0], [1.0, 0.0]] and data["minima"] == [[0.5, 0.5]]


@pytest.mark.parametrize(
    ("path", "options", "words"),
    [
        ("race.jpg", {}, r"must end in \.gif, \.html, \.mp4 or \.png, got .*race\.jpg"),
        ("race", {}, r"must end in \.gif"),
        ("race.gif", {"theme": "blue"}, "theme must be one of light, dark, got 'blue'"),
        ("race.gif", {"seconds": 0}, r"seconds must lie in \(0, inf\), got 0"),
        ("race.gif", {"fps": 60}, r"fps must lie in \(0, 50\], got 60"),
    ],
)
def test_what_cannot_be_written_is_refused(path, options, words, tmp_path):
    with pytest.raises(ValueError, match=words) as refusal:
        hand_race().animate(tmp_path / path, **options)
    assert len(str(refusal.value)) < 400 and not list(tmp_path.iterdir())


def test_without_matplotlib_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "fnopt.core.figure")
    for name in ("matplotlib", "matplotlib.axes", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    for draw in (hand_race().plot, lambda: hand_race().animate(tmp_path / "race.html")):
        with pytest.raises(ImportError, match=r"pip install 'fnopt\[lab\]'"):
            draw()


def test_a_notebook_shows_the_picture(tmp_path):
    figure = hand_race().plot(tmp_path / "new" / "race.png")
    assert isinstance(figure, ShownFigure)
    with Image.open(tmp_path / "new" / "race.png") as image:
        assert image.size == (1600, 1000)


BOX = (-1.0, 1.0), (-1.0, 1.0)
FUNCTIONS = {
    "outside its logarithm": lambda point: jnp.log(point[0]) + point[1] ** 2,
    "no number": lambda point: jnp.nan * point[0],
    "constant": lambda point: 0.0 * point[0] + 3.0,
    "at its minimum": lambda point: 0.0 * point[0],
}


@pytest.mark.parametrize("minimum", [None, 0.0])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_without_heights_are_drawn(name, minimum, tmp_path):
    problem = Problem(name, FUNCTIONS[name], BOX, (-0.5, 0.5), minimum=minimum)
    race = Race(problem, (still(problem),), 0)
    wanted = "still" if name in ("constant", "at its minimum") else "still (diverged)"
    figure = race.plot()
    figure.draw_without_rendering()
    assert labels_of(figure) == [wanted]
    assert page_of(race, tmp_path)["tracks"][0]["diverged"] == [wanted != "still"]


def still(problem):
    """An optimizer that stays where it starts."""
    paths = np.tile(np.asarray(problem.start, np.float32), (1, 1, STEPS + 1, 1))
    with np.errstate(invalid="ignore"):
        values = np.asarray(jax.vmap(problem.function)(paths.reshape(-1, 2))).reshape(1, 1, -1)
    return Entrant("still", None, np.array([0.1]), paths, values)


def test_values_below_the_minimum_are_drawn_above_the_least():
    for shift in (20.0, 1e4):  # the second puts the start below the minimum as well
        race = hand_race()
        values = [entrant.values - np.float32(shift) for entrant in race.entrants]
        entrants = map(lambda e, v: dataclasses.replace(e, values=v), race.entrants, values)
        figure = Race(race.problem, tuple(entrants), 0).plot()
        figure.draw_without_rendering()
        loss = figure.axes[1]
        assert loss.get_title() == "loss above the smallest one" and loss.get_yscale() == "log"
        (curve,) = (line for line in loss.lines if line.get_label() == "heavy")
        low, high = loss.get_ylim()
        shown = (curve.get_ydata() > low) & (curve.get_ydata() < high)
        assert shown[0] and shown.sum() > STEPS / 2
    low = dataclasses.replace(race.problem, minimum=1.0)
    assert landscape(low).height.min() == 0


def test_a_path_that_is_never_in_the_domain_is_called_so(tmp_path):
    race = hand_race(((30.0, 1.0),), rates=(0.002,))
    assert sorted(labels_of(race.plot()))[:2] == ["heavy (outside)", "plain (outside)"]
    assert [track["outside"] for track in page_of(race, tmp_path)["tracks"]] == [[True]] * 3
    assert "outside" not in " ".join(labels_of(hand_race().plot()))


def test_the_map_of_a_near_square_has_equal_units(tmp_path):
    figure = hand_race().plot()
    figure.draw_without_rendering()
    (x0, y0), (x1, y1) = figure.axes[0].transData.transform([(0, 0), (1, 1)])
    assert x1 - x0 == pytest.approx(y1 - y0)
    race = hand_race()
    wide = dataclasses.replace(race.problem, domain=((-9.0, 3.0), (-2.0, 2.0)))
    assert Race(wide, race.entrants, 0).plot().axes[0].get_aspect() == "auto"


def test_a_file_that_cannot_be_written_is_named_before_the_race(tmp_path, monkeypatch):
    pytest.importorskip("tyro")
    from fnopt.cli import animate as command
    from fnopt.cli.__main__ import main

    monkeypatch.setattr(command, "race", None)
    (tmp_path / "file").touch()
    (tmp_path / "folder.gif").mkdir()
    outs = {
        "file/new/race.gif": "file is no folder, so that",
        "folder.gif": "is a folder; name a file, as",
    }
    for out, words in outs.items():
        with pytest.raises(SystemExit, match=f"--out: .*{words}"):
            main(["animate", "matyas", "--out", str(tmp_path / out)])
    monkeypatch.setattr(command.os, "access", lambda path, mode: mode != command.os.W_OK)
    with pytest.raises(SystemExit, match="--out: no permission to write"):
        main(["animate", "matyas", "--out", str(tmp_path / "new" / "race.gif")])
    assert not (tmp_path / "new").exists()

"""The words of ``fnopt sweep``: lists and bands of values, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tyro")

from fnopt.cli.command import _parsed
from fnopt.cli.optimizer import usual_rate
from fnopt.cli.options import names
from fnopt.cli.sweep_grid import Grid, grids_of, taken_apart, values_of
from fnopt.cli.sweep_options import SweepOptions
from fnopt.cli.usage import UsageError

OWN = names(SweepOptions)


def read(line):
    """The options and the grids of a command."""
    rest, values = taken_apart(line.split(), OWN)
    options = _parsed(SweepOptions, "sweep", rest)
    return options, grids_of(",".join(options.optimizers) or "adamw", values, OWN)


def test_the_command_of_the_page():
    options, (grid,) = read(
        "adamw --learning-rate 1e-5:1:log11 --weight-decay 0,1e-2 --seeds 3 --out runs"
    )
    assert grid.optimizer == "adamw" and grid.size == 22
    np.testing.assert_allclose(grid.values["learning_rate"], np.geomspace(1e-5, 1, 11))
    assert grid.values["weight_decay"] == [0.0, 0.01]
    assert options.run.seeds == 3 and str(options.output.out) == "runs"


def test_options_of_its_own_and_hyperparameters_may_stand_anywhere():
    options, grids = read(
        "adamw,sgd --lr=0.1,1 --no-plot --weight_decay 0:0.1:3 --nesterov true,false --epochs 4"
    )
    assert grids == [
        Grid("adamw", {"learning_rate": [0.1, 1.0], "weight_decay": [0.0, 0.05, 0.1],
                       "nesterov": [True, False]}),
        Grid("sgd", {"learning_rate": [0.1, 1.0], "nesterov": [True, False]}),
    ] and options.run.epochs == 4 and not options.output.plot  # fmt: skip


def test_without_a_rate_the_usual_one_is_taken():
    (grid,) = read("lion --b1 0.8,0.9")[1]
    assert grid.values == {"learning_rate": [usual_rate("lion")], "b1": [0.8, 0.9]}
    assert grids_of("adamw", {})[0].size == 1


@pytest.mark.parametrize(
    ("word", "values"),
    [
        ("0.1", [0.1]),
        ("3,5", [3, 5]),
        ("-1:1:3", [-1.0, 0.0, 1.0]),
        ("0,1e-3:1e-1:log3", [0.0, 0.001, 0.01, 0.1]),
        ("none,0.5", [None, 0.5]),
        ("True", [True]),
        ("1,true", [1, True]),
        ("inf", [float("inf")]),
        ("polynomial,cosine", ["polynomial", "cosine"]),
    ],
)
def test_values(word, values):
    got = values_of("--x", word)
    assert got == values and list(map(type, got)) == list(map(type, values))


def test_a_negative_value_is_no_option():
    assert taken_apart(["sgd", "--x", "-1,-2", "--seeds", "2"], OWN) == (
        ["sgd", "--seeds", "2"],
        {"x": [-1, -2]},
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("adamw --learning-rate", "--learning-rate needs values; give numbers with commas"),
        ("adamw --b1 --b2 0.9", "--b1 needs values"),
        ("adamw --b1 0.9 --b1 0.8", "--b1 is there twice"),
        ("adamw --b1 0.9,0.90", "--b1 0.9,0.90: 0.9 is there twice"),
        ("adamw --b1 0.9,", "'' is no value"),
        ("adamw --b1 1e-x", "'1e-x' is no value"),
        ("adamw --b1 nan", "'nan' is no value"),
        ("adamw --lr 1e-5:1", "--learning-rate 1e-5:1: a band is LOW:HIGH:N or LOW:HIGH:logN"),
        ("adamw --lr 1e-5:1:lin3", "a band is LOW:HIGH:N"),
        ("adamw --lr a:1:3", "LOW and HIGH must be numbers"),
        ("adamw --lr 1:1:3", "LOW must be below HIGH"),
        ("adamw --lr 0:inf:3", "both finite"),
        ("adamw --lr 0:1:log3", "LOW must be above 0 on a logarithmic scale; add 0"),
        ("adamw --lr 1e-5:1:log1", "a band has 2 values or more, got 1"),
        ("adamw --weight-dcay 0,1", "'adamw' has no hyperparameter '--weight-dcay'; did you mean"),
        ("sgd,heavy_ball --b3 0,1", "none of sgd, heavy_ball has hyperparameter '--b3'"),
        ("adamx", "there is no optimizer 'adamx'; did you mean adam"),
        ("adamw,adamw", "'adamw' is there twice"),
        (",", "give an optimizer, as in fnopt sweep adamw"),
        ("adamw --seeds three", "--seeds must be a whole number, got 'three'"),
        ("adamw --schedule plateau", "--schedule must be constant, linear"),
    ],
)
def test_mistakes(line, words):
    with pytest.raises(UsageError) as error:
        read(line)
    assert words in str(error.value) and len(str(error.value)) <= 400


def test_the_help_says_how_values_are_given(capsys):
    with pytest.raises(SystemExit):
        read("--help")
    text = " ".join(capsys.readouterr().out.split())
    assert "--seeds" in text and "1e-5:1:log11" in text

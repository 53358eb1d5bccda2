"""``fnopt sweep``: what it prints and leaves, how it goes on, and what it refuses."""

from __future__ import annotations

import csv
import json
import shlex
import signal
import unicodedata

import jax
import numpy as np
import pytest

pytest.importorskip("tyro")
pytest.importorskip("sklearn")

from hand_sweep import grid_sweep

import fnopt
from fnopt.cli import main
from fnopt.cli.optimizer import SCHEDULES
from fnopt.cli.sweep import _memory
from fnopt.cli.sweep_best import about_edges, as_command, as_python
from fnopt.cli.sweep_grid import Grid, entrants_of
from fnopt.cli.sweep_options import SweepOptions
from fnopt.core.stacking import groups_of
from fnopt.sweeps import Entrant, Sweep
from fnopt.sweeps.store import Store

pytestmark = pytest.mark.beside_optax


def columns(line):
    return sum(not unicodedata.combining(letter) for letter in line)


@pytest.fixture
def printed(capsys, monkeypatch, tmp_path):
    """What the command prints, at 80 columns, in an empty folder."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)

    def run(line):
        capsys.readouterr()
        main(line.split())
        return capsys.readouterr().out

    return run


def test_tables_the_best_pictures_and_files(printed, tmp_path):
    text = printed(
        "sweep sgd,adamw --learning-rate 1e-3:1:log3 --weight-decay 0,0.1 --seeds 2 --epochs 2"
        " --dataset wine --out new/out"
    )
    about, counts, *programs, empty, runs = text.splitlines()[:6]
    assert about == "wine: 3 classes, 13 features, 142 examples to train on, 36 to validate on"
    assert counts == "9 configurations, 2 seeds, 2 epochs"
    assert [line.split(",")[0] for line in programs] == ["6 runs of sgd", "12 runs of adamw"]
    assert empty == "" and runs == "18 runs by their best val_loss, the best first"
    lines = text.splitlines()
    medians = lines.index("best val_loss over 2 seeds, the best median first")
    assert lines[medians + 2].split()[0] in ("optimizer", "sgd", "adamw")
    assert "\033" not in text and all(columns(line) <= 80 for line in lines[2:-1])

    out = tmp_path / "new" / "out"
    sweep = Sweep.read(out / "wine-sweep.json")
    with (out / "wine-sweep.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(sweep) == len(rows) == 18 and rows[0]["best"] == repr(sweep.table()["best"][0])
    assert {path.name for path in out.glob("*.png")} == {
        "wine-sweep-values.png",
        "wine-sweep-curves.png",
    }
    assert all(path.stat().st_size > 10_000 for path in out.glob("*.png"))

    best = sweep.best()
    (at,) = (i for i, line in enumerate(lines) if "the best: val_loss " in line)
    assert f"val_loss {best.median:.4f}, val_accuracy 0." in lines[at] or best.median < 0.01
    assert lines[at].endswith("(medians over 2 seeds)")
    tx = eval(lines[at + 1], {"fnopt": fnopt})
    assert tx.learning_rate == best.hyperparameters["learning_rate"]
    assert lines[at + 2].startswith(f"fnopt train --optimizer {best.entrant.label} ")
    assert text.endswith("table: new/out/wine-sweep.csv, curves: new/out/wine-sweep.json\n")


def test_the_command_trains_as_the_run_of_seed_0_did(printed, tmp_path):
    # Not by Adam, which makes steps of the roundings of a bias before a batch normalization.
    line = "sweep sgdw --lr 0.03,0.3 --weight-decay 0.1 --schedule warmup_cosine --epochs 3"
    text = printed(f"{line} --dataset wine --batch-size 40 --no-plot --seeds 2")
    sweep = Sweep.read(tmp_path / "out" / "wine-sweep.json")
    command = text[text.index("\nfnopt train ") : text.rindex("\ntable: ")].replace(" \\\n", " ")
    words = shlex.split(command.strip().splitlines()[0])
    assert words[:2] == ["fnopt", "train"]
    main([*words[1:], "--no-plot"])
    log = (tmp_path / "out" / "wine.jsonl").read_text().splitlines()
    logged = [json.loads(line)["val_loss"] for line in log]
    (run,) = (run for run in sweep.best().runs if run.seed == 0)
    np.testing.assert_allclose(run.curves["val_loss"], logged, rtol=1e-4)
    assert not list((tmp_path / "out").glob("*.png"))


@pytest.mark.parametrize("schedule", [name for name in SCHEDULES if name != "plateau"])
def test_a_schedule_is_one_structure_and_its_rate_a_number(schedule):
    entrants = entrants_of(Grid("adam", {"learning_rate": [0.1, 0.5]}), schedule, 100)
    assert len(groups_of(entrant.tx for entrant in entrants)) == 1
    assert [entrant.hyperparameters["learning_rate"] for entrant in entrants] == [0.1, 0.5]
    for entrant in entrants:
        rate, number = entrant.tx.learning_rate, entrant.hyperparameters["learning_rate"]
        top = max(float(rate(step)) for step in range(100)) if callable(rate) else rate
        assert top == pytest.approx(number)
        tx = eval(as_python(entrant), {"fnopt": fnopt})
        assert repr(tx) == repr(entrant.tx)


def test_an_interrupted_sweep_goes_on(printed, monkeypatch, tmp_path):
    line = "sweep sgd,adamw --lr 0.1,0.01 --epochs 2 --dataset wine --no-plot"
    printed(f"{line} --out whole")
    write = Store.write

    def once(store, *args):
        write(store, *args)
        signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(Store, "write", once)
        with pytest.raises(SystemExit, match="--folder FOLDER a sweep can go on after the last"):
            printed(line)
        with pytest.raises(SystemExit, match=r"2 of 4 runs finished; .* --resume goes on"):
            printed(f"{line} --folder kept")
    with pytest.raises(SystemExit, match=r"go on with it by --resume, or give another folder"):
        printed(f"{line} --folder kept")
    with pytest.raises(SystemExit, match=r"has another sweep: epochs is 2 there, and 3 here"):
        printed(f"{line} --folder kept --resume --epochs 3".replace("--epochs 2", ""))
    text = printed(f"{line} --folder kept --resume --out resumed")
    assert "2 runs of adamw" in text and "2 runs of sgd" not in text
    whole, resumed = (tmp_path / out / "wine-sweep.csv" for out in ("whole", "resumed"))
    assert whole.read_text() == resumed.read_text()


def test_a_model_of_a_file_begins_with_each_seed(printed, tmp_path):
    """Its classes are the same for all seeds, though the function is called for each."""
    pytest.importorskip("equinox")
    (tmp_path / "a_model.py").write_text(
        "import equinox as eqx\n\n\n"
        "class Model(eqx.Module):\n    layer: eqx.nn.Linear\n\n"
        "    def __call__(self, x):\n        return self.layer(x)\n\n\n"
        "def make(input_shape, outputs, key):\n"
        "    return Model(eqx.nn.Linear(input_shape[0], outputs, key=key))\n"
    )
    text = printed(
        "sweep sgd --seeds 2 --epochs 1 --dataset wine --no-plot --model a_model.py:make"
    )
    assert "--model a_model.py:make" in text
    first, second = Sweep.read("out/wine-sweep.json").runs
    assert first.curves["val_loss"][0] != second.curves["val_loss"][0]


def test_where_all_diverge_it_says_what_to_try(printed, tmp_path):
    with pytest.raises(SystemExit) as error:
        printed("sweep sgd --lr 1e30,1e33 --epochs 2 --dataset wine")
    message = str(error.value)
    assert message.startswith("fnopt: all 2 runs diverged; try lower learning rates")
    with (tmp_path / "out" / "wine-sweep.csv").open() as file:
        assert all(row["diverged_at"] for row in csv.DictReader(file))
    assert not list((tmp_path / "out").glob("*.png"))


def test_a_table_too_wide_refers_to_its_file(printed, tmp_path):
    options = " ".join(
        f"--{name} {values}"
        for name, values in {
            "lr": "1e-3,1e-2",
            "weight-decay": "0,0.01",
            "b1": "0.8,0.9",
            "b2": "0.9,0.999",
            "eps": "1e-8,1e-7",
        }.items()
    )
    text = printed(f"sweep adamw {options} --epochs 1 --dataset wine --no-plot")
    assert "\n… and 12 more\n" in text and ".text(" not in text
    assert "(fnopt train has no option for b1, b2, eps)" in text


def test_the_edges_of_a_grid_are_said():
    rates, decays = [0.01, 0.1, 1.0], [0.0, 0.1, 0.2]
    sweep = grid_sweep(
        lambda label, seed, learning_rate, weight_decay: 1 / learning_rate + weight_decay,
        learning_rate=rates,
        weight_decay=decays,
    )
    words = "learning_rate 1 is the largest of 3: try larger ones too"
    assert about_edges(sweep, sweep.best().entrant) == [words]
    middle = next(run.entrant for run in sweep.runs if run.entrant.hyperparameters == {
        "learning_rate": 0.1, "weight_decay": 0.2,
    })  # fmt: skip
    assert "weight_decay" in about_edges(sweep, middle)[0]


def test_what_train_cannot_make_has_no_command():
    for name in ("polyak_sgd", "dpsgd"):
        assert as_command(Entrant(name, None, {}), SweepOptions()) == (
            f"(fnopt train has no {name})"
        )


MISTAKES = {
    "--optimizer adamw": "give optimizers without an option, as in fnopt sweep adamw,sgd",
    "adamw --seed 3": "no hyperparameter '--seed'; did you mean --seeds?",
    "adamw --lr 1e-2,-1": "--learning-rate must lie in [0, inf), got -1",
    "adamw --b1 1.5": "adamw: b1 must lie in [0, 1), got 1.5",
    "adamw --seeds 0": "--seeds must be at least 1, got 0",
    "adamw --epochs 0": "--epochs must be at least 1, got 0",
    "adamw --early-stop -1": "--early-stop must lie in [0, inf), got -1",
    "adamw --batch-size 5000": "--batch-size must be from 1 to the 142 examples",
    "adamw --precision float31": "no precision 'float31'; did you mean 'float32'",
    "adamw --monitor val_acuracy": "no metric 'val_acuracy'; did you mean 'val_accuracy'?",
    "adamw --memory lots": "--memory must be a number of bytes or a text such as '8GiB', got",
    "adamw --memory 1KiB": "one run of adamw takes about",
    "adamw --resume": "--resume needs --folder",
    "adamw --theme blue": "--theme must be light or dark, got 'blue'",
    "polyak_sgd --schedule cosine": "'polyak_sgd' has no learning rate; leave --schedule out",
    "adamw --mask abc": "the mask 'abc' matches no leaf",
}


@pytest.mark.parametrize("arguments", MISTAKES)
def test_a_mistake_is_answered_in_a_sentence(monkeypatch, tmp_path, arguments):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as error:
        main(["sweep", *arguments.split(), "--dataset", "wine"])
    message = str(error.value)
    assert message.startswith("fnopt: ") and MISTAKES[arguments] in message
    assert "sweep:" not in message and "exception" not in message and len(message) < 400


def test_help_fits_80_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as end:
        main(["sweep", "--help"])
    assert end.value.code in (0, None)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 10 and max(map(columns, lines)) <= 80


def test_the_cores_share_the_memory_that_is_given():
    mesh = jax.make_mesh((4,), ("runs",), devices=jax.devices()[:4])
    assert _memory("1GiB", mesh) == 2**28 and _memory("1GiB", None) == 2**30
    assert _memory(None, mesh) is None

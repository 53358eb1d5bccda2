"""The result of a sweep: its order, its tables and quantiles, its best, its files."""

from __future__ import annotations

import csv
import dataclasses
import functools
import inspect
import json
import math

import numpy as np
import pytest
from hand_sweep import grid_sweep, run, sweep_of
from hypothesis import given
from hypothesis import strategies as st

import fnopt
from fnopt.core.quantile import quantile
from fnopt.sweeps import Entrant, Sweep
from fnopt.sweeps.texts import short_texts

RATES = (0.01, 0.1, 1.0)
ADAM, SGD = (Entrant(name, name, {}) for name in ("adam", "sgd"))


def loss(label, seed, learning_rate, weight_decay=0.0):
    """Lowest at a rate of 0.1; seed 2 diverges at 1, and so does every seed without decay."""
    if learning_rate == 1 and (seed == 2 or not weight_decay):
        return None
    return abs(math.log10(learning_rate) + 1) + weight_decay + seed / 10


def example(**axes):
    return grid_sweep(loss, (0, 1, 2), learning_rate=RATES, weight_decay=(0.0, 0.01), **axes)


# Tables


def test_the_table_has_the_runs_the_best_first():
    table = example().table()
    assert table.columns == (
        *("run", "optimizer", "learning_rate", "weight_decay", "seed"),
        *("final", "best", "best_epoch", "diverged_at", "stopped_at"),
    )
    assert len(table) == 18 and sorted(table["run"]) == list(range(18))
    finite = [value for value in table["final"] if not math.isnan(value)]
    assert len(finite) == 14 and finite == sorted(finite)
    assert table["diverged_at"] == [None] * 14 + [17] * 4
    first = next(iter(table))
    assert (first["learning_rate"], first["weight_decay"], first["seed"]) == (0.1, 0.0, 0)
    assert (first["final"], first["best"], first["best_epoch"]) == (0.0, 0.0, 3)
    assert table["best"][-1] == 4.0 and table["best_epoch"][-1] == 1  # before it diverged


def test_final_and_best_differ_and_either_sorts():
    sweep = sweep_of(run(0, ADAM, [3, 1, 2.5]), run(1, SGD, [3, 2.5, 2]))
    assert sweep.table()["run"] == [0, 1] and sweep.table(at="final")["run"] == [1, 0]
    assert sweep.table()["best"] == [1, 2] and sweep.table()["final"] == [2.5, 2]
    assert sweep.table()["best_epoch"] == [2, 3]
    assert (sweep.best().tx, sweep.best(at="final").tx) == ("adam", "sgd")


def test_of_equal_runs_the_earlier_is_first_and_of_equal_epochs_too():
    sweep = sweep_of(*(run(i, ADAM, [2, 1, 1], seed) for i, seed in enumerate((5, 3, 4))))
    assert sweep.table()["run"] == [0, 1, 2] and sweep.table()["best_epoch"] == [2, 2, 2]
    assert sweep.best_run().number == 0


def test_a_stopped_run_ends_where_it_stopped():
    stopped = run(0, ADAM, [3, 1, 2, np.nan, np.nan], stopped_at=3)
    table = sweep_of(stopped, run(1, SGD, [3, 3, 3, 3, 3])).table(at="final")
    assert table["final"] == [2, 3] and table["stopped_at"] == [3, None]
    assert "1 stopped early" in repr(table) and "diverged" not in repr(table)


def test_a_larger_metric_may_be_better():
    sweep = dataclasses.replace(example(), monitor="val_accuracy", mode="max")
    table = sweep.table()
    finite = [value for value in table["final"] if not math.isnan(value)]
    assert finite == sorted(finite, reverse=True) and table["diverged_at"][-4:] == [17] * 4
    assert sweep.best().hyperparameters == {"learning_rate": 0.1, "weight_decay": 0.0}
    assert sweep.by("learning_rate")["q25"][2] == -math.inf


def test_values_that_are_not_finite_are_never_the_best():
    sweep = sweep_of(run(0, ADAM, [np.nan, 2, np.inf]), run(1, SGD, [-np.inf, 3, 3]))
    assert sweep.table()["best"] == [2, 3]
    assert sweep.table(at="final")["run"] == [1, 0]  # an infinite loss is the worst
    never = sweep_of(run(0, ADAM, [np.nan, np.nan])).table()
    assert math.isnan(never["best"][0]) and never["best_epoch"] == [None]


def test_without_validation_the_training_loss_is_watched():
    sweep = dataclasses.replace(example(), monitor="loss")
    assert sweep.best().median == 0.05 and "best loss 0.05" in repr(sweep)


# What is printed


def test_tables_fit_80_columns_and_say_what_is_cut():
    text = example().table().text(width=80, most=4)
    assert text.splitlines() == [
        "18 runs by their best val_loss, the best first, 4 diverged",
        "in all: optimizer adamw",
        "run  learning_rate  weight_decay  seed   final    best  best_epoch",
        "  6  0.1            0                0       0       0           3",
        "  9  0.1            0.01             0  0.0100  0.0100           3",
        "  7  0.1            0                1  0.1000  0.1000           3",
        " 10  0.1            0.01             1  0.1100  0.1100           3",
        "… and 14 more; .text(most=None) prints all",
    ]
    assert len(example().table().text(most=None).splitlines()) == 21


@pytest.mark.parametrize("width", [60, 80, 200])
def test_wide_tables_break_heads_cut_texts_and_leave_columns_out(width):
    rates = [fnopt.cosine_decay_schedule(rate, 100) for rate in (0.1, 0.2)]
    names = dict.fromkeys(["b1", "b2", "eps_in_the_root", "momentum_decay"], (0.5, 0.25))
    sweep = grid_sweep(lambda *_, b1, **__: b1, learning_rate=rates, **names)
    lines = sweep.table().text(width=width, most=3).splitlines()
    assert max(map(len, lines)) <= width
    assert sum("(init_value=0.1)" in line for line in lines) == 3
    left_out = [line for line in lines if line.startswith("no room for")]
    assert bool(left_out) == (width < 200)
    (head,) = [line for line in lines if line.startswith("run")]
    assert ("eps_in_the_root" in head) == (width == 200)


def test_the_repr_of_a_sweep_is_short():
    assert repr(example()) == (
        "Sweep(\n"
        "    18 runs, 6 entrants, 4 diverged, 1 program, 1.5 s,\n"
        "    best val_loss 0.1000: adamw(learning_rate=0.1, weight_decay=0),\n"
        ")"
    )
    nothing = grid_sweep(lambda *_, **__: None, learning_rate=RATES)
    assert "3 diverged" in repr(nothing) and "no finite val_loss" in repr(nothing)
    assert repr(sweep_of()) == ("Sweep(0 runs, 0 entrants, 1 program, 1.5 s, no finite val_loss)")
    assert len(sweep_of().table()) == 0 and repr(sweep_of().table()).startswith("0 runs")


def test_a_table_in_a_notebook_is_html():
    rows = [fnopt.polynomial_schedule, "<b>"]
    page = grid_sweep(lambda *_, **__: 1.0, learning_rate=rows).table()._repr_html_()
    assert page.count("<tr>") == 3 and "&lt;b&gt;" in page and "<b>" not in page


def test_texts_tell_values_apart():
    assert short_texts([0.1, 0.10001, 1e-5]) == ["0.1", "0.10001", "1e-5"]
    assert short_texts([True, None, "min", abs, (0.9, 1)]) == [
        *("True", "None", "min", "abs", "(0.9, 1)")
    ]
    joined = [
        fnopt.join_schedules([fnopt.linear_schedule(0.0, rate, 10), 0.1], [10]) for rate in (1, 2)
    ]
    assert short_texts([joined[0]] * 2, 30)[0].startswith("join_schedules(schedules=")
    texts = short_texts(joined, 300)
    assert len(set(texts)) == 2 and all(text.startswith("join_schedules(") for text in texts)


# Quantiles


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=9), st.floats(0, 1))
def test_quantiles_are_those_of_numpy(values, share):
    np.testing.assert_allclose(quantile(values, share), np.quantile(values, share), atol=1e-6)


def test_quantiles_of_infinities():
    infinite = math.inf
    assert quantile([1, 2, infinite], 0.5) == 2
    assert quantile([1, infinite, infinite], 0.5) == infinite
    assert quantile([1, 2, infinite], 0.75) == infinite
    assert quantile([infinite, infinite], 0.3) == infinite
    assert quantile([-infinite, 1, 2], 0.5) == 1 and quantile([-infinite, 1], 0.5) == -infinite


def test_by_a_hyperparameter():
    table = example().by("learning_rate")
    assert table.columns == ("learning_rate", "runs", "q25", "median", "q75", "best", "diverged")
    assert table["learning_rate"] == [0.01, 0.1, 1.0] and table["runs"] == [6, 6, 6]
    values = [0.0, 0.01, 0.1, 0.11, 0.2, 0.21]
    np.testing.assert_allclose(table["median"][:2], [1 + np.median(values), np.median(values)])
    np.testing.assert_allclose(table["q75"][1], np.quantile(values, 0.75))
    assert table["median"][2] == math.inf and table["diverged"] == [0, 0, 4]
    np.testing.assert_allclose(table["best"], [1, 0, 1.01])
    assert "diverged" in repr(table).splitlines()[-1]


def test_by_several_hyperparameters_seeds_and_optimizers():
    sweep = example(labels=("sgd", "adamw"))
    table = sweep.by("optimizer", "seed", shares=[0.0, 1.0])
    assert table.columns == ("optimizer", "seed", "runs", "q0", "q100", "best", "diverged")
    assert table["optimizer"] == ["sgd"] * 3 + ["adamw"] * 3 and table["seed"] == [0, 1, 2] * 2
    assert table["q0"] == table["best"] and table["q100"] == [math.inf] * 6


def test_quantiles_over_seeds_are_by_entrants_the_best_median_first():
    table = example().quantiles()
    assert list(zip(table["learning_rate"], table["weight_decay"], strict=True)) == [
        *((0.1, 0.0), (0.1, 0.01), (0.01, 0.0), (0.01, 0.01), (1.0, 0.01), (1.0, 0.0))
    ]
    np.testing.assert_allclose(table["median"][:4], [0.1, 0.11, 1.1, 1.11])
    assert table["runs"] == [3] * 6 and table["q75"][4] == math.inf
    np.testing.assert_allclose(table["median"][4], 1.11)  # the worse of two, of three the middle
    at_the_end = sweep_of(run(0, ADAM, [1, 3]), run(1, SGD, [2, 2])).quantiles((0.5,), at="final")
    assert at_the_end["optimizer"] == ["sgd", "adam"] and at_the_end["median"] == [2, 3]


def test_a_hyperparameter_may_be_called_as_a_column():
    sweep = grid_sweep(lambda *_, seed_, **__: 1.0, learning_rate=RATES, seed_=(1, 2))
    runs = [
        dataclasses.replace(
            each, entrant=dataclasses.replace(each.entrant, hyperparameters={"seed": i, "best": i})
        )
        for i, each in enumerate(sweep.runs)
    ]
    table = sweep_of(*runs).table()
    assert table["tx.seed"] == list(range(6)) and table["seed"] == [0] * 6
    assert table["tx.best"] == list(range(6)) and table["best"] == [1.0] * 6
    assert sweep_of(*runs).by("best")["tx.best"] == list(range(6))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda s: s.by("learning_rat"), r"Sweep.by: no hyp.*'learning_rat'.*did you mean 'learn"),
        (lambda s: s.by(), "Sweep.by: give names of hyperparameters; learning_rate, weight_decay"),
        (lambda s: s.by("seed", "seed"), "must differ"),
        (lambda s: s.by("seed", shares=[50]), r"Sweep.by: shares must lie in \[0, 1\], got 50"),
        (lambda s: s.quantiles([-0.1]), r"Sweep.quantiles: shares must lie in \[0, 1\]"),
        (lambda s: s.table(at="last"), "Sweep.table: at must be one of .*'best', 'final'.*'last'"),
        (lambda s: s.curves("accuracy"), "Sweep.curves: no metric 'accuracy'.*'val_accuracy'"),
        (lambda s: dataclasses.replace(s, mode="low").best(), "mode must be one of .*'low'"),
        (lambda s: dataclasses.replace(s, monitor="los").table(), "did you mean 'loss'"),
        (lambda s: sweep_of().best(), "Sweep.best: the sweep has no runs"),
    ],
)
def test_mistakes(call, words):
    with pytest.raises(ValueError, match=words) as error:
        call(example())
    assert len(str(error.value)) <= 400


def test_a_column_that_is_not_there():
    with pytest.raises(KeyError, match="did you mean 'best'"):
        example().table()["bst"]


# The best


def test_the_best_entrant_is_by_its_median_and_the_best_run_may_be_lucky():
    lucky = [run(i, SGD, [5, value], i) for i, value in enumerate((0.1, 3, 3))]
    steady = [run(3 + i, ADAM, [5, value], i) for i, value in enumerate((1, 1.5, 2))]
    sweep = sweep_of(*lucky, *steady)
    best = sweep.best()
    assert best.entrant is ADAM and best.tx == "adam" and best.median == 1.5
    assert [each.number for each in best.runs] == [3, 4, 5]
    assert sweep.best_run().number == 0
    assert repr(best) == "adam: val_loss 1.5000, median over 3 seeds"


def test_of_equal_medians_the_one_that_diverges_less_often_is_the_best():
    often = [run(0, SGD, [1], 0, diverged_at=3), run(1, SGD, [1], 1, diverged_at=3)]
    once = [run(2, ADAM, [9], 0), run(3, ADAM, [1], 1, diverged_at=3)]
    best = sweep_of(*often, *once).best()
    assert best.entrant is ADAM and best.median == math.inf and "diverged" in repr(best)


def test_where_all_diverged_nothing_is_the_best():
    sweep = grid_sweep(lambda *_, **__: None, learning_rate=RATES)
    for call in (sweep.best, sweep.best_run):
        with pytest.raises(ValueError, match=r"none of the 3 runs has a finite val_loss.*step 17"):
            call()
    assert sweep.table()["run"] == [0, 1, 2] and sweep.quantiles()["median"] == [math.inf] * 3


def test_one_run():
    sweep = sweep_of(run(0, ADAM, [2.0]))
    assert sweep.best().median == 2 and sweep.best_run().number == 0
    assert len(sweep.table()) == len(sweep.quantiles()) == len(sweep.by("optimizer")) == 1
    (label,) = sweep.curves()
    assert label == "adam"


def test_optimizers_of_one_name_are_told_apart():
    twins = [Entrant("adam", object(), {}) for _ in range(2)]
    sweep = sweep_of(*(run(i, twins[i % 2], [1.0 + i], i // 2) for i in range(4)))
    assert list(sweep.curves()) == ["adam", "adam #2"] and len(sweep.quantiles()) == 2


def test_what_a_function_sets_makes_another_entrant(tmp_path):
    """Of one label and the same hyperparameters, with a seed each; and so they are read back."""
    slow, fast = (Entrant("sgd", fnopt.sgd(0.1, momentum=m), {"b": 0.5}) for m in (0.0, 0.9))
    runs = [run(i, (slow, fast)[i // 2], [2.0 - i // 2], i % 2) for i in range(4)]
    sweep = sweep_of(*runs)
    sweep.to_json(tmp_path / "sweep.json")
    for result in (sweep, Sweep.read(tmp_path / "sweep.json")):
        assert list(result.quantiles()["runs"]) == [2, 2] and result.best().median == 1.0
        assert len({*result.curves()}) == 2
    assert sweep.best().tx is fast.tx
    assert "momentum=0.9" in Sweep.read(tmp_path / "sweep.json").best().tx


def test_flags_are_no_numbers():
    flags = [run(i, Entrant("sgd", None, {"b": x}), [1.0]) for i, x in enumerate((True, 1))]
    assert len(sweep_of(*flags).by("b")) == 2
    numbers = [np.float32(0.5), 0.5, np.asarray(0.5)]
    runs = [run(i, Entrant("sgd", None, {"b": x}), [1.0]) for i, x in enumerate(numbers)]
    assert len(sweep_of(*runs).by("b")) == 1
    arrays = [run(i, Entrant("sgd", None, {"b": np.arange(3) + i}), [1.0]) for i in range(2)]
    assert len(sweep_of(*arrays).by("b")) == 2 and repr(sweep_of(*arrays).table())


# Curves


def test_curves_are_those_of_the_entrants_the_best_first():
    sweep = example()
    curves = sweep.curves()
    assert list(curves)[:2] == [
        *("adamw(learning_rate=0.1, weight_decay=0)", "adamw(learning_rate=0.1, weight_decay=0.01)")
    ]
    epochs, values = curves["adamw(learning_rate=0.1, weight_decay=0)"]
    np.testing.assert_array_equal(epochs, [1, 2, 3])
    np.testing.assert_allclose(values, [[4 + s, 2 + s, s] for s in (0, 0.1, 0.2)])
    np.testing.assert_allclose(sweep.curves("loss")["adamw(learning_rate=0.1, weight_decay=0)"][1],
                               values / 2)  # fmt: skip


def test_curves_of_runs_with_other_epochs_have_gaps():
    every = run(0, ADAM, [4, 3, 2, 1], 0)
    second = dataclasses.replace(run(1, ADAM, [3.5, 1.5], 1), epochs=np.array([2, 6]))
    epochs, values = sweep_of(every, second).curves()["adam"]
    np.testing.assert_array_equal(epochs, [1, 2, 3, 4, 6])
    np.testing.assert_array_equal(
        values, [[4, 3, 2, 1, np.nan], [np.nan, 3.5, np.nan, np.nan, 1.5]]
    )


# Files


def odd_sweep():
    """Values of all kinds, and what JSON does not know."""
    schedule = fnopt.cosine_decay_schedule(0.1, 100)
    entrants = [
        Entrant("adamw", fnopt.adamw(0.1), {"learning_rate": np.float32(0.1), "clip": math.inf}),
        Entrant("adamw", fnopt.adamw(0.1), {"learning_rate": schedule, "betas": (0.9, 0.99)}),
        Entrant("sgd", fnopt.sgd(0.1), {"learning_rate": 1, "nesterov": True, "mask": None}),
        Entrant("lion", fnopt.lion(0.1), {"learning_rate": functools.partial(max, 1)}),
    ]
    runs = [
        run(2 * i + seed, entrant, [1.0 + i, 0.5, 0.1 + seed], seed)
        for i, entrant in enumerate(entrants)
        for seed in (0, 2**40)
    ]
    runs[1] = run(1, entrants[0], [1.0, math.inf, math.nan], 2**40, diverged_at=12)
    runs[2] = run(2, entrants[1], [1.0, -math.inf, math.nan], 0, stopped_at=2)
    return sweep_of(*(dataclasses.replace(each, number=i) for i, each in enumerate(runs)))


def test_json_reads_back_what_was_written(tmp_path):
    sweep = odd_sweep()
    sweep.to_json(tmp_path / "new" / "sweep.json")
    json.loads((tmp_path / "new" / "sweep.json").read_text(), parse_constant=pytest.fail)
    read = Sweep.read(tmp_path / "new" / "sweep.json")
    assert (read.monitor, read.mode, read.programs, read.seconds) == ("val_loss", "min", 1, 1.5)
    assert read.states is None and len(read) == len(sweep)
    for ours, theirs in zip(read.runs, sweep.runs, strict=True):
        for name in ("number", "seed", "diverged_at", "stopped_at"):
            assert getattr(ours, name) == getattr(theirs, name)
        np.testing.assert_array_equal(ours.epochs, theirs.epochs)
        assert ours.curves.keys() == theirs.curves.keys()
        for name, values in ours.curves.items():
            np.testing.assert_array_equal(values, theirs.curves[name])
        assert ours.entrant.label == theirs.entrant.label
        assert ours.entrant.tx == repr(theirs.entrant.tx)
    got = [read.runs[i].entrant.hyperparameters for i in (0, 2, 4, 6)]
    assert got[0] == {"learning_rate": float(np.float32(0.1)), "clip": math.inf}
    assert got[1]["learning_rate"].startswith("cosine_decay_schedule(init_value=0.1, decay_steps=1")
    assert got[1]["betas"] == (0.9, 0.99)
    assert got[2] == {"learning_rate": 1, "nesterov": True, "mask": None}
    assert got[2]["nesterov"] is True and "functools.partial" in got[3]["learning_rate"]
    assert read.runs[0].entrant is read.runs[1].entrant
    assert repr(read.table()) == repr(sweep.table())
    assert repr(read.quantiles()) == repr(sweep.quantiles())


def test_a_sweep_that_was_read_writes_the_same_file(tmp_path):
    odd_sweep().to_json(tmp_path / "a.json")
    Sweep.read(tmp_path / "a.json").to_json(tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_curves_of_more_than_a_thousand_epochs_are_written_whole(tmp_path):
    values = np.random.default_rng(0).normal(size=1500).astype(np.float32)
    sweep_of(run(0, ADAM, values)).to_json(tmp_path / "long.json")
    read = Sweep.read(tmp_path / "long.json").runs[0].curves["val_loss"]
    np.testing.assert_array_equal(read.astype(np.float32), values)


@pytest.mark.parametrize("text", ["", "[]", '{"runs": []}', '{"format": "other"}', "\0"])
def test_another_file_is_refused(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ValueError, match=r"x\.json is not a sweep; give a file of Sweep\.to_json"):
        Sweep.read(tmp_path / "x.json")
    (tmp_path / "y.json").write_text('{"format": "fnopt.sweep", "version": 99}')
    with pytest.raises(ValueError, match="of a later version"):
        Sweep.read(tmp_path / "y.json")
    with pytest.raises(FileNotFoundError):
        Sweep.read(tmp_path / "z.json")


def test_csv_has_the_table_with_all_digits(tmp_path):
    third = grid_sweep(lambda *_, **__: 1 / 3, learning_rate=(1e-5, 1 / 7))
    third.to_csv(tmp_path / "new" / "table.csv")
    with (tmp_path / "new" / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["learning_rate"]) for row in rows] == [1e-5, 1 / 7]
    assert [float(row["best"]) for row in rows] == [1 / 3] * 2 and rows[0]["stopped_at"] == ""
    odd_sweep().to_csv(tmp_path / "odd.csv")
    with (tmp_path / "odd.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8 and {row["clip"] for row in rows} == {"inf", ""}
    assert math.isnan(float(rows[-1]["final"])) and rows[-1]["diverged_at"] == "12"
    assert any(row["learning_rate"].startswith("cosine_decay_schedule(") for row in rows)


def test_best_is_a_method_wherever_there_is_one():
    """Numbers of a run, an entrant or a round have names that say so."""
    kinds = [x for x in vars(fnopt.sweeps).values() if isinstance(x, type)]
    having = [kind for kind in kinds if hasattr(kind, "best") or "best" in kind.__annotations__]
    assert {kind.__name__ for kind in having} == {"Sweep", "HalvingResult", "Solves"}
    assert all(inspect.isfunction(kind.best) for kind in having)
    assert inspect.isfunction(fnopt.sweeps.PopulationResult.best_run)
    assert fnopt.sweeps.BestSolves._fields == ("method", "fun", "x")

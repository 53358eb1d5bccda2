"""Pictures of histories and diagnoses: panels, labels and ticks."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("matplotlib")

import fnopt
from fnopt.initialize import diagnose
from fnopt.initialize.picture import draw, verdicts
from fnopt.train import History
from fnopt.train.plots import evaluation_prefixes


def history(epochs, *sets, metrics=("accuracy",), rate=0.1, loss=lambda epoch: 2.0 / epoch):
    records = []
    for epoch in range(1, epochs + 1):
        record = {"epoch": epoch, "step": 5 * epoch, "seconds": 0.1, "grad_norm": 1.0}
        record |= {"learning_rate": rate, "loss": loss(epoch)}
        for prefix in ("", *(f"{name}_" for name in sets)):
            record |= {prefix + metric: 1 - 0.5**epoch for metric in metrics}
        record |= {f"{name}_loss": 1.1 * loss(epoch) for name in sets}
        records.append(record)
    return History(records)


def ticks(axis):
    """The labels of the ticks that are seen."""
    low, high = sorted(axis.get_view_interval())
    at = [x for x in axis.get_majorticklocs() if low <= x <= high]
    return axis.get_major_formatter().format_ticks(at)


def panels(figure):
    return {axes.get_title(): axes for axes in figure.axes}


@pytest.mark.parametrize("sets", [(), ("val",)])
@pytest.mark.parametrize("epochs", [1, 2])
def test_a_short_history(epochs, sets):
    figure = history(epochs, *sets).plot(title="short")
    figure.draw_without_rendering()
    drawn = panels(figure)
    assert list(drawn) == ["loss", "accuracy", "learning rate"]
    for axes in figure.axes:
        assert axes.get_xlabel() == "epoch"
        assert ticks(axes.xaxis) == [str(epoch) for epoch in range(1, epochs + 1)]
        assert len(ticks(axes.yaxis)) >= 3 and axes.yaxis.get_offset_text().get_text() == ""
        assert all(line.get_marker() == "o" for line in axes.lines)
    for name in ("loss", "accuracy"):
        legend = drawn[name].get_legend()
        assert (legend is None) == (not sets)
        assert len(drawn[name].lines) == 1 + len(sets)
    assert drawn["learning rate"].get_legend() is None
    assert figure.get_suptitle() == "short"


def test_a_notebook_shows_every_picture():
    """As IPython does without ``%matplotlib inline``."""
    schedule = fnopt.linear_schedule(1.0, 0.0, 10)
    for picture in (history(1).plot(), fnopt.plot(schedule, 10)):
        assert is_sharp(*picture._repr_png_())


def is_sharp(png: bytes, shown: dict[str, int]) -> bool:
    """Whether a PNG has two pixels for each one that it is shown in."""
    size = (int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big"))
    return png.startswith(b"\x89PNG") and size == (2 * shown["width"], 2 * shown["height"])


def test_a_loss_over_decades_is_drawn_on_a_logarithmic_axis():
    def scale(loss):
        axes = history(30, loss=loss).plot().axes[0]
        assert len(ticks(axes.yaxis)) >= 2
        return axes.get_yscale()

    assert scale(lambda epoch: 2.0 / epoch) == "log"
    assert scale(lambda epoch: 6.0 - 5 * epoch / 31) == "log"  # less than a decade
    assert scale(lambda epoch: 10.0 ** -(epoch / 3)) == "log"
    assert scale(lambda epoch: 2.0 - epoch / 40) == "linear"
    assert scale(lambda epoch: 1.0 - epoch) == "linear"
    axes = history(30).plot().axes[0]
    assert axes.lines[0].get_marker() == ""


def test_further_sets_and_metrics_have_labels_and_rows():
    metrics = ("accuracy", "top5", "f1_score", "auc")
    figure = history(3, "val", "noisy", "test", metrics=metrics).plot()
    assert [axes.get_title() for axes in figure.axes] == [
        "loss", "accuracy", "top5", "f1 score", "auc", "learning rate",
    ]  # fmt: skip
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["training", "validation", "noisy", "test"]
    grid = figure.axes[-1].get_gridspec()
    assert (grid.nrows, grid.ncols) == (2, 3)
    # The name of one set may begin with that of another.
    assert list(panels(history(3, "val", "val_noisy").plot())) == [
        "loss", "accuracy", "learning rate",
    ]  # fmt: skip


def test_evaluations_between_epochs_are_drawn_over_steps():
    run = history(2, "val")
    run.evaluations = [
        {"epoch": 1, "step": step, "val_loss": 1.0, "val_accuracy": 0.5} for step in (2, 4, 6)
    ]
    for axes in run.plot().axes:
        assert axes.get_xlabel() == "step"
    training, validation = axes = panels(run.plot())["loss"].lines
    assert list(training.get_xdata()) == [5, 10] and list(validation.get_xdata()) == [2, 4, 6]


def test_what_is_not_finite_or_no_number_is_left_out():
    run = history(3, rate=1e-5, loss=lambda epoch: math.nan)
    run.records[0]["note"] = "begun"
    drawn = panels(run.plot())
    assert "note" not in drawn
    assert [text.get_text() for text in drawn["loss"].texts] == ["no finite value"]
    assert "1e-5" in ticks(drawn["learning rate"].yaxis)
    with pytest.raises(ValueError, match="nothing is recorded yet"):
        History().plot()


@pytest.mark.parametrize(
    ("names", "prefixes"),
    [
        ("loss accuracy", []),
        ("loss val_loss val_accuracy", ["val_"]),
        ("loss test_loss old_loss val_loss", ["val_", "old_", "test_"]),
        ("loss rank_loss val_loss val_rank_loss old_loss old_rank_loss", ["val_", "old_"]),
    ],
)
def test_the_sets_that_were_evaluated(names, prefixes):
    assert evaluation_prefixes(set(names.split())) == prefixes


# Diagnoses

KEYS = np.random.default_rng(0)
BATCH = KEYS.normal(size=(32, 8)).astype(np.float32)


def start(function, *scales, last=1.0):
    """The diagnosis of hidden layers with weights of these scales."""
    params = [(scale / 8**0.5 * KEYS.normal(size=(8, 8))).astype(np.float32) for scale in scales]
    params.append((last * KEYS.normal(size=(8, 2))).astype(np.float32))

    def loss(params, x):
        *hidden, head = params
        for w in hidden:
            x = function(x @ w)
        return jnp.mean((x @ head) ** 2)

    return lambda **options: diagnose(loss, params, BATCH, **options)


def tanh(x):
    return jnp.tanh(x)


def relu(x):
    return jnp.maximum(x, 0)


def marked(axes):
    """The layers that a panel marks."""
    return [round(patch.get_x() + 0.5) for patch in axes.patches]


def test_saturation_is_drawn_and_marked(tmp_path):
    diagnosis = start(tanh, 1, 30, 1)()
    (fault,) = diagnosis.faults
    assert fault.fault == "saturated" and fault.metrics == ("saturated",)
    figure = diagnosis.plot(tmp_path / "start.png", title="three layers")
    drawn = panels(figure)
    assert list(drawn) == [
        "std of pre-activation",
        "std of gradient there",
        "saturated activations",
    ]
    saturated = drawn["saturated activations"].lines[0].get_ydata()
    np.testing.assert_allclose(saturated[1], diagnosis.layers[1].saturated)
    assert {name: marked(axes) for name, axes in drawn.items()} == {
        "std of pre-activation": [], "std of gradient there": [], "saturated activations": [2],
    }  # fmt: skip
    title = figure.get_suptitle().splitlines()
    assert is_sharp(*figure._repr_png_())
    assert title[0] == "three layers" and title[1].startswith("layer 2 (1): saturated. ")
    assert ticks(drawn["saturated activations"].xaxis) == ["1", "2", "3", "4"]


def test_a_trend_is_marked_over_all_its_layers():
    diagnosis = start(relu, 12, 12, 12, 12, last=1.0)()
    assert {fault.fault for fault in diagnosis.faults} == {"exploding"}
    drawn = panels(diagnosis.plot())
    assert "dead units" in drawn and "saturated activations" not in drawn
    assert drawn["std of pre-activation"].get_yscale() == "log"
    assert marked(drawn["std of pre-activation"]) == [1, 2, 3, 4]
    assert verdicts(diagnosis)[0].startswith("layers 1-4 (0 … 3): exploding. What the layers")


def test_equal_units_and_large_steps_have_panels():
    diagnosis = start(tanh, 0, 0)(optimizer=fnopt.sgd(0.1))
    drawn = panels(diagnosis.plot())
    assert marked(drawn["units that differ"]) == [1, 2]
    (note,) = drawn["std of pre-activation"].texts
    assert note.get_text() == "0 in layers 1-3"
    assert verdicts(diagnosis)[0].startswith("layers 1-2 (0 … 1): zero. The first: its weights")
    diagnosis = start(relu, 1.4)(optimizer=fnopt.adam(10.0))
    drawn = panels(diagnosis.plot())
    assert marked(drawn["first update / weights"]) == [1, 2]


def test_a_sound_start_says_so_and_several_have_a_legend():
    sound = start(tanh, 1.2, 1.2)()
    figure = sound.plot()
    assert figure.get_suptitle() == "no fault found in 3 layers"
    assert not any(marked(axes) for axes in figure.axes) and not figure.legends
    both = draw({"sound": sound, "zero": start(tanh, 0, 0)()}, "two starts")
    assert both.get_suptitle() == "two starts"
    labels = [text.get_text() for text in both.legends[0].get_texts()]
    assert labels == ["sound", "zero (all 0)"]

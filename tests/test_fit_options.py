"""The options of a run: shown, documented, checked; and which parameters it evaluates."""

from __future__ import annotations

import dataclasses
import inspect
import pydoc
import typing

import jax
import numpy as np
import pytest
from models import blobs, function_task
from test_train import same

import fnopt
from fnopt.train import averaged, early_stopping, ema_of_params, evaluate, fit
from fnopt.train.documented import argument_texts
from fnopt.train.fit_options import GROUPS, FitOptions, read_options

pytestmark = pytest.mark.beside_optax

# Fields of a group that a run does not leave to the user.
FIXED = {"skip_nonfinite": "a run ends at such a step, with the state before it"}


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.__name__)
def test_arguments_and_fields_agree(group):
    kind = GROUPS[group]
    names = [field.name for field in dataclasses.fields(kind)]
    fields = [name for name in names if name not in FIXED]
    assert list(group.__annotations__) == fields
    assert set(argument_texts(kind)) == set(names)
    types, arguments = typing.get_type_hints(kind), typing.get_type_hints(group)
    for name in fields:
        assert types[name] in (arguments[name], typing.Any), name


def test_a_user_sees_every_option():
    parameters = inspect.signature(fit).parameters
    explicit = [
        "objective",
        "tx",
        "data",
        "epochs",
        "batch_size",
        "validation_data",
        "key",
        "state",
    ]
    assert list(parameters) == [*explicit, "average", "packed", *FitOptions.__annotations__]
    assert parameters["eval_batch_size"].default == 1024
    assert parameters["checkpoint_every"].default == "epoch"
    shown = pydoc.render_doc(fit, renderer=pydoc.plaintext)
    documented = inspect.getdoc(fit).partition("\nArgs:\n")[2].partition("\nRaises:\n")[0]
    for name, parameter in parameters.items():
        assert f"\n    {name}: " in f"\n{documented}", name
        if parameter.default is not parameter.empty:
            assert f"= {parameter.default!r}" in shown


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"checkpoint_dirs": "x"}, "'checkpoint_dirs'; did you mean 'checkpoint_dir'"),
        ({"epoch": 3}, "'epoch'; did you mean 'epochs'"),
        ({"skip_nonfinite": False}, "unexpected keyword argument 'skip_nonfinite'"),
    ],
)
def test_an_unknown_option_is_refused_with_the_nearest_name(options, says):
    with pytest.raises(TypeError, match=says):
        fit(function_task(), fnopt.sgd(0.1), blobs(), epochs=1, **options)


def test_numbers_of_steps_may_be_any_integers(tmp_path):
    options = {"checkpoint_every": np.int64(2), "eval_every": np.int64(2), "keep": np.int64(9)}
    evaluation, checkpoint = read_options(options)[1:3]
    assert type(evaluation.eval_every) is type(checkpoint.checkpoint_every) is int
    fit(
        function_task(), fnopt.sgd(0.1), blobs(), epochs=1, batch_size=10,
        validation_data=blobs(20), checkpoint_dir=tmp_path, **options,
    )  # fmt: skip
    assert len(list(tmp_path.iterdir())) == 3


# The parameters that a method wants evaluated

METHODS = {
    "schedule_free": lambda: fnopt.schedule_free(fnopt.sgd(0.3), 0.3, b1=0.9),
    "lookahead": lambda: fnopt.lookahead(fnopt.sgd(0.3), 3, 0.5),
    "adam": lambda: fnopt.adam(0.1),
}


@pytest.mark.parametrize("name", METHODS)
def test_a_run_evaluates_and_keeps_the_parameters_that_its_method_asks_for(name, tmp_path):
    task, test = function_task(), blobs(40, seed=1)
    seen = []

    def note(state, record):
        seen.append((jax.tree.map(np.array, state.eval_params), record["val_loss"]))

    result = fit(
        task, METHODS[name](), blobs(), epochs=4, batch_size=10, validation_data=test,
        early_stopping=early_stopping(patience=9), average=ema_of_params(0.9), on_epoch=note,
        checkpoint_dir=tmp_path, keep=1,
    )  # fmt: skip
    differ = not same(result.last.params, result.last.eval_params)
    assert differ == (name != "adam")
    for params, loss in seen:  # what was evaluated
        direct = task.loss(task.forward(params, {}, test, key=None, train=False)[0], test)
        np.testing.assert_allclose(direct, loss, rtol=1e-5)
    best, loss = min(seen, key=lambda one: one[1])
    # What is handed back is that, as parameters and as what is evaluated.
    assert same(result.state.params, best) and same(result.state.eval_params, best)
    np.testing.assert_allclose(evaluate(task, result.state, test)["loss"], loss, rtol=1e-6)
    means = averaged(task, result.last)
    assert same(means.params, means.eval_params)
    # And training goes on from it.
    on = fit(task, None, blobs(), epochs=1, state=result.state, validation_data=test)
    assert int(on.last.step) > 0

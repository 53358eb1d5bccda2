"""torch's optimizers: the same numbers, recorded and beside torch, and the same refusals."""

from __future__ import annotations

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from oracles import torch_optim as oracle

import fnopt
import fnopt.compat.torch as ours

pytestmark = [
    pytest.mark.beside_optax,  # the loss is written for torch too, and promotes
    pytest.mark.filterwarnings("default"),  # what torch warns of is torch's
]

RUNS = [(name, i) for name in oracle.SETTINGS for i in range(3)]


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="these are compared with torch itself")


@functools.cache
def by_fnopt(name, i):
    """Our parameters after every step, in float64."""
    with jax.enable_x64(True):
        tx = getattr(ours, name)(**oracle.SETTINGS[name][i])
        params = {leaf: jnp.asarray(oracle.START[leaf]) for leaf in oracle.names(name)}

        @jax.jit
        def go(tx, params, state):
            def step(carry, _):
                params, state = carry
                grads = jax.grad(oracle.loss)(params, jnp)
                updates, state = tx.update(grads, state, params)
                params = optax.apply_updates(params, updates)
                return (params, state), params

            return jax.lax.scan(step, (params, state), None, oracle.STEPS)[1]

        path = jax.tree.map(np.asarray, go(tx, params, tx.init(params)))
    return [{leaf: x[t] for leaf, x in path.items()} for t in range(oracle.STEPS)]


def difference(ours, theirs):
    """The largest difference, as a share of 1 + the largest parameter."""
    size = 1 + max(np.abs(np.asarray(value)).max() for value in theirs.values())
    gaps = [np.abs(ours[leaf].ravel() - np.ravel(value)).max() for leaf, value in theirs.items()]
    return max(gaps) / size


def tolerance(name):
    # Muon's iteration is in bfloat16, where one rounding the other way is seen.
    return 2e-2 if name == "Muon" else 1e-6


@pytest.mark.parametrize("name, i", RUNS)
def test_numbers_are_those_recorded_of_torch(name, i):
    record = oracle.recorded()[name][i]
    again = {k: list(v) if isinstance(v, tuple) else v for k, v in oracle.SETTINGS[name][i].items()}
    assert record["settings"] == again
    path = by_fnopt(name, i)
    for t, theirs in zip(oracle.SEEN, record["seen"], strict=True):
        assert difference(path[t - 1], theirs) < tolerance(name), t


@pytest.mark.parametrize("name, i", RUNS)
def test_numbers_are_torchs(name, i, torch, record_property):
    theirs = oracle.by_torch(name, oracle.SETTINGS[name][i])
    gaps = [difference(a, b) for a, b in zip(by_fnopt(name, i), theirs, strict=True)]
    record_property("largest_difference", float(max(gaps)))
    assert max(gaps) < tolerance(name)


@pytest.mark.parametrize("name", [*oracle.SETTINGS, "LBFGS"])
def test_arguments_are_torchs(name, torch):
    def arguments(make):
        parameters = inspect.signature(make).parameters.values()
        return {
            p.name: (p.default or 0, p.kind) for p in parameters if p.name not in ("params", "self")
        }

    assert arguments(getattr(ours, name)) == arguments(getattr(torch.optim, name))


REFUSED = [
    ("SGD", {"lr": -0.1}),
    ("SGD", {"momentum": -0.1}),
    ("SGD", {"weight_decay": -0.1}),
    ("SGD", {"nesterov": True}),
    ("SGD", {"nesterov": True, "momentum": 0.9, "dampening": 0.1}),
    ("SGD", {"fused": True, "foreach": True}),
    ("SGD", {"fused": True, "differentiable": True}),
    ("SGD", {"betas": (0.9, 0.9)}),
    ("ASGD", {"lr": -1}),
    ("ASGD", {"weight_decay": -1}),
    *[(name, {"lr": -1}) for name in ("Adam", "AdamW", "Adamax", "NAdam", "RAdam", "Adadelta")],
    *[(name, {"lr": -1}) for name in ("Adafactor", "Adagrad", "RMSprop", "Rprop", "Muon", "LBFGS")],
    *[
        (name, {"betas": betas})
        for name in ("Adam", "AdamW", "Adamax", "NAdam", "RAdam")
        for betas in ((1.0, 0.9), (0.9, 1.0), (-0.1, 0.9), (0.9, -0.1))
    ],
    *[
        (name, {"eps": -1e-8})
        for name in ("Adam", "AdamW", "Adamax", "NAdam", "RAdam", "Adadelta", "Adagrad", "RMSprop")
    ],
    *[
        (name, {"weight_decay": -1e-8})
        for name in ("Adam", "AdamW", "Adamax", "NAdam", "RAdam", "Adadelta", "Adagrad", "RMSprop")
    ],
    ("Adam", {"momentum": 0.9}),
    ("Adam", {"beta1": 0.9}),
    ("AdamW", {"decoupled_weight_decay": True}),
    ("Adam", {"fused": True, "foreach": True}),
    ("AdamW", {"fused": True, "differentiable": True}),
    ("Adagrad", {"fused": True, "foreach": True}),
    ("Adagrad", {"lr_decay": -0.1}),
    ("Adagrad", {"initial_accumulator_value": -0.1}),
    ("Adadelta", {"rho": -0.1}),
    ("Adadelta", {"rho": 1.1}),
    ("NAdam", {"momentum_decay": -0.1}),
    ("RMSprop", {"momentum": -0.1}),
    ("RMSprop", {"alpha": -0.1}),
    ("RMSprop", {"nesterov": True}),
    ("Rprop", {"etas": (0.0, 1.2)}),
    ("Rprop", {"etas": (0.5, 1.0)}),
    ("Rprop", {"etas": (1.1, 1.2)}),
    ("Rprop", {"weight_decay": 0.1}),
    ("Adafactor", {"beta2_decay": 0.1}),
    ("Adafactor", {"eps": (-0.1, 1e-3)}),
    ("Adafactor", {"eps": (None, -1e-3)}),
    ("Adafactor", {"eps": (None, None)}),
    ("Adafactor", {"d": 0.5}),
    ("Adafactor", {"weight_decay": -0.1}),
    ("Muon", {"momentum": -0.1}),
    ("Muon", {"weight_decay": -0.1}),
    ("Muon", {"adjust_lr_fn": "other"}),
    ("Muon", {"foreach": True}),
    ("LBFGS", {"weight_decay": 0.1}),
]


@pytest.mark.parametrize("name, given", REFUSED, ids=lambda x: x if isinstance(x, str) else str(x))
def test_refuses_what_torch_refuses(name, given, torch):
    with pytest.raises((ValueError, TypeError, RuntimeError)) as theirs:
        getattr(torch.optim, name)([torch.zeros(2, 2, requires_grad=True)], **given)
    with pytest.raises(theirs.type if theirs.type is not RuntimeError else RuntimeError) as error:
        getattr(ours, name)(**given)
    assert next(iter(given)) in str(error.value)


ACCEPTED = [
    ("SGD", {"lr": 0.0, "foreach": True}),
    ("SGD", {"lr": 0.1, "nesterov": True, "momentum": 0.9, "fused": True}),
    ("Adam", {"betas": (0.0, 0.0), "capturable": True, "foreach": False}),
    ("AdamW", {"eps": 0.0, "weight_decay": 0.0, "differentiable": True}),
    ("Adagrad", {"lr_decay": 0.0, "fused": True}),
    ("RMSprop", {"alpha": 0.0, "momentum": 0.0, "centered": True}),
    ("Adafactor", {"eps": (None, 0.0), "beta2_decay": 0.0}),
    ("Muon", {"ns_coefficients": (3.0, -3.2, 1.2), "adjust_lr_fn": "original"}),
]


@pytest.mark.parametrize("name, given", ACCEPTED, ids=lambda x: x if isinstance(x, str) else str(x))
def test_accepts_what_torch_accepts(name, given, torch):
    getattr(torch.optim, name)([torch.zeros(2, 2, requires_grad=True)], **given)
    made = getattr(ours, name)(**given)
    assert made == getattr(ours, name)(**{k: v for k, v in given.items() if k in made._fields})


def test_switches_are_no_part_of_the_value():
    assert ours.Adam(0.1, foreach=True, fused=None, capturable=True) == ours.Adam(0.1)
    assert ours.SGD(0.1, foreach=True).replace(lr=0.2) == ours.SGD(0.2)


def test_zero_momentum_keeps_no_velocity():
    def slots(tx):
        return [x.shape for x in jax.tree.leaves(tx.init(jnp.ones(3)))]

    assert slots(ours.SGD(0.1, momentum=0)) == []
    assert slots(ours.SGD(0.1, momentum=0.9)) == [(3,)]
    assert slots(ours.RMSprop(0.1, momentum=0)) == [(3,)]


def test_rate_has_the_name_at_which_rates_multiply():
    tx = fnopt.chain(ours.AdamW(1e-2), fnopt.scale_by_learning_rate(0.5))
    got = fnopt.hyperparameters(tx, tx.init(jnp.ones(3)))
    assert got["learning_rate"] == pytest.approx(5e-3) and got["betas"] == (0.9, 0.999)


def test_rates_and_momenta_may_be_schedules():
    rate, momentum = fnopt.linear_schedule(0.1, 0.0, 4), fnopt.linear_schedule(0.9, 0.5, 4)
    scheduled = ours.SGD(rate, momentum=momentum)
    params, grad = jnp.zeros(2), jnp.ones(2)
    state, velocity = scheduled.init(params), 0.0
    for t in range(4):
        updates, state = scheduled.update(grad, state, params)
        velocity = float(momentum(t)) * velocity + 1.0
        np.testing.assert_allclose(updates, -float(rate(t)) * velocity * np.ones(2), rtol=1e-5)


def test_muon_is_for_matrices_and_lives_where_others_do():
    with pytest.raises(ValueError, match=r"matrices alone.*\(3,\).*groups"):
        ours.Muon().init({"w": jnp.ones((2, 3)), "b": jnp.ones(3)})
    params = {"w": jnp.ones((2, 3)), "b": jnp.ones(3)}
    tx = fnopt.groups(("w", ours.Muon(0.1)), ("*", ours.AdamW(1e-2)))
    state = tx.init(params)
    eager, after = tx.update(params, state, params)
    jitted, _ = jax.jit(tx.update)(params, state, params)
    for leaf in params:
        np.testing.assert_allclose(eager[leaf], jitted[leaf], rtol=2e-2)
        assert eager[leaf].dtype == params[leaf].dtype
    assert jax.tree.structure(after) == jax.tree.structure(state)


def test_a_schedule_reaches_asgd_one_update_late(torch):
    rate = fnopt.linear_schedule(0.5, 0.1, 6)
    p = torch.tensor([1.0, -2.0], dtype=torch.float64, requires_grad=True)
    stepper = torch.optim.ASGD([p], lr=0.5, lambd=0.1, t0=2)
    with jax.enable_x64(True):
        tx, params = ours.ASGD(rate, lambd=0.1, t0=2), jnp.array([1.0, -2.0])
        state = tx.init(params)
        for t in range(8):
            stepper.param_groups[0]["lr"] = float(rate(t))
            p.grad = torch.cos(p.detach())
            stepper.step()
            updates, state = tx.update(jnp.cos(params), state, params)
            params = optax.apply_updates(params, updates)
            np.testing.assert_allclose(
                params, p.detach().numpy(), rtol=1e-6
            )  # its rates are single
        average = fnopt.asgd_eval_params(state, params)
        np.testing.assert_allclose(average, stepper.state[p]["ax"].numpy(), rtol=1e-6)


def test_groups_change_numbers_by_torchs_names():
    base = ours.AdamW(1e-2, weight_decay=0.1)
    tx = fnopt.groups(("b", {"lr": 1e-3, "weight_decay": 0.0}), ("*", {}), base=base)
    got = fnopt.hyperparameters(tx, tx.init({"w": jnp.ones(2), "b": jnp.ones(2)}))
    assert got["learning_rate"] == 1e-2 and got["b.learning_rate"] == 1e-3


@pytest.mark.parametrize("name", [*oracle.SETTINGS, "LBFGS"])
def test_every_argument_is_told(name):
    made = getattr(ours, name)
    got = {
        argument.strip()
        for line in inspect.getdoc(made).partition("Args:")[2].partition("Raises:")[0].splitlines()
        if line.startswith("    ") and not line.startswith("     ")
        for argument in line.partition(":")[0].split(",")
    }
    assert got == set(inspect.signature(made).parameters)


@pytest.mark.parametrize("name", sorted(set(oracle.SETTINGS) - {"Adafactor", "Muon"}))
def test_complex_numbers_are_pairs_of_real_ones_as_in_torch(name, torch):
    start = np.array([1 + 2j, -0.5 + 0.1j, 0.3 - 1j])
    theta = torch.tensor(start, requires_grad=True)
    given = oracle.SETTINGS[name][1]
    stepper = getattr(torch.optim, name)([theta], **given)
    with jax.enable_x64(True):
        tx, params = getattr(ours, name)(**given), jnp.asarray(start)
        state = tx.init(params)
        update = jax.jit(tx.update)
        for _ in range(8):
            slope = np.sin(theta.detach().numpy().real) + 1j * np.cos(theta.detach().numpy().imag)
            theta.grad = torch.tensor(slope)
            stepper.step()
            grads = jnp.sin(params.real) + 1j * jnp.cos(params.imag)
            updates, state = update(grads, state, params)
            params = optax.apply_updates(params, updates)
        np.testing.assert_allclose(params, theta.detach().numpy(), rtol=1e-6)


@pytest.mark.parametrize("name", ["Adafactor", "Muon"])
def test_complex_numbers_are_refused_where_torch_refuses_them(name):
    with pytest.raises(TypeError, match="no complex"):
        getattr(ours, name)().init(jnp.ones((2, 2), complex))


# torch's, too, in its dtypes.
@pytest.mark.parametrize(
    "dtype, expected", [("bfloat16", 1), ("float16", 0.9692), ("float32", 0.729)]
)
def test_adafactor_knows_in_which_dtype_a_parameter_is_kept(dtype, expected):
    tx, params = ours.Adafactor(0.1), jnp.ones((4, 5), dtype)
    state = tx.init(params)
    for _ in range(3):  # gradients far below bfloat16's epsilon, and about float16's
        updates, state = tx.update(jnp.full((4, 5), 1e-4, dtype), state, params)
        params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(params.astype(float), expected, atol=2e-3)


def test_rprop_keeps_the_first_step_of_a_schedule_between_the_sizes():
    tx, params = ours.Rprop(fnopt.constant_schedule(100.0), step_sizes=(1e-6, 50.0)), jnp.zeros(2)
    updates, _ = tx.update(jnp.ones(2), tx.init(params), params)
    np.testing.assert_array_equal(updates, [-50.0, -50.0])


def test_what_is_no_number_here_is_named(torch):
    with pytest.raises(TypeError, match="Adam: lr must be a number"):
        ours.Adam(torch.tensor(0.1))
    with pytest.raises(ValueError, match=r"ns_steps must be an integer.*5\.0"):
        ours.Muon(ns_steps=5.0)
    with pytest.raises(ValueError, match="no number of base") as error:
        fnopt.groups(("b", {"beta": 0.9}), ("*", {}), base=ours.Adam(0.1))
    assert "betas" not in str(error.value)

"""What needs no matrix of all parameters has none in memory."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest
from buffers import largest_buffer
from xla_flags import compiled_as_usual

import fnopt
from fnopt.core import Evaluation

METHODS = {
    "newton_cg": fnopt.newton_cg(curvature="gauss_newton", warm_start=0.9),
    "gauss_newton": fnopt.gauss_newton(solver="cg"),
    "levenberg_marquardt": fnopt.levenberg_marquardt(),
    "natural_gradient": fnopt.natural_gradient(),
    "lbfgs": fnopt.lbfgs(),
    "lbfgsb": fnopt.lbfgsb(lower=0.0),
    "nonlinear_cg": fnopt.nonlinear_cg(),
    "barzilai_borwein": fnopt.barzilai_borwein(),
    "adahessian": fnopt.adahessian(0.1),
    "sophia_g": fnopt.sophia_g(0.1),
}
DENSE = {"bfgs": fnopt.bfgs(), "newton": fnopt.newton()}
SIDE = 48
SHOWN = {"lbfgs", "levenberg_marquardt", "natural_gradient", "nonlinear_cg", "newton"}
"""Those that `make test` compiles."""


def cases(names):
    return [pytest.param(name, marks=[] if name in SHOWN else [pytest.mark.slow]) for name in names]


def problem():
    """Logistic regression with a layer in between, of 2 · 48² parameters, and its evaluation."""
    params = {"w": jnp.ones((SIDE, SIDE)), "v": jnp.ones((SIDE, SIDE))}
    inputs = jnp.ones((8, SIDE))

    def outputs(params):
        return jnp.tanh(inputs @ params["w"]) @ params["v"]

    def losses(outputs):
        losses = jax.nn.logsumexp(outputs, axis=-1) - outputs[:, 0]
        return losses, jnp.full_like(losses, 1 / 8)

    def loss(outputs):
        return jnp.mean(losses(outputs)[0])

    return params, Evaluation.of_outputs(outputs, loss, losses)


def largest_buffer_of(tx):
    params, evaluation = problem()

    def update(params, state):
        value, grads = evaluation.value_and_grad(params)
        extra_args = {"value": value, "grad": grads, "key": jax.random.key(0)}
        return tx.update(grads, state, params, **extra_args, **evaluation.extra_args())

    return largest_buffer(compiled_as_usual(jax.jit(update).lower(params, tx.init(params))))


@pytest.mark.parametrize("name", cases(METHODS))
def test_a_method_without_a_matrix_has_no_buffer_of_its_size(name):
    size = 2 * SIDE * SIDE
    # Ten pairs of steps and differences are the most that any of them keeps.
    assert 0 < largest_buffer_of(METHODS[name]) <= 25 * size < size * size / 100


@pytest.mark.parametrize("name", cases(DENSE))
def test_a_method_with_a_matrix_has_one(name):
    assert largest_buffer_of(DENSE[name]) >= (2 * SIDE * SIDE) ** 2


@pytest.mark.parametrize("name", ["newton", "trust_newton", "bfgs", "gauss_newton"])
def test_a_matrix_of_too_many_parameters_is_refused(name):
    tx = fnopt.gauss_newton(solver="cholesky") if name == "gauss_newton" else getattr(fnopt, name)()
    params = jnp.ones(2**14 + 1)
    evaluation = Evaluation.of_residuals(lambda params: params)

    def update(params):
        state, (value, grads) = tx.init(params), evaluation.value_and_grad(params)
        return tx.update(grads, state, params, value=value, **evaluation.extra_args())

    with pytest.raises(ValueError, match=r"16385 parameters 1.07 GB.*take newton_cg"):
        jax.eval_shape(update, params)


def test_bfgs_refuses_its_state_before_it_takes_memory():
    with pytest.raises(ValueError, match="a matrix of curvature, of 16385 parameters"):
        fnopt.bfgs().init(jnp.ones(2**14 + 1))

"""Products with matrices of curvature, their spectra, traces and diagonals, and dense matrices."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from buffers import largest_buffer
from flax import linen, nnx
from jax.flatten_util import ravel_pytree
from xla_flags import compiled_as_usual

import fnopt
from fnopt import curvature
from fnopt.core import Evaluation
from fnopt.curvature import LinearOperator
from fnopt.train import TrainState, evaluation_on, fit, make_train_step, objective

pytestmark = pytest.mark.beside_optax

CROSS_ENTROPY = "softmax_cross_entropy_with_integer_labels"


class FrozenNNX(nnx.Module):
    """Batch normalization by running statistics, in training too, and dropout."""

    def __init__(self, rngs):
        self.dense = nnx.Linear(4, 5, rngs=rngs)
        self.norm = nnx.BatchNorm(5, rngs=rngs)
        self.dropout = nnx.Dropout(0.4, rngs=rngs)
        self.head = nnx.Linear(5, 3, rngs=rngs)

    def __call__(self, x):
        x = self.norm(self.dense(x), use_running_average=True)
        return self.head(self.dropout(nnx.tanh(x)))


class FrozenLinen(linen.Module):
    """The same in Linen."""

    @linen.compact
    def __call__(self, x, train):
        x = linen.BatchNorm(use_running_average=True)(linen.Dense(5)(x))
        return linen.Dense(3)(linen.Dropout(0.4, deterministic=not train)(linen.tanh(x)))


def batch():
    rng = np.random.RandomState(0)
    return rng.normal(size=(12, 4)), rng.randint(3, size=12), rng.uniform(0.5, 2, size=12)


@pytest.fixture(params=["nnx", "linen"])
def network(request):
    """Task, state and batch, in double precision, with weights of the examples."""
    with jax.enable_x64(True):
        model = FrozenNNX(nnx.Rngs(0)) if request.param == "nnx" else FrozenLinen()
        task = objective(model, CROSS_ENTROPY, weights=lambda batch: batch[2])
        state = TrainState.create(task, fnopt.sgd(0.1), 0, batch())
        rng = np.random.RandomState(1)
        moved = jax.tree.map(
            lambda x: jnp.asarray(x + 0.3 * rng.uniform(0.5, 1, x.shape)),
            (state.params, state.model_state),
        )
        yield task, state.replace(params=moved[0], model_state=moved[1]), batch()


def assert_near(x, y, tolerance=1e-6):
    """To a share of the largest element."""
    x, y = np.asarray(x), np.asarray(y)
    assert x.shape == y.shape and x.dtype == y.dtype == np.float64
    assert np.abs(y).max() > 0
    np.testing.assert_allclose(x, y, rtol=0, atol=tolerance * np.abs(y).max())


def dense_by_hand(task, state, batch, train, key):
    """Hessian, Gauss-Newton and empirical Fisher from jax's own derivatives of a vector."""
    vector, unravel = ravel_pytree(state.params)
    x, y, weights = (jnp.asarray(part) for part in batch)
    shares = weights / jnp.sum(weights)

    def outputs(vector):
        params, model_state = unravel(vector), state.model_state
        return task.forward(params, model_state, (x, y), key=key, train=train)[0]

    def losses(outputs):
        return -jnp.take_along_axis(jax.nn.log_softmax(outputs), y[:, None], 1)[:, 0]

    hessian = jax.hessian(lambda vector: shares @ losses(outputs(vector)))(vector)
    jacobian = jax.jacrev(outputs)(vector)
    p = jax.nn.softmax(outputs(vector))
    of_loss = jax.vmap(jnp.diag)(p) - p[:, :, None] * p[:, None, :]
    gauss_newton = jnp.einsum("n,nia,nij,njb->ab", shares, jacobian, of_loss, jacobian)
    grads = jax.jacrev(lambda vector: losses(outputs(vector)))(vector)
    return hessian, gauss_newton, jnp.einsum("n,na,nb->ab", shares, grads, grads)


@pytest.mark.parametrize("train", [True, False])
def test_products_are_those_of_the_dense_matrices(network, train):
    """With the running statistics, and in training with the dropout of one key."""
    task, state, batch = network
    key = jax.random.key(3)
    evaluation = evaluation_on(task, state, batch, train=train, key=key)
    expected = dense_by_hand(task, state, batch, train, key if train else None)
    makes = curvature.hessian, curvature.generalized_gauss_newton, curvature.empirical_fisher
    vector, unravel = ravel_pytree(state.params)
    direction = np.random.RandomState(2).normal(size=vector.size)
    for make, matrix in zip(makes, expected, strict=True):

        @jax.jit
        def products(params, tree, make=make):
            operator = make(evaluation, params)
            return operator.dense(), operator @ tree

        dense, product = products(state.params, unravel(direction))
        assert jax.tree.structure(product) == jax.tree.structure(state.params)
        assert_near(dense, matrix)
        assert_near(ravel_pytree(product)[0], matrix @ direction)
    if train:
        other = dense_by_hand(task, state, batch, train, jax.random.key(4))
        assert np.abs(other[0] - expected[0]).max() > 1e-3  # there is dropout


def test_the_evaluation_outside_of_a_step_is_that_of_the_step(network):
    """Its loss is the step's where it trains with the key of the step, whole or in parts."""
    task, state, batch = network
    _, metrics = make_train_step(task)(jax.tree.map(jnp.array, state), batch)
    evaluation = evaluation_on(task, state, batch, train=True)
    np.testing.assert_allclose(evaluation.value(state.params), metrics["loss"], rtol=1e-9)
    still, parts = (evaluation_on(task, state, batch, accumulate=n) for n in (1, 3))
    assert abs(float(still.value(state.params) - metrics["loss"])) > 1e-3
    np.testing.assert_allclose(parts.value(state.params), still.value(state.params), rtol=1e-6)
    makes = curvature.hessian, curvature.generalized_gauss_newton, curvature.empirical_fisher
    whole, divided = jax.jit(
        lambda p: [[make(evaluation, p) @ p for make in makes] for evaluation in (still, parts)]
    )(state.params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), whole, divided)


def test_an_evaluation_of_what_is_no_objective_is_refused():
    task = objective(lambda w, x: w * x, "squared_error", params=np.ones(2, np.float32))
    state = TrainState.create(task, fnopt.sgd(0.1), 0)
    with pytest.raises(TypeError, match=r"evaluation_on\(objective, state, batch\): objective is"):
        evaluation_on(state, task, None)
    with pytest.raises(TypeError, match=r"state is .*not a train state"):
        evaluation_on(task, state.params, None)
    with pytest.raises(TypeError, match="batch is None"):
        evaluation_on(task, state, None)


# Operators


def quartic(params):
    z, w = params["z"], params["w"]
    return jnp.sum(jnp.abs(z @ w.astype(z.dtype) - 1) ** 4) + jnp.sum(z.real**3)


def complex_params():
    rng = np.random.RandomState(0)
    z = rng.normal(size=(2, 3)) + 1j * rng.normal(size=(2, 3))
    empty = {"nothing": None, "empty": jnp.zeros((0, 2))}
    return {"z": jnp.asarray(z), "w": jnp.asarray(rng.normal(size=3)), **empty}


def real_form(params):
    """The same as a vector: leaf after leaf, of a complex one real parts, then imaginary parts."""
    w, z = params["w"], params["z"].ravel()

    def whole(v):
        return {"w": v[:3], "z": (v[3:9] + 1j * v[9:]).reshape(2, 3)}

    return jnp.concatenate([w, z.real, z.imag]), whole


def test_complex_parameters_are_pairs_of_real_ones():
    with jax.enable_x64(True):
        params = complex_params()
        vector, whole = real_form(params)
        assert curvature.hessian(quartic, params).size == len(vector) == 15

        def outputs(params):
            # An integer among the outputs has no derivative.
            return params["z"] @ params["w"].astype(complex), jnp.arange(2)

        evaluation = Evaluation.of_outputs(
            outputs,
            lambda outputs: jnp.sum(jnp.abs(outputs[0] - 1) ** 4),
            lambda outputs: (jnp.abs(outputs[0]) ** 2, jnp.array([0.5, 2.0])),
        )

        def real_outputs(vector):
            x = outputs(whole(vector))[0]
            return jnp.concatenate([x.real, x.imag])

        @jax.jit
        def by_hand(vector):
            jacobian = jax.jacobian(real_outputs)(vector)
            of_loss = jax.hessian(lambda x: jnp.sum(((x[:2] - 1) ** 2 + x[2:] ** 2) ** 2))
            grads = jax.jacobian(lambda v: jnp.abs(outputs(whole(v))[0]) ** 2)(vector)
            return (
                jax.hessian(lambda v: quartic(whole(v)))(vector),
                jacobian.T @ of_loss(real_outputs(vector)) @ jacobian,
                grads.T @ (jnp.array([0.5, 2.0])[:, None] * grads),
            )

        @jax.jit
        def dense(params):
            return (
                curvature.hessian(quartic, params).dense(),
                curvature.generalized_gauss_newton(evaluation, params).dense(),
                curvature.empirical_fisher(evaluation, params).dense(),
            )

        for matrix, expected in zip(dense(params), by_hand(vector), strict=True):
            assert_near(matrix, expected)


def test_least_squares_have_the_square_of_the_jacobian():
    evaluation = Evaluation.of_residuals(lambda x: {"a": x[:1] ** 2, "b": x[0] * x[1]})
    x = jnp.array([2.0, 3.0])
    dense = curvature.generalized_gauss_newton(evaluation, x).dense()
    jacobian = np.array([[4.0, 0], [3, 2]])
    np.testing.assert_allclose(dense, jacobian.T @ jacobian)


@pytest.mark.parametrize(
    ("of_params", "of_tree", "of_product"),
    [
        ("float32", "float32", "float32"),
        ("bfloat16", "float32", "float32"),
        ("float32", "bfloat16", "float32"),
        ("float16", "float16", "float16"),
    ],
)
def test_a_product_comes_in_the_wider_dtype(of_params, of_tree, of_product):
    operator = curvature.hessian(lambda x: jnp.sum(x**4), jnp.ones(3, of_params))
    for matrix in (operator, operator.damped(4)):
        product = matrix @ jnp.ones(3, of_tree)
        # A damped one is computed, and comes, in single precision at least.
        assert product.dtype == (of_product if matrix is operator else np.float32)
        np.testing.assert_array_equal(product, 12.0 if matrix is operator else 16.0)
    assert operator.dense().dtype == np.float32


def test_an_operator_is_made_of_a_gradient_or_a_value_alone():
    x = jnp.array([1.0, 2.0])
    for evaluation in (Evaluation(value=lambda x: x @ x), Evaluation(grad=lambda x: 2 * x)):
        np.testing.assert_array_equal(curvature.hessian(evaluation, x).dense(), 2 * np.eye(2))


def test_a_large_dense_matrix_is_computed_in_blocks():
    scale = jnp.arange(300.0)
    operator = LinearOperator(lambda x: scale * x + jnp.roll(x, 1), jnp.zeros(300))
    np.testing.assert_array_equal(
        operator.dense(), np.diag(scale) + np.roll(np.eye(300, dtype=np.float32), 1, 0)
    )


X = jnp.ones(2)
OF_OUTPUTS = Evaluation.of_outputs(lambda x: x, jnp.sum)
OPERATOR = LinearOperator(lambda x: x, {"a": X})


def test_an_operator_prints_without_its_parameters():
    assert repr(OPERATOR) == f"LinearOperator(size={X.size})"


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: curvature.hessian(3.0, X), TypeError, "must be a function of the parameters or"),
        (lambda: curvature.hessian(lambda x: x, X), TypeError, r"must return a scalar, .*\(2,\)"),
        (lambda: curvature.hessian(lambda x: (x @ x, 1), X), TypeError, "scalar, got tuple"),
        (lambda: curvature.hessian(Evaluation(), X), ValueError, "neither grad nor value"),
        (lambda: curvature.hessian(jnp.sum, jnp.arange(2)), TypeError, "params has dtype int32"),
        (lambda: curvature.hessian(jnp.sum), TypeError, r"Call curvature.hessian\(loss, params\)"),
        (
            lambda: curvature.generalized_gauss_newton(jnp.sum, X),
            TypeError,
            "not an Evaluation; fnopt.train.evaluation_on",
        ),
        (
            lambda: curvature.generalized_gauss_newton(Evaluation.of_loss(jnp.sum), X),
            ValueError,
            "no outputs and no loss_of_outputs; .*Evaluation.of_outputs",
        ),
        (
            lambda: curvature.empirical_fisher(OF_OUTPUTS, X),
            ValueError,
            "empirical_fisher: the evaluation has no losses_of_outputs;",
        ),
        (lambda: OPERATOR @ X, ValueError, "the tree and the parameters differ in structure"),
        (lambda: OPERATOR @ {"a": jnp.ones(3)}, ValueError, r"the tree\['a'\] has shape \(3,\)"),
        (lambda: OPERATOR @ {"a": 1j * X}, TypeError, "is complex .*its parameter is real"),
        (lambda: curvature.lanczos(jnp.sum, 0), TypeError, "LinearOperator\\(function, like\\)"),
        (lambda: curvature.lanczos(OPERATOR, 0, 0), ValueError, "lanczos: steps must be at least"),
        (lambda: curvature.lanczos(OPERATOR, 0, 2.5), TypeError, "lanczos: steps must be an int"),
        (
            lambda: curvature.lanczos(OPERATOR, 0, start={"a": jnp.ones(3)}),
            ValueError,
            r"start\['a'\] has shape",
        ),
        (
            lambda: curvature.lanczos(LinearOperator(abs, jnp.ones(0)), 0),
            ValueError,
            "lanczos: the operator has no rows",
        ),
        (
            lambda: curvature.extreme_eigenpairs(OPERATOR, 0, 2, 1),
            ValueError,
            "largest=2 and smallest=1 are together to be from 1 to 2",
        ),
        (
            lambda: curvature.spectral_density(OPERATOR, 0, samples=0),
            ValueError,
            "spectral_density: samples must be at least 1",
        ),
        (lambda: curvature.hutchinson_trace(OPERATOR), TypeError, "give a key, such as key=0"),
        (
            lambda: curvature.hutchinson_diagonal(OPERATOR, probes={"a": jnp.ones(())}),
            ValueError,
            "probes must have a first axis",
        ),
        (
            lambda: curvature.hutchinson_diagonal(OPERATOR, probes={"a": jnp.ones((4, 3))}),
            ValueError,
            r"probes\['a'\] has shape \(3,\)",
        ),
        (lambda: curvature.SpectrumRecorder(OPERATOR), TypeError, "a function of a train state"),
        (
            lambda: curvature.SpectrumRecorder(lambda state: OPERATOR).plot(),
            ValueError,
            "nothing is recorded yet",
        ),
    ],
)
def test_a_mistake_is_answered(call, error, words):
    with pytest.raises(error, match=words) as refusal:
        call()
    assert len(str(refusal.value)) < 400


# Spectrum


def symmetric(values, seed=0):
    """A matrix with these eigenvalues, and an operator of it on a tree."""
    n = len(values)
    basis = np.linalg.qr(np.random.RandomState(seed).normal(size=(n, n)))[0]
    matrix = jnp.asarray(basis * np.asarray(values) @ basis.T)

    def product(tree):
        vector, unravel = ravel_pytree(tree)
        return unravel(matrix @ vector)

    like = {"a": jnp.zeros((n - 1) // 2), "b": [jnp.zeros((n - (n - 1) // 2, 1)), None]}
    return matrix, LinearOperator(product, like)


SPECTRA = {
    "random": np.random.RandomState(0).normal(size=24),
    "clustered": [0.0] * 9 + [1.0] * 5 + [1 + 1e-9] * 5 + [-3.0, 7.0, 7.0, 1e4, -1e4],
    "one": [2.0] * 24,
    "zero": [0.0] * 24,
    "rank 1": [0.0] * 23 + [1e-12],
}


@pytest.mark.parametrize("name", SPECTRA)
def test_lanczos_has_the_eigenvalues_of_eigh(name):
    with jax.enable_x64(True):
        matrix, operator = symmetric(SPECTRA[name])
        expected = np.linalg.eigvalsh(matrix)
        size = max(abs(expected)) or 1.0

        @jax.jit
        def run(key):
            return curvature.lanczos(operator, key, 99), curvature.extreme_eigenpairs(
                operator, key, largest=3, smallest=2, steps=99
            )

        result, pairs = run(jax.random.key(1))
        basis = np.concatenate([np.reshape(x, (24, -1)) for x in jax.tree.leaves(result.basis)], 1)
        np.testing.assert_allclose(basis @ basis.T, np.eye(24), atol=1e-13)
        np.testing.assert_allclose(result.dense(), basis @ matrix @ basis.T, atol=1e-11 * size)
        np.testing.assert_allclose(result.eigh()[0], expected, atol=1e-12 * size)
        assert float(result.remainder) <= 1e-12 * size
        np.testing.assert_allclose(pairs.values, expected[[0, 1, -3, -2, -1]], atol=1e-12 * size)
        for i, value in enumerate(pairs.values):
            vector = jax.tree.map(lambda x: x[i], pairs.vectors)  # noqa: B023
            flat = ravel_pytree(vector)[0]
            image = ravel_pytree(operator @ vector)[0]
            np.testing.assert_allclose(image, value * flat, atol=1e-11 * size)
            assert abs(np.linalg.norm(flat) - 1) < 1e-12


def test_few_steps_find_what_stands_apart_and_bound_their_errors():
    values = np.concatenate([np.linspace(0, 1, 196), [-4.0, -3.0, 5.0, 10.0]])
    _, operator = symmetric(values)
    found, rough = jax.jit(
        lambda key: [curvature.extreme_eigenpairs(operator, key, 2, 2, steps=n) for n in (20, 6)]
    )(0)
    np.testing.assert_allclose(found.values, [-4, -3, 5, 10], atol=2e-5)
    assert max(rough.errors) > 1e-3
    for value, error in zip(rough.values, rough.errors, strict=True):
        assert np.abs(values - value).min() <= error + 1e-5


def test_lanczos_begins_where_it_is_told():
    operator = LinearOperator(lambda x: jnp.array([1.0, 2.0, 3.0]) * x, jnp.zeros(3))
    result = curvature.lanczos(operator, 0, 1, start=jnp.array([0.0, 5.0, 0.0]))
    np.testing.assert_array_equal(result.basis, [[0, 1, 0]])
    np.testing.assert_array_equal([*result.diagonal, result.remainder], [2, 0])


def test_lanczos_of_complex_parameters():
    with jax.enable_x64(True):

        @jax.jit
        def dense_and_pairs(params):
            operator = curvature.hessian(quartic, params)
            return operator.dense(), curvature.extreme_eigenpairs(operator, 0, 1, 1)

        dense, pairs = dense_and_pairs(complex_params())
        expected = np.linalg.eigvalsh(dense)
        assert pairs.vectors["z"].shape == (2, 2, 3) and jnp.iscomplexobj(pairs.vectors["z"])
        np.testing.assert_allclose(pairs.values, expected[[0, -1]], rtol=1e-9)


@pytest.mark.slow
def test_the_density_is_that_of_the_eigenvalues():
    """The moments of what each vector sees are exact; the mean over vectors is nearly that."""
    with jax.enable_x64(True):
        values = np.concatenate([np.full(60, 1.0), np.full(40, -2.0)])
        _, operator = symmetric(values)
        density = jax.jit(lambda key: curvature.spectral_density(operator, key, 8, 40))(0)
        assert density.nodes.shape == density.weights.shape == (40, 8)
        np.testing.assert_allclose(np.sum(density.weights, 1), 1, rtol=1e-9)
        share = np.sum(np.where(density.nodes > 0, density.weights, 0), 1)
        assert abs(share.mean() - 0.6) < 0.03
        points, heights = density.curve(2000)
        assert abs(np.trapezoid(heights, points) - 1) < 1e-4
        assert abs(np.trapezoid(np.where(points > 0, heights, 0), points) - share.mean()) < 1e-4
        np.testing.assert_allclose(density.at(points[5:7].reshape(2, 1)).ravel(), heights[5:7])
        peak = share.mean() / (0.1 * np.sqrt(2 * np.pi))
        np.testing.assert_allclose(density.at(1.0, width=0.1), peak, rtol=1e-6)
    alike = curvature.spectral_density(LinearOperator(lambda x: 2 * x, jnp.zeros(3)), 0)
    points, heights = alike.curve()
    assert abs(np.trapezoid(heights, points) - 1) < 1e-3


# Trace and diagonal


def test_all_signs_together_give_trace_and_diagonal():
    with jax.enable_x64(True):
        matrix, operator = symmetric(np.arange(-3.0, 4.0))
        signs = np.array([*itertools.product([-1.0, 1.0], repeat=7)])
        probes = {"a": signs[:, :3], "b": [signs[:, 3:, None], None]}
        trace = curvature.hutchinson_trace(operator, probes=probes)
        np.testing.assert_allclose(trace.value, jnp.trace(matrix), atol=1e-12)
        # The standard error follows from the squares beside the diagonal.
        beside = np.sum(np.square(matrix)) - np.sum(np.square(np.diag(matrix)))
        np.testing.assert_allclose(trace.error, np.sqrt(2 * beside / 127), rtol=1e-9)
        diagonal = curvature.hutchinson_diagonal(operator, probes=probes)
        assert jax.tree.structure(diagonal.value) == jax.tree.structure(operator.like)
        np.testing.assert_allclose(ravel_pytree(diagonal.value)[0], np.diag(matrix), atol=1e-12)
        rows = np.sum(np.square(matrix - np.diag(np.diag(matrix))), 1)
        np.testing.assert_allclose(ravel_pytree(diagonal.error)[0], np.sqrt(rows / 127), rtol=1e-9)


@pytest.mark.slow
def test_random_signs_are_exact_for_a_diagonal_and_unbiased_otherwise():
    with jax.enable_x64(True):
        operator = curvature.hessian(quartic, params := complex_params())
        dense = np.asarray(operator.dense())
        trace, diagonal = jax.jit(
            lambda key: (
                curvature.hutchinson_trace(operator, key, 2000),
                curvature.hutchinson_diagonal(operator, key, 2000),
            )
        )(jax.random.key(0))
        assert abs(trace.value - np.trace(dense)) < 4 * trace.error < 0.2 * abs(np.trace(dense))
        difference = real_form(diagonal.value)[0] - np.diag(dense)
        assert np.all(np.abs(difference) < 4 * real_form(diagonal.error)[0] + 1e-9)
    params = jnp.array([1.0, 2.0])
    operator = curvature.hessian(lambda x: jnp.sum(x**3), params)
    one = curvature.hutchinson_diagonal(operator, 0, samples=1)
    np.testing.assert_array_equal(one.value, [6, 12])
    assert np.isnan(one.error).all()


# Memory


def deep_loss(params):
    return jnp.mean(jnp.tanh(jnp.tanh(params["w"]) @ params["v"]) ** 2)


@pytest.mark.slow
def test_nothing_without_a_matrix_has_memory_for_one():
    """A million elements would need 4 TB; here are 90,000, whose square is 32 GB."""
    params = {"w": jnp.ones((200, 300)) / 300, "v": jnp.ones((300, 100)) / 10}
    outputs = Evaluation.of_outputs(
        lambda p: jnp.tanh(p["w"]) @ p["v"],
        lambda x: jnp.mean(x**2) / 2,
        lambda x: (jnp.mean(x**2, 1), jnp.full(200, 1 / 200)),
    )
    size, steps = 90_000, 6

    def spectrum(params):
        operator = curvature.hessian(deep_loss, params)
        return curvature.spectral_density(operator, 0, steps, 3)

    programs = {
        "gauss newton": lambda p: curvature.generalized_gauss_newton(outputs, p) @ p,
        "fisher": lambda p: curvature.empirical_fisher(outputs, p).damped(0.1) @ p,
        "lanczos": lambda p: curvature.extreme_eigenpairs(
            curvature.hessian(deep_loss, p), 0, steps=steps
        ),
        "density": spectrum,
        "diagonal": lambda p: curvature.hutchinson_diagonal(curvature.hessian(deep_loss, p), 0),
    }
    for name, program in programs.items():
        compiled = compiled_as_usual(jax.jit(program).lower(params))
        assert largest_buffer(compiled) <= steps * size, name
        # All temporary buffers together: a few vectors, the basis and a copy of it.
        assert compiled.memory_analysis().temp_size_in_bytes < 4 * size * (2 * steps + 20), name
    dense = jax.jit(lambda x: curvature.hessian(lambda x: jnp.sum(x**4), x).dense())
    assert largest_buffer(compiled_as_usual(dense.lower(jnp.ones(200)))) >= 200**2  # as it should


# Along a run


@pytest.mark.slow
def test_a_recorder_has_the_spectra_of_a_run(tmp_path):
    task = objective(
        lambda w, x: jnp.tanh(x @ w["a"]) @ w["b"],
        "squared_error",
        params={"a": np.eye(3, 4, dtype=np.float32), "b": np.ones(4, np.float32)},
    )
    x = np.random.RandomState(0).normal(size=(16, 3)).astype(np.float32)
    data = x, np.sin(x[:, 0])
    traced = []

    def matrix(state):
        traced.append(state)
        return curvature.hessian(evaluation_on(task, state, data), state.params)

    recorder = curvature.SpectrumRecorder(matrix, every=2, largest=2, samples=2)
    assert repr(recorder) == "SpectrumRecorder(every=2, records=0)"
    tx = fnopt.sgd(0.1)
    recorder.record(TrainState.create(task, tx, 0))
    result = fit(task, tx, data, epochs=4, batch_size=8, callbacks=[recorder], progress=False)
    assert [(record.epoch, record.step) for record in recorder.records] == [(0, 0), (2, 4), (4, 8)]
    assert len(traced) == 1
    last = recorder.records[-1]
    expected = np.linalg.eigvalsh(matrix(result.state).dense())
    np.testing.assert_allclose(last.largest, expected[::-1][:2], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(last.smallest, expected[:1], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(last.density.nodes[0], expected, atol=1e-4)
    pytest.importorskip("matplotlib")
    figure = recorder.plot(tmp_path / "pictures" / "spectrum.png", title="digits")
    assert (tmp_path / "pictures" / "spectrum.png").stat().st_size > 10_000
    top, corner, along, shares = figure.axes[:4]
    assert figure.get_suptitle() == "digits"
    assert [line.get_label() for line in along.lines] == ["largest", "_child2", "smallest"]
    for axes in (top, along):
        np.testing.assert_array_equal(axes.lines[0].get_xdata(), [0, 2, 4])
        np.testing.assert_allclose(axes.lines[0].get_ydata()[-1], last.largest[0])
    labels = [text.get_text() for text in corner.get_legend().get_texts()]
    assert labels == ["epoch 0", "epoch 2", "epoch 4"] and len(shares.lines) == 3
    # A single record is drawn, and so is one that has nothing finite.
    nan = last._replace(density=curvature.SpectralDensity(*(np.nan * x for x in last.density)))
    recorder.records[:] = [nan]
    recorder.plot()
    recorder.records[:] = [last]
    recorder.plot()

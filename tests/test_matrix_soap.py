"""SOAP and KL-SOAP: their bases, what they equal, and what they cost."""

from __future__ import annotations

import itertools
import json
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import soap as oracles

import fnopt
from fnopt.matrix.eigenbasis import (
    eigenvectors,
    from_bases,
    orthogonal_iteration,
    to_bases,
)

METHODS = [fnopt.scale_by_soap, fnopt.scale_by_kl_soap]


@pytest.fixture
def double():
    with jax.enable_x64(True):
        yield


def randoms(tree: Any, updates: int, seed: int = 0) -> list[Any]:
    """Gradients of a common mean, of which some directions are much larger than others."""
    rng = np.random.default_rng(seed)

    def draw(shape: tuple[int, ...]) -> np.ndarray:
        return np.geomspace(1, 0.1, shape[-1]) * rng.normal(size=shape)

    leaves, structure = jax.tree.flatten(tree)
    means = [draw(leaf.shape) for leaf in leaves]
    return [
        structure.unflatten([jnp.asarray(mean + draw(mean.shape)) for mean in means])
        for _ in range(updates)
    ]


def path(tx: Any, grads: list[Any]) -> tuple[list[Any], Any]:
    """The directions of all updates, and the last state."""
    update = jax.jit(tx.update)
    state, found = tx.init(grads[0]), []
    for grad in grads:
        direction, state = update(grad, state)
        found.append(direction)
    return found, state


def assert_close(got: Any, expected: Any, rtol: float = 1e-7, atol: float = 1e-9) -> None:
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol, atol)


def tree() -> dict[str, Any]:
    """Matrices of two shapes and of a transpose; kernels of Flax, inputs first."""
    shapes = {"a": (4, 3), "b": (3, 4), "c": (3, 3), "d": (4, 3)}
    return {name: {"kernel": jnp.zeros(shape)} for name, shape in shapes.items()}


# Bases.


def test_orthogonal_iteration_finds_eigenvectors(double):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 5, 8)))
    matrices = x @ jnp.matrix_transpose(x)
    basis = jnp.broadcast_to(jnp.eye(5), matrices.shape)
    for _ in range(300):
        basis = orthogonal_iteration(matrices, basis)
    overlap = jnp.abs(jnp.matrix_transpose(eigenvectors(matrices)) @ basis)
    # Each column is an eigenvector, at a place of its own.
    for one in overlap:
        np.testing.assert_allclose(jnp.sort(one, axis=1)[:, -1], 1, rtol=1e-6)
        assert sorted(jnp.argmax(one, axis=1).tolist()) == list(range(5))


def test_columns_stay_at_their_places(double):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 4, 9)))
    matrices = x @ jnp.matrix_transpose(x)
    order = jnp.asarray([2, 0, 3, 1])
    mixed = eigenvectors(matrices)[:, :, order]
    np.testing.assert_allclose(jnp.abs(orthogonal_iteration(matrices, mixed)), jnp.abs(mixed))


@pytest.mark.parametrize("make", METHODS)
def test_signs_and_order_of_eigenvectors_do_not_matter(double, make):
    grads = randoms(tree(), 8)
    tx = make(precondition_frequency=2, staggered=False)
    _, state = path(tx, grads[:3])
    order, signs = jnp.asarray([2, 0, 1]), jnp.asarray([1.0, -1.0, -1.0])
    other = state._asdict()
    name = "c"  # of outputs × inputs 3 × 3, whose slots lie as the kernel, inputs first
    other["left_basis"] = {**state.left_basis}
    other["left_basis"][name] = {
        "kernel": state.left_basis[name]["kernel"][:, :, order] * signs[None, None]
    }
    other["nu"] = {**state.nu, name: {"kernel": state.nu[name]["kernel"][:, order]}}
    if "left_eigenvalues" in other:
        values = state.left_eigenvalues[name]["kernel"][:, order]
        other["left_eigenvalues"] = {**state.left_eigenvalues, name: {"kernel": values}}
    other = type(state)(**other)
    if make is fnopt.scale_by_kl_soap:
        grads = grads[:4]  # QR takes its columns as they come, so that a refresh would differ
    update = jax.jit(tx.update)
    for grad in grads[3:]:
        expected, state = update(grad, state)
        got, other = update(grad, other)
        assert_close(got, expected)


@pytest.mark.parametrize("make", METHODS)
def test_the_first_update_only_finds_the_bases(double, make):
    (grad,) = randoms({"kernel": jnp.zeros((4, 3))}, 1)
    (direction,), state = path(make(), [grad])
    np.testing.assert_array_equal(direction["kernel"], np.zeros((4, 3)))
    assert not np.any(state.mu["kernel"]) and not np.any(state.nu["kernel"])
    g = np.asarray(grad["kernel"]).T
    for basis, gram in ((state.left_basis, g @ g.T), (state.right_basis, g.T @ g)):
        q = basis["kernel"][0]
        np.testing.assert_allclose(q.T @ gram @ q, np.diag(np.diag(q.T @ gram @ q)), atol=1e-12)


@pytest.mark.parametrize("make", METHODS)
def test_bases_take_turns(make):
    shapes = {f"{i}": {"kernel": jnp.zeros((4, 3))} for i in range(5)}
    every = 4
    tx = make(precondition_frequency=every)
    update = jax.jit(tx.update)
    grads = randoms(shapes, 1 + 2 * every)
    state = tx.init(shapes)
    moved: list[np.ndarray] = []
    for grad in grads:
        before = [*jax.tree.leaves(state.left_basis), *jax.tree.leaves(state.right_basis)]
        _, state = update(grad, state)
        after = [*jax.tree.leaves(state.left_basis), *jax.tree.leaves(state.right_basis)]
        moved.append(np.array([bool(jnp.any(a != b)) for a, b in zip(before, after, strict=True)]))
    assert moved[0].all()
    # Five of each length: two at an update, and all within three of four. The last two share one.
    assert max(m.sum() for m in moved[1:]) <= 4
    for start in (1, 1 + every):
        assert np.sum(moved[start : start + every], axis=0).min() >= 1


# What they equal.


def test_with_factored_squares_it_is_shampoo_of_power_one_half(double):
    """Claim 1 of the paper: Adafactor in the eigenbases, L^-1/2 G R^-1/2 tr(L)^1/2.

    It is SOAP's direction if not Adam's V but the outer product of its rows' and columns' sums,
    divided by their sum, is in the denominator.
    """
    grads = randoms({"kernel": jnp.zeros((5, 4))}, 30)
    _, state = path(fnopt.scale_by_soap(shampoo_beta=0.9, precondition_frequency=1), grads)
    left, right = (slot["kernel"] for slot in (state.left, state.right))
    bases = [slot["kernel"] for slot in (state.left_basis, state.right_basis)]
    for _ in range(500):  # a refresh at every update, until the bases are exact
        bases = [orthogonal_iteration(p, q) for p, q in zip((left, right), bases, strict=True)]
    by_row, by_column = (
        jnp.einsum("nij,nik,nkj->nj", q, p, q) for p, q in zip((left, right), bases, strict=True)
    )
    g = jnp.matrix_transpose(grads[-1]["kernel"])[None]
    factored = by_row[:, :, None] * by_column[:, None, :] / jnp.sum(by_row)
    got = from_bases(to_bases(g, *bases) / jnp.sqrt(factored), *bases)[0]

    def inverse_root(p: np.ndarray) -> np.ndarray:
        values, vectors = np.linalg.eigh(p)
        return vectors / np.sqrt(values) @ vectors.T

    roots = inverse_root(np.asarray(left[0])), inverse_root(np.asarray(right[0]))
    shampoo = roots[0] @ np.asarray(g[0]) @ roots[1] * np.sqrt(np.trace(left[0]))
    np.testing.assert_allclose(got, shampoo, rtol=1e-8)
    # The rows' sums of squares in these bases are the eigenvalues, as the proof has it.
    squares = sum(
        0.1 * 0.9 ** (len(grads) - 1 - i) * to_bases(x["kernel"].T[None], *bases) ** 2
        for i, x in enumerate(grads)
    )
    np.testing.assert_allclose(jnp.sum(squares, axis=2), by_row, rtol=1e-8)


@pytest.mark.parametrize("make", METHODS)
def test_a_batch_equals_one_by_one(double, make):
    grads = randoms(tree(), 7)
    tx = make(precondition_frequency=3, staggered=False)
    together, _ = path(tx, grads)
    for name in tree():
        alone, _ = path(tx, [{name: grad[name]} for grad in grads])
        assert_close([x[name] for x in together], [x[name] for x in alone])


@pytest.mark.parametrize("make", METHODS)
@pytest.mark.parametrize("staggered", [True, False])
def test_a_stacked_leaf_equals_twelve_leaves(double, make, staggered):
    grads = randoms({"layers": {"kernel": jnp.zeros((12, 4, 4))}}, 8)
    apart = [{f"{i:02}": {"kernel": g["layers"]["kernel"][i]} for i in range(12)} for g in grads]
    tx = make(precondition_frequency=3, staggered=staggered)
    for one, twelve in zip(path(tx, grads)[0], path(tx, apart)[0], strict=True):
        assert_close(one["layers"]["kernel"], jnp.stack(jax.tree.leaves(twelve)))


@pytest.mark.parametrize("make", METHODS)
def test_vmap_equals_a_loop_in_double_precision(double, make):
    tx = make(precondition_frequency=2)
    runs = [randoms({"kernel": jnp.zeros((4, 3))}, 4, seed) for seed in range(2)]
    stacked = [jax.tree.map(lambda *x: jnp.stack(x), *pair) for pair in zip(*runs, strict=True)]
    state = jax.vmap(tx.init)(stacked[0])
    update = jax.jit(jax.vmap(tx.update))
    found = []
    for grad in stacked:
        direction, state = update(grad, state)
        found.append(direction["kernel"])
    for i, run in enumerate(runs):
        alone, _ = path(tx, run)
        assert_close([x[i] for x in found], [x["kernel"] for x in alone])


@pytest.mark.parametrize("make", METHODS)
def test_constant_schedules_change_nothing(double, make):
    tx = make(precondition_frequency=2)
    numbers = {k: v for k, v in vars(tx).items() if isinstance(v, float)}
    scheduled = tx.replace(**{k: fnopt.constant_schedule(v) for k, v in numbers.items()})
    grads = randoms({"kernel": jnp.zeros((4, 3))}, 5)
    assert_close(path(scheduled, grads)[0], path(tx, grads)[0])


_RECORDED = pathlib.Path(__file__).parent / "oracles" / "soap.json"
_SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "fresh": {"precondition_frequency": 1},
    "momentum": {"b1": 0.9, "b2": 0.99, "shampoo_beta": 0.8, "precondition_frequency": 3},
    "eps": {"eps": 1e-2, "precondition_frequency": 2},
    "normalized": {"normalize_grads": True, "precondition_frequency": 2},
    "one_sided": {"max_precond_dim": 4, "precondition_frequency": 3},
}


@pytest.mark.parametrize("name", _SETTINGS)
def test_agrees_with_pytorch_optimizer(double, name):
    """As recorded by record_soap.py; their QR is in single precision."""
    recorded = json.loads(_RECORDED.read_text())
    tx = fnopt.scale_by_soap(**_SETTINGS[name], staggered=False)
    # A weight of torch has its outputs first.
    grads = [{"weight": jnp.asarray(g)} for g in recorded["gradients"]]
    weights = -0.01 * np.cumsum([x["weight"] for x in path(tx, grads)[0]], axis=0)
    np.testing.assert_allclose(weights[4::5], recorded[name], rtol=1e-4, atol=1e-6)


def test_soap_muon_is_a_composition(double):
    tx = fnopt.chain(
        fnopt.scale_by_soap(0.95, 0.9, precondition_frequency=1),
        fnopt.scale_by_orthogonalization((2, -1.5, 0.5), 12),
    )
    grads = randoms({"kernel": jnp.zeros((4, 3))}, 6)
    given = {"ns_coeffs": (2, -1.5, 0.5), "ns_steps": 12}
    soap = oracles.Soap((3, 4), 0.95, 0.9, precondition_frequency=1)
    for t, (got, grad) in enumerate(zip(path(tx, grads)[0], grads, strict=True), 1):
        expected = oracles.orthogonalized(soap.direction(np.asarray(grad["kernel"]).T, t), **given)
        np.testing.assert_allclose(got["kernel"], expected.T, rtol=1e-6, atol=1e-9)
    assert np.ptp(np.linalg.svd(got["kernel"], compute_uv=False)) < 0.2


# What they cost, and what they refuse.


@pytest.mark.parametrize("make", METHODS)
def test_memory_is_of_two_averages_and_both_sides(make):
    def numbers(**given: Any) -> int:
        kernel = jax.ShapeDtypeStruct((3072, 768), jnp.float32)
        state = jax.eval_shape(make(**given).init, {"kernel": kernel})
        sizes = [leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state)]
        return sum(sizes) - 4  # the count

    m, n = 768, 3072
    values = (m + n) if make is fnopt.scale_by_kl_soap else 0
    assert numbers() == 4 * (2 * m * n + 2 * m * m + 2 * n * n + values)  # 42.0 bytes a number
    values = m if values else 0
    assert numbers(max_precond_dim=1000) == 4 * (2 * m * n + 2 * m * m + values)  # 10.0
    assert numbers(max_precond_dim=1, mu_dtype="bfloat16") == 6 * m * n


def test_eigenvalues_of_kl_soap_have_a_floor(double):
    grads = [{"kernel": 1e-6 * x["kernel"]} for x in randoms({"kernel": jnp.zeros((4, 3))}, 40)]
    _, state = path(fnopt.scale_by_kl_soap(shampoo_beta=0.5), grads)
    np.testing.assert_allclose(state.left_eigenvalues["kernel"], 0.01)
    np.testing.assert_allclose(state.right_eigenvalues["kernel"], 0.01)


@pytest.mark.parametrize("name", ["soap", "kl_soap"])
def test_integers_below_one_are_refused(name):
    for argument, value in itertools.product(
        ("precondition_frequency", "max_precond_dim"), (0, -1)
    ):
        with pytest.raises(ValueError, match=f"{argument} must be at least 1, got {value}"):
            getattr(fnopt, name)(0.1, **{argument: value})
    with pytest.raises(TypeError, match="precondition_frequency must be an integer"):
        getattr(fnopt, name)(0.1, precondition_frequency=2.5)

"""Private gradients: the laws of the contract, for gradients of single examples."""

from __future__ import annotations

import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import fnopt

PARAMS = {"w": jnp.linspace(-1.0, 1.0, 6).reshape(2, 3), "b": jnp.ones(()), "none": None}
_rng = np.random.default_rng(0)
GRADS = jax.tree.map(lambda p: jnp.asarray(_rng.normal(size=(5, *p.shape)), p.dtype), PARAMS)


def by_hand(grads, clip, deviation, key):
    """Abadi et al. 2016, Algorithm 1, in float64 and with the same draws."""
    leaves, structure = jax.tree.flatten(grads)
    leaves = [np.asarray(leaf, np.float64) for leaf in leaves]
    examples = len(leaves[0])
    norms = [np.sqrt(sum(np.sum(leaf[i] ** 2) for leaf in leaves)) for i in range(examples)]
    _, *keys = jax.random.split(key, len(leaves) + 1)
    means = []
    for leaf, k in zip(leaves, keys, strict=True):
        clipped = [leaf[i] / max(1.0, norms[i] / clip) for i in range(examples)]
        noise = np.asarray(jax.random.normal(k, leaf.shape[1:], jnp.float32))
        means.append((sum(clipped) + deviation * noise) / examples)
    return structure.unflatten(means)


def assert_close(got, want, rtol=1e-5):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=rtol, atol=1e-6), got, want)


def kind(leaf):
    return leaf.shape, str(leaf.dtype), leaf.weak_type


def aggregate(**changes):
    given = {"l2_norm_clip": 1.5, "noise_multiplier": 0.5, "key": 3, **changes}
    return fnopt.differentially_private_aggregate(**given)


def test_it_is_the_papers_algorithm():
    tx = aggregate()
    state = tx.init(PARAMS)
    updates, new = jax.jit(tx.update)(GRADS, state, PARAMS)
    assert_close(updates, by_hand(GRADS, 1.5, 0.75, jax.random.key(3)))
    assert jax.tree.map(jnp.shape, updates) == jax.tree.map(jnp.shape, PARAMS)
    again, _ = tx.update(GRADS, new, PARAMS)
    assert not np.allclose(again["w"], updates["w"])


@pytest.mark.beside_optax
@pytest.mark.parametrize("momentum", [None, 0.9])
def test_it_is_optaxs(momentum):
    given = {"l2_norm_clip": 1.0, "noise_multiplier": 0.7, "seed": 1, "momentum": momentum}
    ours = fnopt.dpsgd(0.1, **given)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of optax's own call of itself
        theirs = optax.contrib.dpsgd(0.1, **given)
    state, state_of_theirs = ours.init(PARAMS), theirs.init(PARAMS)
    for _ in range(3):
        updates, state = ours.update(GRADS, state, PARAMS)
        expected, state_of_theirs = theirs.update(GRADS, state_of_theirs, PARAMS)
        assert_close(updates, expected)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "complex64"])
def test_types_stay(dtype):
    params, grads = (optax.tree.cast(tree, dtype) for tree in (PARAMS, GRADS))
    tx = fnopt.dpsgd(0.1, 1.0, 0.5, seed=0, momentum=0.9)
    state = tx.init(params)
    updates, new = tx.update(grads, state, params)
    assert jax.tree.map(kind, updates) == jax.tree.map(kind, params)
    assert jax.tree.map(kind, state) == jax.tree.map(kind, new)


def test_it_lives_in_scan_and_vmap_and_compiles_once():
    traces = 0

    @jax.jit
    def run(tx):
        nonlocal traces
        traces += 1

        def step(carry, _):
            params, state = carry
            updates, state = tx.update(GRADS, state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (PARAMS, tx.init(PARAMS)), length=3)[0][0]

    txs = [fnopt.dpsgd(0.1, clip, 0.5, jax.random.key(i)) for i, clip in enumerate((0.5, 2.0))]
    alone = [run(tx) for tx in txs]
    assert traces == 1
    batch = jax.tree.map(lambda *leaves: jnp.stack(list(map(jnp.asarray, leaves))), *txs)
    together = jax.vmap(run)(batch)
    assert_close(together, jax.tree.map(lambda *leaves: jnp.stack(leaves), *alone))


def test_hypergradients_are_finite_at_zero_gradient():
    zero = jax.tree.map(jnp.zeros_like, GRADS)

    def size(tx):
        return optax.tree.norm(tx.update(zero, tx.init(PARAMS), PARAMS)[0])

    slopes = jax.grad(size, allow_int=True)(aggregate())
    assert np.isfinite(slopes.l2_norm_clip) and slopes.l2_norm_clip > 0


def test_what_is_no_gradient_of_examples_is_refused():
    tx = aggregate()
    state = tx.init(PARAMS)
    with pytest.raises(ValueError, match=r"updates\['b'\] has shape \(\)"):
        tx.update(PARAMS, state, PARAMS)
    with pytest.raises(ValueError, match=r"updates\['w'\] has shape \(4, 2, 3\).*of 5"):
        tx.update({**GRADS, "w": GRADS["w"][:4]}, state, PARAMS)
    with pytest.raises(ValueError, match=r"updates\['w'\] has shape \(2,\), .*\(2, 3\)"):
        tx.update({**GRADS, "w": GRADS["w"][:, :, 0]}, state, PARAMS)
    with pytest.raises(ValueError, match="the state given to update"):
        tx.update(GRADS, (PARAMS,), PARAMS)
    with pytest.raises(TypeError, match="key"):
        fnopt.differentially_private_aggregate(1.0, 0.5, None)


@pytest.mark.parametrize("clip", [np.inf, 1.0, 0.0])
def test_sums_of_clipped_examples(clip):
    got, clipped = fnopt.per_example_global_norm_clip(GRADS, clip)
    norms = np.sqrt(np.sum(GRADS["w"] ** 2, (1, 2)) + GRADS["b"] ** 2)
    share = np.minimum(1.0, clip / norms)
    expected = jax.tree.map(lambda g: np.tensordot(share, np.asarray(g), 1), GRADS)
    assert_close(got, expected)
    assert int(clipped) == np.sum(share < 1)


@pytest.mark.parametrize("uniform", [True, False])
def test_sums_of_examples_clipped_by_layer(uniform):
    got, clipped = fnopt.per_example_layer_norm_clip(GRADS, 1.0, uniform)
    expected = {
        name: fnopt.per_example_global_norm_clip(
            GRADS[name], np.sqrt(0.5 if uniform else GRADS[name][0].size / 7)
        )
        for name in ("w", "b")
    }
    for name, (total, number) in expected.items():
        assert_close(got[name], total)
        assert int(clipped[name]) == int(number)


def test_noise_is_as_strong_in_every_real_number():
    tx = fnopt.differentially_private_aggregate(1.0, 2.0, 0)
    for dtype in (jnp.float32, jnp.complex64):
        batch = jnp.zeros((1, 40_000), dtype)
        noise, _ = tx.update(batch, tx.init(jnp.zeros(40_000, dtype)))
        for part in {jnp.float32: [noise], jnp.complex64: [noise.real, noise.imag]}[dtype]:
            assert abs(float(jnp.std(part)) - 2.0) < 0.05

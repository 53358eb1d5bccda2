"""Bias correction: as precise as its dtype from the first update on, where 1 - decay**t is not."""

from __future__ import annotations

from decimal import Decimal, localcontext

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import fnopt
from fnopt.core import bias_correction

DECAYS = (0.0, 1e-3, 0.5, 0.9, 0.99, 0.999, 0.9999)
COUNTS = (1, 2, 3, 5, 10, 100, 1000, 10**6)


def exact(decay: float, count: int) -> float:
    with localcontext(prec=50):
        return float(1 - Decimal(decay) ** count)


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("decay", DECAYS)
def test_it_is_exact_to_rounding(decay, bits):
    """For a Python float to its double; for an array, hence an argument of jit, as it is."""
    with jax.enable_x64(bits == 64):
        dtype = jnp.dtype(f"float{bits}")
        few_ulps = 4 * float(jnp.finfo(dtype).eps)
        array = jnp.asarray(decay, dtype)
        for count in COUNTS:
            t = jnp.asarray(count, dtype)
            for correct in (bias_correction, jax.jit(bias_correction, static_argnums=0)):
                np.testing.assert_allclose(correct(decay, t), exact(decay, count), few_ulps)
            for correct in (bias_correction, jax.jit(bias_correction)):
                of_array = exact(float(array), count)
                np.testing.assert_allclose(correct(array, t), of_array, few_ulps)


@pytest.mark.parametrize("decay", DECAYS)
def test_its_slopes_are_those_of_the_power(decay):
    slope = jax.jit(jax.grad(bias_correction))
    for t in (1.0, 2.0, 5.0):
        np.testing.assert_allclose(slope(decay, t), -t * decay ** (t - 1), rtol=1e-5)


def test_it_is_one_program_for_all_decays():
    assert not bias_correction(0.9, jnp.float32(2)).weak_type
    corrections = jax.vmap(bias_correction, (0, None))(jnp.array(DECAYS), jnp.float32(1))
    np.testing.assert_allclose(corrections, [1 - float(np.float32(b)) for b in DECAYS], rtol=4e-7)
    traced = jax.jit(lambda decay, t: bias_correction(decay, t))
    for decay in DECAYS:
        traced(decay, jnp.float32(3))
    assert traced._cache_size() == 1


@pytest.mark.beside_optax
def test_the_first_steps_of_adam_are_those_of_double_precision():
    """1 - 0.999 in single precision is off by 1.3e-5, and so is the first step by half of it."""

    def path(tx, dtype):
        params = jnp.asarray(1.0, dtype)
        state, steps = tx.init(params), []
        for _ in range(5):
            updates, state = tx.update(params, state, params)
            params = optax.apply_updates(params, updates)
            steps.append(float(params))
        return np.array(steps)

    with jax.enable_x64(True):
        exact_path = path(optax.adam(0.1), jnp.float64)
    ours = np.abs(path(fnopt.adam(0.1), jnp.float32) - exact_path)
    theirs = np.abs(path(optax.adam(0.1), jnp.float32) - exact_path)
    assert ours.max() < 3e-7
    assert theirs.max() > 10 * ours.max()

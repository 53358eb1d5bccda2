"""The initializers of torch: against their formulas, and against torch's live layers."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fnopt.compat.torch import init

ROOT_5 = math.sqrt(5)
KEY = jax.random.key(0)
DRAWS = {  # 10^6 numbers each: what draws them, their shape, the bound of the uniform draw
    "linear": (init.kernel, (2000, 500), 2000**-0.5),
    "convolution": (init.kernel, (5, 5, 40, 1000), 1000**-0.5),
    "grouped convolution": (init.conv(64, (5, 5), groups=4)["kernel_init"], (5, 5, 16, 2500), 0.05),
    "relu": (init.kaiming_uniform(nonlinearity="relu"), (600, 1667), 0.1),
    "fan_out": (init.kaiming_uniform(ROOT_5, mode="fan_out"), (1600, 625), 0.04),
    "tanh": (init.kaiming_uniform(nonlinearity="tanh"), (7500, 134), 5 / 3 * 0.02),
    "selu": (init.kaiming_uniform(nonlinearity="selu"), (7500, 134), 3 / 4 * 0.02),
    "leaky": (init.kaiming_uniform(0.5), (6000, 167), math.sqrt(1.6 * 3 / 6000)),
    "bias": (init.bias(400), (1_000_000,), 0.05),
    "bias of linear": (init.linear(400)["bias_init"], (1_000_000,), 0.05),
    "bias of a grouped convolution": (
        init.conv(64, (5, 5), groups=4)["bias_init"],
        (1_000_000,),
        0.05,
    ),
    "bias of one dimension": (init.conv(100, 4)["bias_init"], (1_000_000,), 0.05),
}


def close_to_uniform(drawn, bound, rtol=0.01):
    drawn = np.asarray(drawn, np.float64)
    assert abs(drawn.mean()) < 0.01 * bound
    np.testing.assert_allclose(drawn.var(), bound**2 / 3, rtol=rtol)
    # The largest of 10^6 uniform draws is within 1e-4 of the bound, and never beyond it.
    assert bound * (1 - rtol) < drawn.max() <= bound * (1 + 1e-6)
    assert -bound * (1 + 1e-6) <= drawn.min() < -bound * (1 - rtol)
    # Flat, not bell-shaped: the fourth moment of a uniform draw is 9/5 of the variance squared.
    np.testing.assert_allclose((drawn**4).mean() / drawn.var() ** 2, 1.8, rtol=rtol)


@pytest.mark.parametrize("name", DRAWS)
def test_draws_have_the_bound_and_variance_of_the_formula(name):
    make, shape, bound = DRAWS[name]
    drawn = make(KEY, shape, jnp.float32)
    assert drawn.shape == shape and drawn.dtype == jnp.float32
    close_to_uniform(drawn, bound)


def test_an_embedding_is_standard_normal():
    drawn = np.asarray(init.embedding(KEY, (10_000, 100), jnp.float32), np.float64)
    assert abs(drawn.mean()) < 0.01
    np.testing.assert_allclose(drawn.var(), 1, rtol=0.01)
    np.testing.assert_allclose((drawn**4).mean(), 3, rtol=0.03)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("make", [init.kernel, init.bias(9), init.embedding])
def test_the_dtype_is_that_asked_for_and_keys_differ(make, dtype):
    first, again, other = (make(jax.random.key(seed), (20, 30), dtype) for seed in (0, 0, 1))
    assert first.dtype == dtype
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_without_a_dtype_it_is_jaxs_default():
    assert init.bias(9)(KEY, (3,)).dtype == init.kernel(KEY, (3, 3)).dtype == jnp.float32


REFUSED = {
    "a, no number": (lambda: init.kaiming_uniform("5"), TypeError, "a must be a number, got '5'"),
    "a, a flag": (lambda: init.kaiming_uniform(True), TypeError, "a must be a number, got True"),
    "a, infinite": (lambda: init.kaiming_uniform(math.inf), ValueError, r"a must lie in \(-inf"),
    "mode": (lambda: init.kaiming_uniform(mode="fan"), ValueError, "'fan_out', got 'fan'"),
    "nonlinearity": (
        lambda: init.kaiming_uniform(nonlinearity="relo"),
        ValueError,
        "nonlinearity must be one of torch's, got 'relo'; did you mean 'relu'",
    ),
    "fan_in": (lambda: init.bias(0), ValueError, "fan_in must be at least 1, got 0"),
    "fan_in, no integer": (lambda: init.bias(2.5), TypeError, r"fan_in must be an integer.*float"),
    "in_features": (lambda: init.linear(-1), ValueError, "linear: in_features .* got -1"),
    "kernel_size": (lambda: init.conv(4, (3, 0)), ValueError, "kernel_size .* got 0"),
    "groups": (
        lambda: init.conv(4, 3, groups=3),
        ValueError,
        "groups must divide in_features, got groups=3 of 4",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_arguments_are_refused_with_argument_value_and_range(name):
    make, error, words = REFUSED[name]
    with pytest.raises(error, match=words):
        make()


def test_a_kernel_of_one_axis_is_refused():
    with pytest.raises(ValueError, match="1-dimensional"):
        init.kernel(KEY, (3,))


def test_flax_takes_them():
    nnx = pytest.importorskip("flax.nnx")
    with jax.numpy_rank_promotion("allow"):
        rngs = nnx.Rngs(0)
        conv = nnx.Conv(8, 6, (3, 5), feature_group_count=2, **init.conv(8, (3, 5), 2), rngs=rngs)
        assert 0 < abs(conv.bias[...]).max() <= 60**-0.5
        assert 0.9 * 60**-0.5 < abs(conv.kernel[...]).max() <= 60**-0.5
        linen = pytest.importorskip("flax.linen")
        dense = linen.Dense(7, **init.linear(4)).init(KEY, jnp.ones((1, 4)))["params"]
        assert 0 < abs(dense["bias"]).max() <= 0.5 and dense["kernel"].shape == (4, 7)
        table = nnx.Embed(10, 4, embedding_init=init.embedding, rngs=rngs)
        assert table.embedding.shape == (10, 4)


# Beside torch: the same bound and variance as what its live layers hold.


def layers(torch):
    """torch's layer, our kernel and its shape, our bias; a million weights each."""
    nn = torch.nn
    return {
        "Linear": (nn.Linear(500, 2000), init.linear(500), (500, 2000)),
        "Conv1d": (nn.Conv1d(100, 2000, 5), init.conv(100, 5), (5, 100, 2000)),
        "Conv2d": (nn.Conv2d(40, 1700, (3, 5)), init.conv(40, (3, 5)), (3, 5, 40, 1700)),
        "Conv2d in groups": (
            nn.Conv2d(160, 1704, (3, 5), groups=4),
            init.conv(160, (3, 5), groups=4),
            (3, 5, 40, 1704),
        ),
        "ConvTranspose2d": (
            nn.ConvTranspose2d(500, 80, 5),
            {
                "kernel_init": init.kaiming_uniform(ROOT_5, mode="fan_out"),
                "bias_init": init.bias(80 * 25),
            },
            (5, 5, 500, 80),
        ),
    }


@pytest.mark.filterwarnings("default")  # what torch warns of is torch's
@pytest.mark.parametrize(
    "name", ["Linear", "Conv1d", "Conv2d", "Conv2d in groups", "ConvTranspose2d"]
)
def test_a_layer_of_torch_holds_the_same(name):
    torch = pytest.importorskip("torch", reason="these are compared with torch's layers")
    torch.manual_seed(0)
    layer, made, shape = layers(torch)[name]
    theirs = layer.weight.detach().numpy()
    ours = np.asarray(made["kernel_init"](KEY, shape, jnp.float32))
    assert theirs.size == ours.size >= 10**6
    np.testing.assert_allclose(ours.var(), theirs.var(), rtol=0.01)
    np.testing.assert_allclose(abs(ours).max(), abs(theirs).max(), rtol=1e-4)
    # torch's biases are too few for a variance: every one is within our bound, the largest near.
    bound = float(abs(made["bias_init"](KEY, (10**6,), jnp.float32)).max())
    largest = abs(layer.bias.detach().numpy()).max()
    assert 0.9 * bound < largest <= bound * 1.0001


@pytest.mark.filterwarnings("default")
def test_the_gains_are_those_of_torch():
    torch = pytest.importorskip("torch", reason="these are compared with torch's gains")
    for name, gain in init.GAINS.items():
        slope = 0.3 if name == "leaky_relu" else None
        assert gain(0.3) == torch.nn.init.calculate_gain(name, slope), name


@pytest.mark.filterwarnings("default")
def test_an_embedding_of_torch_holds_the_same():
    torch = pytest.importorskip("torch", reason="this is compared with torch's layer")
    torch.manual_seed(0)
    theirs = torch.nn.Embedding(10_000, 100).weight.detach().numpy()
    ours = np.asarray(init.embedding(KEY, theirs.shape, jnp.float32))
    np.testing.assert_allclose(ours.var(), theirs.var(), rtol=0.01)

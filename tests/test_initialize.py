"""Initializers: moments, bounds and structure by the formulas, and as torch has them."""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from oracles import initialize as oracles

import fnopt
from fnopt import initialize as init
from fnopt import pretrained
from fnopt.wrap import fine_tuning

KEY = jax.random.key(0)
SHAPE = (5, 5, 40, 1000)  # a convolution of 10^6 weights
FAN_IN, FAN_OUT = oracles.fans(SHAPE)
AVERAGE, GEOMETRIC = (FAN_IN + FAN_OUT) / 2, math.sqrt(FAN_IN * FAN_OUT)
CUT = oracles.truncated_variance(-2, 2)
TANH = 5 / 3


def uniform(variance, mean=0.0):
    return {"mean": mean, "variance": variance, "bound": math.sqrt(3 * variance), "fourth": 1.8}


def normal(variance, mean=0.0):
    return {"mean": mean, "variance": variance, "fourth": 3.0}


def truncated(variance):
    """A normal distribution cut at two of its standard deviations, with this variance after."""
    return {"mean": 0.0, "variance": variance, "bound": 2 * math.sqrt(variance / CUT)}


DRAWS = {  # 10^6 numbers each: what draws them, and their moments by the formula
    # jax's.
    "normal": (init.normal(0.02), normal(0.02**2)),
    "truncated_normal": (init.truncated_normal(0.02), truncated(CUT * 0.02**2)),
    "uniform": (init.uniform(0.3), uniform(0.3**2 / 12, mean=0.15)),
    "glorot_uniform": (init.glorot_uniform(), uniform(1 / AVERAGE)),
    "glorot_normal": (init.glorot_normal(), truncated(1 / AVERAGE)),
    "he_uniform": (init.he_uniform(), uniform(2 / FAN_IN)),
    "he_normal": (init.he_normal(), truncated(2 / FAN_IN)),
    "lecun_uniform": (init.lecun_uniform(), uniform(1 / FAN_IN)),
    "lecun_normal": (init.lecun_normal(), truncated(1 / FAN_IN)),
    "variance_scaling": (init.variance_scaling(3.0, "fan_out", "normal"), normal(3 / FAN_OUT)),
    # By the nonlinearity and the fan.
    "by_activation": (init.by_activation("relu"), truncated(2 / FAN_IN)),
    "by_activation fan_out": (
        init.by_activation("leaky_relu", 0.5, fan_mode="fan_out", distribution="uniform"),
        uniform(2 / 1.25 / FAN_OUT),
    ),
    "by_activation fan_avg": (
        init.by_activation("tanh", fan_mode="fan_avg", distribution="normal"),
        normal(TANH**2 / AVERAGE),
    ),
    "by_activation fan_geo_avg": (
        init.by_activation(jax.nn.relu, fan_mode="fan_geo_avg", distribution="normal"),
        normal(2 / GEOMETRIC),
    ),
    "by_activation axes": (
        init.by_activation("linear", in_axis=-1, out_axis=-2, distribution="normal"),
        normal(1 / FAN_OUT),
    ),
    # torch's.
    "uniform_": (init.uniform_(0.2, 0.8), uniform(0.6**2 / 12, mean=0.5)),
    "normal_": (init.normal_(1.0, 0.5), normal(0.25, mean=1.0)),
    "trunc_normal_": (
        init.trunc_normal_(0.5, 2.0, -0.5, 1.5),
        {"mean": 0.5, "variance": 4 * oracles.truncated_variance(-0.5, 0.5), "bound": 1.0},
    ),
    "xavier_uniform_": (init.xavier_uniform_(TANH), uniform(TANH**2 / AVERAGE)),
    "xavier_normal_": (init.xavier_normal_(TANH), normal(TANH**2 / AVERAGE)),
    "kaiming_uniform_": (init.kaiming_uniform_(0.5), uniform(1.6 / FAN_IN)),
    "kaiming_normal_": (
        init.kaiming_normal_(mode="fan_out", nonlinearity="relu"),
        normal(2 / FAN_OUT),
    ),
}


@functools.cache
def million(name):
    drawn = jax.jit(DRAWS[name][0], static_argnums=(1, 2))(KEY, SHAPE, jnp.float32)
    assert drawn.shape == SHAPE and drawn.dtype == jnp.float32
    return np.asarray(drawn, np.float64)


@pytest.mark.parametrize("name", DRAWS)
def test_a_million_draws_have_the_moments_of_the_formula(name):
    expected = DRAWS[name][1]
    drawn = million(name) - expected["mean"]
    deviation = math.sqrt(expected["variance"])
    assert abs(drawn.mean()) < 0.01 * deviation
    np.testing.assert_allclose(drawn.var(), expected["variance"], rtol=0.01)
    if "bound" in expected:  # never beyond it, and of 10^6 draws the largest near it
        largest = max(drawn.max(), -drawn.min())
        assert 0.99 * expected["bound"] < largest <= (1 + 1e-5) * expected["bound"]
    if "fourth" in expected:
        np.testing.assert_allclose((drawn**4).mean() / drawn.var() ** 2, expected["fourth"], 0.02)


def test_names_of_one_initializer():
    assert init.xavier_uniform is init.glorot_uniform and init.xavier_normal is init.glorot_normal
    assert init.kaiming_uniform is init.he_uniform and init.kaiming_normal is init.he_normal


def test_names_of_other_packages():
    for name in ("load_pretrained", "save_pretrained", "PretrainedReport", "Pretrained"):
        assert getattr(init, name) is getattr(pretrained, name)
    assert init.pretrain_layerwise is pretrained.pretrain_layerwise
    assert init.layout is pretrained.torch_layout and callable(init.layout.flattened)
    assert init.discriminative is fine_tuning.discriminative
    assert init.unfreeze_gradually is fine_tuning.unfreeze_gradually


def test_every_initializer_is_tested():
    named = {"xavier_uniform", "xavier_normal", "kaiming_uniform", "kaiming_normal"}
    exact = {"zeros", "ones", "constant", "orthogonal", "delta_orthogonal", "identity", "dirac"}
    exact |= {"sparse", "zeros_", "ones_", "constant_", "orthogonal_", "eye_", "dirac_", "sparse_"}
    others = {"Initializer", "GAINS", "calculate_gain", "fixup", "zero_last_layer", "mup", "Mup"}
    others |= {"diagnose", "Diagnosis", "Fault", "lsuv", "pretrain_layerwise", "Pretrained"}
    others |= {"load_pretrained", "PretrainedReport", "save_pretrained"}
    others |= {"discriminative", "unfreeze_gradually"}
    public = {name for name in vars(init) if not name.startswith("_")}
    modules = {name for name in public if type(getattr(init, name)).__name__ == "module"}
    drawn = {name.partition(" ")[0] for name in DRAWS}
    assert public - modules | {"identity", "dirac", "sparse", "fixup", "mup"} == (
        drawn | exact | named | others
    )


OURS = {
    "by_activation": (init.by_activation("relu"), (3, 4)),
    "uniform_": (init.uniform_(), (3,)),
    "normal_": (init.normal_(1.0), (3,)),
    "trunc_normal_": (init.trunc_normal_(1.0), (3,)),
    "identity": (init.identity(0.5), (3, 4)),
    "sparse": (init.sparse(0.5), (3, 4)),
    "dirac": (init.dirac(), (3, 4, 5)),
    "empty dirac": (init.dirac(), (3, 0, 5)),
}


@pytest.mark.parametrize("name", OURS)
def test_the_dtype_is_that_asked_for(name):
    make, shape = OURS[name]

    def dtype(*asked):
        return jax.eval_shape(lambda key: make(key, shape, *asked), KEY).dtype

    assert dtype(jnp.bfloat16) == jnp.bfloat16 and dtype() == jnp.float32
    with jax.enable_x64(True):
        assert dtype() == jnp.float64


# Exact ones.


def test_constants_are_what_they_say():
    for make, number in [
        (init.zeros, 0),
        (init.zeros_(), 0),
        (init.ones, 1),
        (init.ones_(), 1),
        (init.constant(0.3), np.float32(0.3)),
        (init.constant_(0.3), np.float32(0.3)),
    ]:
        np.testing.assert_array_equal(make(KEY, (3, 2), jnp.float32), np.full((3, 2), number))


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (init.orthogonal, (200, 100)),
        (init.orthogonal, (100, 200)),
        (init.orthogonal_, (3, 3, 9, 50)),
    ],
)
def test_orthogonal_kernels_keep_lengths(make, shape):
    drawn = np.asarray(make(1.5)(KEY, shape, jnp.float32), np.float64).reshape(-1, shape[-1])
    small = drawn.T @ drawn if drawn.shape[0] >= drawn.shape[1] else drawn @ drawn.T
    np.testing.assert_allclose(small, 1.5**2 * np.eye(len(small)), atol=1e-5)
    # Drawn from all of them alike: entries have mean 0 and variance gain² / longer side.
    assert abs(drawn.mean()) < 0.1 * drawn.std()
    np.testing.assert_allclose((drawn**2).mean(), 1.5**2 / max(drawn.shape), rtol=1e-5)


@pytest.mark.parametrize("sides", [(3,), (3, 4), (1, 2, 3)])
def test_delta_orthogonal_convolutions_keep_lengths(sides):
    kernel = np.asarray(init.delta_orthogonal(2.0)(KEY, (*sides, 4, 6), jnp.float32))
    middle = kernel[tuple((side - 1) // 2 for side in sides)]
    np.testing.assert_allclose(middle @ middle.T, 4 * np.eye(4), atol=1e-5)
    assert np.count_nonzero(kernel) == np.count_nonzero(middle)


@pytest.mark.parametrize("make", [init.identity, lambda: init.eye_()], ids=["identity", "eye_"])
@pytest.mark.parametrize("shape", [(3, 3), (2, 4), (4, 2)])
def test_the_identity_passes_its_input_on(make, shape):
    np.testing.assert_array_equal(make()(KEY, shape), np.eye(*shape))


@pytest.mark.parametrize("sides", [(3,), (4,), (3, 2), (5, 4, 3)])
@pytest.mark.parametrize(
    ("channels", "groups"), [((4, 4), 1), ((2, 5), 1), ((5, 2), 1), ((3, 6), 2)]
)
def test_a_dirac_convolution_passes_its_input_on(sides, channels, groups):
    inputs, outputs = channels
    kernel = init.dirac(groups)(KEY, (*sides, inputs, outputs))
    places = "DHW"[: len(sides)]
    x = jax.random.normal(KEY, (2, *(7 for _ in sides), inputs * groups))
    y = jax.lax.conv_general_dilated(
        x,
        kernel,
        (1,) * len(sides),
        "SAME",
        dimension_numbers=(f"N{places}C", f"{places}IO", f"N{places}C"),
        feature_group_count=groups,
    )
    each = outputs // groups
    for group in range(groups):
        passed, n = y[..., group * each : (group + 1) * each], min(inputs, each)
        np.testing.assert_array_equal(passed[..., :n], x[..., group * inputs :][..., :n])
        np.testing.assert_array_equal(passed[..., n:], 0)


@pytest.mark.parametrize(("make", "axis"), [(init.sparse, 0), (init.sparse_, 1)], ids=["in", "out"])
def test_sparse_kernels_have_their_zeros_where_they_are_counted(make, axis):
    shape = (1000, 1500) if make is init.sparse else (150, 100)
    drawn = jax.jit(make(0.33, 2.0), static_argnums=1)(KEY, shape)
    kernel = np.asarray(drawn, np.float64)
    zero = kernel == 0
    np.testing.assert_array_equal(zero.sum(axis), math.ceil(0.33 * kernel.shape[axis]))
    # Every place is as likely: the zeros along the other axis are binomial.
    others = shape[1 - axis]
    spread = math.sqrt(0.33 * 0.67 / others)
    assert abs(zero.mean(1 - axis) - 0.33).max() < 5 * spread
    np.testing.assert_allclose(zero.mean(1 - axis).std(), spread, rtol=0.3)
    if drawn.size > 10**6:
        assert abs(kernel[~zero].mean()) < 0.02
        np.testing.assert_allclose(kernel[~zero].var(), 4.0, rtol=0.01)


def test_all_or_nothing_is_sparse_too():
    np.testing.assert_array_equal(init.sparse(1.0)(KEY, (4, 3)), 0)
    assert np.all(init.sparse(0.0)(KEY, (4, 3)))


# Gains.


def second_moment(function):
    """Of a function of a standard normal, by an independent rule in float64."""
    from scipy.integrate import quad

    return quad(lambda z: function(z) ** 2 * math.exp(-z * z / 2), -9, 9, points=[0.0])[
        0
    ] / math.sqrt(2 * math.pi)


def test_the_gain_of_a_function_keeps_the_second_moment():
    def phi(z):
        return 0.5 * math.erfc(-z / math.sqrt(2))

    for function, by_hand in [
        (jax.nn.relu, lambda z: max(z, 0.0)),
        (functools.partial(jax.nn.gelu, approximate=False), lambda z: z * phi(z)),
        (jnp.tanh, math.tanh),
        (jax.nn.silu, lambda z: z / (1 + math.exp(-z))),
        (lambda x: jnp.where(x > 0, x, 0.1 * x), lambda z: z if z > 0 else 0.1 * z),
        (lambda x: x, lambda z: z),
    ]:
        gain = init.calculate_gain(function)
        np.testing.assert_allclose(gain, second_moment(by_hand) ** -0.5, rtol=1e-5)
        assert jax.jit(lambda: init.calculate_gain(function))() == pytest.approx(gain)  # noqa: B023


def test_gains_by_name():
    assert init.calculate_gain("relu") == math.sqrt(2)
    assert init.calculate_gain("leaky_relu") == math.sqrt(2 / (1 + 0.01**2))
    assert init.calculate_gain("leaky_relu", 0.5) == math.sqrt(1.6)
    assert init.calculate_gain("tanh") == 5 / 3 and init.calculate_gain("conv2d") == 1


def test_a_layer_by_its_gain_keeps_the_variance_of_what_enters_the_nonlinearity():
    z = jax.random.normal(KEY, (400, 400))
    for phi in (jax.nn.gelu,):
        entering = phi(z) @ init.by_activation(phi)(jax.random.key(1), z.shape)
        np.testing.assert_allclose(jnp.mean(entering**2), 1.0, rtol=0.03)


# Refusals.

REFUSED = {
    "gain": (lambda: init.calculate_gain("relo"), ValueError, "got 'relo'; did you mean 'relu'"),
    "gain, no name": (lambda: init.calculate_gain(3), TypeError, "a name or a function, got 3"),
    "gain, param": (lambda: init.calculate_gain("leaky_relu", "x"), TypeError, "param must be a"),
    "gain of 0": (lambda: init.calculate_gain(jnp.zeros_like), ValueError, "second moment in"),
    "gain, infinite": (lambda: init.calculate_gain(lambda x: 1 / x), ValueError, "second moment"),
    "fan_mode": (lambda: init.by_activation("relu", fan_mode="fan"), ValueError, "fan_mode: no"),
    "distribution": (
        lambda: init.by_activation("relu", distribution="gauss"),
        ValueError,
        "distribution: no 'gauss'.*known: normal",
    ),
    "vector": (lambda: init.he_normal()(KEY, (3,)), ValueError, "1-dimensional"),
    "identity, axes": (lambda: init.identity()(KEY, (3,)), ValueError, r"two axes, got shape \(3,"),
    "identity, gain": (lambda: init.identity(math.nan), ValueError, "gain must lie in .*got nan"),
    "dirac, axes": (lambda: init.dirac()(KEY, (3, 3)), ValueError, r"three to five .*\(3, 3\)"),
    "dirac, groups": (lambda: init.dirac(0), ValueError, "groups must be at least 1, got 0"),
    "dirac, no groups": (lambda: init.dirac(1.5), TypeError, "groups must be an integer, got 1.5"),
    "dirac, rest": (
        lambda: init.dirac(2)(KEY, (3, 3, 5)),
        ValueError,
        "groups=2 must divide the 5",
    ),
    "sparsity": (lambda: init.sparse(1.5), ValueError, r"sparsity must lie in \[0, 1\], got 1.5"),
    "sparse, stddev": (lambda: init.sparse(0.5, -1), ValueError, r"stddev must lie in \[0, inf\)"),
    "sparse, axis": (lambda: init.sparse(0.5, axis=0), ValueError, "axis must be -2 .* got 0"),
    "sparse, axes": (lambda: init.sparse(0.5)(KEY, (3,)), ValueError, r"two axes, got shape \(3,"),
    "uniform_": (lambda: init.uniform_(1, 0), ValueError, "a must not lie above b, got a=1, b=0"),
    "normal_": (lambda: init.normal_(std=-1), ValueError, r"normal_: std must lie .*got -1"),
    "trunc_normal_": (lambda: init.trunc_normal_(a=2, b=2), ValueError, "a must lie below b"),
    "trunc_normal_, std": (lambda: init.trunc_normal_(std=0), ValueError, r"\(0, inf\), got 0"),
    "constant_": (lambda: init.constant_("1"), TypeError, "val must be a number, got '1'"),
    "xavier": (lambda: init.xavier_normal_("relu"), TypeError, "gain must be a number, got 'relu'"),
    "kaiming": (
        lambda: init.kaiming_normal_(mode="fan_avg"),
        ValueError,
        "'fan_out', got 'fan_avg'",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_arguments_are_refused_with_argument_value_and_range(name):
    make, error, words = REFUSED[name]
    with pytest.raises(error, match=words):
        make()


# Beside torch. Its kernels are (out, in, …), ours (…, in, out).


@pytest.fixture
def torch():
    torch = pytest.importorskip("torch", reason="these are compared with torch's initializers")
    torch.manual_seed(0)
    return torch


def in_flax(tensor):
    return np.moveaxis(tensor.numpy(), (1, 0), (-2, -1))


OF_TORCH = {  # as in DRAWS
    "uniform_": {"a": 0.2, "b": 0.8},
    "normal_": {"mean": 1.0, "std": 0.5},
    "trunc_normal_": {"mean": 0.5, "std": 2.0, "a": -0.5, "b": 1.5},
    "xavier_uniform_": {"gain": 5 / 3},
    "xavier_normal_": {"gain": 5 / 3},
    "kaiming_uniform_": {"a": 0.5},
    "kaiming_normal_": {"mode": "fan_out", "nonlinearity": "relu"},
}


@pytest.mark.filterwarnings("default")  # what torch warns of is torch's
@pytest.mark.parametrize("name", OF_TORCH)
def test_torch_draws_the_same_by_the_same_call(name, torch):
    given = OF_TORCH[name]
    theirs = getattr(torch.nn.init, name)(torch.empty(1000, 40, 5, 5), **given)
    theirs = in_flax(theirs).astype(np.float64)
    ours = million(name)
    small = (2, 3, 4, 5)
    np.testing.assert_array_equal(
        getattr(init, name)(**given)(KEY, small), DRAWS[name][0](KEY, small)
    )
    assert ours.shape == theirs.shape
    assert abs(ours.mean() - theirs.mean()) < 0.01 * theirs.std()
    np.testing.assert_allclose(ours.var(), theirs.var(), rtol=0.01)
    fourth = [((x - x.mean()) ** 4).mean() for x in (ours, theirs)]
    np.testing.assert_allclose(*fourth, rtol=0.02)
    if "normal" not in name or "trunc" in name:
        np.testing.assert_allclose(ours.max(), theirs.max(), rtol=1e-4)
        np.testing.assert_allclose(ours.min(), theirs.min(), rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("default")
def test_torch_sets_the_same_by_the_same_call(torch):
    for name, shape, given in [
        ("eye_", (3, 5), {}),
        ("ones_", (3, 2), {}),
        ("zeros_", (3, 2), {}),
        ("constant_", (3, 2), {"val": 0.3}),
        ("dirac_", (6, 2, 3), {}),
        ("dirac_", (6, 2, 3, 5), {"groups": 3}),
        ("dirac_", (4, 6, 1, 3, 5), {"groups": 2}),
    ]:
        theirs = in_flax(getattr(torch.nn.init, name)(torch.empty(shape), **given))
        ours = getattr(init, name)(**given)(KEY, theirs.shape, jnp.float32)
        np.testing.assert_array_equal(ours, theirs, err_msg=name)


@pytest.mark.filterwarnings("default")
def test_torch_counts_zeros_and_keeps_lengths_alike(torch):
    theirs = in_flax(torch.nn.init.sparse_(torch.empty(70, 50), 0.33, 2.0))
    ours = init.sparse_(0.33, 2.0)(KEY, (50, 70))
    np.testing.assert_array_equal((theirs == 0).sum(1), (ours == 0).sum(1))
    theirs = in_flax(torch.nn.init.orthogonal_(torch.empty(6, 4, 3), 2.0)).reshape(-1, 6)
    ours = np.asarray(init.orthogonal_(2.0)(KEY, (3, 4, 6))).reshape(-1, 6)
    np.testing.assert_allclose(ours.T @ ours, theirs.T @ theirs, atol=1e-5)


@pytest.mark.filterwarnings("default")
def test_the_gains_are_those_of_torch(torch):
    for name in init.GAINS:
        assert init.calculate_gain(name) == torch.nn.init.calculate_gain(name), name
    assert init.calculate_gain("leaky_relu", 0.3) == torch.nn.init.calculate_gain("leaky_relu", 0.3)


@pytest.mark.filterwarnings("default")
def test_every_name_of_torch_is_there(torch):
    theirs = {name for name in vars(torch.nn.init) if name.endswith("_") and name[0] != "_"}
    theirs -= {"ones_", "zeros_"}
    assert theirs <= set(vars(init))


# Residual branches.


def residual(blocks, layers):
    rng = np.random.default_rng(0)

    def dense(inputs, outputs):
        drawn = rng.normal(size=(inputs, outputs)) * math.sqrt(2 / inputs)
        return {"kernel": jnp.asarray(drawn, jnp.float32)}

    return {
        "stem": dense(3, 4),
        "blocks": [{f"conv{i}": dense(4, 4) for i in range(layers)} for _ in range(blocks)],
        "head": {**dense(4, 2), "bias": jnp.ones(2)},
    }


@pytest.mark.parametrize(("blocks", "layers"), [(16, 3), (9, 2), (5, 1)])
def test_fixup_is_the_papers_rule(blocks, layers):
    params = residual(blocks, layers)
    patterns = tuple(f"*/conv{i}/kernel" for i in range(layers))
    made = init.fixup(params, patterns, "head/*")
    for before, after in zip(params["blocks"], made["blocks"], strict=True):
        for i in range(layers):
            factor = 0.0 if i == layers - 1 else blocks ** (-1 / (2 * layers - 2))
            old, new = (np.asarray(b[f"conv{i}"]["kernel"]) for b in (before, after))
            np.testing.assert_allclose(new, factor * old, rtol=1e-6)
    np.testing.assert_array_equal(made["stem"]["kernel"], params["stem"]["kernel"])
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(made["head"]))
    got = init.fixup(params, patterns, branches=81)
    np.testing.assert_array_equal(got["head"]["bias"], 1.0)
    if layers == 2:
        old, new = (np.asarray(p["blocks"][0]["conv0"]["kernel"]) for p in (params, got))
        np.testing.assert_allclose(new, old / 9, rtol=1e-6)


def change_in_a_few_steps(params):
    """How much the outputs of a residual net without normalization change in five steps of SGD."""

    def net(params, x):
        def block(x, layers):
            h = jax.nn.relu(jax.nn.relu(x) @ layers["conv0"]["kernel"])
            return x + h @ layers["conv1"]["kernel"], None

        return jax.lax.scan(block, x, params["blocks"])[0] @ params["head"]["kernel"]

    x = jax.random.normal(jax.random.key(1), (8, 4))
    y = jax.random.normal(jax.random.key(2), (8, 2))
    tx = fnopt.sgd(1e-3)

    def loss(params):
        return jnp.mean((net(params, x) - y) ** 2)

    @jax.jit
    def steps(params):
        def step(carry, _):
            updates, state = tx.update(jax.grad(loss)(carry[0]), carry[1])
            return (optax.apply_updates(carry[0], updates), state), None

        after = jax.lax.scan(step, (params, tx.init(params)), length=5)[0][0]
        return jnp.sqrt(jnp.mean((net(after, x) - net(params, x)) ** 2))

    return float(steps(params))


def test_fixup_makes_the_first_steps_alike_at_all_depths():
    changes = {}
    for depth in (4, 16):
        params = residual(depth, 2)
        params["blocks"] = jax.tree.map(lambda *blocks: jnp.stack(blocks), *params["blocks"])
        patterns = ("*/conv0/kernel", "*/conv1/kernel")
        made = init.fixup(params, patterns, "head/*", branches=depth)
        changes[depth] = change_in_a_few_steps(params), change_in_a_few_steps(made)
    assert not changes[16][0] < 100 * changes[4][0]  # NaN too
    assert 0.2 < changes[16][1] / changes[4][1] < 5


def test_last_layers_are_set_to_zero_and_nothing_else_is():
    params = residual(3, 2)
    made = init.zero_last_layer(params, "*/conv1/*", ("head/bias", "nothing"))
    changed = jax.tree.map(lambda a, b: bool(np.any(a != b)), params, made)
    assert changed["head"] == {"kernel": False, "bias": True}
    assert all(b == {f"conv{i}": {"kernel": i == 1} for i in (0, 1)} for b in changed["blocks"])
    zero = made["blocks"][0]["conv1"]["kernel"]
    assert not np.any(zero) and not np.any(np.signbit(zero))


REFUSED_BY_FIXUP = {
    "one pattern": (lambda p: init.fixup(p, "*/conv0/*"), TypeError, "must be a sequence"),
    "none": (lambda p: init.fixup(p, ()), ValueError, "at least one"),
    "no match": (
        lambda p: init.fixup(p, ("*/cnv0/kernel",)),
        ValueError,
        r"'\*/cnv0/kernel' matches no path; the nearest: blocks/0/conv0/kernel",
    ),
    "uneven": (
        lambda p: init.fixup(p, ("*/conv0/kernel", "*/0/conv1/kernel")),
        ValueError,
        r"equally often, got '\*/conv0/kernel': 3, '\*/0/conv1/kernel': 1",
    ),
    "twice": (
        lambda p: init.fixup(p, ("*/conv?/kernel", "*/conv1/kernel"), branches=3),
        ValueError,
        r"blocks/0/conv1/kernel is matched by '\*/conv\?/kernel' and '\*/conv1/kernel'",
    ),
    "branches": (lambda p: init.fixup(p, ("*/conv0/*",), branches=0), ValueError, "least 1, got 0"),
    "half": (lambda p: init.fixup(p, ("*/conv0/*",), branches=1.5), TypeError, "got 1.5"),
    "no layer": (lambda p: init.zero_last_layer(p), ValueError, "which layers"),
    "no last": (lambda p: init.zero_last_layer(p, "lst"), ValueError, "'lst' matches no path"),
}


@pytest.mark.parametrize("name", REFUSED_BY_FIXUP)
def test_fixup_refuses_what_it_does_not_find(name):
    make, error, words = REFUSED_BY_FIXUP[name]
    with pytest.raises(error, match=words):
        make(residual(3, 2))


def test_fixup_keeps_dtypes_and_leaves_the_others_alone():
    half = np.ones(2, jnp.bfloat16)
    others = {"count": np.int32(3), "key": jax.random.key(0), "scale": half}
    made = init.fixup({"a": half, "b": half, **others}, ("a", "b"), branches=4)
    assert made["a"].dtype == made["b"].dtype == jnp.bfloat16 and float(made["a"][0]) == 0.5
    assert all(made[name] is leaf for name, leaf in others.items())

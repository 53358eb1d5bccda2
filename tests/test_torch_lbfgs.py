"""L-BFGS and its line search beside torch's, and beside a transcription that needs no torch."""

from __future__ import annotations

import functools
import importlib
import inspect
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from laws import assert_close, assert_same, avals

import fnopt
from fnopt.compat.torch.lbfgs import LBFGS
from fnopt.compat.torch.strong_wolfe import strong_wolfe

beside_torch = pytest.mark.filterwarnings("default")  # what torch warns of is torch's
STEPS = 15
SHAPES = {"scalar": (), "vector": (4,), "nested": ((3, 2),)}


def draw(seed):
    """A start and the data of a loss that is smooth and not convex."""
    rng = np.random.default_rng(seed)
    data = rng.normal(size=(8, 11)), 0.5 * rng.normal(size=8)
    start = {
        "scalar": rng.normal(size=()),
        "nested": [rng.normal(size=(3, 2))],
        "none": None,
        "vector": rng.normal(size=4),
    }
    return start, data


def loss_of(xp, leaves, data):
    """The loss, with the functions of jax.numpy or of torch."""
    weights, targets = data
    z = xp.concatenate([leaf.reshape(-1) for leaf in leaves])
    residual = xp.tanh(weights @ z) - targets
    return (residual**2).sum() + 0.1 * xp.cos(3 * z).sum() + 0.05 * (z**2).sum()


def value_fn_of(data):
    return lambda params: loss_of(jnp, jax.tree.leaves(params), data)


def one_step(tx, params, state, data):
    """An update that takes all gradients itself."""
    unread = jax.tree.map(lambda x: jnp.full_like(x, jnp.nan), params)
    updates, state = tx.update(unread, state, params, value_fn=value_fn_of(data))
    return optax.apply_updates(params, updates), state


compiled = jax.jit(one_step)


def assert_near(got, expected, tolerance=1e-6):
    """The largest difference is small beside 1 + the largest parameter."""
    size = 1 + max(np.abs(x).max() for x in expected)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * size)


# Trajectories. Left out of the settings drawn are those where the last bit decides what comes next:
# there torch itself goes another way from a start that is 1e-13 off, by more than 1e-10.

SETTINGS = {
    "fixed": ({"max_iter": 5, "history_size": 4}, [(1, 0.1), (2, 0.05), (5, 0.02)]),
    "fixed, one iteration": ({"max_iter": 1, "history_size": 2}, [(1, 0.3), (3, 0.1), (4, 0.05)]),
    "fixed, few evaluations": (
        {"max_iter": 6, "max_eval": 3, "history_size": 5},
        [(1, 0.1), (2, 0.3), (3, 0.1)],
    ),
    "fixed, tolerant": (
        {"max_iter": 6, "history_size": 3, "tolerance_grad": 0.3, "tolerance_change": 1e-3},
        [(1, 0.3), (3, 0.05), (5, 0.1)],
    ),
    "searched": ({"max_iter": 4, "history_size": 3}, [(1, 0.3), (1, 0.7), (5, 0.3)]),
    "searched, one iteration": ({"max_iter": 1, "history_size": 2}, [(0, 1.0), (2, 0.3), (3, 1.3)]),
    "searched, few evaluations": (
        {"max_iter": 6, "max_eval": 4, "history_size": 4},
        [(0, 0.05), (1, 1.3), (4, 0.05)],
    ),
    "searched, tolerant": (
        {"max_iter": 6, "history_size": 3, "tolerance_grad": 0.1, "tolerance_change": 1e-3},
        [(2, 0.7), (4, 0.3), (5, 1.3)],
    ),
}
TRAJECTORIES = [
    pytest.param(name, kwargs, *drawn, id=f"{name}-{drawn[0]}-{drawn[1]}")
    for name, (kwargs, draws) in SETTINGS.items()
    for drawn in draws
]


@beside_torch
@pytest.mark.parametrize("name, kwargs, seed, lr", TRAJECTORIES)
def test_a_trajectory_is_that_of_torch(name, kwargs, seed, lr):
    torch = pytest.importorskip("torch", reason="compared with torch's L-BFGS")
    kwargs = {
        "lr": lr,
        "line_search_fn": "strong_wolfe" if name.startswith("searched") else None,
        **kwargs,
    }
    start, data = draw(seed)
    theirs = [torch.tensor(x, requires_grad=True) for x in jax.tree.leaves(start)]
    optimizer = torch.optim.LBFGS(theirs, **kwargs)
    data_of_theirs = [torch.tensor(x) for x in data]

    def closure():
        optimizer.zero_grad()
        loss = loss_of(torch, theirs, data_of_theirs)
        loss.backward()
        return loss

    with jax.enable_x64(True):
        tx, params = LBFGS(**kwargs), jax.tree.map(jnp.asarray, start)
        state = tx.init(params)
        for _ in range(STEPS):
            optimizer.step(closure)
            params, state = compiled(tx, params, state, data)
            expected = optimizer.state[theirs[0]]
            assert_near(jax.tree.leaves(params), [x.detach().numpy() for x in theirs])
            assert int(state.func_evals) == expected["func_evals"]
            assert int(state.n_iter) == expected["n_iter"]
        size = tx.history_size
        kept = min(int(state.num_old), size)
        assert kept == len(expected["ro"])

        def as_theirs(name):
            """A slot as one vector, a history as one for each pair, the oldest first."""
            leaves = [np.asarray(x) for x in jax.tree.leaves(getattr(state, name))]
            if name in ("d", "prev_flat_grad"):
                return np.concatenate([x.ravel() for x in leaves])
            rows = np.concatenate([x.reshape(size, -1) for x in leaves], 1)
            return np.roll(rows, -int(state.num_old), 0)[size - kept :].squeeze()

        for name in ("t", "H_diag", "prev_loss"):
            assert float(getattr(state, name)) == pytest.approx(float(expected[name]), rel=1e-4)
        for name in ("d", "prev_flat_grad", "old_dirs", "old_stps", "ro"):
            vectors = np.array([np.asarray(x) for x in expected[name]]).squeeze()
            np.testing.assert_allclose(as_theirs(name), vectors, rtol=1e-3, atol=1e-6, err_msg=name)


@beside_torch
@pytest.mark.parametrize("steep", [1.0, 1000.0])
def test_at_a_kink_the_search_ends_where_that_of_torch_does(steep):
    """No slope is flat there: the bracket shrinks to torch's 1e-9 of the largest component."""
    torch = pytest.importorskip("torch", reason="compared with torch's L-BFGS")
    kwargs = dict(max_iter=2, max_eval=200, history_size=2, tolerance_change=1e-2)
    tx = LBFGS(line_search_fn="strong_wolfe", **kwargs)
    theirs = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([theirs], line_search_fn="strong_wolfe", **kwargs)

    def closure():
        optimizer.zero_grad()
        value = kink(theirs, steep)
        value.backward()
        return value

    optimizer.step(closure)
    with jax.enable_x64(True):
        x = jnp.zeros(2)
        updates, state = at_kink(tx, x, steep)
        assert_near([x + updates], [theirs.detach().numpy()])
        assert int(state.func_evals) == optimizer.state[theirs]["func_evals"] > 12


def kink(x, scale):
    return scale * abs(x[0] - 0.3) + 0.5 * (x[1] + 0.2) ** 2


@jax.jit
def at_kink(tx, x, scale):
    return tx.update(x, tx.init(x), x, value_fn=lambda x: kink(x, scale))


def two_loops_in_full(gradient, theta, rate, memory):
    """Nocedal & Wright 2006, eq. 7.19: the matrix itself, from the last pairs and eq. 7.20."""
    pairs, scale, eye = [], 1.0, np.eye(theta.size)
    g = gradient(theta)
    step = min(1.0, 1.0 / np.abs(g).sum()) * rate * -g  # torch's first step
    while True:
        theta = theta + step
        yield theta
        new = gradient(theta)
        y, g = new - g, new
        if y @ step > 1e-10:
            pairs = [*pairs, (step, y)][-memory:]
            scale = (y @ step) / (y @ y)
        h = scale * eye
        for s, y in pairs:
            v = eye - np.outer(y, s) / (y @ s)
            h = v.T @ h @ v + np.outer(s, s) / (y @ s)
        step = -rate * h @ g


@pytest.mark.parametrize("seed, lr", [(1, 0.1), (2, 0.05), (5, 0.02)])
def test_fixed_steps_are_those_of_the_book(seed, lr):
    start, data = draw(seed)
    with jax.enable_x64(True):
        params = jax.tree.map(jnp.asarray, start)
        flat, unravel = jax.flatten_util.ravel_pytree(params)
        gradient = jax.jit(jax.grad(lambda flat, data: value_fn_of(data)(unravel(flat))))
        book = two_loops_in_full(lambda x: np.asarray(gradient(x, data)), np.asarray(flat), lr, 4)
        tx = LBFGS(lr, max_iter=5, history_size=4)
        state = tx.init(params)
        for step in range(1, STEPS + 1):
            params, state = compiled(tx, params, state, data)
            expected = [next(book) for _ in range(5)][-1]
            assert_near([jax.flatten_util.ravel_pytree(params)[0]], [expected])
            assert (int(state.n_iter), int(state.func_evals)) == (5 * step, 5 * step)


@beside_torch
@pytest.mark.parametrize("line_search_fn", [None, "strong_wolfe"])
def test_complex_parameters_are_those_of_torch(line_search_fn):
    torch = pytest.importorskip("torch", reason="compared with torch's L-BFGS")
    rng = np.random.default_rng(0)
    z = rng.normal(size=3) + 1j * rng.normal(size=3)
    x, goal = rng.normal(size=(2, 2)), rng.normal(size=3) + 1j * rng.normal(size=3)

    def loss(z, x, goal):
        residual = z * z - goal
        return (residual.real**2 + 2 * residual.imag**2).sum() + (x**4).sum() + x[0, 0] * z.imag[1]

    kwargs = dict(lr=0.2, max_iter=3, history_size=3, line_search_fn=line_search_fn)
    theirs = [torch.tensor(z, requires_grad=True), torch.tensor(x, requires_grad=True)]
    optimizer = torch.optim.LBFGS(theirs, **kwargs)

    def closure():
        optimizer.zero_grad()
        value = loss(*theirs, torch.tensor(goal))
        value.backward()
        return value

    with jax.enable_x64(True):
        tx, params = LBFGS(**kwargs), (jnp.asarray(z), jnp.asarray(x))
        go = jax.jit(
            lambda params, state: tx.update(
                params, state, params, value_fn=lambda params: loss(*params, goal)
            )
        )
        state = tx.init(params)
        for _ in range(8):
            optimizer.step(closure)
            updates, state = go(params, state)
            params = optax.apply_updates(params, updates)
            assert_near(params, [x.detach().numpy() for x in theirs])
        assert int(state.func_evals) == optimizer.state[theirs[0]]["func_evals"]


# The line search alone.


def on_line(xp, line, t, wall):
    """Loss and slope on a wavy line, beyond 2 of which the loss may be what it ought not be."""
    a, b, c, d, e, f = line
    value = a * t + b * t**2 + c * t**3 + e * t**4 + d + f * xp.cos(6 * t)
    slope = a + 2 * b * t + 3 * c * t**2 + 4 * e * t**3 - 6 * f * xp.sin(6 * t)
    return (value if wall is None else xp.where(t > 2, wall, value)), slope


def search(line, step, limit, wall):
    def along(t):
        value, slope = on_line(jnp, line, t, wall)
        return value, slope, slope

    start = along(jnp.zeros_like(step))
    point, evaluations = strong_wolfe(along, step, *start, max_ls=limit, size=0.5)
    return *point, evaluations


searches = jax.jit(jax.vmap(search, (0, 0, 0, None)), static_argnums=3)


def lines(n=120):
    """Lines that fall at 0, first steps from short to long, and limits on the evaluations.

    On the first, the second step is higher than the first and yet goes on; on the second, the
    loss after the only step is what it was.
    """
    rng = np.random.default_rng(1)
    lines = rng.normal(size=(n, 6)) * [1.0, 1.0, 1.0, 1.0, 0.3, 0.3]
    lines[:, 0] = -np.abs(lines[:, 0]) - 0.01
    steps, limits = 10 ** rng.uniform(-3, 2, size=n), rng.integers(0, 12, size=n)
    lines[:2] = [[-0.7, 0.1, 0.0, 0.0, 0.0, 0.5], [-2.0, 1.0, 0.0, 0.0, 0.0, 0.0]]
    steps[:2], limits[:2] = [1.4, 2.0], [10, 0]
    return lines, steps, limits


def search_of_torch(torch, line, first, limit, wall):
    """The step, the loss and the number of evaluations."""

    def along(x, t, d):
        value, slope = on_line(np, line, np.float64(t), wall)
        return float(value), torch.tensor([slope], dtype=torch.float64)

    d = torch.ones(1, dtype=torch.float64)
    value, grad = along(None, 0.0, None)
    value, _, step, evaluations = importlib.import_module("torch.optim.lbfgs")._strong_wolfe(
        along,
        None,
        torch.tensor(first),
        d,
        value,
        grad,
        grad.dot(d),
        max_ls=int(limit),
        tolerance_change=2e-9,  # ours is told half the size
    )
    return float(step), value, evaluations


@beside_torch
@pytest.mark.parametrize("wall", [None, math.inf, math.nan])
def test_a_search_is_that_of_torch(wall):
    torch = pytest.importorskip("torch", reason="compared with torch's line search")
    drawn, met = lines(), 0
    with jax.enable_x64(True):
        found = [np.asarray(x) for x in searches(*drawn, wall)]
    for line, first, limit, step, value, grad, _, evaluations in zip(*drawn, *found, strict=True):
        try:
            expected, *moved = (
                search_of_torch(torch, line, first * off, limit, wall)
                for off in (1, 1 + 1e-13, 1 - 1e-13)
            )
        except IndexError:  # torch's, where the slope is flat and the loss NaN
            assert math.isnan(wall)
            continue
        # As in the trajectories: where torch does not find that step again it is drawn by lot.
        steady = all(np.allclose(expected, x, 1e-8, 0, equal_nan=True) for x in moved)
        if steady or limit == 0:
            met += 1
            assert evaluations == expected[2]
            np.testing.assert_allclose((step, value), expected[:2], 1e-6)
            np.testing.assert_allclose(grad, on_line(np, line, step, wall)[1], 1e-6, 1e-9)
    assert met > 105


def test_what_is_found_meets_the_conditions():
    drawn, steps, _ = lines()
    drawn[:, 4] = np.abs(drawn[:, 4]) + 0.05  # bounded below
    with jax.enable_x64(True):
        found = searches(drawn, steps, np.full(len(steps), 60), None)
    step, value, grad, slope, _ = map(np.asarray, found)
    np.testing.assert_array_equal(grad, slope)
    assert np.all(value <= drawn[:, 3] + drawn[:, 5] + 1e-4 * step * drawn[:, 0])
    assert np.all(np.abs(slope) <= -0.9 * drawn[:, 0])


# What is asked of every transform.

BOTH = pytest.mark.parametrize("line_search_fn", [None, "strong_wolfe"])


def small(line_search_fn=None, **kwargs):
    return LBFGS(
        **{"lr": 0.1, "max_iter": 3, "history_size": 2, "line_search_fn": line_search_fn, **kwargs}
    )


def singly(seed=1):
    """A start and data in single precision."""
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), draw(seed))


def squares(params):
    """A loss of leaves of any shape and dtype."""
    leaves = [leaf.astype("complex64") for leaf in jax.tree.leaves(params)]
    return sum(jnp.sum((x.real - 1) ** 2 + (x.imag - 1) ** 4) for x in leaves)


DTYPES = {
    "float16": ("float16",) * 3,
    "bfloat16": ("bfloat16",) * 3,
    "float32": ("float32",) * 3,
    "complex64": ("complex64",) * 3,
    "mixed": ("float64", "complex64", "bfloat16"),
}


@BOTH
@pytest.mark.parametrize("kind", DTYPES)
def test_the_state_stays_what_it_was(kind, line_search_fn):
    with jax.enable_x64(kind == "mixed"):
        scalar, empty, matrix = DTYPES[kind]
        params = {
            "scalar": jnp.full((), 3.0, scalar),
            "empty": (jnp.zeros((0, 2), empty), None),
            "matrix": [jnp.full((2, 3), 2.0, matrix)],
        }
        tx = small(line_search_fn)
        state = jax.eval_shape(tx.init, params)
        updates, after = jax.eval_shape(
            lambda p, s: tx.update(p, s, p, value_fn=squares, unknown=1), params, state
        )
        assert avals(after) == avals(state) == avals(tx.init(params))
        assert avals(updates) == avals(params)


def test_it_descends_in_mixed_precision():
    with jax.enable_x64(True):
        params = [jnp.full((i, 3), i, dtype) for i, dtype in enumerate(DTYPES["mixed"])]
        tx = small("strong_wolfe", lr=1.0, max_iter=5)
        go = jax.jit(lambda p: tx.update(p, tx.init(p), p, value_fn=squares)[0])
        assert squares(params) - squares(optax.apply_updates(params, go(params))) > 2.9


def test_compiled_is_eager():
    params, data = singly()
    tx = small("strong_wolfe")
    eager = one_step(tx, params, tx.init(params), data)
    assert_close(compiled(tx, params, tx.init(params), data), eager)


@pytest.mark.parametrize(
    "name, rates", [("fixed", (0.02, 0.05, 0.1)), ("searched", (0.05, 0.3, 0.7))]
)
def test_rates_are_one_program_and_one_batch(name, rates):
    line_search_fn = "strong_wolfe" if name == "searched" else None
    traced = []

    @jax.jit
    def run(tx, params, data):
        traced.append(tx)

        def body(carry, _):
            return one_step(tx, *carry, data), None

        return jax.lax.scan(body, (params, tx.init(params)), None, 3)[0]

    with jax.enable_x64(True):
        start, data = draw(1)
        params = jax.tree.map(jnp.asarray, start)
        txs = [small(line_search_fn, lr=lr, **SETTINGS[name][0]) for lr in rates]
        one_by_one = [run(tx, params, data) for tx in txs]
        assert len(traced) == 1
        stack = functools.partial(jax.tree.map, lambda *xs: jnp.stack([jnp.asarray(x) for x in xs]))
        batch = jax.vmap(run, (0, None, None))(stack(*txs), params, data)
        assert_close(batch, stack(*one_by_one), 1e-6)
        looped = params, txs[0].init(params)
        for _ in range(3):
            looped = compiled(txs[0], *looped, data)
        assert_close(looped, one_by_one[0], 1e-6)


@BOTH
@pytest.mark.parametrize("given", [False, True], ids=["unaided", "value given"])
def test_the_loss_is_evaluated_where_torch_does(line_search_fn, given):
    params, data = singly()
    seen = []

    def value_fn(params):
        value = value_fn_of(data)(params)
        jax.debug.callback(seen.append, value)
        return value

    tx = small(line_search_fn)
    value, grad = jax.value_and_grad(value_fn_of(data))(params)
    grad = grad if given else jax.tree.map(lambda x: jnp.full_like(x, jnp.nan), grad)
    extra = {"value": value} if given else {}
    updates, state = tx.update(grad, tx.init(params), params, obj_fn=value_fn, **extra)
    jax.effects_barrier()
    assert len(seen) == int(state.func_evals) - given >= 2
    expected = compiled(tx, params, tx.init(params), data)
    assert_close((optax.apply_updates(params, updates), state), expected)


def test_where_the_gradient_is_small_nothing_moves():
    params, data = singly()
    tx = small(tolerance_grad=1e6)
    state = compiled(small(), params, tx.init(params), data)[1]
    stayed, after = compiled(tx, params, state, data)
    assert_same(stayed, params)
    assert int(after.func_evals) == int(state.func_evals) + 1
    counts = {"func_evals": state.func_evals, "count": state.count}
    assert_same(after._replace(**counts), state)
    nothing = {"none": None, "empty": jnp.zeros((0, 2))}
    updates, _ = tx.update(nothing, tx.init(nothing), nothing, value_fn=squares)
    assert_same(updates, nothing)


@pytest.mark.parametrize(
    "scale, lr, tolerance, iterations",
    [
        (1e4, 5e-3, 1e-2, 1),  # the step, 5e-3, is below it; the loss falls by 50
        (1e4, 5e-3, 1e-3, 2),  # then the three evaluations are used up
        (1e-2, 0.5, 7e-5, 1),  # the loss falls by 5e-5; slope and step are above it
        (1e-2, 0.5, 2e-5, 2),
    ],
)
def test_small_progress_ends_an_update(scale, lr, tolerance, iterations):
    tx, x = small(lr=lr, tolerance_change=tolerance), jnp.ones(())
    _, state = along_bowl(tx, x, scale)
    assert int(state.n_iter) == iterations
    assert int(state.func_evals) == iterations + 1


@jax.jit
def along_bowl(tx, x, scale):
    return tx.update(x, tx.init(x), x, value_fn=lambda x: 0.5 * scale * x * x)


def test_rosenbrock_in_single_precision():
    def rosenbrock(params):
        return (1 - params["x"]) ** 2 + 100 * (params["y"] - params["x"] ** 2) ** 2

    params = {"x": jnp.float32(-1.2), "y": jnp.float32(1.0)}
    tx = LBFGS(history_size=5, line_search_fn="strong_wolfe")
    go = jax.jit(lambda params, state: tx.update(params, state, params, value_fn=rosenbrock))
    state = tx.init(params)
    for _ in range(3):
        updates, state = go(params, state)
        params = optax.apply_updates(params, updates)
    assert rosenbrock(params) < 1e-6


def test_the_state_is_sharded_as_the_parameters():
    mesh = Mesh(np.array(jax.devices()), ("device",))
    spec = PartitionSpec(None, "device")
    params = jax.device_put(jnp.ones((3, mesh.size)), NamedSharding(mesh, spec))
    tx = small("strong_wolfe")
    state = tx.init(params)
    _, after = jax.jit(lambda p, s: tx.update(p, s, p, value_fn=squares))(params, state)
    for held in (state, after):
        for name in ("d", "prev_flat_grad"):
            assert getattr(held, name).sharding.is_equivalent_to(NamedSharding(mesh, spec), 2)
        for name in ("old_dirs", "old_stps"):
            placed = NamedSharding(mesh, PartitionSpec(None, *spec))
            assert getattr(held, name).sharding.is_equivalent_to(placed, 3)


def test_a_rate_may_be_a_schedule_and_is_told():
    params, data = singly()
    tx = small(lr=fnopt.piecewise_constant_schedule(0.1, {1: 0.5}))
    told, state = [], tx.init(params)
    for rate in (0.1, 0.05):
        told.append(fnopt.hyperparameters(tx, state))
        expected = compiled(small(lr=rate), params, state, data)
        params, state = compiled(tx, params, state, data)
        assert_close((params, state), expected)
    np.testing.assert_allclose([x["learning_rate"] for x in told], [0.1, 0.05])
    assert fnopt.hyperparameters(small(), state)["learning_rate"] == 0.1


# What is refused.


def test_names_order_and_defaults_are_those_of_torch():
    torch = pytest.importorskip("torch", reason="compared with torch's L-BFGS")
    theirs = inspect.signature(torch.optim.LBFGS).parameters
    ours = inspect.signature(LBFGS).parameters
    assert [(p.name, p.default) for p in ours.values()] == [
        (p.name, p.default) for p in theirs.values() if p.name != "params"
    ]


@pytest.mark.parametrize(
    "kwargs, error, words",
    [
        ({"lr": -0.1}, ValueError, r"LBFGS: lr must lie in \[0, inf\), got -0.1"),
        ({"lr": math.nan}, ValueError, "LBFGS: lr must lie in"),
        ({"lr": "fast"}, TypeError, "LBFGS: lr must be a number"),
        ({"tolerance_grad": None}, TypeError, "tolerance_grad must be a number"),
        ({"max_iter": 0}, ValueError, "LBFGS: max_iter must be an integer, 1 or above, got 0"),
        ({"max_iter": 2.0}, ValueError, "max_iter must be an integer"),
        ({"max_iter": None}, ValueError, "max_iter must be an integer"),
        ({"max_eval": 0}, ValueError, "max_eval must be an integer"),
        ({"history_size": True}, ValueError, "history_size must be an integer"),
        ({"line_search_fn": "armijo"}, ValueError, "line_search_fn must be one of"),
    ],
)
def test_bad_arguments_are_refused(kwargs, error, words):
    with pytest.raises(error, match=words):
        LBFGS(**kwargs)


def test_bad_calls_are_refused():
    params, tx = {"w": jnp.ones(3)}, small()
    state = tx.init(params)
    with pytest.raises(ValueError, match=r"LBFGS needs a function .* value_fn=…"):
        tx.update(params, state, params)
    with pytest.raises(ValueError, match="LBFGS needs the parameters"):
        tx.update(params, state, value_fn=squares)
    with pytest.raises(ValueError, match="LBFGS: the state given to update"):
        tx.update(params, optax.EmptyState(), params, value_fn=squares)
    with pytest.raises(TypeError, match=r"params\['w'\] has dtype int32"):
        tx.init({"w": jnp.arange(3)})
    with pytest.raises(ValueError, match="params and updates differ in structure"):
        tx.update(params, state, {"v": jnp.ones(3)}, value_fn=squares)
    with pytest.raises(ValueError, match=r"state\.d and updates differ in structure"):
        tx.update({"v": jnp.ones(3)}, state, {"v": jnp.ones(3)}, value_fn=squares)
    with pytest.raises(ValueError, match=r"updates\['w'\] has shape \(2,\)"):
        tx.update({"w": jnp.ones(2)}, state, params, value_fn=squares)

"""No program waits for itself: its batched decompositions come one after another."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import start, step
from zoo import CASES

import fnopt
from fnopt.core.in_turn import after
from fnopt.curvature.dense import solve_positive
from fnopt.matrix.damped_factors import refreshed_inverses
from fnopt.matrix.fisher_roots import hessian_roots
from fnopt.matrix.refresh import refreshed_by_shape

SHAPES = {"a/kernel": (4, 6), "b/kernel": (8, 3), "c/kernel": (5, 5)}
RULES = tuple((path, "in out") for path in SHAPES)


def _graph(text):
    """Of each instruction of a program what it reads, whether it decomposes, and what it calls.

    The last with the name of the computation that it is in.
    """
    reads, decompose, calls = {}, {}, {}
    for name, block in re.findall(r"^(?:ENTRY )?%([\w.\-]+) .*?\{\n(.*?)^\}", text, re.M | re.S):
        for line in block.splitlines():
            found = re.match(r"\s*(?:ROOT )?%([\w.\-]+) = .*?([\w\-]+)\((.*)", line)
            if not found:
                continue
            own, rest = found[1], found[3]
            called = re.findall(r"(?:calls|body|condition|to_apply)=%([\w.\-]+)", rest)
            for branches in re.findall(r"computations=\{(.*?)\}", rest):
                called += re.findall(r"%([\w.\-]+)", branches)
            reads[own] = re.findall(r"%([\w.\-]+)", rest.split("), ")[0])
            decompose[own] = 'custom_call_target="lapack' in rest
            calls[own] = called, name
    return reads, decompose, calls


def _unordered(text):
    """Pairs of decompositions of one computation of which none reads what comes of the other."""
    reads, decompose, calls = _graph(text)
    inside = {}

    def has(computation):
        if computation not in inside:
            inside[computation] = False
            inside[computation] = any(
                decompose[x] or any(map(has, called))
                for x, (called, home) in calls.items()
                if home == computation
            )
        return inside[computation]

    costly = [x for x in reads if decompose[x] or any(map(has, calls[x][0]))]
    before = {}
    for x in reads:
        seen, stack = set(), [x]
        while stack:
            for y in reads.get(stack.pop(), ()):
                if y not in seen:
                    seen.add(y)
                    stack.append(y)
        before[x] = seen
    return len(costly), [
        (x, y)
        for i, x in enumerate(costly)
        for y in costly[i + 1 :]
        if calls[x][1] == calls[y][1] and x not in before[y] and y not in before[x]
    ]


@pytest.mark.parametrize(
    ("name", "options", "least"),
    [
        *(
            (name, {"precondition_frequency": every}, 5)  # lengths of sides
            for name in ("shampoo", "soap", "kl_soap")
            for every in (1, 3)
        ),
        ("shampoo", {"precondition_frequency": 1, "max_dim": 5}, 3),  # roots of two powers
        ("psgd_kron", {}, 6),  # two solves for each shape
        ("muon", {"preconditioning": "spectral"}, 3),
    ],
)
@pytest.mark.parametrize("vmapped", [False, True])
def test_decompositions_are_ordered(name, options, least, vmapped):
    params = {k: jnp.ones(shape) for k, shape in SHAPES.items()}
    tx = getattr(fnopt, name)(0.1, matrices=RULES, **options)
    update, state = tx.update, tx.init(params)
    if vmapped:
        update = jax.vmap(update)
        params, state = jax.tree.map(lambda x: jnp.stack([x, x]), (params, state))
    program = jax.jit(update).lower(params, state, params).compile()
    count, unordered = _unordered(program.as_text())
    assert count >= least
    assert not unordered


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("solver", ["cholesky", "eigh"])
def test_decompositions_of_kfac_are_ordered(solver, every):
    factors = [jnp.ones((2, n, n)) for n in (3, 4, 5)]
    old = [(x,) if solver == "cholesky" else (x, x[0]) for x in factors]

    def update(factors, old, t):
        return refreshed_inverses(solver, factors, [jnp.ones(2)] * 3, old, t, every)

    count, unordered = _unordered(jax.jit(update).lower(factors, old, 1).compile().as_text())
    assert count >= 3
    assert not unordered


def test_decompositions_of_the_roots_of_several_outputs_are_ordered():
    outputs = jnp.ones((2, 3)), jnp.ones((2, 4))

    def loss(outputs):
        return sum(jnp.sum(jnp.cosh(x) * jnp.roll(x, 1, -1) ** 2) for x in outputs)

    program = jax.jit(lambda outputs: hessian_roots(loss, outputs)).lower(outputs).compile()
    count, unordered = _unordered(program.as_text())
    assert count == 2
    assert not unordered


def test_decompositions_of_both_branches_are_ordered_under_vmap():
    """Newton's method factors a matrix, and where that fails finds its eigenvalues."""
    matrices, vectors = jnp.stack([jnp.eye(4), -jnp.eye(4)]), jnp.ones((2, 4))
    solve = jax.jit(jax.vmap(solve_positive, (0, 0, None)))
    np.testing.assert_allclose(solve(matrices, vectors, 1.0), vectors / 2, rtol=1e-6)
    program = solve.lower(matrices, vectors, 1.0).compile()
    count, unordered = _unordered(program.as_text())
    assert count >= 3
    assert not unordered


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_no_optimizer_waits_for_itself(case):
    """Alone and under vmap, on the problem of the laws."""
    try:
        tx, params = case.optimizer(), start()
        state = tx.init(params)

        def update(params, state):
            return step(tx, params, state, case)

        lowered = jax.jit(update).lower(params, state)
    except ValueError:
        pytest.skip("it needs another problem")
    if "lapack" not in lowered.as_text():
        return
    two = jax.tree.map(lambda x: jnp.stack([jnp.asarray(x)] * 2), (params, state))
    for program in (lowered, jax.jit(jax.vmap(update)).lower(*two)):
        assert not _unordered(program.compile().as_text())[1]


def test_decompositions_that_are_not_kept_apart_are_seen():
    matrices = [jnp.ones((2, n, n)) for n in (3, 4)]
    program = jax.jit(lambda xs: [jnp.linalg.cholesky(x) for x in xs]).lower(matrices).compile()
    count, unordered = _unordered(program.as_text())
    assert count == 2
    assert len(unordered) == 1


@pytest.mark.parametrize("first", [1.0, 0.0, np.nan, np.inf, -np.inf, 1j, np.nan * 1j])
def test_what_comes_after_is_as_it_was(first):
    then = {"x": jnp.arange(3.0), "t": 3}
    same = jax.jit(after)([jnp.zeros(0), jnp.full((2, 2), first)], then)
    np.testing.assert_array_equal(same["x"], then["x"])
    assert int(same["t"]) == 3
    assert after([], then) is then


def test_values_of_several_shapes_are_those_of_each():
    xs = [jnp.stack([jnp.eye(n) * k for k in (1.0, 2.0)]) for n in (2, 3)]
    for every in (1, 2):
        new = refreshed_by_shape(lambda x, old: 2 * x, xs, (xs,), 1, every)
        for own, x in zip(new, xs, strict=True):
            np.testing.assert_array_equal(own, 2 * x)

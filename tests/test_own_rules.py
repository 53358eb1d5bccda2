"""A rule without a State: its state is made from its slots, and keeps every law."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest
from cases import Case
from laws import LAWS

import fnopt
from fnopt.core import (
    Decay,
    Joint,
    NonNegative,
    Rule,
    Static,
    abs_sq,
    bias_correction,
    divide,
    moment,
    real_zeros,
    root,
    vdot,
    zeros,
)

HOME = sys.modules[__name__]
PARAMS = {"w": jnp.ones((2, 3)), "b": jnp.ones(3)}


class velocity(Rule):
    """Momentum that is kept only where it is asked for."""

    decay: Decay = 0.9
    kept: Static[bool] = True
    elementwise = keeps_zero = True

    def init_leaf(self, param):
        return {"trace": zeros(param)} if self.kept else {}

    def update_leaf(self, grad, slots, param, ctx):
        if not self.kept:
            return grad, {}
        trace = grad + self.decay * slots.trace
        return trace, {"trace": trace}


class scale_by_root(Rule):
    """RMSProp with a correction of its start, which needs the count."""

    decay: Decay = 0.9
    eps: NonNegative = 1e-3
    elementwise = keeps_zero = True

    def init_leaf(self, param):
        return {"nu": real_zeros(param)}

    def precompute(self, t):
        return bias_correction(self.decay, t)

    def update_leaf(self, grad, slots, param, ctx):
        nu = moment(abs_sq(grad), slots.nu, self.decay)
        return divide(grad, root(nu / ctx.precomputed), eps=self.eps), {"nu": nu}


class by_total(Joint):
    """Divides by the root of the sum of all squares, which all leaves share, and counts."""

    decay: Decay = 0.9
    counts = True
    shared = ("total",)

    def init_shared(self, params):
        return {"total": jnp.zeros((), jnp.result_type(float))}

    def init_leaf(self, param):
        return {"trace": zeros(param)}

    def update_leaves(self, grads, slots, params, shared, ctx, **extra_args):
        total = shared["total"] + sum(vdot(grad, grad).real for grad in grads)
        rows = [
            {"trace": moment(g, s.trace, self.decay)} for g, s in zip(grads, slots, strict=True)
        ]
        return [divide(row["trace"], root(total), eps=1e-6) for row in rows], rows, {"total": total}


BY_ONE = {"agrees_with_oracle": "no paper has it", "agrees_with_optax": "optax has none"}
RATES = {"parabola": 0.03, "rosenbrock": 1e-3, "matrix_bowl": 0.03, "noisy_quadratic": 0.03}
CASES = [
    Case("velocity", "", rate=0.02, rates=RATES, home=HOME, not_applicable=BY_ONE),
    Case("velocity", "off", kwargs={"kept": False}, rate=0.02, home=HOME, not_applicable=BY_ONE),
    Case("scale_by_root", "", rate=0.02, rates=RATES, home=HOME, not_applicable=BY_ONE),
    Case("by_total", "", rate=0.02, rates=RATES, home=HOME, not_applicable=BY_ONE),
]
# What a state of its own may break; make test-all shows the other laws as well.
OF_THE_STATE = {
    "init_is_abstract",
    "keeps_bfloat16",
    "keeps_float64",
    "compiles_once",
    "takes_frozen_leaves",
    "lives_inside_multi_steps",
    "resumes_bit_for_bit_by_pickle",
    "resumes_bit_for_bit_by_flax",
    "refuses_a_foreign_state",
    "shows_what_is_a_parameters",
}
OTHER_COPIES = {"copies_are_equal": "compares with the zoo, where it is not"}


def _checks():
    for case in CASES:
        for name, law in LAWS.items():
            if name in {**case.not_applicable, **OTHER_COPIES} or name.startswith("descends"):
                continue
            marks = [pytest.mark.beside_optax] if law.beside_optax else []
            if name not in OF_THE_STATE:
                marks.append(pytest.mark.slow)
            yield pytest.param(case, name, id=f"{case.id}-{name}", marks=marks)


@pytest.mark.parametrize("case, name", list(_checks()))
def test_law(case: Case, name: str):
    LAWS[name].holds_for(case)


@pytest.mark.parametrize(
    ("tx", "name", "fields"),
    [
        (velocity(), "VelocityState", ("trace",)),
        (velocity(kept=False), "EmptyState", ()),
        (scale_by_root(), "ScaleByRootState", ("count", "nu")),
        (by_total(), "ByTotalState", ("count", "total", "trace")),
    ],
)
@pytest.mark.parametrize("params", [PARAMS, {}, optax.MaskedNode()], ids=["full", "{}", "masked"])
def test_the_fields_are_the_slots(tx: Any, name: str, fields: Any, params: Any):
    state = tx.init(params)
    assert (type(state).__name__, state._fields) == (name, fields)
    assert jax.tree.structure(tx.update(params, state, params)[1]) == jax.tree.structure(state)


def test_a_schedule_adds_a_count():
    state = velocity(fnopt.linear_schedule(0.5, 0.9, 10)).init(PARAMS)
    assert state._fields == ("count", "inner_state")
    assert type(state.inner_state).__name__ == "VelocityState"


def test_the_state_is_found_by_the_tools_of_trees():
    state = fnopt.chain(velocity(), fnopt.scale(-0.1)).init(PARAMS)
    assert optax.tree.get(state, "trace") is state[0].trace
    assert optax.tree.set(state, trace=1.0)[0].trace == 1.0
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(state)]
    assert paths == ["[0].trace['b']", "[0].trace['w']"]


@pytest.mark.parametrize("tx", [velocity(), scale_by_root(), by_total()])
def test_copies_have_the_same_structure(tx: Any):
    state = tx.init(PARAMS)
    for other in (copy.copy(state), copy.deepcopy(state), pickle.loads(pickle.dumps(state))):
        assert type(other) is type(state)
        assert jax.tree.structure(other) == jax.tree.structure(state)
    structure = jax.tree.structure(state)
    assert pickle.loads(pickle.dumps(type(state))) is type(state)
    assert repr(type(tx)(0.5).init(PARAMS)).startswith(type(state).__name__)
    assert jax.tree.structure(type(tx)(0.5).init(PARAMS)) == structure


def test_another_process_reads_the_state(tmp_path):
    state = scale_by_root().init({"w": jnp.ones(2)})
    (tmp_path / "state").write_bytes(pickle.dumps(state))
    code = (
        "import importlib, pickle, sys; sys.path[:0] = sys.argv[3:]; import jax;"
        "rules = importlib.import_module(sys.argv[2]);"
        "state = pickle.loads(open(sys.argv[1], 'rb').read());"
        "own = rules.scale_by_root().init({'w': jax.numpy.ones(2)});"
        "assert jax.tree.structure(state) == jax.tree.structure(own); print(type(state).__name__)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "state"), __name__, *sys.path],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent.parent,
    )
    assert found.stdout == "ScaleByRootState\n", found.stderr


def test_what_a_rule_computes_is_what_one_with_a_state_does():
    tx, peer = fnopt.chain(velocity(0.9)), fnopt.chain(fnopt.trace(0.9))
    state, state_of_peer = tx.init(PARAMS), peer.init(PARAMS)
    for _ in range(2):
        updates, state = tx.update(PARAMS, state)
        expected, state_of_peer = peer.update(PARAMS, state_of_peer)
        assert jax.tree.all(jax.tree.map(jnp.array_equal, updates, expected))


def test_annotations_may_be_names_of_a_function():
    from fnopt.core import Scalar as Local

    class local(Rule):
        factor: Local = 2.0

        def update_leaf(self, grad, slots, param, ctx):
            return self.factor * grad, {}

    assert local(3.0).factor == 3.0
    with pytest.raises(TypeError, match="local: factor must be a number"):
        local("x")


def test_slots_that_no_scalar_has_need_a_state():
    class rows(Rule):
        def init_leaf(self, param):
            return {"sums": jnp.zeros(param.shape[0])}

        def update_leaf(self, grad, slots, param, ctx):
            return grad, {"sums": slots.sums}

    with pytest.raises(TypeError, match="rows: init_leaf fails for an array without axes"):
        rows().init(PARAMS)


def test_arrays_of_numpy_are_slots():
    """A checkpoint may give them."""
    tx = fnopt.adam(0.1)
    state = tx.init(PARAMS)
    stored = jax.tree.map(lambda leaf: jax.device_get(leaf), state)
    updates, _ = tx.update(PARAMS, stored, PARAMS)
    expected, _ = tx.update(PARAMS, state, PARAMS)
    assert jax.tree.all(jax.tree.map(jnp.array_equal, updates, expected))

"""A rule without a State: its state is made from its slots, and keeps every law."""

from __future__ import annotations

import copy
import gc
import importlib.util
import pickle
import subprocess
import sys
import threading
import time
import weakref
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
    Mask,
    NonNegative,
    Numbers,
    Rule,
    Static,
    abs_sq,
    bias_correction,
    divide,
    moment,
    real_zeros,
    root,
    states,
    vdot,
    zeros,
)
from fnopt.core import rule as rule_module

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
    picklers = [pickle]
    if importlib.util.find_spec("cloudpickle"):  # joblib and ray use it
        picklers.append(importlib.import_module("cloudpickle"))
    dumps = [pickler.dumps(state) for pickler in picklers]
    (tmp_path / "state").write_bytes(pickle.dumps(dumps))
    code = (
        "import importlib, pickle, sys; sys.path[:0] = sys.argv[3:]; import jax;"
        "rules = importlib.import_module(sys.argv[2]);"
        "states = [pickle.loads(x) for x in pickle.loads(open(sys.argv[1], 'rb').read())];"
        "own = jax.tree.structure(rules.scale_by_root().init({'w': jax.numpy.ones(2)}));"
        "assert [jax.tree.structure(state) for state in states] == [own] * len(states);"
        "print(type(states[-1]).__name__)"
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


def test_an_instance_is_pickled_without_the_contents_of_its_class():
    state = velocity().init(PARAMS)
    restore, arguments = state.__reduce__()
    assert arguments[:2] == (velocity, ("trace",))
    assert type(restore(*arguments)) is type(state)


class of_matrices(Rule):
    """A rule whose slots only a matrix has."""

    how: Static[str]

    def init_leaf(self, param):
        if self.how == "assert":
            assert param.ndim == 2
        if self.how == "unpack":
            rows, _ = param.shape
            return {"basis": jnp.zeros((rows, rows), param.dtype)}
        return {"basis": jnp.linalg.qr(param)[0]}

    def update_leaf(self, grad, slots, param, ctx):
        return slots.basis @ slots.basis.T @ grad, {"basis": slots.basis}


@pytest.mark.parametrize("how", ["qr", "assert", "unpack"])
def test_slots_may_be_for_matrices_alone(how: str):
    tx, params = of_matrices(how), {"w": jnp.eye(2)}
    state = tx.init(params)
    states._BY_RULE.clear()  # as in a process that resumes
    updates, after = jax.jit(tx.update)(params, state)
    assert updates["w"].shape == (2, 2)
    assert jax.tree.structure(after) == jax.tree.structure(state)
    assert tx.init({})._fields == state._fields == ("basis",)


def test_slots_that_no_array_of_size_1_has_need_parameters_or_a_state():
    class wide(Rule):
        def init_leaf(self, param):
            assert param.shape[-1] > 1, "at least two columns"
            return {"first": param[..., 0]}

        def update_leaf(self, grad, slots, param, ctx):
            return grad, {"first": slots.first}

    assert wide().init(PARAMS)._fields == ("first",)
    with pytest.raises(TypeError, match=r"wide: there are no parameters here.*two col.*by State ="):
        wide().init({})


def test_slots_that_differ_between_parameters_are_refused():
    class factored(Rule):
        def init_leaf(self, param):
            return {"v": param} if param.ndim < 2 else {"row": param[0], "column": param[:, 0]}

        def update_leaf(self, grad, slots, param, ctx):
            return grad, slots._asdict()

    message = (
        r"factored: init_leaf returns the slots \['column', 'row'\] for params\['w'\], but \['v'\]"
        r" for another array; return the same names"
    )
    with pytest.raises(ValueError, match=message):
        factored().init(PARAMS)
    assert factored().init({"w": PARAMS["w"]})._fields == ("row", "column")
    given = type("given", (factored,), {"State": optax.TraceState})
    with pytest.raises(ValueError, match=r"'v'.*State \(TraceState\).*leave State out"):
        given().init(PARAMS)


class optional(Rule):
    """Its slots are decided by what is None and by how many numbers there are."""

    decay: Decay = None
    weights: Numbers = ()
    mask: Mask = None

    def init_leaf(self, param):
        kept = {} if self.decay is None else {"trace": zeros(param)}
        return kept | {f"m{i}": zeros(param) for i in range(len(self.weights))}

    def update_leaf(self, grad, slots, param, ctx):
        return grad, slots._asdict()


def test_numbers_that_are_there_or_not_decide_the_slots():
    params = jnp.ones(2)
    fields = [
        optional(*arguments).init(params)._fields
        for arguments in ((), (0.9,), (None, (1.0,)), (0.5, (1.0, 2.0)), ())
    ]
    assert fields == [(), ("trace",), ("m0",), ("trace", "m0", "m1"), ()]


def test_a_schedule_is_evaluated_once_in_an_update():
    calls = []

    def decay(count):
        calls.append(count)
        return 0.9

    tx = velocity(decay)
    state = tx.init(PARAMS)
    calls.clear()
    jax.jit(tx.update)(PARAMS, state)
    assert len(calls) == 1


def test_a_rule_with_a_state_makes_none(monkeypatch):
    monkeypatch.setattr(rule_module, "made_state", None)
    tx = fnopt.trace(0.9)
    tx.update(PARAMS, tx.init(PARAMS))


def test_few_rules_are_remembered_and_their_states_stay(monkeypatch):
    monkeypatch.setattr(states, "_MOST", 2)

    def everything(params):
        return True

    tx = optional(0.9, mask=everything)
    state, kept = type(tx.init(PARAMS)), weakref.ref(everything)
    del tx, everything
    for size in range(2):
        optional(0.9).init(jnp.ones(size))
    assert len(states._BY_RULE) == 2
    gc.collect()
    assert kept() is None
    assert type(optional(0.9, mask=lambda params: True).init(PARAMS)) is state


def test_threads_make_one_state(monkeypatch):
    class Slow(states.MadeState):
        def __init__(cls, *arguments):
            time.sleep(0.02)
            super().__init__(*arguments)

    class fresh(velocity):
        pass

    monkeypatch.setattr(states, "MadeState", Slow)
    start, found = threading.Barrier(4), []

    def init():
        start.wait()
        found.append(type(fresh().init(PARAMS)))

    threads = [threading.Thread(target=init) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1


def test_arrays_of_numpy_are_slots():
    """A checkpoint may give them."""
    tx = fnopt.adam(0.1)
    state = tx.init(PARAMS)
    stored = jax.tree.map(lambda leaf: jax.device_get(leaf), state)
    updates, _ = tx.update(PARAMS, stored, PARAMS)
    expected, _ = tx.update(PARAMS, state, PARAMS)
    assert jax.tree.all(jax.tree.map(jnp.array_equal, updates, expected))


def test_an_integer_is_divided_as_a_number():
    assert float(jax.grad(lambda y: divide(1, y))(jnp.float32(2))) == -0.25
    assert float(divide(1, jnp.float32(0), 3)) == 3

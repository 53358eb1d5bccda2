"""What is wrong with a start: planted faults are named, sound starts pass."""

from __future__ import annotations

import runpy
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from models import linen_task
from starts import CROSS_ENTROPY, Start, changed, sound

import fnopt
from fnopt.initialize import Diagnosis, diagnose
from fnopt.layers.layers import Layers
from fnopt.train import TrainState, objective

KEY = jax.random.key(0)
BASES = {
    "function": Start("function", 10, 24),
    "tanh": Start("function", 8, 24, "tanh", "glorot_normal"),
    "nnx": Start("nnx", 6, 24, "gelu", dropout=0.2),
    "conv": Start("nnx", 5, 8, images=True, normalized=True),
    "plain conv": Start("linen", 6, 16, images=True),
    "linen": Start("linen", 9, 32, "selu", "lecun_normal"),
    "residual": Start("nnx", 5, 24, residual=True, normalized=True),
}


def plant(fault, params, place):
    """A fault in one layer, or (None) in all, and the paths of what was changed."""
    match fault:
        case "zero":
            return changed(params, jnp.zeros_like, place=place)
        case "equal":
            return changed(params, lambda x: jnp.full_like(x, 0.1), place=place)
        case "dead":
            return changed(params, lambda x: jnp.full_like(x, -50.0), "bias", place)
        case "saturated":
            return changed(params, lambda x: 20 * x, place=place)
        case "not finite":
            return changed(params, lambda x: jnp.full_like(x, jnp.nan), place=place)
        case "exploding":
            return changed(params, lambda x: (4 if place is None else 500) * x, place=place)
        case "vanishing":
            return changed(params, lambda x: x / (4 if place is None else 500), place=place)


# Which base, which fault, in which hidden layer (all, if None).
PLANTED = [
    ("function", "dead", 2),
    ("function", "exploding", None),
    ("conv", "equal", None),
    ("linen", "vanishing", None),
    ("tanh", "saturated", 3),
]
MORE = [
    ("function", "vanishing", None),
    ("function", "zero", None),
    ("function", "equal", None),
    ("function", "zero", 4),
    ("function", "equal", 4),
    ("function", "dead", None),
    ("function", "exploding", 5),
    ("function", "vanishing", 5),
    ("function", "not finite", 3),
    ("tanh", "zero", None),
    ("tanh", "equal", None),
    ("tanh", "equal", 2),
    ("tanh", "vanishing", None),
    ("nnx", "zero", None),
    ("nnx", "equal", None),
    ("nnx", "exploding", None),
    ("nnx", "vanishing", None),
    ("conv", "zero", None),
    ("conv", "equal", 2),
    ("plain conv", "zero", None),
    ("plain conv", "equal", None),
    ("plain conv", "dead", 1),
    ("plain conv", "exploding", None),
    ("plain conv", "vanishing", None),
    ("linen", "zero", None),
    ("linen", "equal", None),
    ("linen", "exploding", None),
    ("residual", "zero", None),
    ("residual", "equal", 0),
    ("residual", "equal", None),
    ("residual", "not finite", 1),
]
SLOW = [pytest.param(*row, marks=pytest.mark.slow) for row in MORE]


@pytest.mark.parametrize(("base", "fault", "place"), PLANTED + SLOW)
def test_a_planted_fault_is_named(base, fault, place):
    task, params, batch = BASES[base].task()
    params, paths = plant(fault, params, place)
    found = diagnose(task, params, batch)
    assert {one.fault for one in found.faults} == {fault}
    named = " ".join(one.layer for one in found.faults)
    planted = paths[0].replace("/bias", "/kernel")
    assert planted in named and planted in found.verdict
    if place is not None and fault in ("zero", "equal", "saturated", "exploding", "vanishing"):
        assert named == planted
    assert all(one.cure for one in found.faults)


STARTS = sound(50)
# The others are slow.
OFTEN = {43}


@pytest.mark.parametrize(
    "start",
    [
        pytest.param(start, marks=[] if i in OFTEN else pytest.mark.slow)
        for i, start in enumerate(STARTS)
    ],
    ids=lambda start: f"{start.seed}-{start.framework}-{start.activation}-{start.init}",
)
def test_a_sound_start_passes(start):
    found = diagnose(*start.task())
    assert found.faults == (), found
    assert found.verdict == f"no fault found in {len(found.layers)} layers"
    assert len(found.layers) == start.depth + 1 and found.unseen == ()


def test_the_sound_starts_are_of_many_kinds():
    for field, least in [("framework", 3), ("depth", 10), ("width", 5), ("activation", 4)]:
        assert len({getattr(start, field) for start in STARTS}) >= least
    assert {start.init for start in STARTS} > {"he_normal", "lecun_normal", "lsuv", "orthogonal"}
    for field in ("normalized", "images", "residual", "zero_last", "dropout"):
        assert 10 <= sum(bool(getattr(start, field)) for start in STARTS) <= 40


def test_the_metrics_are_those_of_the_network():
    rng = np.random.RandomState(0)
    x, y = rng.randn(20, 3), rng.randn(20, 2)
    w, b, v = rng.randn(3, 4), rng.randn(4) - 1, rng.randn(4, 2)
    b[1] = -30.0

    def loss(params, batch):
        made = jnp.maximum(batch[0] @ params["w"] + params["b"][None], 0)
        return jnp.mean((made @ params["v"] - batch[1]) ** 2)

    with jax.enable_x64(True):
        found = diagnose(loss, {"w": w, "b": b, "v": v}, (x, y), optimizer=fnopt.sgd(0.1))
    made = x @ w + b
    active = np.maximum(made, 0)
    last = 2 * (active @ v - y) / y.size
    delta = (last @ v.T) * (made > 0)
    first, second = found.layers
    assert (first.layer, first.function, first.hidden, first.depth) == ("w", "relu", True, 1)
    assert (second.layer, second.function, second.hidden, second.depth) == ("v", "", False, 2)
    np.testing.assert_allclose(found.loss, np.mean((active @ v - y) ** 2))
    got = [first.mean, first.std, first.activation_mean, first.activation_std]
    np.testing.assert_allclose(got, [made.mean(), made.std(), active.mean(), active.std()])
    got = [first.gradient_mean, first.gradient_std, first.gradient_norm]
    np.testing.assert_allclose(got, [delta.mean(), delta.std(), np.linalg.norm(delta)])
    np.testing.assert_allclose(second.gradient_std, last.std())
    assert first.dead == 0.25 and first.units == first.distinct == 4
    moved = [0.1 * np.linalg.norm(x.T @ delta) / np.linalg.norm(w)]
    moved += [0.1 * np.linalg.norm(active.T @ last) / np.linalg.norm(v)]
    np.testing.assert_allclose([first.update, second.update], moved)


def test_a_step_that_is_too_large_is_named():
    task, params, batch = Start("function", 2).task()
    assert diagnose(task, params, batch, optimizer=fnopt.adam(1e-3)).faults == ()
    found = diagnose(task, params, batch, optimizer=fnopt.adam(1.0))
    assert {fault.fault for fault in found.faults} == {"step"}
    assert "update" in found.table() and "lower the learning rate" in found.verdict


@pytest.mark.slow
def test_equal_units_that_will_part_are_told_from_those_that_will_not():
    task, params, batch = Start("function", 2).task()
    parting = diagnose(task, plant("equal", params, 0)[0], batch).faults
    assert [(x.layer, x.fault, x.figure) for x in parting] == [("0/kernel", "equal", 1)]
    assert "will part" in parting[0].says
    staying = diagnose(task, plant("equal", params, None)[0], batch).faults
    assert [x.layer for x in staying] == ["0/kernel", "1/kernel"]
    assert all("for ever" in x.says for x in staying)


def test_two_copies_of_a_unit_are_seen():
    task, params, batch = Start("function", 2).task()
    twice = jnp.ones(32).at[5].set(0).at[7].set(1)
    kernel = params[0]["kernel"]
    params[0]["kernel"] = kernel * twice[None] + kernel[:, 7:8] * (1 - twice)[None]
    (fault,) = diagnose(task, params, batch).faults
    assert fault[:3] == ("0/kernel", "equal", 31)


class Attentive(nnx.Module):
    def __init__(self, rngs):
        self.embed = nnx.Embed(11, 8, rngs=rngs)
        self.norm = nnx.LayerNorm(8, rngs=rngs)
        self.attend = nnx.MultiHeadAttention(2, 8, rngs=rngs, decode=False)
        self.wide = nnx.Linear(8, 16, rngs=rngs)
        self.head = nnx.Linear(16, 5, rngs=rngs)

    def __call__(self, tokens):
        x = self.embed(tokens)
        x = x + self.attend(self.norm(x))
        return self.head(jnp.mean(nnx.gelu(self.wide(x)), axis=1))


@pytest.mark.beside_optax
def test_the_layers_of_attention():
    tokens = np.random.RandomState(0).randint(11, size=(16, 6))
    task = objective(Attentive(nnx.Rngs(0)), CROSS_ENTROPY)
    params, state = task.init(KEY, None)

    def loss(params, batch):
        return task.loss(task.forward(params, state, batch, key=KEY, train=True)[0], batch)

    layers = Layers(loss, params, (tokens, tokens[:, 0] % 5))
    got = [(x.name, x.kind, x.function, x.depth, x.units) for x in layers.layers]
    assert got == [
        ("embed/embedding", "embedding", "", 1, (2,)),
        ("attend/query/kernel", "dense", "", 2, (2, 3)),
        ("attend/key/kernel", "dense", "", 2, (2, 3)),
        ("attend/value/kernel", "dense", "", 2, (2, 3)),
        ("attend/out/kernel", "dense", "", 3, (2,)),
        ("wide/kernel", "dense", "other", 4, (2,)),
        ("head/kernel", "dense", "", 5, (1,)),
    ]


@pytest.mark.slow
@pytest.mark.beside_optax
def test_equinox_is_seen():
    eqx = pytest.importorskip("equinox")
    task = objective(eqx.nn.MLP(12, 5, 24, 2, key=KEY), CROSS_ENTROPY)
    params, batch = task.init(KEY, None)[0], Start().batch()
    found = diagnose(task, params, batch)
    assert [x.layer for x in found.layers] == [f"layers/{i}/weight" for i in range(3)]
    assert [x.function for x in found.layers] == ["relu", "relu", ""] and not found.faults
    params = jax.tree.map(jnp.zeros_like, params)
    assert {x.fault for x in diagnose(task, params, batch).faults} == {"zero"}


def test_the_gradient_is_that_of_the_function():
    """A rematerialized layer is written out, and a relu keeps its derivative of 0 at 0."""

    def loss(params, batch):
        x = jax.nn.relu(jax.checkpoint(lambda x: x @ params["a"])(batch))
        return jnp.sum(jax.nn.silu(x @ params["b"]) ** 2)

    params = {"a": jnp.eye(3), "b": jnp.arange(6.0).reshape(3, 2)}
    batch = jnp.array([[1.0, 0.0, -1.0], [0.0, 2.0, 0.0]])
    layers = Layers(loss, params, batch)
    ours = jax.grad(lambda params: layers.run(params, batch)[0])(params)
    theirs = jax.grad(loss)(params, batch)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), ours, theirs)
    assert [layer.name for layer in layers.layers] == ["a", "b"]


@pytest.mark.slow
def test_what_is_in_a_branch_is_said_to_be_unseen():
    def loss(params, batch):
        x = jnp.tanh(batch @ params["first"])
        for w in params["stack"]:
            x = jax.lax.cond(w[0, 0] > 0, lambda x, w: jnp.tanh(x @ w), lambda x, w: x, x, w)
        return jnp.mean((x @ params["last"]) ** 2)

    keys = jax.random.split(KEY, 4)
    shapes = {"first": (3, 8), "stack": (4, 8, 8), "last": (8, 1)}
    params = {
        name: jax.random.normal(key, shape) / shape[-2] ** 0.5
        for key, (name, shape) in zip(keys, shapes.items(), strict=False)
    }
    found = diagnose(loss, params, jax.random.normal(keys[3], (32, 3)))
    assert [x.layer for x in found.layers] == ["first", "last"] and found.unseen == ("stack",)
    assert "not looked at, since used in while_loop, cond" in found.verdict
    assert found.verdict.endswith(": stack")


SPEC = jax.sharding.PartitionSpec
HIDING = {
    "shard_map": lambda p, x: jax.shard_map(
        lambda x, p: x @ p, mesh=jax.sharding.Mesh(jax.devices()[:1], ("d",)),
        in_specs=(SPEC("d"), SPEC()), out_specs=SPEC("d"),
    )(x, p[0]),
    "ragged": lambda p, x: jax.lax.ragged_dot(x, p, jnp.array([4])),
    "complex": lambda p, x: jnp.abs(x.astype(jnp.complex64) @ p[0].astype(jnp.complex64)),
}  # fmt: skip


@pytest.mark.parametrize("way", HIDING)
def test_what_is_kept_whole_is_said_to_be_unseen(way):
    params = {"hidden": jnp.ones((1, 3, 3)), "last": jnp.ones((3, 2))}

    def loss(params, x):
        return jnp.mean(HIDING[way](params["hidden"], x) @ params["last"])

    layers = Layers(loss, params, jnp.ones((4, 3)))
    assert [x.name for x in layers.layers] == ["last"] and layers.unseen == ("hidden",)


@pytest.mark.beside_optax
def test_complex_parameters_are_passed_over():
    def loss(params, x):
        return jnp.mean(jnp.abs(x @ params["a"]) @ params["b"])

    params = {"a": jnp.ones((3, 3), jnp.complex64), "b": jnp.ones((3, 2))}
    found = diagnose(loss, params, jnp.ones((4, 3)))
    assert [x.layer for x in found.layers] == ["b"] and found.unseen == ("a",)
    assert "no fault found in 1 layer\n" in found.verdict


def test_products_without_entries_are_no_layers():
    def loss(params, x):
        return jnp.mean(jnp.tanh(x @ params["none"]) @ params["last"])

    params = {"none": jnp.ones((3, 0)), "last": jnp.ones((0, 2))}
    assert [x.name for x in Layers(loss, params, jnp.ones((4, 3))).layers] == ["last"]
    with pytest.raises(ValueError, match="or the batch is empty"):
        diagnose(loss, params, jnp.ones((0, 3)))


def test_the_table_is_aligned_and_the_picture_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    task, params, batch = BASES["tanh"].task()
    found = diagnose(task, plant("zero", params, None)[0], batch)
    assert isinstance(found, Diagnosis)
    head, *rows = found.table().splitlines()
    assert len(rows) == 9 and head.split()[:4] == ["layer", "units", "follows", "mean"]
    ends = head.index("dead") + len("dead")
    assert all(row[ends - 1] == "%" for row in rows[:-1])
    assert str(found) == f"{found.table()}\n{found.verdict}"
    assert "0/kernel, 1/kernel, …, 7/kernel (8 layers): zero." in found.verdict
    figure = found.plot(tmp_path / "new" / "start.png", title="zeros")
    assert (tmp_path / "new" / "start.png").read_bytes()[:4] == b"\x89PNG"
    assert figure.axes[0].get_title() == "std of pre-activation"


@pytest.mark.parametrize("kind", ["nnx", "linen"])
def test_without_parameters_those_are_taken_with_which_the_objective_begins(kind):
    task, _, batch = Start(kind, 3, 8).task()
    params = TrainState.create(task, fnopt.sgd(0.1), 0, batch).params
    assert repr(diagnose(task, None, batch)) == repr(diagnose(task, params, batch))


def test_bad_input_is_refused():
    task, params, batch = Start("function", 2).task()
    with pytest.raises(TypeError, match="diagnose: objective must be an objective, as"):
        diagnose("mlp", params, batch)
    with pytest.raises(ValueError, match=r"the loss must be one number, got .*\(48, 5\)"):
        diagnose(lambda params, batch: task.function(params, batch[0]), params, batch)
    with pytest.raises(ValueError, match="multiplies no parameters with anything"):
        diagnose(lambda params, batch: jnp.sum(batch[0]), params, batch)
    with pytest.raises(TypeError, match=r"params\['w'\] has dtype int32"):
        diagnose(task, {"w": jnp.arange(3)}, batch)
    with pytest.raises(TypeError, match="model_state= is for an objective"):
        diagnose(lambda params, batch: jnp.sum(batch[0]), params, batch, model_state={})


def test_batch_statistics_are_those_of_the_batch():
    """By running ones, which have seen nothing, features this large would saturate nothing less."""
    task = linen_task(dropout=0.0)
    batch = 1e6 * np.random.RandomState(0).randn(64, 8).astype(np.float32), np.zeros(64, np.int32)
    params, state = task.init(KEY, batch)
    first, _ = diagnose(task, params, batch, model_state=state).layers
    assert first.std > 1e5 and 0.3 < first.activation_std < 1


@pytest.mark.beside_optax
def test_the_example(tmp_path, capsys):
    pytest.importorskip("sklearn")
    example = Path(__file__).parents[1] / "examples" / "initialization"
    reached = runpy.run_path(str(example / "train.py"))["main"](
        epochs=1, starts=("LSUV",), out=str(tmp_path)
    )
    assert reached["LSUV"] > 0.2
    assert len(list(tmp_path.glob("*.png"))) == 2
    assert "no fault found in 10 layers" in capsys.readouterr().out
    page = (example / "README.md").read_text()
    assert "python examples/initialization/train.py" in page

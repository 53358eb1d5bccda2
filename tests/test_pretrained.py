"""Pretrained weights: what is loaded, what is refused, and what of a network stays as it is."""

from __future__ import annotations

import importlib
import os
import pickle
import re
import runpy
import sys
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest
from archives import FLOATS, a_dict, a_storage, a_tensor, archive, text
from flax import linen, nnx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from xla_flags import compiled_as_usual

import fnopt
from fnopt.initialize import (
    discriminative,
    layout,
    load_pretrained,
    save_pretrained,
    unfreeze_gradually,
)
from fnopt.pretrained.torch_file import read_torch
from fnopt.pretrained.torch_pickle import described
from fnopt.train import TrainState, make_train_step, objective

ORACLES = Path(__file__).parent / "oracles"
EXAMPLE = Path(__file__).parents[1] / "examples" / "transfer" / "train.py"

pytestmark = pytest.mark.beside_optax


def torch_weights():
    """The recorder, which needs torch."""
    pytest.importorskip("torch")
    return importlib.import_module("oracles.record_torch_weights")


# Networks of torch


class Net(nnx.Module):
    """That of the recorder, in Flax NNX."""

    def __init__(self, rngs: nnx.Rngs):
        self.conv1 = nnx.Conv(2, 4, (3, 3), rngs=rngs)
        self.norm1 = nnx.BatchNorm(4, use_running_average=True, rngs=rngs)
        self.conv2 = nnx.Conv(4, 8, (3, 3), feature_group_count=2, use_bias=False, rngs=rngs)
        self.norm2 = nnx.BatchNorm(8, use_running_average=True, rngs=rngs)
        self.up = nnx.ConvTranspose(8, 8, (3, 3), (2, 2), padding="VALID", rngs=rngs)
        self.layers = nnx.List([nnx.Linear(504, 16, rngs=rngs), nnx.Linear(16, 5, rngs=rngs)])

    def __call__(self, x):
        x = nnx.max_pool(nnx.relu(self.norm1(self.conv1(x))), (2, 2), (2, 2))
        x = self.up(nnx.relu(self.norm2(self.conv2(x))))
        x = nnx.relu(self.layers[0](x.reshape(len(x), -1)))
        return self.layers[1](x)


class LinenNet(linen.Module):
    """The same in Linen."""

    @linen.compact
    def __call__(self, x):
        def norm(name):
            return linen.BatchNorm(use_running_average=True, name=name)

        x = linen.relu(norm("norm1")(linen.Conv(4, (3, 3), name="conv1")(x)))
        x = linen.max_pool(x, (2, 2), (2, 2))
        x = linen.Conv(8, (3, 3), feature_group_count=2, use_bias=False, name="conv2")(x)
        x = linen.relu(norm("norm2")(x))
        up = linen.ConvTranspose(8, (3, 3), (2, 2), "VALID", transpose_kernel=True, name="up")
        x = linen.relu(linen.Dense(16, name="layers_0")(up(x).reshape(len(x), -1)))
        return linen.Dense(5, name="layers_2")(x)


FLATTENED = layout.flattened(8, 9, 7)
NNX_RULES = [
    ("up.weight", "up/kernel", layout.transposed_convolution),
    ("layers.0.weight", "layers/0/kernel", FLATTENED),
    ("layers.2.*", "layers.1.*"),
]
LINEN_RULES = [("layers.0.weight", "layers_0/kernel", FLATTENED)]


def channels_last(x):
    return jnp.asarray(np.moveaxis(np.asarray(x), 1, -1))


def by_nnx(file, inputs):
    net, report = load_pretrained(Net(nnx.Rngs(1)), file, NNX_RULES)
    assert len(report.loaded) == 17 and report.complete
    return net(channels_last(inputs))


def by_linen(file, inputs):
    variables = LinenNet().init(jax.random.key(1), channels_last(inputs))
    loaded, report = load_pretrained(variables, file, LINEN_RULES)
    assert len(report.loaded) == 17 and report.complete
    return LinenNet().apply(loaded, channels_last(inputs))


@pytest.mark.parametrize("forward", [by_nnx, by_linen])
def test_a_recorded_network_of_torch_gives_its_outputs(forward):
    told = np.load(ORACLES / "torch_weights.npz")
    outputs = forward(ORACLES / "torch_weights.pt", told["inputs"])
    np.testing.assert_allclose(outputs, told["outputs"], atol=1e-5, rtol=0)
    assert np.ptp(told["outputs"], axis=0).min() > 0.1


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("forward", [by_nnx, by_linen])
def test_a_live_network_of_torch_gives_its_outputs(forward, seed, tmp_path):
    import_torch = pytest.importorskip("torch")
    net, inputs = torch_weights().trained(seed)
    import_torch.save({"model": net.state_dict(), "epoch": 3}, tmp_path / "net.pt")
    outputs = forward(tmp_path / "net.pt", inputs)
    np.testing.assert_allclose(outputs, net(inputs).detach(), atol=1e-5, rtol=0)


def test_the_order_of_a_flattened_picture_matters_and_is_warned_of(tmp_path):
    told = np.load(ORACLES / "torch_weights.npz")
    rules = [NNX_RULES[0], NNX_RULES[2]]
    with pytest.warns(UserWarning, match=r"layers/0/kernel' has 504 inputs, 63 times the 8 chan"):
        net, _ = load_pretrained(Net(nnx.Rngs(1)), ORACLES / "torch_weights.pt", rules)
    wrong = np.asarray(net(channels_last(told["inputs"])))
    assert np.abs(wrong - told["outputs"]).max() > 1e-2


def test_a_pooled_picture_is_not_warned_of():
    torchs = {"conv.weight": np.ones((8, 1, 3, 3)), "head.weight": np.ones((3, 8))}
    params = {"conv": {"kernel": np.ones((3, 3, 1, 8))}, "head": {"kernel": np.ones((8, 3))}}
    load_pretrained(params, torchs)  # a warning is an error
    more = {**torchs, "head.weight": np.ones((3, 16))}
    params["head"]["kernel"] = np.ones((16, 3))
    with pytest.warns(UserWarning, match="16 inputs"):
        load_pretrained(params, more)
    load_pretrained(params, more, [("head.weight", "head/kernel", layout.kernel)])


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("kind", ["plain", "groups", "transposed", "turned"])
def test_convolutions_are_those_of_torch(dims, kind):
    torch = pytest.importorskip("torch")
    sides, shape = (3, 2, 4)[:dims], (6, 5, 7)[:dims]
    transposed = kind in ("transposed", "turned")
    make = getattr(torch.nn, f"Conv{'Transpose' * transposed}{dims}d")
    # Equal numbers of channels, of which a shape does not tell in from out.
    theirs = make(4, 4, sides, **({"groups": 2} if kind == "groups" else {}))
    if transposed:
        turned = {"transpose_kernel": kind == "turned"}
        ours = nnx.ConvTranspose(4, 4, sides, padding="VALID", rngs=nnx.Rngs(0), **turned)
    else:
        groups = 2 if kind == "groups" else 1
        ours = nnx.Conv(4, 4, sides, padding="VALID", feature_group_count=groups, rngs=nnx.Rngs(0))
    rules = [("weight", "kernel", layout.transposed_convolution)] if kind == "transposed" else []
    arrays = {name: x.detach().numpy() for name, x in theirs.named_parameters()}
    loaded, _ = load_pretrained(ours, arrays, rules)
    x = torch.randn(3, 4, *shape)
    expected = np.moveaxis(theirs(x).detach().numpy(), 1, -1)
    np.testing.assert_allclose(loaded(channels_last(x)), expected, atol=1e-5)


def test_an_embedding_and_two_kinds_of_normalization():
    torch = pytest.importorskip("torch")
    theirs = torch.nn.ModuleDict({"embed": torch.nn.Embedding(7, 4), "norm": torch.nn.LayerNorm(4)})
    ours = nnx.Dict(
        embed=nnx.Embed(7, 4, rngs=nnx.Rngs(0)),
        norm=nnx.LayerNorm(4, epsilon=1e-5, rngs=nnx.Rngs(0)),
    )
    torch.nn.init.normal_(theirs["norm"].weight)
    arrays = {name: x.detach().numpy() for name, x in theirs.named_parameters()}
    loaded, _ = load_pretrained(ours, arrays)
    tokens = np.array([[0, 3, 6]])
    expected = theirs["norm"](theirs["embed"](torch.from_numpy(tokens))).detach()
    got = loaded["norm"](loaded["embed"](jnp.asarray(tokens)))
    np.testing.assert_allclose(got, expected, atol=1e-5)


# Names and the report


def small():
    """Parameters, and the same weights by torch's names and layout."""
    rng = np.random.default_rng(0)
    params = {
        "block": {"0": {"kernel": jnp.zeros((3, 4)), "bias": jnp.zeros(4)}},
        "head": {"kernel": jnp.zeros((4, 2)), "bias": jnp.zeros(2)},
    }
    torchs = {
        "block.0.weight": rng.normal(size=(4, 3)).astype(np.float32),
        "block.0.bias": rng.normal(size=4).astype(np.float32),
        "head.weight": rng.normal(size=(2, 4)).astype(np.float32),
        "head.bias": rng.normal(size=2).astype(np.float32),
    }
    return params, torchs


def test_conjugates_and_negatives_of_torch_are_those(tmp_path):
    torch = pytest.importorskip("torch")
    z = torch.tensor([1 + 2j, 3 - 4j])
    # Each in a file: torch does not save an imaginary part beside what it is a part of.
    for x in (z.conj(), torch._neg_view(torch.ones(2)), z.conj().imag):
        expected = x.resolve_conj().resolve_neg().numpy()
        torch.save({"x": x}, tmp_path / "net.pt")
        loaded, _ = load_pretrained({"x": np.zeros_like(expected)}, tmp_path / "net.pt")
        np.testing.assert_array_equal(loaded["x"], expected)


def test_random_keys_of_an_orbax_folder_are_left_out_and_a_manager_s_folder_is_told(tmp_path):
    orbax = pytest.importorskip("orbax.checkpoint")
    theirs, params = {"w": jnp.ones(2), "key": jax.random.key(3)}, {"w": jnp.zeros(2)}
    with orbax.Checkpointer(orbax.PyTreeCheckpointHandler()) as checkpointer:
        checkpointer.save(tmp_path / "100" / "default", theirs)
    params["key"] = jax.random.key(0)
    loaded, report = load_pretrained(params, tmp_path / "100" / "default")
    assert report.left_out == ("key",) and loaded["key"] is params["key"] and loaded["w"].all()
    assert not report.new
    with pytest.raises(ValueError, match="give one of the folders in it: 100/default"):
        load_pretrained(params, tmp_path)


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.module.", "params/"])
def test_wrappers_prefixes_are_passed_over(prefix):
    params, torchs = small()
    loaded, report = load_pretrained(params, {prefix + name: x for name, x in torchs.items()})
    np.testing.assert_array_equal(loaded["head"]["kernel"], torchs["head.weight"].T)
    assert report.complete and len(report.loaded) == 4


@pytest.mark.parametrize(
    "rules",
    [
        [("net.body.*", "block.*"), ("net.top.*", "head.*")],
        [("*/body/*", "*/block/*"), ("*.top.weight", "head/kernel"), ("net.top.bias", "head/bias")],
        [
            (re.compile(r"net\.(?:body)\.(\d)\.(.*)"), r"block/\1/\2"),
            (re.compile(".*top.(.*)"), "head.\\1"),
        ],
    ],
)
def test_rules_map_names(rules):
    params, torchs = small()
    mapped = {"block": "net.body", "head": "net.top"}
    renamed = {re.sub(r"^\w+", lambda m: mapped[m[0]], name): x for name, x in torchs.items()}
    if rules[0][0] == "*/body/*":
        renamed = {name.removeprefix("net."): x for name, x in renamed.items()}
        renamed |= {f"net.{name}": renamed.pop(name) for name in ("top.weight", "top.bias")}
    loaded, report = load_pretrained(params, renamed, rules)
    np.testing.assert_array_equal(loaded["block"]["0"]["kernel"], torchs["block.0.weight"].T)
    assert report.complete and len(report.loaded) == 4


def test_a_new_head_is_kept_and_the_report_says_so(tmp_path):
    params, torchs = small()
    params["head"] = {"kernel": jnp.full((4, 5), 7.0), "bias": jnp.full(5, 7.0)}
    torchs["extra.weight"] = np.ones(1)
    loaded, report = load_pretrained(params, torchs, [("extra.*", None)], new=("head/*",))
    assert (loaded["head"]["kernel"] == 7).all() and (loaded["head"]["bias"] == 7).all()
    np.testing.assert_array_equal(loaded["block"]["0"]["bias"], torchs["block.0.bias"])
    assert report.new == ("head/bias", "head/kernel") and report.complete
    assert report.left_out == ("head.weight", "head.bias", "extra.weight")
    # A head of the old shape is new too: asked for is asked for.
    again, _ = load_pretrained(small()[0], small()[1], new="head/*")
    assert not again["head"]["kernel"].any() and again["block"]["0"]["kernel"].any()


def test_what_does_not_fit_is_refused_or_reported():
    params, torchs = small()
    torchs["head.weight"] = np.ones((3, 4), np.float32)
    torchs["tail.weight"] = torchs.pop("head.bias")
    with pytest.raises(ValueError, match="the dict of arrays and the leaves differ") as refused:
        load_pretrained(params, torchs)
    for said in (
        "missing in the file: head/bias",
        "mismatched: head/kernel: head.weight is (3, 4), which becomes (4, 3), but the leaf is",
        "unused of the file: tail.weight",
    ):
        assert said in str(refused.value)
    loaded, report = load_pretrained(params, torchs, strict=False)
    assert not report.complete and len(report.loaded) == 2
    assert not loaded["head"]["kernel"].any() and loaded["block"]["0"]["kernel"].any()
    table = str(report).splitlines()
    assert table[0].split() == ["path", "shape", "from"]
    assert any(line.startswith("head/bias") and line.endswith("missing") for line in table)
    assert table[-1] == "2 loaded, 1 missing, 1 mismatched, 1 unused"


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"rules": [("a", "b", "c", "d")]}, TypeError, r"a rule is \(pattern, name\)"),
        ({"rules": ["head.*"]}, TypeError, "a rule is"),
        ({"rules": [(3, "b")]}, TypeError, "a glob or re.compile"),
        ({"rules": [("head.*", "x", 3)]}, TypeError, "layout is a function"),
        ({"rules": [("*.head.*", "*")]}, ValueError, "as many stars as .* regular expression"),
        ({"rules": [("haed.*", "x")]}, ValueError, "matches? no name|match no name.*head"),
        ({"rules": [("head.weight", "block.0.weight")]}, ValueError, "both stand for 'block/0/k"),
        ({"new": "haed/*"}, ValueError, "new='haed/\\*' matches no leaf; the nearest are 'head"),
        ({"rules": [("*", "x/*")]}, ValueError, "nothing of the dict of arrays stands for a leaf"),
        ({"file": 3}, TypeError, "file must be a path or arrays by name, got int"),
        ({"file": "nowhere.pt"}, FileNotFoundError, "there is no nowhere.pt"),
        ({"params": jax.ShapeDtypeStruct}, ValueError, "is a shape, and cannot stay"),
    ],
)
def test_bad_arguments_are_refused(change, error, says):
    params, torchs = small()
    given = {"params": params, "file": torchs, **change}
    if given["params"] is jax.ShapeDtypeStruct:
        given |= {"params": jax.eval_shape(lambda: small()[0]), "new": "head/*"}
    with pytest.raises(error, match=says):
        load_pretrained(**given)


def test_a_train_state_is_refused_with_the_cure(tmp_path):
    task = objective(MLP(nnx.Rngs(0)), CROSS_ENTROPY)
    state = TrainState.create(task, fnopt.sgd(0.1), 0)
    with pytest.raises(TypeError, match=r"give \(state.params, state.model_state\)"):
        load_pretrained(state, {"a": np.ones(1)})
    path = save_pretrained((state.params, state.model_state), tmp_path / "x")
    (params, _), report = load_pretrained((state.params, state.model_state), path)
    assert report.complete and jax.tree.structure(params) == jax.tree.structure(state.params)


def test_leaves_keep_dtype_sharding_and_kind():
    mesh = Mesh(np.array(jax.devices()), ("x",))
    sharded = NamedSharding(mesh, PartitionSpec("x"))
    params = {
        "wide": jax.device_put(jnp.zeros((8, 2)), sharded),
        "half": jnp.zeros(3, jnp.bfloat16),
        "numpy": np.zeros(3, np.float16),
        "shape": jax.ShapeDtypeStruct((2,), jnp.float32),
        "count": jnp.zeros((), jnp.int32),
    }
    file = {
        "wide": np.arange(16.0).reshape(8, 2),
        "half": np.array([1, 1.001, 3e38]),
        "numpy": np.ones(3, np.float16),
        "shape": np.ones(2),
    }
    loaded, report = load_pretrained(params, file)
    assert loaded["wide"].sharding == sharded and loaded["wide"].dtype == jnp.float32
    np.testing.assert_array_equal(loaded["wide"], file["wide"])
    assert loaded["half"].dtype == jnp.bfloat16 and not loaded["half"].committed
    assert isinstance(loaded["numpy"], np.ndarray) and loaded["numpy"].dtype == np.float16
    assert isinstance(loaded["shape"], jax.Array) and loaded["count"] is params["count"]
    assert report.notes["half"] == "from float64"
    file["numpy"][:] = file["wide"][:] = -1  # the leaves are copies
    assert (loaded["numpy"] == 1).all() and not (np.asarray(loaded["wide"]) == -1).any()
    with pytest.raises(ValueError, match="count is float64, but the leaf is int32"):
        load_pretrained(params, {**file, "count": np.array(1.0)})
    with pytest.raises(ValueError, match="half is complex128"):
        load_pretrained(params, {**file, "half": np.ones(3, complex)})


def test_random_keys_and_counters_stay():
    class Dropped(nnx.Module):
        def __init__(self, rngs):
            self.dense, self.dropout = nnx.Linear(2, 2, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)

    net = Dropped(nnx.Rngs(0))
    kernel = np.ones((2, 2), np.float32)
    loaded, report = load_pretrained(net, {"dense.weight": kernel, "dense.bias": np.zeros(2)})
    assert report.complete and loaded.dropout.rngs.count[...] == net.dropout.rngs.count[...]


# Saving


def odd_tree():
    """Numbers that a cast or a text would not keep."""
    bits = np.random.default_rng(0).integers(0, 2**16, 64, np.uint16)
    return {
        "half": jnp.asarray(bits.view(ml_dtypes.bfloat16)),
        "f16": jnp.asarray(bits.view(np.float16)),
        "single": np.array([[-0.0, np.nan, np.inf], [1e-45, -np.inf, 1 / 3]], np.float32).T,
        "scalar": jnp.float32(3.5),
        "empty": np.zeros((0, 3), np.float32),
        "layers": [{"kernel": np.arange(6, dtype=np.int8).reshape(2, 3)}, {"on": np.array([True])}],
        "z": np.array([1 + 2j], np.complex64),
        "f8": np.arange(4).astype(ml_dtypes.float8_e4m3fn),
    }


def test_a_round_trip_keeps_every_bit(tmp_path):
    tree = odd_tree()
    path = save_pretrained(tree, tmp_path / "net.safetensors", metadata={"epochs": "3"})
    blank = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), tree)
    loaded, report = load_pretrained(blank, path)
    assert report.complete and not any(report.notes.values())
    assert report.metadata["epochs"] == "3" and "layers.0.kernel" in report.loaded.values()
    for a, b in zip(jax.tree.leaves(tree), jax.tree.leaves(loaded), strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def test_a_file_is_whole_or_not_there(tmp_path, monkeypatch):
    path = save_pretrained({"a": np.ones(3, np.float32)}, tmp_path / "net.safetensors")
    before = path.read_bytes()

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        save_pretrained({"a": np.zeros(3, np.float32)}, path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("tree", "error", "says"),
    [
        ({}, ValueError, "no weights"),
        ({"a.b": np.ones(1), "a": {"b": np.ones(1)}}, ValueError, "two leaves .* 'a.b'"),
        ({"a": np.ones(1, np.complex128)}, TypeError, "complex128"),
        ({"a": np.array(["x"])}, TypeError, "'a' is no array of numbers"),
    ],
)
def test_what_cannot_be_saved_is_refused(tree, error, says, tmp_path):
    with pytest.raises(error, match=says):
        save_pretrained(tree, tmp_path / "net.safetensors")
    assert not list(tmp_path.iterdir())


def test_metadata_are_strings(tmp_path):
    with pytest.raises(TypeError, match="metadata is strings by name, got 'epochs': 3"):
        save_pretrained({"a": np.ones(1)}, tmp_path / "x", metadata={"epochs": 3})  # pyright: ignore


def test_a_folder_of_orbax_is_read(tmp_path):
    orbax = pytest.importorskip("orbax.checkpoint")
    task = objective(Net(nnx.Rngs(3)), "squared_error")
    state = TrainState.create(task, fnopt.adam(0.1), 0)
    with orbax.Checkpointer(orbax.StandardCheckpointHandler()) as checkpointer:
        tree = nnx.to_pure_dict(nnx.state(Net(nnx.Rngs(3))))
        checkpointer.save(tmp_path / "net", args=orbax.args.StandardSave(tree))
    (params, stats), report = load_pretrained(
        nnx.state(Net(nnx.Rngs(1)), nnx.Param, nnx.BatchStat), tmp_path / "net"
    )
    assert len(report.loaded) == 17
    for loaded, saved in ((params, state.params), (stats, state.model_state)):
        for a, b in zip(jax.tree.leaves(loaded), jax.tree.leaves(saved), strict=True):
            np.testing.assert_array_equal(a, b)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no good folder of orbax"):
        load_pretrained(params, tmp_path / "empty")


# Files of torch


TARGET = {"w": np.zeros(4, np.float32)}


def test_a_file_made_by_hand_is_read(tmp_path):
    path = archive(a_dict(a_tensor()), FLOATS, tmp_path / "net.pt")
    np.testing.assert_array_equal(load_pretrained(TARGET, path)[0]["w"], [0, 1, 2, 3])


def test_tensors_are_those_that_torch_loads(tmp_path):
    """Views, shared storages, every dtype: torch.load is the oracle."""
    torch = pytest.importorskip("torch")
    base = torch.arange(24.0)
    given = {
        "whole": base,
        "view": base[4:16].view(3, 4).t(),
        "every_other": base[1::2],
        "expanded": torch.ones(3, 1).expand(3, 5),
        "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0, 4),
        "parameter": torch.nn.Parameter(torch.randn(2, 3)),
        "channels_last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
    }
    for dtype in (
        "float64 float16 bfloat16 int64 int32 int16 int8 uint8 bool complex64 complex128"
        " float8_e4m3fn float8_e5m2 uint16 uint32 uint64"
    ).split():
        given[dtype] = torch.arange(6).to(getattr(torch, dtype)).reshape(2, 3)
    torch.save(given, tmp_path / "net.pt")
    found = read_torch(tmp_path / "net.pt")
    assert list(found) == list(given)
    for name, tensor in torch.load(tmp_path / "net.pt", weights_only=True).items():
        array = found[name].read()
        assert array.shape == found[name].shape == tuple(tensor.shape)
        assert array.dtype.name == found[name].dtype.name == str(tensor.dtype).split(".")[1]
        raw = tensor.detach().contiguous()
        expected = raw.view(torch.uint8).numpy() if raw.dim() else raw.reshape(1).view(torch.uint8)
        assert array.tobytes() == np.asarray(expected).tobytes(), name


def test_entries_of_a_file_of_several_things(tmp_path):
    torch = pytest.importorskip("torch")
    net = torch.nn.Linear(2, 3)
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    weights, other = net.state_dict(), {name: x + 1 for name, x in net.state_dict().items()}
    params = {"kernel": np.zeros((2, 3), np.float32), "bias": np.zeros(3, np.float32)}
    path = tmp_path / "net.pt"

    def kernel(**given):
        return load_pretrained(params, path, **given)[0]["kernel"]

    torch.save({"state_dict": weights, "optimizer": optimizer.state_dict(), "epoch": 3}, path)
    np.testing.assert_array_equal(kernel(), weights["weight"].T)
    torch.save({"mine": weights, "ema": other}, path)
    with pytest.raises(ValueError, match=r"several dicts of tensors: 'mine', 'ema'; .* entry="):
        kernel()
    np.testing.assert_array_equal(kernel(entry="ema"), other["weight"].T)
    with pytest.raises(ValueError, match=r"no dict of tensors 'emma' .* did you mean 'ema'"):
        kernel(entry="emma")
    torch.save([1, 2], path)
    with pytest.raises(ValueError, match="holds a list, and no dict"):
        kernel()
    torch.save(weights, path, _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match=r"before version 1.6; save it again: torch.save"):
        kernel()
    torch.save(net, path)
    with pytest.raises(ValueError, match=r"asks for torch.nn.modules.linear.Linear.*state_dict"):
        kernel()
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("net/data.pkl", b"")
        file.writestr("net/code/__torch__.py", b"")
    with pytest.raises(ValueError, match="a program of TorchScript; save its weights alone"):
        kernel()


class Calls:
    """What its pickle calls when it is loaded the usual way."""

    def __init__(self, function, *given):
        self.call = function, given

    def __reduce__(self):
        return self.call


def touch(marker):
    return f"import pathlib; pathlib.Path({str(marker)!r}).touch()"


def malicious(marker):
    """Pickles that would touch a file or import a module, and what the refusal names."""
    shell = f"touch {marker}"
    arm = b"ccollections\nOrderedDict\n)R"
    for protocol in (2, 4, 5):
        yield "posix.system", pickle.dumps({"w": Calls(os.system, shell)}, protocol)
        yield "exec", pickle.dumps({"w": Calls(exec, touch(marker))}, protocol)
        yield "eval", pickle.dumps({"w": Calls(eval, "__import__('this')")}, protocol)
    nested = Calls(getattr, Calls(__import__, "os"), "system")
    yield "__import__|getattr", pickle.dumps({"w": nested}, 2)
    # Nested attributes of a module that is permitted, as protocol 4 has them.
    dotted = text("torch._utils") + text("_rebuild_tensor_v2.__globals__")
    yield "__globals__", b"\x80\x04" + dotted + b"\x93."
    yield "torch.load", a_dict(b"ctorch\nload\n" + text(str(marker)) + b"\x85R")
    yield "torch._utils.os", a_dict(b"ctorch._utils\nos\n)R")
    yield "torch.os.system", a_dict(b"ctorch\nos.system\n" + text(shell) + b"\x85R")
    yield "torch.hub.load", a_dict(b"ctorch.hub\nload\n)R")
    yield "collections.os", a_dict(b"ccollections\nos\n)R")
    yield "collections.OrderedDict.fromkeys", a_dict(b"ccollections\nOrderedDict.fromkeys\n)R")
    yield "this", b"\x80\x02cthis\ns\n."  # an import alone
    yield "INST", b"(" + text(shell) + b"ios\nsystem\n."
    yield "OBJ", b"(" + arm[:-2] + b"o."
    yield "NEWOBJ", b"\x80\x02ccollections\nOrderedDict\n)\x81."
    yield "EXT1", b"\x80\x02\x82\x01."
    yield "BUILD", b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}" + text("__code__") + b"Nsb."
    yield "BUILD", a_dict(arm + b"N}" + text("__class__") + b"Ns\x86b")
    yield "no function", a_dict(text("os.system") + b"N\x85R")
    yield "no function", a_dict(b"ctorch\nFloatStorage\n)R")
    yield "no function", a_dict(b"ctorch._utils\n_rebuild_tensor_v2\nNR")
    yield "pairs", a_dict(b"ccollections\nOrderedDict\n]K\x01a\x85R")
    yield "malformed", a_dict(b"ccollections\nOrderedDict\nK\x01K\x02\x86R")
    yield "lies in no storage", a_dict(a_tensor(b"N"))
    yield "no number of elements", a_dict(a_tensor(offset=b"J\xff\xff\xff\xff"))
    yield "no number of elements", a_dict(a_tensor(shape=b"J\xff\xff\xff\xff\x85"))
    yield "no number of elements", a_dict(a_tensor(strides=b"J\xff\xff\xff\xff\x85"))
    yield "no number of elements", a_dict(a_tensor(shape=b"\x8a\x09" + b"\x01" * 9 + b"\x85"))
    yield "beyond its storage", a_dict(a_tensor(offset=b"K\x01"))
    yield "beyond its storage", a_dict(a_tensor(strides=b"K\x02\x85"))
    yield "beyond its storage", a_dict(a_tensor(shape=b"K\x05\x85"))
    yield "differ in length", a_dict(a_tensor(strides=b")"))
    yield (
        "must have 16 bytes|must have 8 bytes",
        a_dict(a_tensor(a_storage(size=2), shape=b"K\x02\x85")),
    )
    yield "no entry 'data/../../secret'", a_dict(a_tensor(a_storage(key=b"../../secret")))
    yield "no known kind", a_dict(a_tensor(a_storage(kind=b"torch\nfloat32")))
    yield "os.FloatStorage", a_dict(a_tensor(a_storage(kind=b"os\nFloatStorage")))
    yield "persistent id", a_dict(b"K\x01Q")
    yield "persistent id", a_dict(text("file:///etc/passwd") + b"Q")
    yield "PERSID", b"Pos.system\n."
    yield "malformed", b"\x80\x02."
    yield "malformed", b"\x80\x02h\x07."
    yield "malformed", b"\x80\x02)s."
    yield "key of a dict", b"\x80\x02})Ns."
    yield "no end|malformed|pickle", b"\x80\x02}"


@pytest.mark.parametrize("number", range(len(list(malicious("x")))))
def test_a_malicious_pickle_is_refused_and_nothing_executed(number, tmp_path):
    marker = tmp_path / "executed"
    named, pickled = list(malicious(marker))[number]
    path = archive(pickled, FLOATS, tmp_path / "net.pt")
    with pytest.raises(ValueError, match="no tensor"):  # brings what reading brings
        load_pretrained(TARGET, archive(b"\x80\x02}.", FLOATS, tmp_path / "empty.pt"))
    modules, before = set(sys.modules), vars(read_torch).copy()
    with pytest.raises(ValueError, match=rf"(?s)net.pt is refused: .*(?:{named})"):
        load_pretrained(TARGET, path)
    assert not marker.exists() and set(sys.modules) == modules and vars(read_torch) == before


def test_the_malicious_pickles_would_execute(tmp_path):
    """What is refused above is not harmless."""
    for i in (0, 1, 3, 4, 6, 7):
        marker = tmp_path / f"executed{i}"
        pickle.loads(list(malicious(marker))[i][1])
        assert marker.exists(), i


def test_a_deep_pickle_ends_in_an_error():
    depth = 200_000
    with pytest.raises(ValueError, match="key of a dict"):
        described(b"\x80\x02}" + b")" + b"\x85" * depth + b"Ns.")
    assert isinstance(described(b"\x80\x02)" + b"\x85" * depth + b"."), tuple)


def test_a_truncated_file_is_refused(tmp_path):
    whole = (ORACLES / "torch_weights.pt").read_bytes()
    path = tmp_path / "net.pt"
    for length in [0, 1, 2, 30, *range(100, len(whole), len(whole) // 40), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"net.pt is refused: it is (cut off|none of)"):
            load_pretrained(Net(nnx.Rngs(0)), path, NNX_RULES)
    save_pretrained(odd_tree(), tmp_path / "net")
    whole = (tmp_path / "net").read_bytes()
    for length in [0, 7, 8, 9, 30, *range(100, len(whole), 97), len(whole) - 1]:
        (tmp_path / "net").write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"net is refused: it is (cut off|none of)"):
            load_pretrained(odd_tree(), tmp_path / "net")


def test_a_flipped_bit_of_a_weight_is_found_even_if_not_strict(tmp_path):
    whole = bytearray((ORACLES / "torch_weights.pt").read_bytes())
    with zipfile.ZipFile(ORACLES / "torch_weights.pt") as file:
        raw = file.read(next(n for n in file.namelist() if n.endswith("data/0")))
    whole[whole.index(raw)] ^= 1
    (tmp_path / "net.pt").write_bytes(whole)
    net = Net(nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"damaged .Bad CRC"):
        load_pretrained(net, tmp_path / "net.pt", NNX_RULES, strict=False)


def test_a_compressed_archive_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "net.pt", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", a_dict(a_tensor()))
        file.writestr("archive/data/0", bytes(16))
    with pytest.raises(ValueError, match="compressed, which torch never does"):
        load_pretrained(TARGET, tmp_path / "net.pt")


def test_a_wrong_shape_of_any_size_is_refused(tmp_path):
    """Of a stride of 0 a few bytes are a tensor of any size: none is made before it fits."""
    large = b"J\x00\x00\x00\x40"
    shape, strides = b"(" + large * 3 + b"t", b"(K\x00K\x00K\x00t"
    path = archive(a_dict(a_tensor(shape=shape, strides=strides)), FLOATS, tmp_path / "net.pt")
    with pytest.raises(ValueError, match=r"w is \(1073741824, 1073741824, 1073741824\), but"):
        load_pretrained(TARGET, path)


many = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def mutated(whole, changes):
    """Bytes with some set, taken out or put in."""
    made = bytearray(whole)
    for place, what, byte in changes:
        at = place % max(len(made), 1)
        if what == "set" and made:
            made[at] = byte
        elif what == "cut":
            del made[at : at + byte]
        else:
            made[at:at] = bytes([byte])
    return bytes(made)


CHANGES = st.lists(
    st.tuples(st.integers(0, 2**20), st.sampled_from(["set", "cut", "put"]), st.integers(0, 255)),
    min_size=1,
    max_size=6,
)


@many
@given(changes=CHANGES, what=st.sampled_from(["pickle", "zip", "safetensors"]))
def test_damaged_bytes_never_give_anything_but_a_clear_error(changes, what, tmp_path):
    path = tmp_path / "net"
    if what == "pickle":
        archive(mutated(a_dict(a_tensor()), changes), FLOATS, path)
    elif what == "zip":
        archive(a_dict(a_tensor()), FLOATS, path)
        path.write_bytes(mutated(path.read_bytes(), changes))
    else:
        save_pretrained({"w": np.arange(4, dtype=np.float32)}, path)
        path.write_bytes(mutated(path.read_bytes(), changes))
    try:
        load_pretrained(TARGET, path)
    except ValueError as error:
        assert str(error).startswith("load_pretrained: ")


@many
@given(pickled=st.binary(max_size=60))
def test_any_bytes_as_a_pickle_are_described_or_refused(pickled):
    try:
        described(b"\x80\x02" + pickled)
    except ValueError:
        pass


# Freezing


class MLP(nnx.Module):
    """Layers whose kernels have shapes of their own."""

    def __init__(self, rngs: nnx.Rngs):
        self.first = nnx.Linear(7, 11, rngs=rngs)
        self.second = nnx.Linear(11, 13, rngs=rngs)
        self.head = nnx.Linear(13, 3, rngs=rngs)

    def __call__(self, x):
        return self.head(nnx.tanh(self.second(nnx.tanh(self.first(x)))))


CROSS_ENTROPY = "softmax_cross_entropy_with_integer_labels"
ORDER = ["head/*", "second/*", "first/*"]
BODY = r"= f32\[(?:7,11|11,13)\]\S* ([\w-]+)\("


def a_run(tx):
    """The state before a run, a batch, and the compiled step."""
    task = objective(MLP(nnx.Rngs(0)), CROSS_ENTROPY)
    rng = np.random.default_rng(0)
    batch = jnp.asarray(rng.normal(size=(5, 7)), jnp.float32), jnp.asarray([0, 1, 2, 0, 1])
    return task, TrainState.create(task, tx, 0), batch


def bits(tree):
    return {
        jax.tree_util.keystr(path): np.asarray(x).tobytes()
        for path, x in jax.tree_util.tree_flatten_with_path(tree)[0]
    }


FREEZE = (("first/*", "second/*"), "freeze")


@pytest.mark.parametrize(
    "base", [fnopt.adamw(0.1, weight_decay=0.5), fnopt.sgd(0.1, momentum=0.9), fnopt.lion(0.1)],
    ids=lambda base: type(base).__name__,
)  # fmt: skip
def test_frozen_leaves_do_not_move_by_a_bit_and_carry_no_state(base):
    task, state, batch = a_run(fnopt.groups(FREEZE, ("*", {}), base=base))
    # Negative zeros: the addition of a positive one would change their bits.
    params = jax.tree.map(lambda x: x.at[:2].set(-0.0), state.params)
    state, before = state.replace(params=params), bits(params)
    alone = base.init({"head": state.params["head"]})
    assert len(jax.tree.leaves(state.opt_state)) == len(jax.tree.leaves(alone))
    step = make_train_step(task)
    for _ in range(20):
        state, _ = step(state, batch)
    after = bits(state.params)
    moved = {path for path in before if before[path] != after[path]}
    assert moved == {path for path in before if "head" in path}


def test_frozen_leaves_cost_no_gradient_and_no_update_in_a_plain_step():
    """Of eight products of matrices four are left, and nothing computes with the body's shapes."""

    def program(tx):
        task, state, batch = a_run(tx)

        def step(params, opt_state):
            def loss(params):
                return task.loss(task.forward(params, {}, batch, key=None, train=True)[0], batch)

            updates, opt_state = tx.update(jax.grad(loss)(params), opt_state, params)
            return optax.apply_updates(params, updates), opt_state

        compiled = jax.jit(step, donate_argnums=(0, 1)).lower(state.params, state.opt_state)
        return compiled_as_usual(compiled).as_text()

    base = fnopt.adamw(1e-3)
    trained, frozen = program(base), program(fnopt.groups(FREEZE, ("*", {}), base=base))
    assert trained.count(" dot(") == 8 and frozen.count(" dot(") == 4
    assert {"dot", "multiply"} <= set(re.findall(BODY, trained))
    assert set(re.findall(BODY, frozen)) == {"parameter"}


@pytest.mark.parametrize("parts", [1, 5])
def test_frozen_leaves_cost_no_gradient_and_no_update_in_the_step_of_a_run(parts):
    def program(tx):
        task, state, batch = a_run(tx)
        batch = jax.tree.map(lambda x: jnp.concatenate([x, x]), batch)
        # Packed, the body is a part of a buffer.
        step = make_train_step(task, packed=False, accumulate=parts, clip_norm=1.0)
        return compiled_as_usual(step.lower(state, batch)).as_text()

    base = fnopt.adamw(1e-3)
    tx = fnopt.chain(fnopt.clip(1.0), fnopt.groups(FREEZE, ("*", {}), base=base))
    trained, frozen = program(base), program(tx)
    assert {"sqrt", "divide", "add"} <= set(re.findall(BODY, trained))
    assert trained.count(" dot(") == 8 and frozen.count(" dot(") == 4
    passed_on = {"parameter", "get-tuple-element"}
    assert set(re.findall(BODY, frozen)) <= passed_on


def test_what_scales_by_all_gradients_sees_those_that_are_frozen_behind_it():
    whole = fnopt.clip_by_global_norm(0.01)
    tx = fnopt.chain(whole, fnopt.groups(FREEZE, ("*", fnopt.sgd(0.1))))
    task, state, batch = a_run(tx)

    @jax.grad
    def gradient(params):
        return task.loss(task.forward(params, {}, batch, key=None, train=True)[0], batch)

    updates, _ = tx.update(gradient(state.params), state.opt_state, state.params)
    expected = optax.apply_updates(state.params, updates)
    after, _ = make_train_step(task)(state, batch)
    for a, b in zip(jax.tree.leaves(after.params), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


def test_rules_that_ask_for_a_dtype_see_that_of_the_update():
    which = lambda path, leaf: leaf.dtype == jnp.float32 and "head" not in path  # noqa: E731
    tx = fnopt.groups((which, "freeze"), ("*", fnopt.sgd(0.1)))
    task, state, batch = a_run(fnopt.sgd(0.1))
    state = TrainState.create(task, tx, 0, precision="bfloat16_params")
    step = make_train_step(task, precision="bfloat16_params")
    assert jax.eval_shape(step, state, batch)[0].params["head"]["kernel"].dtype == jnp.bfloat16


def test_a_part_thaws_at_its_step_and_begins_as_if_it_were_new():
    base = fnopt.adamw(fnopt.cosine_decay_schedule(0.05, 30), weight_decay=0.3)
    every = 4
    tx = unfreeze_gradually(ORDER, base, every)
    task, state, batch = a_run(tx)
    step, fresh = make_train_step(task), jax.device_get(state.opt_state.inner_states)
    for i in range(3 * every):
        before = bits(state.params)
        state, _ = step(state, batch)
        after = bits(state.params)
        for part, name in enumerate(["head", "second", "first"]):
            moved = {path for path in before if name in path and before[path] != after[path]}
            assert bool(moved) == (i >= part * every), (i, name)
            if i < part * every:
                inner = jax.device_get(state.opt_state.inner_states[part].inner_state)
                assert bits(inner) == bits(fresh[part].inner_state)
    assert step._cache_size() == 1  # pyright: ignore
    # From its time on it is the base, begun then: the same gradients give the same updates.
    params = {name: {"kernel": jnp.ones((2, 2))} for name in ("head", "second", "first")}
    grads = [jax.tree.map(lambda x, i=i: x * (i + 1.0), params) for i in range(7)]
    gradual, alone = tx.init(params), base.init(params)
    for i, grad in enumerate(grads):
        got, gradual = tx.update(grad, gradual, params)
        if i >= every:
            expected, alone = base.update(grad, alone, params)
            np.testing.assert_allclose(got["second"]["kernel"], expected["second"]["kernel"])
        else:
            assert not got["second"]["kernel"].any() and not got["first"]["kernel"].any()


def test_rates_fall_by_the_factor_from_part_to_part():
    """Howard & Ruder 2018, Section 3.2, by hand."""
    tx = discriminative(ORDER, fnopt.sgd(0.26))
    params = {name: {"kernel": jnp.ones((2, 2))} for name in ("head", "second", "first")}
    updates, _ = tx.update(params, tx.init(params), params)
    for name, rate in (("head", 0.26), ("second", 0.1), ("first", 0.1 / 2.6)):
        np.testing.assert_allclose(updates[name]["kernel"], -rate, rtol=1e-6)
    both = unfreeze_gradually(ORDER, fnopt.sgd(0.26), every=1, factor=2.6)
    state = both.init(params)
    for _ in range(3):
        updates, state = both.update(params, state, params)
    np.testing.assert_allclose(updates["first"]["kernel"], -0.1 / 2.6, rtol=1e-6)
    told = fnopt.hyperparameters(both, state)
    assert float(told["learning_rate"]) == pytest.approx(0.26)


def test_another_rate_is_no_other_program():
    traces = []

    @jax.jit
    def update(tx, grads, state, params):
        traces.append(1)
        return tx.update(grads, state, params)

    params = {name: {"kernel": jnp.ones((2, 2))} for name in ("head", "second", "first")}
    for rate in (0.1, 0.2):
        for make in (discriminative, lambda *a: unfreeze_gradually(*a, every=3)):
            tx = make(ORDER, fnopt.sgd(rate))
            update(tx, params, tx.init(params), params)
    assert len(traces) == 2


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda b: discriminative("*", b), TypeError, "order must be a list of patterns"),
        (lambda b: discriminative([], b), TypeError, "order must be a list"),
        (lambda b: discriminative(["*"], b, 0), ValueError, r"factor must lie in \(0, inf\)"),
        (lambda b: discriminative(["*"], b, "2"), TypeError, "factor must be a number"),
        (lambda b: discriminative(["*"], b, np.inf), ValueError, "factor must lie"),
        (lambda b: unfreeze_gradually(["*"], b, 0), ValueError, "every must be at least 1, got 0"),
        (lambda b: unfreeze_gradually(["*"], b, 1.5), TypeError, "every must be an integer"),
        (lambda b: unfreeze_gradually(["head/*"], b, 1).init({"w": jnp.ones(1)}), ValueError, "no"),
    ],
)
def test_bad_orders_are_refused(make, error, says):
    with pytest.raises(error, match=says):
        make(fnopt.sgd(0.1))


# The example


@pytest.mark.slow
def test_the_example_of_transfer(tmp_path, capsys):
    pytest.importorskip("sklearn")
    main = runpy.run_path(str(EXAMPLE))["main"]
    reached = main(seeds=1, labels=(4,), steps=80, pretrain_epochs=3, rate=1e-2, out=str(tmp_path))
    assert len(reached) == 5 and all(0.3 < x.mean() < 1 for x in reached.values()), reached
    assert {path.name for path in tmp_path.iterdir()} == {
        "transfer.png",
        "transfer_body.safetensors",
    }
    assert "6 loaded, 2 new, 2 left out" in capsys.readouterr().out

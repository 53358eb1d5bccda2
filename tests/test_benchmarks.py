"""The benchmarks: their contenders do the same, and a quick run of each writes its log."""

from __future__ import annotations

import importlib
import itertools
import json
import math
from collections import Counter
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

pytestmark = pytest.mark.beside_optax

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def load(monkeypatch, tmp_path):
    """Imports a benchmark, whose log is written elsewhere."""
    monkeypatch.syspath_prepend(str(FOLDER))

    def load(name: str):
        module = importlib.import_module(name)
        if hasattr(module, "HERE"):
            monkeypatch.setattr(module, "HERE", tmp_path)
        return module

    return load


def test_the_contenders_of_a_step_agree_and_write_in_place(load):
    chosen, track = load("step_contenders"), load("step_track")
    shapes = {"kernel": (256, 128), "bias": (128,), "scale": (128,)}
    params = track.new_tree(shapes, seed=0, size=0.02)
    grads = [track.new_tree(shapes, seed=seed, size=1.0) for seed in (1, 2)]
    compared = chosen.contenders("adamw", params)
    assert [len(jax.tree.leaves(c.pack(params))) for c in compared.values()] == [
        3,
        3,
        3,
        2,
        2,
        3,
        3,
    ]
    steps = track.Track("adamw", params, compared, grads)
    assert set(track.verify(steps, {}, params)) == {chosen.PEER, *chosen.OTHERS}
    assert all(steps.in_place(name) for name in compared)
    assert steps.bytes_moved() == 7 * 4 * (256 * 128 + 2 * 128) + 2 * 4


def test_another_method_is_not_compared(load):
    import fnopt

    chosen, track = load("step_contenders"), load("step_track")
    params = track.new_tree({"w": (3,)}, seed=0, size=1.0)
    compared = chosen.contenders("adamw", params, chosen.OTHERS)
    compared["other"] = chosen.Contender(fnopt.adamw(2e-3))
    with pytest.raises(track.NotComparable, match="other is another method than optax"):
        track.verify(track.Track("adamw", params, compared, [params]), {}, params)
    compared["other"] = chosen.Contender(fnopt.sgd(1e-3))
    with pytest.raises(track.NotComparable, match="other keeps another state"):
        track.Track("adamw", params, compared, [params])


@pytest.mark.parametrize("n", [2, 3, 6, 7])
def test_turns_have_every_position_and_predecessor_equally_often(load, n):
    rows = load("turns").orders("abcdefg"[:n])
    assert all(len(set(column)) == n for column in zip(*rows, strict=True))
    pairs = Counter(itertools.chain(*map(itertools.pairwise, rows)))
    assert len(pairs) == n * (n - 1) and len(set(pairs.values())) == 1


def test_the_trees_have_the_sizes_that_they_are_said_to_have(load):
    def sizes(name):
        shapes = load("trees").TREES[name]()
        return [math.prod(x) for x in jax.tree.leaves(shapes, is_leaf=lambda x: type(x) is tuple)]

    assert sizes("thousand") == [64] * 1000
    assert len(sizes("large")) == 147 and min(sizes("large")) > 1e6
    assert sum(sizes("large")) == pytest.approx(1.0e9, rel=0.01)


def test_the_buffers_and_kernels_of_a_program_are_counted(load):
    @jax.jit
    def two_sums(x, y):
        return jnp.sin(x).sum(), jax.lax.optimization_barrier(y + 1)

    compiled = two_sums.lower(jnp.ones(8), jnp.ones((4, 4))).compile()
    found = load("program").counts(compiled)
    assert (found["arguments"], found["results"], found["kernels"]) == (2, 2, 2)


def test_tables_are_printed_from_logs(load, tmp_path, capsys):
    about = dict(devices=["cpu: cpu"], cores=2, cpu="x", versions={"jax": "1", "torch": None})
    about |= dict(load_average=[0.5, 1.0, 1.0], command="python benchmarks/step.py")
    found = dict(tree="mlp", method="adamw", seconds={"optax": 2e-3}, load_average=[2.5, 1, 1])
    found |= dict(ratios={"packed": [0.5, 0.4, 0.6]}, shares_of_copy_bandwidth={})
    blocks = [{"kind": "block", "seconds": {"tree": 0.2, "packed": x}} for x in (0.1, 0.3, 0.2)]
    counts = {"tree": {"kernels": 3}, "packed": {"kernels": 2}}
    rounds = [{"name": x, "steps_per_second": v} for x, v in (("fnopt fit", 1e4), ("torch", 5e3))]
    logs = {
        "step-a": [{"kind": "machine", **about}, {"kind": "step summary", **found}],
        "unpacking-b": [{"kind": "machine", **about}, {"kind": "setup", "counts": counts}, *blocks],
        "fit-c": [{"machine": about}, *rounds],
    }
    for name, records in logs.items():
        lines = "".join(json.dumps(record) + "\n" for record in records)
        (tmp_path / f"{name}.jsonl").write_text(lines)
    load("report").main([str(tmp_path / f"{name}.jsonl") for name in logs])
    printed = capsys.readouterr().out
    assert "jax 1, load of 0.5 to 2.5" in printed
    assert "| mlp | adamw | 2 | 0.500 [0.400, 0.600] |" in printed
    assert "| packed | 200 | 1.000 [0.500, 1.500] | 2 |" in printed
    assert "| torch | 200 | 2.000 [2.000, 2.000] |" in printed


def test_the_network_is_resnet18(load):
    models = load("resnet_models")
    params = nnx.eval_shape(lambda: nnx.state(models.ResNet18(64, nnx.Rngs(0)), nnx.Param))
    assert sum(math.prod(x.shape) for x in jax.tree.leaves(params)) == models.PARAMETERS


@pytest.mark.slow
def test_packing_hands_over_fewer_buffers_and_runs_fewer_kernels(load):
    """ResNet-18: 44 of 62 arrays of parameters are small, and all 40 of batch statistics."""
    models, steps, unpacking = load("resnet_models"), load("resnet_steps"), load("unpacking")
    data = models.batches(2)
    packed, unpacked = (steps.with_fnopt(64, data, packed)[1] for packed in (True, False))
    # Parameters and both slots, batch statistics.
    assert unpacked["arguments"] - packed["arguments"] == 3 * 43 + 39
    assert unpacked["results"] - packed["results"] == 3 * 43 + 39
    assert packed["kernels"] <= 0.9 * unpacked["kernels"]
    network = models.new_network(64)
    tree, within = (unpacking.passes(network, data[0], packed).counts for packed in (False, True))
    # Also the gradient's small arrays come in one buffer.
    assert tree["arguments"] - within["arguments"] == tree["results"] - within["results"] == 43
    assert within["kernels"] <= 1.02 * tree["kernels"]
    assert within["bytes"] <= 1.02 * tree["bytes"]


@pytest.mark.slow
def test_torch_has_the_same_network(load):
    torch = pytest.importorskip("torch")
    models = load("resnet_models")
    ((images, _),) = models.batches(2, 1)
    ours = models.new_network(4)(images)
    pictures = torch.from_numpy(np.array(images).transpose(0, 3, 1, 2).copy())
    theirs = models.new_torch_network(4)(pictures).detach().numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, arguments, log",
    [
        ("step", ["--quick", "--methods", "sgd", "--no-torch"], "step"),
        ("unpacking", ["--quick"], "unpacking"),
        ("resnet", ["--quick", "--no-torch-compile"], "resnet"),
        ("fit", ["--rounds", "1", "--epochs", "2", "--no-torch"], "fit"),
        (
            "fit",
            ["--rounds", "1", "--task", "fashion_mnist", "--noise", "--steps", "2", "--no-torch"],
            "fit-fashion_mnist",
        ),
    ],
)
def test_a_quick_run_writes_its_log(load, tmp_path, capsys, name, arguments, log):
    cached = jax.config.jax_enable_compilation_cache
    try:
        load(name).main(arguments)
    finally:
        jax.config.update("jax_enable_compilation_cache", cached)
    lines = (tmp_path / "logs" / f"{log}-local.jsonl").read_text().splitlines()
    assert len(lines) > 3 and all(map(json.loads, lines))
    assert "packed" in capsys.readouterr().out

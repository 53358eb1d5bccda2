"""Digits with one label in a hundred: layer-wise pretraining against random initialization.

Run it with ``python examples/pretraining/train.py``; it leaves a picture and a log in ``out/``.
"""

import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from jax.nn import initializers
from matplotlib.figure import Figure

import fnopt
from fnopt.data import digits
from fnopt.pretrained import pretrain_layerwise

LABELS, WIDTH, DEPTH, SEEDS = 14, 64, 4, 10

# Glorot's range times 4 is what Glorot and Bengio (2010) recommend for the sigmoid.
RANDOM = {
    "Glorot": initializers.glorot_uniform(),
    "He": initializers.he_normal(),
    "4 Glorot": initializers.variance_scaling(16.0, "fan_avg", "uniform"),
}
PRETRAINING = {
    "denoising": {"method": "denoising", "corruption": 0.25, "epochs": 60},
    "RBM": {"method": "rbm", "epochs": 30},
}
STARTS = (*RANDOM, *PRETRAINING)
COLORS = dict(zip(STARTS, ("#b8b8b8", "#8a8a8a", "#30343f", "#00798c", "#d1495b"), strict=True))

# Learning rate and steps of the fine-tuning for 1, 2, … layers, as tune.py chose them.
TUNED = {
    "Glorot": ((0.03, 400), (0.003, 800), (0.003, 800), (0.01, 800)),
    "He": ((0.03, 100), (0.003, 800), (0.003, 800), (0.003, 800)),
    "4 Glorot": ((0.03, 200), (0.01, 200), (0.003, 400), (0.001, 800)),
    "denoising": ((0.03, 100), (0.01, 50), (0.003, 200), (0.003, 100)),
    "RBM": ((0.03, 200), (0.01, 200), (0.01, 400), (0.01, 25)),
}


def network(params, x):
    """Sigmoid layers in the order of their names, and a linear head."""
    *layers, head = sorted(params)
    for name in layers:
        x = jax.nn.sigmoid(x @ params[name]["kernel"] + params[name]["bias"])
    return x @ params[head]["kernel"] + params[head]["bias"]


def initialized(key, init, depth):
    """Layers dense0, dense1, … by an initializer, the head by Glorot's, biases 0."""
    widths = [64, *[WIDTH] * depth, 10]
    params = {}
    for i in range(depth + 1):
        name = "head" if i == depth else f"dense{i}"
        draw = RANDOM["Glorot"] if i == depth else init
        kernel = draw(jax.random.fold_in(key, i), (widths[i], widths[i + 1]))
        params[name] = {"kernel": kernel, "bias": jnp.zeros(widths[i + 1])}
    return params


def start(name, keys, images, depth, **changes):
    """The parameters at the start of the fine-tuning, those of all keys in one stack."""
    init = RANDOM.get(name, RANDOM["Glorot"])
    params = jax.vmap(lambda key: initialized(key, init, depth))(keys)
    if name in RANDOM:
        return params
    settings = {**PRETRAINING[name], **changes}

    def pretrain(params, key):
        return pretrain_layerwise(params, images, visible="binary", key=key, **settings).params

    return jax.jit(jax.vmap(pretrain))(params, keys)


def shallower(params, depth):
    """The network of the first layers alone: they were trained before those above them."""
    return {name: params[name] for name in ("head", *(f"dense{i}" for i in range(depth)))}


def labelled(labels, seed):
    """The examples that have labels, equally many of each class to within one."""
    rng = np.random.default_rng(seed)
    shuffled, chosen = rng.permutation(len(labels)), []
    for i, digit in enumerate(rng.permutation(10)):
        count = LABELS // 10 + (i < LABELS % 10)
        chosen.extend(shuffled[labels[shuffled] == digit][:count])
    return np.array(chosen)


@jax.jit
def finetuned(params, images, labels, learning_rate, steps):
    """Networks after Adam's steps on all labelled examples at once; a stack of them."""

    def loss(params, x, y):
        return optax.softmax_cross_entropy_with_integer_labels(network(params, x), y).mean()

    def one(params, x, y):
        tx = fnopt.adam(learning_rate)

        def step(_, carry):
            params, state = carry
            updates, state = tx.update(jax.grad(loss)(params, x, y), state, params)
            return optax.apply_updates(params, updates), state

        return jax.lax.fori_loop(0, steps, step, (params, tx.init(params)))[0]

    return jax.vmap(one)(params, images, labels)


@jax.jit
def accuracies(params, images, labels):
    """The share of right answers of each network of a stack."""
    return jax.vmap(lambda p: jnp.mean(network(p, images).argmax(1) == labels))(params)


def flat(pair):
    images, labels = pair
    return images.reshape(len(images), -1), labels


def draw(reached, filters):
    """The accuracy of every seed by depth and start; the first layers of one seed."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(2, 1))
    axes = left.subplots()
    for i, name in enumerate(STARTS):
        for depth, values in enumerate(reached[name], 1):
            x = depth + (i - 2) * 0.15
            label = name if depth == 1 else None
            axes.scatter([x] * len(values), values, s=9, color=COLORS[name], alpha=0.7, label=label)
            axes.plot([x - 0.06, x + 0.06], [np.mean(values)] * 2, color=COLORS[name], lw=2)
    axes.set(
        xlabel="hidden layers",
        ylabel="test accuracy",
        xticks=range(1, len(reached["RBM"]) + 1),
    )
    axes.set_title(f"{LABELS} labels; a dot is a seed, a line their mean", fontsize=10)
    axes.legend(frameon=False, loc="lower left", fontsize=9)
    axes.grid(axis="y", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    for axes, (name, kernel) in zip(right.subplots(len(filters), 1), filters.items(), strict=True):
        shown = kernel[:, :16].T.reshape(2, 8, 8, 8).transpose(0, 2, 1, 3)
        shown = np.pad(shown, ((0, 0), (0, 1), (0, 0), (0, 1)), constant_values=np.nan)
        axes.imshow(shown.reshape(18, 72), cmap="gray")
        axes.set_title(f"{name}: what 16 units of the first layer see", fontsize=9)
        axes.axis("off")
    return figure


def compare(reached):
    """Prints by how much pretraining is ahead of each random start, seed by seed."""
    print("ahead, of the same labels: mean ± deviation, seeds won")
    for name in PRETRAINING:
        for other in RANDOM:
            leads = []
            for ours, theirs in zip(reached[name], reached[other], strict=True):
                ahead = 100 * (ours - theirs)
                spread = f"{ahead.mean():+.1f} ± {ahead.std(ddof=1):.1f}"
                leads.append(f"{spread}, {np.sum(ahead > 0)}/{len(ahead)}")
            print(f"{name} - {other}:", "; ".join(leads))


def main(depth: int = DEPTH, seeds: int = SEEDS, epochs: int | None = None, out: str = "out"):
    began = time.perf_counter()
    (images, labels), (test_images, test_labels) = map(flat, digits())
    keys = jax.vmap(jax.random.key)(jnp.arange(seeds))
    few = np.stack([labelled(labels, seed) for seed in range(seeds)])
    changes = {} if epochs is None else {"epochs": epochs}

    reached, filters = {}, {}
    for name in STARTS:
        params = start(name, keys, images, depth, **changes)
        if name != "He" and name != "4 Glorot":
            filters[name] = np.asarray(params["dense0"]["kernel"][0])
        reached[name] = []
        for layers in range(1, depth + 1):
            rate, steps = TUNED[name][layers - 1]
            tuned = finetuned(shallower(params, layers), images[few], labels[few], rate, steps)
            reached[name].append(np.asarray(accuracies(tuned, test_images, test_labels)))
        shown = [f"{100 * x.mean():.1f} ± {100 * x.std(ddof=1):.1f}" for x in reached[name]]
        print(f"{name:14}", "  ".join(shown), f"  {time.perf_counter() - began:.0f} s", flush=True)
    compare(reached)

    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    draw(reached, filters).savefig(folder / "pretraining.png", dpi=110)
    with (folder / "pretraining.jsonl").open("w") as log:
        for name, runs in reached.items():
            for layers, values in enumerate(runs, 1):
                record = {"start": name, "layers": layers, "test_accuracy": values.tolist()}
                log.write(json.dumps(record) + "\n")
    print(f"picture and log: {out}/pretraining.png, {out}/pretraining.jsonl")
    return reached


if __name__ == "__main__":
    tyro.cli(main)

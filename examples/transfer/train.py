"""Transfer learning with fnopt: pretrained on the digits 0 to 4, fine-tuned on 5 to 9.

Run it with ``python examples/transfer/train.py``; it leaves the weights and a picture in ``out/``.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tyro
from flax import nnx

import fnopt
from fnopt.data import digits
from fnopt.initialize import discriminative, unfreeze_gradually
from fnopt.pretrained import load_pretrained, save_pretrained
from fnopt.train import TrainState, accuracy, evaluate, fit, objective

ORDER = ["head/*", "dense/*", "conv2/*", "conv1/*"]
BATCH = 10


class Network(nnx.Module):
    """Two convolutions, a dense layer, and a head for five classes."""

    def __init__(self, rngs: nnx.Rngs):
        self.conv1 = nnx.Conv(1, 8, (3, 3), rngs=rngs)
        self.conv2 = nnx.Conv(8, 16, (3, 3), rngs=rngs)
        self.dense = nnx.Linear(256, 32, rngs=rngs)
        self.head = nnx.Linear(32, 5, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.conv1(x))
        x = nnx.max_pool(nnx.relu(self.conv2(x)), (2, 2), (2, 2))
        return self.head(nnx.relu(self.dense(x.reshape(len(x), -1))))


def ways(rate: float, steps: int) -> dict[str, fnopt.Transform]:
    """The optimizers that are compared; all but the first begin with pretrained weights."""
    base = fnopt.adamw(rate)
    return {
        "from scratch": base,
        "frozen body": fnopt.groups(("head/*", {}), ("*", "freeze"), base=base),
        "all, one rate": base,
        "all, rates by depth": discriminative(ORDER, base),
        "unfrozen gradually": unfreeze_gradually(ORDER, base, every=steps // 5, factor=2.6),
    }


def some_of_each(data, count: int, seed: int):
    """So many examples of each class."""
    rng = np.random.default_rng(seed)
    images, labels = data
    chosen = [rng.choice(np.flatnonzero(labels == label), count, False) for label in range(5)]
    return images[np.concatenate(chosen)], labels[np.concatenate(chosen)]


def main(
    seeds: int = 5,
    labels: Sequence[int] = (2, 6, 20),
    steps: int = 300,
    pretrain_epochs: int = 20,
    rate: float = 1e-2,
    out: str = "out",
) -> dict:
    """Prints the share of test digits 5 to 9 that each way gets right, and draws it.

    Args:
        seeds: number of repetitions, each with other weights and other labelled examples.
        labels: numbers of labelled examples of each of the five classes.
        steps: steps of fine-tuning, with batches of 10.
        pretrain_epochs: epochs of pretraining, over all examples of the digits 0 to 4.
        rate: the learning rate, of the head where rates differ.
        out: folder for transfer_body.safetensors and transfer.png.
    """
    train, test = digits()
    task = objective(
        Network(nnx.Rngs(0)),
        "softmax_cross_entropy_with_integer_labels",
        metrics={"accuracy": accuracy},
    )
    first = _part(train, lambda y: y < 5, 0)
    rest, rest_test = (_part(data, lambda y: y >= 5, 5) for data in (train, test))
    path = Path(out) / "transfer_body.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    reached = {name: np.zeros((len(labels), seeds)) for name in ways(rate, steps)}
    for seed in range(seeds):
        fresh = nnx.state(Network(nnx.Rngs(seed)), nnx.Param)
        begin = TrainState.create(task, fnopt.adamw(1e-3), seed).replace(params=fresh)
        learnt = fit(
            task, None, first, epochs=pretrain_epochs, batch_size=32, state=begin, progress=False
        )
        save_pretrained(learnt.state.params, path, metadata={"trained_on": "digits 0 to 4"})

        new = nnx.state(Network(nnx.Rngs(1000 + seed)), nnx.Param)
        loaded, report = load_pretrained(new, path, new="head/*")
        if seed == 0:
            print(report, end="\n\n")
        for i, count in enumerate(labels):
            data = some_of_each(rest, count, seed)
            epochs = steps // (len(data[0]) // BATCH)
            for name, tx in ways(rate, steps).items():
                params = new if name == "from scratch" else loaded
                state = TrainState.create(task, tx, seed).replace(params=params)
                state = fit(
                    task, None, data, epochs=epochs, batch_size=BATCH, state=state, progress=False
                ).state
                reached[name][i, seed] = evaluate(task, state, rest_test)["accuracy"]
    for name, shares in reached.items():
        shown = (f"{100 * x.mean():5.1f} ± {100 * x.std():3.1f} %" for x in shares)
        print(f"{name:20}  {'  '.join(shown)}")
    draw(reached, labels, Path(out) / "transfer.png")
    return reached


def draw(reached, labels, path) -> None:
    """The mean and deviation of each way by the number of labels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 3.8), layout="constrained")
    axes = figure.subplots()
    colors = ["#30343f", "#8f6bb3", "#edae49", "#00798c", "#d1495b"]
    for i, (name, shares) in enumerate(reached.items()):
        x = np.arange(len(labels)) + (i - 2) * 0.07  # next to each other
        mean, deviation = 100 * shares.mean(1), 100 * shares.std(1)
        axes.errorbar(x, mean, deviation, color=colors[i], label=name, marker="o", capsize=3)
    axes.set_xticks(range(len(labels)), [str(count) for count in labels])
    axes.set(xlabel="labelled examples of each digit 5 to 9", ylabel="test digits right (%)")
    axes.set_title("after pretraining on the digits 0 to 4: mean and deviation", fontsize=10)
    axes.legend(frameon=False)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def _part(data, condition, offset: int):
    images, labels = data
    chosen = condition(labels)
    return images[chosen], labels[chosen] - offset


if __name__ == "__main__":
    tyro.cli(main)

"""The weights of a torch network in a Flax model: the new head is trained first, then all.

Run it with ``python examples/recipes/torch_weights.py``; it leaves the weights in ``out/``.
"""

from pathlib import Path

import numpy as np
import torch
from flax import nnx

import fnopt
from fnopt.data import digits
from fnopt.initialize import load_pretrained
from fnopt.pretrained import torch_layout
from fnopt.train import accuracy, fit, objective


def torch_network(classes: int) -> torch.nn.Module:
    """As torch.nn.Sequential names them: 0.weight, 0.bias, 4.weight, 4.bias."""
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 16, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(16 * 4 * 4, 64),
        torch.nn.ReLU(),
        torch.nn.Linear(64, classes),
    )


class Network(nnx.Module):
    """The same network in Flax."""

    def __init__(self, classes: int, rngs: nnx.Rngs):
        self.conv = nnx.Conv(1, 16, (3, 3), padding=1, rngs=rngs)
        self.dense = nnx.Linear(16 * 4 * 4, 64, rngs=rngs)
        self.head = nnx.Linear(64, classes, rngs=rngs)

    def __call__(self, x):
        x = nnx.max_pool(nnx.relu(self.conv(x)), (2, 2), strides=(2, 2))
        return self.head(nnx.relu(self.dense(x.reshape(len(x), -1))))


NAMES = [
    ("0.*", "conv.*"),
    ("4.weight", "dense/kernel", torch_layout.flattened(16, 4, 4)),
    ("4.bias", "dense/bias"),
    ("6.*", None),  # the old head
]


def pretrain(images, labels, path, epochs: int) -> None:
    """Trains torch's network and saves its state dict."""
    network = torch_network(5)
    images = torch.tensor(images).movedim(-1, 1)  # torch has the channels first
    labels = torch.tensor(labels, dtype=torch.int64)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(labels)).split(64):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(images[rows]), labels[rows]).backward()
            optimizer.step()
    torch.save(network.state_dict(), path)


def of_digits(data, low: int):
    """The pictures of five digits, with labels from 0."""
    images, labels = data
    rows = (labels >= low) & (labels < low + 5)
    return images[rows], labels[rows] - low


def main(epochs: int = 10, out: str = "out") -> tuple[float, float]:
    torch.manual_seed(0)
    train, test = digits()
    path = Path(out) / "recipe_net.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    pretrain(*of_digits(train, 0), path, epochs)

    # Reading the file needs no torch. The head has no counterpart there and stays as initialized.
    model, report = load_pretrained(Network(5, nnx.Rngs(0)), path, NAMES, new="head/*")
    print(report)
    task = objective(
        model, "softmax_cross_entropy_with_integer_labels", metrics={"accuracy": accuracy}
    )
    data, test = of_digits(train, 5), of_digits(test, 5)

    base = fnopt.adamw(1e-2)
    tx = fnopt.groups(("head/*", {}), ("*", "freeze"), base=base)
    first = fit(task, tx, data, epochs=epochs, batch_size=64, validation_data=test)
    assert np.array_equal(first.state.params["conv"]["kernel"], model.conv.kernel)

    # The new optimizer has a state for the body too: exchange both.
    tx = fnopt.groups(("head/*", {}), ("*", {"learning_rate": 1e-3}), base=base)
    state = first.state.replace(tx=tx, opt_state=tx.init(first.state.params))
    second = fit(task, None, data, epochs=epochs, batch_size=64, validation_data=test, state=state)
    return tuple(float(result.history["val_accuracy"][-1]) for result in (first, second))


if __name__ == "__main__":
    print("test accuracy {:.4f} with a frozen body, then {:.4f}".format(*main()))

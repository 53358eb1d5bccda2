"""Handwritten digits with fnopt and Flax NNX: the recipe of torch_digits.py, ported.

Run it with ``python examples/from_pytorch/fnopt_digits.py``.
"""

import jax
import numpy as np
from flax import nnx

import fnopt.compat.torch as torch_optim
from fnopt.compat.torch import init, lr_scheduler
from fnopt.data import digits
from fnopt.train import TrainState, accuracy, evaluate, make_train_step, objective

EPOCHS, BATCH_SIZE, SEED = 20, 64, 0


class Network(nnx.Module):
    def __init__(self, rngs: nnx.Rngs, dropout: float = 0.3):
        first, second, head = init.conv(1, (3, 3)), init.conv(16, (3, 3)), init.linear(32 * 4 * 4)
        self.conv1 = nnx.Conv(1, 16, (3, 3), use_bias=False, **first, rngs=rngs)
        self.norm1 = nnx.BatchNorm(16, momentum=0.9, rngs=rngs)
        self.conv2 = nnx.Conv(16, 32, (3, 3), use_bias=False, **second, rngs=rngs)
        self.norm2 = nnx.BatchNorm(32, momentum=0.9, rngs=rngs)
        self.dropout = nnx.Dropout(dropout, rngs=rngs)
        self.head = nnx.Linear(32 * 4 * 4, 10, **head, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:  # (batch, 8, 8, 1)
        x = nnx.relu(self.norm1(self.conv1(x)))
        x = nnx.relu(self.norm2(self.conv2(x)))
        x = nnx.max_pool(x, (2, 2), strides=(2, 2))
        return self.head(self.dropout(x.reshape(len(x), -1)))


def recipe(steps):
    schedule = lr_scheduler.CosineAnnealingLR(3e-3, T_max=steps)
    return torch_optim.AdamW(lr=schedule, weight_decay=0.05)


def task_of(model):
    loss = "softmax_cross_entropy_with_integer_labels"
    return objective(model, loss, metrics={"accuracy": accuracy})


def main(epochs=EPOCHS, seed=SEED):
    train, test = digits()
    steps = len(train[1]) // BATCH_SIZE
    task = task_of(Network(nnx.Rngs(seed)))
    state = TrainState.create(task, recipe(epochs * steps), key=seed)
    train_step = make_train_step(task)
    shuffle = np.random.default_rng(seed)
    history = {"loss": [], "test_accuracy": []}
    for _ in range(epochs):
        order = shuffle.permutation(len(train[1]))[: steps * BATCH_SIZE]
        losses = []
        for rows in order.reshape(steps, BATCH_SIZE):
            state, metrics = train_step(state, (train[0][rows], train[1][rows]))
            losses.append(metrics["loss"])
        history["loss"].append(float(np.mean(losses)))
        history["test_accuracy"].append(float(evaluate(task, state, test)["accuracy"]))
    return history


if __name__ == "__main__":
    print(f"test accuracy {main()['test_accuracy'][-1]:.4f}")

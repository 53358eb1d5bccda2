"""Seven initializations of a network of ten layers: their diagnosis and their training.

Run it with ``python examples/initialization/train.py``; it leaves pictures in ``out/``.
"""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import optax
import tyro
from matplotlib.figure import Figure

import fnopt
from fnopt import initialize
from fnopt.data import digits
from fnopt.initialize import diagnose, lsuv
from fnopt.initialize.picture import draw
from fnopt.train import NonFiniteError, TrainState, accuracy, evaluate, fit, objective

LAYERS, WIDTH, EPOCHS, BATCH_SIZE, LEARNING_RATE, SEED = 10, 64, 20, 64, 0.02, 0

# The initializers of the weights; biases are 0.
STARTS = {
    "zero": initialize.zeros,
    "equal": initialize.constant(1 / WIDTH),
    "too small": initialize.normal(0.02),
    "too large": initialize.normal(0.4),
    "Xavier": initialize.xavier_normal(),
    "He": initialize.he_normal(),
    "LSUV": initialize.zeros,  # lsuv draws the weights
}


def network(activation, params, x):
    x = x.reshape(len(x), -1)
    for layer in params[:-1]:
        x = activation(x @ layer["kernel"] + layer["bias"])
    return x @ params[-1]["kernel"] + params[-1]["bias"]


def drawn(init, key):
    """Parameters of ten layers: nine hidden ones and the last."""
    sizes = [64] + [WIDTH] * (LAYERS - 1) + [10]
    keys = jax.random.split(key, LAYERS)
    return [
        {"kernel": init(one, (i, o), jnp.float32), "bias": jnp.zeros(o)}
        for one, i, o in zip(keys, sizes[:-1], sizes[1:], strict=True)
    ]


def main(
    epochs: int = EPOCHS,
    activation: str = "relu",
    learning_rate: float = LEARNING_RATE,
    seed: int = SEED,
    starts: tuple[str, ...] = tuple(STARTS),
    out: str = "out",
) -> dict[str, float]:
    train, test = digits()
    batch = (train[0][:256], train[1][:256])
    forward = functools.partial(network, getattr(jax.nn, activation))
    tx = fnopt.sgd(learning_rate, momentum=0.9)
    diagnoses, losses, reached = {}, {}, {}
    for name in starts:
        params = drawn(STARTS[name], jax.random.key(seed))
        task = objective(
            forward,
            optax.losses.softmax_cross_entropy_with_integer_labels,
            metrics={"accuracy": accuracy},
            params=params,
        )
        if name == "LSUV":
            params = lsuv(task, params, batch, key=jax.random.key(seed))

        diagnoses[name] = diagnose(task, params, batch, optimizer=tx)
        print(f"--- {name}\n{diagnoses[name]}")

        state = TrainState.create(task, tx, seed).replace(params=params)
        loss = []
        try:
            state = fit(
                task, None, train, epochs=epochs, batch_size=BATCH_SIZE, state=state,
                progress=False,
                on_epoch=lambda state, record, loss=loss: loss.append(record["loss"]),
            ).state  # fmt: skip
        except NonFiniteError as error:
            print(error)
            state = error.state
        losses[name] = loss
        reached[name] = float(evaluate(task, state, test)["accuracy"])
        print(f"test accuracy {reached[name]:.4f} after {len(loss)} epochs\n")

    Path(out).mkdir(parents=True, exist_ok=True)
    title = f"{LAYERS} layers with {activation}, before the first step"
    draw(diagnoses, title).savefig(f"{out}/initialization_{activation}_start.png", dpi=100)
    curves(losses, f"{LAYERS} layers with {activation}: training loss").savefig(
        f"{out}/initialization_{activation}_losses.png", dpi=100
    )
    print(f"pictures: {out}/initialization_{activation}_start.png, …_losses.png")
    return reached


def curves(losses, title):
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.subplots()
    for (name, loss), marker in zip(losses.items(), "os^Dv<>", strict=False):
        label = name if loss else f"{name} (not finite)"
        axes.plot(range(1, len(loss) + 1), loss, marker=marker, ms=4, lw=1.2, label=label)
    axes.set(yscale="log", xlabel="epoch", ylabel="loss")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_title(title, fontsize=11)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right center", frameon=False, fontsize=9)
    return figure


if __name__ == "__main__":
    tyro.cli(main)

"""Handwritten digits with fnopt, the network in Flax Linen: all else is as in ``train.py``.

Run it with ``python examples/digits/linen.py``; it leaves a log in ``out/``.
"""

import jax
import tyro
from flax import linen

import fnopt
from fnopt.data import digits
from fnopt.train import accuracy, evaluate, fit, objective

EPOCHS, BATCH_SIZE, SEED = 30, 64, 0


class Network(linen.Module):
    """Two hidden layers. Linen says in the call whether it is training; fnopt gives ``train``."""

    @linen.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        x = x.reshape(len(x), -1)
        for _ in range(2):
            x = linen.Dense(128)(x)
            x = linen.relu(linen.BatchNorm(use_running_average=not train, momentum=0.9)(x))
            x = linen.Dropout(0.2, deterministic=not train)(x)
        return linen.Dense(10)(x)


def main(epochs: int = EPOCHS, out: str = "out") -> float:
    train, validation = digits()
    task = objective(
        Network(), "softmax_cross_entropy_with_integer_labels", metrics={"accuracy": accuracy}
    )
    steps = epochs * (len(train[1]) // BATCH_SIZE)
    tx = fnopt.chain(
        fnopt.clip_by_global_norm(5.0),
        fnopt.adamw(fnopt.warmup_cosine_decay_schedule(0.0, 5e-3, steps // 10, steps)),
    )
    result = fit(
        task, tx, train, epochs=epochs, batch_size=BATCH_SIZE, validation_data=validation, key=SEED
    )
    result.history.write(f"{out}/digits_linen.jsonl")
    metrics = evaluate(task, result.state, validation)
    print(
        f"validation accuracy {metrics['accuracy']:.4f},"
        f" {result.steps_per_second:,.0f} steps per second"
    )

    # For use without fnopt: the variables are those of Linen.
    variables = {"params": result.state.params, **result.state.model_state}
    first = Network().apply(variables, validation[0][:8], train=False).argmax(axis=1)
    print(f"the first eight are taken for {first.tolist()}, and are {validation[1][:8].tolist()}")
    return float(metrics["accuracy"])


if __name__ == "__main__":
    tyro.cli(main)

"""A language model of letters with fnopt: a small transformer that reads six novels.

Run it with ``python examples/char_lm/train.py``; it leaves a log, and the loss
of every step, in ``out/``; ``plot.py`` draws what several precisions have left there.
"""

import math
import time
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from flax import nnx

import fnopt
from fnopt.data import Text, austen
from fnopt.train import accuracy, fit, objective


class Block(nnx.Module):
    """Attention to what came before, then a dense layer; each on the normalized input."""

    def __init__(self, width: int, heads: int, rngs: nnx.Rngs):
        self.norm1, self.norm2 = (nnx.LayerNorm(width, rngs=rngs) for _ in range(2))
        self.attention = nnx.MultiHeadAttention(heads, width, decode=False, rngs=rngs)
        self.up = nnx.Linear(width, 4 * width, rngs=rngs)
        self.down = nnx.Linear(4 * width, width, rngs=rngs)

    def __call__(self, x: jax.Array, mask: jax.Array) -> jax.Array:
        x = x + self.attention(self.norm1(x), mask=mask)
        return x + self.down(nnx.gelu(self.up(self.norm2(x))))


class Transformer(nnx.Module):
    """Tokens to the logits of the token that comes next, at every position."""

    def __init__(
        self, symbols: int, length: int, width: int, layers: int, heads: int, rngs: nnx.Rngs
    ):
        start = nnx.initializers.normal(0.02)
        self.symbols = nnx.Embed(symbols, width, embedding_init=start, rngs=rngs)
        self.positions = nnx.Embed(length, width, embedding_init=start, rngs=rngs)
        self.blocks = nnx.List(Block(width, heads, rngs) for _ in range(layers))
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.head = nnx.Linear(width, symbols, rngs=rngs)

    def __call__(self, tokens: jax.Array) -> jax.Array:
        x = self.symbols(tokens) + self.positions(jnp.arange(tokens.shape[1]))[None]
        mask = nnx.make_causal_mask(tokens)
        for block in self.blocks:
            x = block(x, mask)
        return self.head(self.norm(x))


def main(
    epochs: int = 1,
    examples: int | None = None,
    precision: Literal["float32", "bfloat16_params", "bfloat16_stochastic"] = "float32",
    learning_rate: float = 2e-3,
    batch_size: int = 32,
    length: int = 128,
    width: int = 128,
    layers: int = 4,
    heads: int = 4,
    seed: int = 0,
    root: str | None = None,
    out: str = "out",
) -> float:
    """Trains on the first nine tenths of the novels, and prints the bits a letter of the last.

    Args:
        epochs: number of passes through the data.
        examples: number of pieces of text to use, the first ones; None uses all.
        precision: dtype of parameters and computation: single; half, rounded to nearest; half,
            rounded up or down at random.
        learning_rate: largest learning rate of AdamW.
        batch_size: pieces of text a step.
        length: letters of a piece.
        width: width of the network.
        layers: number of blocks of the network.
        heads: number of heads of attention in each block.
        seed: seed of initialization and shuffling.
        root: folder where Debian's package r-cran-janeaustenr is unpacked, if it is not installed.
        out: folder for char_lm_PRECISION.jsonl and char_lm_PRECISION_loss.txt.
    """
    text, sizes = austen(root), (length, width, layers, heads)
    return run(text, sizes, epochs, examples, precision, learning_rate, batch_size, seed, out)


def run(
    text: Text, sizes, epochs, examples, precision, learning_rate, batch_size, seed, out
) -> float:
    # A piece has a letter more than the model reads: the last is a target alone.
    pieces = text.windows(sizes[0] + 1)
    count = len(pieces) * 9 // 10
    train, test = pieces[:count][:examples], pieces[count:][:examples]
    model = Transformer(len(text.vocabulary), *sizes, nnx.Rngs(seed))
    task = objective(
        model,
        "softmax_cross_entropy_with_integer_labels",
        metrics={"accuracy": accuracy},
        inputs=lambda pieces: pieces[:, :-1].astype(jnp.int32),
        targets=lambda pieces: pieces[:, 1:].astype(jnp.int32),
    )
    steps = epochs * (len(train) // batch_size)
    rate = fnopt.warmup_cosine_decay_schedule(0.0, learning_rate, math.ceil(steps / 20), steps)
    tx = fnopt.adamw(rate, b2=0.98, weight_decay=0.01)
    options = {} if precision == "float32" else {"precision": precision}
    began, losses = time.perf_counter(), []
    result = fit(
        task,
        tx,
        train,
        epochs=epochs,
        batch_size=batch_size,
        validation_data=test,
        eval_batch_size=batch_size,
        key=seed,
        on_step=lambda steps, metrics: losses.extend(metrics["loss"]),
        **options,
    )
    seconds = time.perf_counter() - began
    result.history.write(f"{out}/char_lm_{precision}.jsonl")
    np.savetxt(f"{out}/char_lm_{precision}_loss.txt", losses, "%.5f")
    if not result.history.records:
        raise SystemExit("interrupted before the end of an epoch")
    for record in result.history.records:
        bits = (f"{record[name] / math.log(2):.4f}" for name in ("loss", "val_loss"))
        print(
            "epoch {}: bits a letter {} in training, {} in validation".format(
                record["epoch"], *bits
            )
        )
    print(
        f"{precision}: validation accuracy {record['val_accuracy']:.4f}, {seconds:.0f} seconds in"
        f" all, {result.steps_per_second:,.1f} steps per second"
    )
    nnx.update(model, result.state.params, result.state.model_state)
    print(written(model, text, sizes[0], jax.random.key(seed)))
    return float(record["val_loss"]) / math.log(2)


def written(model: Transformer, text: Text, length: int, key: jax.Array) -> str:
    """What the model writes, a letter at a time, until the piece is full."""
    graph, weights = nnx.split(model)

    @jax.jit
    def write(weights, tokens):
        model = nnx.merge(graph, weights)

        def append(at, tokens):
            logits = model(tokens)[0, at].astype(jnp.float32)
            drawn = jax.random.categorical(jax.random.fold_in(key, at), logits)
            return tokens.at[0, at + 1].set(drawn)

        return jax.lax.fori_loop(0, length - 1, append, tokens)

    first = int(text.encode("\n" if "\n" in text.vocabulary else text.vocabulary[0])[0])
    return text.decode(write(weights, jnp.full((1, length), first))[0])


if __name__ == "__main__":
    tyro.cli(main)

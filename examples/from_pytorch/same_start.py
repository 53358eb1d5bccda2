"""The two programs from the same weights, over the same batches: do they take the same steps?

Run it with ``python examples/from_pytorch/same_start.py``.
"""

import fnopt_digits
import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch_digits
from flax import nnx

from fnopt.train import TrainState, make_train_step

WEIGHTS = nnx.Any(nnx.Param, nnx.BatchStat)


def copy_weights(theirs: torch.nn.Module, ours: nnx.Module) -> None:
    """From torch's layouts to Flax's, in place."""
    w = {name: jnp.array(value.numpy()) for name, value in theirs.state_dict().items()}
    for conv in ("conv1", "conv2"):  # (out, in, height, width) to (height, width, in, out)
        getattr(ours, conv).kernel[...] = w[f"{conv}.weight"].transpose(2, 3, 1, 0)
    for norm in ("norm1", "norm2"):
        layer = getattr(ours, norm)
        layer.scale[...], layer.bias[...] = w[f"{norm}.weight"], w[f"{norm}.bias"]
        layer.mean[...], layer.var[...] = w[f"{norm}.running_mean"], w[f"{norm}.running_var"]
    # (out, in) to (in, out), and what was flattened as (channels, height, width) to
    # (height, width, channels)
    head = w["head.weight"].reshape(10, 32, 4, 4).transpose(2, 3, 1, 0)
    ours.head.kernel[...], ours.head.bias[...] = head.reshape(-1, 10), w["head.bias"]


def same_start(steps: int = 20, seed: int = 0, dtype: str = "float32"):
    """The losses of torch and of fnopt, step by step, without dropout.

    In double precision call it under ``jax.enable_x64(True)``.
    """
    torch.manual_seed(seed)
    model = torch_digits.Network(dropout=0.0).to(getattr(torch, dtype))
    ported = fnopt_digits.Network(nnx.Rngs(0), dropout=0.0)
    nnx.update(ported, jax.tree.map(lambda x: x.astype(dtype), nnx.state(ported, WEIGHTS)))
    copy_weights(model, ported)

    optimizer, scheduler = torch_digits.recipe(model, steps)
    task = fnopt_digits.task_of(ported)
    state = TrainState.create(task, fnopt_digits.recipe(steps), key=0)
    train_step = make_train_step(task)

    (images, labels), _ = torch_digits.digits()
    images = images.to(getattr(torch, dtype))
    order = torch.randperm(len(labels))
    losses = []
    for step in range(steps):
        batch = order[torch.arange(64 * step, 64 * (step + 1)) % len(labels)]
        x, y = images[batch], labels[batch]
        theirs = torch_digits.train_step(model, optimizer, scheduler, x, y)
        pixels = x.permute(0, 2, 3, 1).numpy()
        state, metrics = train_step(state, (pixels, y.numpy().astype(np.int32)))
        losses.append((theirs, float(metrics["loss"])))
    return tuple(np.array(losses).T)


if __name__ == "__main__":
    theirs, ours = same_start()
    for step, (a, b) in enumerate(zip(theirs, ours, strict=True)):
        print(f"step {step:2d}: torch {a:.7f}, fnopt {b:.7f}, relative {abs(a - b) / a:.1e}")

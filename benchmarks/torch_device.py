"""torch on the device that jax uses, computing as jax does there."""

from __future__ import annotations

import jax


def torch_is_left_out() -> str | None:
    """Why torch cannot be compared with jax here; None if it can."""
    try:
        import torch
    except ImportError:
        return "it is not installed"
    if jax.default_backend() != "cpu" and not torch.cuda.is_available():
        return "it does not see the accelerator that jax uses"
    return None


def torch_device() -> str:
    """torch's name of the device that jax uses, after setting what torch does otherwise there."""
    if jax.default_backend() == "cpu":
        return "cpu"
    import torch

    # jax multiplies float32 in TF32 and chooses convolutions by trying them, unless told otherwise.
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = True
    return "cuda"

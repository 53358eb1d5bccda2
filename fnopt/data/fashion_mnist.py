"""Fashion-MNIST: 70000 pictures of clothes, 28 by 28 pixels, of ten kinds."""

from __future__ import annotations

import gzip
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from fnopt.core.types import Batch
from fnopt.data.files import check_sha256, find

Pair = tuple[np.ndarray, np.ndarray]
PACKAGE, FOLDER = "dataset-fashion-mnist", "usr/share/datasets/fashion-mnist"
SHA256 = {
    "train-images-idx3": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
"""Of the files without their compression."""


def fashion_mnist(root: str | Path | None = None) -> tuple[Pair, Pair]:
    """60000 pictures of clothes to train on and 10000 to test on.

    Images are (n, 28, 28, 1), uint8, a quarter of the memory of float32; :func:`pixels` makes
    floats of those of a batch, and is what to give ``objective`` as ``inputs=``. Labels are int32.

    Args:
        root: the folder with the files or with Debian's package ``dataset-fashion-mnist`` unpacked;
            by default the environment's ``FNOPT_DATA``, or where packages are installed.

    Raises:
        FileNotFoundError: they are not there; says how to get them.
        ValueError: a file's SHA-256 is not that of the data set.

    References:
        Xiao, Rasul & Vollgraf, *Fashion-MNIST*, 2017, arXiv:1708.07747.
    """
    train, test = (
        (_read(f"{part}-images-idx3", root)[..., None], _read(f"{part}-labels-idx1", root))
        for part in ("train", "t10k")
    )
    return (train[0], train[1].astype(np.int32)), (test[0], test[1].astype(np.int32))


def pixels(batch: Batch) -> jax.Array:
    """The images of a batch, in [0, 1] and float32 where they are bytes."""
    images = jnp.asarray(batch[0])
    return images.astype(jnp.float32) / 255 if images.dtype == jnp.uint8 else images


def _read(name: str, root: str | Path | None) -> np.ndarray:
    path = find(PACKAGE, FOLDER, f"{name}-ubyte.gz", root)
    raw = gzip.decompress(path.read_bytes())
    check_sha256(raw, SHA256[name], path)
    return idx(raw)


def idx(raw: bytes) -> np.ndarray:
    """The array of bytes that an IDX file holds: a magic number, the shape, the bytes."""
    axes = raw[3]
    shape = np.frombuffer(raw, ">u4", axes, offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * axes).reshape(shape)

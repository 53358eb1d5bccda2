"""The bundled data: 1797 handwritten digits, 8 by 8 pixels."""

from __future__ import annotations

import numpy as np

Pair = tuple[np.ndarray, np.ndarray]


def digits() -> tuple[Pair, Pair]:
    """Handwritten digits for training and, a fixed fifth of each class, for testing.

    The fifth is drawn once and for all, so that test results can be compared.

    Returns:
        Two pairs (images, labels), of 1437 and of 360 examples: images of shape (n, 8, 8, 1),
        float32, pixels divided by 16 so that they lie in [0, 1]; labels 0 to 9 of shape (n,),
        int32.

    Raises:
        ImportError: scikit-learn, which bundles the data, is not installed.

    References:
        Alpaydin & Kaynak, *Optical recognition of handwritten digits*, UCI, 1998,
        doi:10.24432/C50P49.
    """
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise ImportError("the digits come with scikit-learn: pip install scikit-learn") from error
    pixels, labels = map(np.asarray, load_digits(return_X_y=True))
    images = (pixels / 16).astype(np.float32).reshape(-1, 8, 8, 1)
    train, test = train_test_split(
        np.arange(len(labels)), test_size=0.2, stratify=labels, random_state=0
    )
    labels = labels.astype(np.int32)
    return (images[train], labels[train]), (images[test], labels[test])

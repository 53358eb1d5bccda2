"""Small tables that scikit-learn bundles: two to classify, one to regress."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from fnopt.data.split import split

Pair = tuple[np.ndarray, np.ndarray]


def breast_cancer() -> tuple[Pair, Pair]:
    """Breast cancer in Wisconsin: 30 features of 569 tumours, malignant (0) or benign (1).

    A fifth of each class is for testing, the same every time. Features are float32 and have mean 0
    and variance 1 over the training examples; labels are int32.

    Raises:
        ImportError: scikit-learn, which bundles the data, is not installed.

    References:
        Wolberg, Mangasarian, Street & Street, *Breast Cancer Wisconsin (Diagnostic)*, UCI, 1993,
        doi:10.24432/C5DW2B.
    """
    return _classes("breast_cancer")


def wine() -> tuple[Pair, Pair]:
    """Wines of three growers: 13 features of 178. As :func:`breast_cancer` in all else.

    References:
        Aeberhard & Forina, *Wine*, UCI, 1992, doi:10.24432/C5PC7J.
    """
    return _classes("wine")


def diabetes() -> tuple[Pair, Pair]:
    """The course of diabetes after a year by 10 features, of 442 patients.

    A fifth is for testing, the same every time. Features and targets are float32, of shape (n, 10)
    and (n, 1), and have mean 0 and variance 1 over the training examples, so that the mean squared
    error of a test is about the share of variance that is left unexplained.

    Raises:
        ImportError: scikit-learn, which bundles the data, is not installed.

    References:
        Efron, Hastie, Johnstone & Tibshirani, *Least angle regression*, Annals of Statistics 32,
        2004.
    """
    features, targets = _load("diabetes", scaled=False)
    train, test = split((features, targets[:, None]), 0.2)
    (x, test_x), (y, test_y) = (_standardized(*pair) for pair in zip(train, test, strict=True))
    return (x, y), (test_x, test_y)


def _classes(name: str) -> tuple[Pair, Pair]:
    features, labels = _load(name)
    labels = labels.astype(np.int32)
    (x, y), (test_x, test_y) = split((features, labels), 0.2, stratify=labels)
    x, test_x = _standardized(x, test_x)
    return (x, y), (test_x, test_y)


def _load(name: str, **options: Any) -> Pair:
    try:
        sets = importlib.import_module("sklearn.datasets")
    except ImportError as error:
        raise ImportError(f"{name} comes with scikit-learn: pip install scikit-learn") from error
    features, targets = getattr(sets, f"load_{name}")(return_X_y=True, **options)
    return np.asarray(features), np.asarray(targets)


def _standardized(train: np.ndarray, test: np.ndarray) -> Pair:
    """Both by mean and deviation of the first, computed in double precision."""
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    scaled = ((x - mean) / deviation for x in (train, test))
    train, test = (x.astype(np.float32) for x in scaled)
    return train, test

"""Planes in the space of parameters, and paths projected on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

BLOCK = 2**18
"""Number of parameters that are converted to double precision at a time."""


class Plane(NamedTuple):
    """A plane in the space of parameters, with the share of the variance of paths in it.

    Attributes:
        origin: a point of it, shape (parameters,).
        directions: two directions, shape (2, parameters).
        shares: for each direction the share of the paths' variance along it, shape (2,).
    """

    origin: np.ndarray
    directions: np.ndarray
    shares: np.ndarray

    def coordinates(self, points: np.ndarray) -> np.ndarray:
        """The coordinates of the points of the plane that are nearest to others.

        Args:
            points: shape (points, parameters).

        Returns:
            Coordinates in units of the directions, shape (points, 2).
        """
        products = np.zeros((len(points), 2))
        gram = np.zeros((2, 2))
        for at in blocks(points.shape[1]):
            along = self.directions[:, at].astype(float)
            products += (points[:, at] - self.origin[at].astype(float)) @ along.T
            gram += along @ along.T
        return np.linalg.solve(gram, products.T).T


def blocks(size: int) -> list[slice]:
    """Slices of a vector that are converted one after the other."""
    return [slice(at, at + BLOCK) for at in range(0, size, BLOCK)]


def principal_plane(paths: Sequence[np.ndarray], key: int = 0) -> Plane:
    """The plane along the first two principal directions of paths.

    They are those of all points about their mean: the first right singular vectors of the centred
    points. These are computed from the inner products of the points, so that no matrix has
    parameters times parameters entries. The plane goes through the mean of the paths' ends, which
    is the end itself where there is one path.

    Args:
        paths: points of each path, shape (points, parameters).
        key: seed of the second direction, which is random where all points lie on a line.

    Returns:
        The plane; its directions are orthonormal. Paths end at larger coordinates along the first
        than they start, and go furthest to positive ones along the second.

    Raises:
        ValueError: there are fewer than two parameters, or all points are the same.
    """
    points = np.concatenate(list(paths))
    size = points.shape[1]
    if size < 2:
        raise ValueError("a plane needs two parameters or more; there is 1")
    mean, gram = _centred_gram(points)
    variances, vectors = np.linalg.eigh(gram)
    if not variances[-1] > 0:
        raise ValueError(
            f"the path has no directions: all its {len(points)} points are the same; record"
            " a run whose parameters change, at two steps or more"
        )
    directions = np.zeros((2, size))
    several = variances[-2:][::-1] > variances[-1] * 1e-12
    for at in blocks(size):
        along = vectors[:, : -1 - int(several.sum()) : -1].T @ (points[:, at] - mean[at])
        directions[: len(along), at] = along
    if not several.all():
        directions[1] = np.random.RandomState(key).normal(size=size)
    directions = np.linalg.qr(directions.T)[0].T
    plane = Plane(np.mean([path[-1] for path in paths], 0), directions, np.zeros(2))
    coordinates = plane.coordinates(points)
    starts = np.mean([path[0] for path in paths], 0)
    furthest = coordinates[np.abs(coordinates[:, 1]).argmax(), 1]
    backward = np.array([plane.coordinates(starts[None])[0, 0] > 0, furthest < 0])
    directions *= np.where(backward, -1, 1)[:, None]
    shares = np.where([True, several.all()], variances[-2:][::-1] / gram.trace(), 0.0)
    return plane._replace(directions=directions.astype(points.dtype), shares=shares)


def plane_along(paths: Sequence[np.ndarray], directions: np.ndarray) -> Plane:
    """The plane along two directions through the mean of the paths' ends.

    Args:
        paths: points of each path, shape (points, parameters).
        directions: shape (2, parameters).
    """
    points = np.concatenate(list(paths))
    mean, gram = _centred_gram(points)
    along = np.zeros((len(points), 2))
    for at in blocks(points.shape[1]):
        along += (points[:, at] - mean[at]) @ directions[:, at].T.astype(float)
    lengths = np.linalg.norm(directions.astype(float), axis=1)
    shares = ((along / lengths) ** 2).sum(0) / (gram.trace() or 1.0)
    return Plane(np.mean([path[-1] for path in paths], 0), directions, shares)


def _centred_gram(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean of points, and the inner products of their differences from it."""
    mean = points.mean(0, dtype=float)
    gram = np.zeros((len(points), len(points)))
    for at in blocks(points.shape[1]):
        centred = points[:, at] - mean[at]
        gram += centred @ centred.T
    return mean, gram

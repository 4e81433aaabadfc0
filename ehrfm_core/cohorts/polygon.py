"""Polygons on a map: fewer corners, and which points lie inside."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ehrfm_core.errors import UserError

Polygon = tuple[tuple[float, float], ...]
MAX_VERTICES = 64
DIGITS = 3
_LARGEST = 1e6  # maps span tens of units
_READ = 2000  # corners a mouse leaves behind; more are thinned before the slow part
_AT_ONCE = 1 << 15  # points that fit the processor's cache together


def simplify(
    x: Sequence[float], y: Sequence[float], *, most: int = MAX_VERTICES, digits: int = DIGITS
) -> Polygon:
    """The polygon with at most `most` corners, rounded: each time, the corner that spans the least area goes.

    Its corners are corners of the one given, in their order (Visvalingam and Whyatt, Cartogr J 1993). Raises
    UserError where fewer than three different ones are left or one is not a number.

    >>> simplify([0, 1, 2, 2, 0], [0, 0.0001, 0, 2, 2], most=4)
    ((0.0, 0.0), (2.0, 0.0), (2.0, 2.0), (0.0, 2.0))
    """
    corners = _corners(x, y)
    if len(corners) > _READ:
        corners = corners[np.linspace(0, len(corners) - 1, _READ).astype(int)]
    corners = np.round(corners, digits) + 0.0  # + 0.0: no minus zero
    corners = _distinct(corners)
    while len(corners) > most:
        before, after = np.roll(corners, 1, axis=0), np.roll(corners, -1, axis=0)
        one, other = corners - before, after - before
        corners = np.delete(corners, np.argmin(np.abs(one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0])), 0)
    corners = _distinct(corners)  # a spike that went leaves its foot twice
    if len(np.unique(corners, axis=0)) < 3:
        raise UserError("A region needs at least three different corners: draw a larger one.")
    return tuple((float(a), float(b)) for a, b in corners)


def _distinct(corners: np.ndarray) -> np.ndarray:
    """Without corners that repeat the one before."""
    return corners[np.any(corners != np.roll(corners, 1, axis=0), axis=1)]


def _corners(x: Sequence[float], y: Sequence[float]) -> np.ndarray:
    try:
        corners = np.array([x, y], dtype=np.float64).T
    except (TypeError, ValueError, OverflowError):
        raise UserError("The corners of a region must be as many x as y, all of them numbers.") from None
    if corners.ndim != 2 or not np.all(np.abs(corners) <= _LARGEST):  # false for what is not a number
        raise UserError("The corners of a region must be numbers that lie on the map.")
    return corners


def inside(x: np.ndarray, y: np.ndarray, polygon: Polygon) -> np.ndarray:
    """Which points (n) lie inside a polygon: those from which a ray crosses its edge an odd number of times.

    The even-odd rule: where a lasso crosses itself, what it encircles twice is outside. A point without a
    place (not a number) is outside.

    >>> inside(np.array([0.5, 1.5]), np.array([0.5, 0.5]), ((0, 0), (1, 0), (1, 1), (0, 1))).tolist()
    [True, False]
    """
    corners = np.asarray(polygon, dtype=np.float64)
    (left, low), (right, high) = corners.min(axis=0), corners.max(axis=0)
    near = np.flatnonzero((x >= left) & (x <= right) & (y >= low) & (y <= high))
    result = np.zeros(len(x), dtype=bool)
    for first in range(0, len(near), _AT_ONCE):
        some = near[first : first + _AT_ONCE]
        result[some] = _odd(x[some].astype(np.float64), y[some].astype(np.float64), corners)
    return result


def _odd(x: np.ndarray, y: np.ndarray, corners: np.ndarray) -> np.ndarray:
    odd = np.zeros(len(x), dtype=bool)
    x0, y0 = corners[-1]
    above = y0 > y
    for x1, y1 in corners:
        now = y1 > y
        crossing = np.flatnonzero(now != above)
        if len(crossing):
            at = (x1 - x0) * (y[crossing] - y0) / (y1 - y0) + x0
            odd[crossing] ^= x[crossing] < at
        (x0, y0), above = (x1, y1), now
    return odd

"""The nearest of some ten thousand points to each of millions of queries: exact, one query at a time.

The points are cut into blocks of 64 that lie close together. A block whose ball begins beyond the k nearest
found so far is passed over, and what is left of it is given up where its first coordinates alone reach
farther: principal components come widest first. That leaves out no neighbour, whatever the data.

No sum runs over more than one query, so that a query's answer is the same, bit for bit, alone or in any
batch. Searches by matrix product do not promise that: they round by the shape of the batch, and where two
points are almost equally near, another one wins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

BLOCK = 64
FIRST_COORDINATES = 16  # before a look at whether the rest is needed
FIRST_BLOCKS = 4  # the nearest ones come first, the others as they lie
SLACK = 1e-5  # of a distance, above what single precision loses


@dataclass(frozen=True, eq=False)
class Blocks:
    """m points of C coordinates in B blocks.

    `values` (B × C × 64) and `order` (B × 64, row of the point) are padded with infinities and −1; `centres`
    (C × B) and `radii` (B) make balls around the blocks.
    """

    values: np.ndarray
    order: np.ndarray
    centres: np.ndarray
    radii: np.ndarray


def cut_into_blocks(points: np.ndarray) -> Blocks:
    """Halve points (m × C, m ≥ 1) along the coordinate that varies most, again and again."""
    points = np.ascontiguousarray(points, dtype=np.float32)
    n_blocks = -(-len(points) // BLOCK)
    rows = _halve(points, np.arange(len(points)), n_blocks)
    values = np.full((n_blocks, points.shape[1], BLOCK), np.inf, dtype=np.float32)
    order = np.full((n_blocks, BLOCK), -1)
    centres = np.empty((points.shape[1], n_blocks), dtype=np.float32)
    radii = np.empty(n_blocks, dtype=np.float32)
    for b, own in enumerate(rows):
        values[b, :, : len(own)] = points[own].T
        order[b, : len(own)] = own
        centres[:, b] = points[own].mean(axis=0)
        radii[b] = np.linalg.norm(points[own].astype(np.float64) - centres[:, b], axis=1).max() * (1 + SLACK)
    return Blocks(values, order, centres, radii)


def nearest(blocks: Blocks, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Euclidean distances (n × k, float32, ascending) and rows (n × k) of the k nearest points.

    Where there are fewer than k points, or a query is not a number, distances are infinite and rows −1.

    >>> blocks = cut_into_blocks(np.array([[0.0], [3.0], [7.0]]))
    >>> distances, rows = nearest(blocks, np.array([[6.0]]), 2)
    >>> distances.tolist(), rows.tolist()
    ([[1.0, 3.0]], [[2, 1]])
    """
    squares = np.full((len(queries), k), np.inf, dtype=np.float32)
    rows = np.full((len(queries), k), -1)
    queries = np.ascontiguousarray(queries, dtype=np.float32)
    _search(queries, blocks.values, blocks.order, blocks.centres, blocks.radii, squares, rows)
    return np.sqrt(squares), rows


def _halve(points: np.ndarray, rows: np.ndarray, n_blocks: int) -> list[np.ndarray]:
    if n_blocks == 1:
        return [rows]
    left = n_blocks // 2
    widest = int(points[rows].var(axis=0).argmax())
    rows = rows[np.argsort(points[rows, widest], kind="stable")]
    return _halve(points, rows[: left * BLOCK], left) + _halve(points, rows[left * BLOCK :], n_blocks - left)


@njit(nogil=True)
def _search(
    queries: np.ndarray,
    values: np.ndarray,
    order: np.ndarray,
    centres: np.ndarray,
    radii: np.ndarray,
    squares: np.ndarray,
    rows: np.ndarray,
) -> None:
    """Fill `squares` (squared distances) and `rows`, both n × k and empty at the start."""
    n_blocks, width = values.shape[0], values.shape[1]
    first = min(FIRST_COORDINATES, width)
    bound = np.empty(n_blocks, dtype=np.float32)
    square = np.empty(BLOCK, dtype=np.float32)
    for row in range(queries.shape[0]):
        query, found, known = queries[row], squares[row], rows[row]
        _bounds(query, centres, radii, bound)
        for turn in range(FIRST_BLOCKS + n_blocks):
            b = np.argmin(bound) if turn < FIRST_BLOCKS else turn - FIRST_BLOCKS
            if not bound[b] < found[-1]:
                continue
            bound[b] = np.inf  # not a second time
            square[:] = 0
            _add_squares(query, values[b], 0, first, square)
            if np.min(square) < found[-1]:
                _add_squares(query, values[b], first, width, square)
                for j in range(BLOCK):
                    if square[j] < found[-1]:
                        _insert(square[j], order[b, j], found, known)


@njit(nogil=True)
def _bounds(query: np.ndarray, centres: np.ndarray, radii: np.ndarray, bound: np.ndarray) -> None:
    """The least squared distance that a point of each block can have."""
    bound[:] = 0
    for c in range(centres.shape[0]):
        x = query[c]  # read once: `bound` might share its memory, for all the compiler knows
        for b in range(bound.size):
            difference = x - centres[c, b]
            bound[b] += difference * difference
    for b in range(bound.size):
        gap = np.sqrt(bound[b]) * np.float32(1 - SLACK) - radii[b]
        bound[b] = gap * gap if gap > 0 else np.float32(0)
    if np.isnan(query).any():
        bound[:] = np.inf


@njit(nogil=True)
def _add_squares(query: np.ndarray, block: np.ndarray, begin: int, end: int, square: np.ndarray) -> None:
    for c in range(begin, end):
        x = query[c]
        for j in range(BLOCK):
            difference = x - block[c, j]
            square[j] += difference * difference


@njit(nogil=True)
def _insert(value: float, row: int, found: np.ndarray, known: np.ndarray) -> None:
    """Put one more among the k nearest, ascending; of equals the one found first stays first."""
    place = found.size - 1
    while place > 0 and found[place - 1] > value:
        found[place] = found[place - 1]
        known[place] = known[place - 1]
        place -= 1
    found[place] = value
    known[place] = row

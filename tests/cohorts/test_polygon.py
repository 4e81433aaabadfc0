"""Points in polygons against a slow reference, and what is left of a polygon with fewer corners."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ehrfm_core.cohorts.polygon import MAX_VERTICES, inside, simplify
from ehrfm_core.errors import UserError

NUMBERS = st.floats(-50, 50, allow_nan=False)
CORNERS = st.lists(st.tuples(NUMBERS, NUMBERS), min_size=3, max_size=300)


def slow(x: float, y: float, polygon: tuple[tuple[float, float], ...]) -> bool:
    odd = False
    for (x0, y0), (x1, y1) in zip((polygon[-1], *polygon[:-1]), polygon, strict=True):
        if (y0 > y) != (y1 > y) and x < (x1 - x0) * (y - y0) / (y1 - y0) + x0:
            odd = not odd
    return odd


@settings(deadline=None, max_examples=150)
@given(CORNERS, st.integers(0, 2**32 - 1))
def test_inside_is_the_even_odd_rule(corners: list[tuple[float, float]], seed: int) -> None:
    polygon = tuple(corners)
    x, y = np.random.default_rng(seed).uniform(-55, 55, (2, 50))
    assert inside(x, y, polygon).tolist() == [slow(a, b, polygon) for a, b in zip(x, y, strict=True)]


@settings(deadline=None, max_examples=150)
@given(CORNERS)
def test_a_simplified_polygon_has_few_corners_all_of_them_its_own(corners: list[tuple[float, float]]) -> None:
    x, y = ([corner[i] for corner in corners] for i in (0, 1))
    try:
        simple = simplify(x, y)
    except UserError:
        assert len({(round(a, 3), round(b, 3)) for a, b in corners}) < 3 or len(corners) > 3
        return
    rounded = {(float(a), float(b)) for a, b in np.round(corners, 3) + 0.0}
    assert 3 <= len(simple) <= MAX_VERTICES
    assert set(simple) <= rounded
    assert simplify(*zip(*simple, strict=True)) == simple


def test_a_circle_of_a_thousand_corners_keeps_its_area() -> None:
    turn = np.linspace(0, 2 * np.pi, 1000, endpoint=False)
    x, y = np.array(simplify(10 * np.cos(turn), 10 * np.sin(turn))).T
    area = 0.5 * abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))
    assert area == pytest.approx(100 * np.pi, rel=0.005)


def test_a_point_without_a_place_is_outside() -> None:
    square = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
    assert inside(np.array([np.nan, 0.5]), np.array([0.5, np.nan]), square).tolist() == [False, False]


@pytest.mark.parametrize(
    ("x", "y"),
    [([0, 1], [0, 1]), ([0, 1, None], [0, 1, 2]), ([0, 1], [0]), ([1e9, 0, 1], [0, 1, 2]), ([], [])],
)
def test_what_is_no_polygon_is_refused(x: list[float], y: list[float]) -> None:
    with pytest.raises(UserError):
        simplify(x, y)

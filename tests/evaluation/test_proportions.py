from __future__ import annotations

import numpy as np

from ehrfm_core.evaluation.proportions import wilson_interval


def test_wilson_against_published_values() -> None:
    low, high = wilson_interval(np.array([81, 0]), np.array([263, 20]))  # Newcombe, Stat Med 1998, table I
    np.testing.assert_allclose(low, [0.2553, 0.0], atol=1e-4)
    np.testing.assert_allclose(high, [0.3662, 0.1611], atol=1e-4)


def test_the_bounds_are_shares_also_at_the_ends() -> None:
    low, high = wilson_interval(np.array([0, 7]), np.array([7, 7]))
    assert low[0] == 0
    assert high[1] == 1
    np.testing.assert_allclose(low[1], 1 - high[0])

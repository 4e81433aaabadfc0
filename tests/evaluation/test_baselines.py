from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from ehrfm_core.errors import UserError
from ehrfm_core.evaluation.baselines import age_sex_encoder, n_tokens, token_counts
from ehrfm_core.evaluation.sites import ID, SiteData, Stays, align

from .data import make_site, with_stays


def small(tokens: list[list[int] | None]) -> SiteData:
    site = make_site("a", len(tokens))
    ids = sorted(site.state_ids)
    windows = pl.DataFrame({ID: ids, "tokens": pl.Series(tokens, dtype=pl.List(pl.Int32))})
    return replace(site, windows=windows)


def stays_of(site: SiteData) -> Stays:
    return align(site)[0]


def test_token_counts() -> None:
    counts = token_counts(stays_of(small([[0, 2, 2], [], [1]])), vocabulary_size=4)
    np.testing.assert_allclose(np.expm1(counts), [[1, 0, 2, 0], [0, 0, 0, 0], [0, 1, 0, 0]])


def test_token_outside_the_vocabulary_is_a_clear_mistake() -> None:
    with pytest.raises(UserError, match="a: the windows hold tokens outside the vocabulary of 4"):
        token_counts(stays_of(small([[0], [4]])), vocabulary_size=4)


def test_number_of_tokens() -> None:
    np.testing.assert_allclose(n_tokens(stays_of(small([[1, 1, 1], [], None])))[:, 0], [np.log(3), 0, 0])


def test_age_takes_the_training_median_and_sex_the_training_values() -> None:
    rows = pl.DataFrame({"age": [40.0, None, 60.0, float("nan")], "sex": ["Female", None, "Male", "Female"]})
    site = make_site("a", 4)
    training = stays_of(replace(site, stays=site.stays.sort(ID).with_columns(rows)))
    encode = age_sex_encoder(training)
    expected = [[40, 1, 0, 0], [50, 0, 0, 1], [60, 0, 1, 0], [50, 1, 0, 0]]
    np.testing.assert_allclose(encode(training), expected)
    other = stays_of(with_stays(make_site("b", 3), pl.lit(None).alias("age"), pl.lit("Other").alias("sex")))
    np.testing.assert_allclose(encode(other), [[50, 0, 0, 0]] * 3)


def test_no_known_age_at_all() -> None:
    stays = stays_of(with_stays(make_site("a", 5), pl.lit(None, dtype=pl.Float64).alias("age")))
    assert (age_sex_encoder(stays)(stays)[:, 0] == 0).all()

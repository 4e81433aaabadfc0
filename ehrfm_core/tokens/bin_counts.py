"""How many values of each category fall into each bin, counted from timelines."""

from __future__ import annotations

import numpy as np
import polars as pl

from ehrfm_core.tokens.decode import subject_table, subjects, token_table
from ehrfm_core.tokens.tokenizer import Tokenizer
from ehrfm_core.tokens.vocabulary import AGE
from ehrfm_core.tokens.window import to_ragged

STAYS_AT_A_TIME = 10_000
SCHEMA = {"code": pl.String(), "bin": pl.Int32(), "n": pl.Int64()}


def bin_counts(timelines: pl.DataFrame, tokenizer: Tokenizer) -> pl.DataFrame:
    """One row a code (family/name, or age) and bin that occurs: code, bin (from 0), n, in that order.

    `timelines` has tokens (list). Values that have no bin are not counted.

    >>> from ehrfm_core.tokens.settings import TokenSettings
    >>> vocabulary = {"TL_START": 0, "Q0": 1, "Q1": 2, "lab/potassium": 3}
    >>> tokenizer = Tokenizer(TokenSettings(n_bins=2), {"lab/potassium": [4.0]}, vocabulary)
    >>> frame = pl.DataFrame({"tokens": [[0, 3, 2], [0, 3, 1]]})
    >>> bin_counts(frame, tokenizer).rows()
    [('lab/potassium', 0, 1), ('lab/potassium', 1, 1)]
    """
    vocabulary = tokenizer.vocabulary
    size = max(vocabulary.values(), default=0) + 1
    bins = np.full(size, -1, dtype=np.int64)
    table = token_table(vocabulary)
    bins[table["token_id"].to_numpy()] = table["bin"].fill_null(-1).to_numpy()
    width = int(bins.max()) + 1
    counts = np.zeros((size + 1) * max(width, 1), dtype=np.int64)  # the age bin's subject is −1
    for part in timelines.select("tokens").iter_slices(STAYS_AT_A_TIME):
        tokens = to_ragged(part["tokens"], np.int32)
        about = subjects(tokens.values, tokens.positions, vocabulary, age_position=tokenizer.age_position)
        place = bins[tokens.values]
        valued = place >= 0
        cells = (about[valued].astype(np.int64) + 1) * width + place[valued]
        counts += np.bincount(cells, minlength=len(counts))
    found = np.flatnonzero(counts)
    frame = pl.DataFrame(
        {
            "subject": pl.Series(found // max(width, 1) - 1, dtype=pl.Int32),
            "bin": pl.Series(found % max(width, 1), dtype=pl.Int32),
            "n": pl.Series(counts[found], dtype=pl.Int64),
        }
    )
    code = (
        pl.when(pl.col("family") == AGE)
        .then(pl.lit(AGE))
        .otherwise(pl.concat_str("family", pl.lit("/"), "name"))
    )
    return (
        frame.join(subject_table(vocabulary), on="subject", how="inner")
        .with_columns(code.alias("code"))
        .group_by("code", "bin")
        .agg(pl.col("n").sum())
        .select(pl.col(name).cast(dtype) for name, dtype in SCHEMA.items())
        .sort("code", "bin")
    )

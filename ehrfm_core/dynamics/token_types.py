"""Which kinds of tokens move the state, and which surprise the model; where a stay's largest jumps are.

Jump and information as in `measures`. A token counts for what it is about, a value for its category.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from ehrfm_core.errors import UserError
from ehrfm_core.outcomes import OUTCOMES, Outcomes
from ehrfm_core.ragged import Ragged
from ehrfm_core.tokens.decode import subject_table, subjects, token_table
from ehrfm_core.tokens.tokenizer import Tokenizer
from ehrfm_core.tokens.window import to_ragged, to_series

ID = "hospitalization_id"
PREFIX = "prefix"
PER_STAY = 5


def token_types(windows: pl.DataFrame, jumps: pl.DataFrame, tokenizer: Tokenizer) -> pl.DataFrame:
    """What each family of tokens and each name within it adds to the paths, over all stays of `windows`.

    `windows` has hospitalization_id and tokens (list), `jumps` hospitalization_id, jump and information
    (lists, one entry a token); they are joined by id. Columns as in `token_types.parquet` without the site:
    a row a family (`name` null) followed by its names. The static prefix is the family "prefix", its names
    are race, ethnicity and so on. The start token is no step and counts nowhere, so that over the families
    the shares of Σ Δ_t and of Σ −ln p(x_t | x_<t) add up to 1. Raises UserError where the lists differ in
    length.
    """
    frame = _joined(windows, jumps).sort(ID)
    tokens = to_ragged(frame["tokens"], np.int32)
    step = tokens.positions > 0
    about = subjects(
        tokens.values, tokens.positions, tokenizer.vocabulary, age_position=tokenizer.age_position
    )
    flat = pl.DataFrame(
        {
            "stay": tokens.rows[step].astype(np.int32),
            "subject": about[step],
            "prefix": (tokens.positions <= len(tokenizer.prefix))[step],
            "jump": to_ragged(frame["jump"], np.float64).values[step],
            "information": to_ragged(frame["information"], np.float64).values[step],
        }
    ).with_columns(pl.col("information").fill_nan(None))
    flat = flat.join(
        _names(tokenizer.vocabulary), on=["subject", "prefix"], how="left", maintain_order="left"
    )
    families = _measured(flat, "family", "prefix").with_columns(pl.lit(None, pl.String).alias("name"))
    named = _measured(flat, "family", "name", "prefix")
    return (
        pl.concat([families, named], how="diagonal_relaxed")
        .with_columns(pl.col("family").cast(pl.String))
        .sort("family", "prefix", "name", nulls_last=False)
    )


def _names(vocabulary: dict[str, int]) -> pl.DataFrame:
    """Family and name of every subject, within the prefix and after it, as small numbers."""
    table = subject_table(vocabulary)
    static = table.select("subject", pl.lit(PREFIX).alias("family"), pl.col("family").alias("name"))
    both = pl.concat(
        [table.with_columns(prefix=pl.lit(value=False)), static.with_columns(prefix=pl.lit(value=True))]
    )
    return both.with_columns(pl.col(c).cast(pl.Enum(both[c].unique().sort())) for c in ("family", "name"))


def _measured(flat: pl.DataFrame, *keys: str) -> pl.DataFrame:
    figures = [
        figure
        for c in ("jump", "information")
        for figure in (
            pl.col(c).mean().alias(f"mean_{c}"),
            pl.col(c).quantile(0.5, "linear").alias(f"median_{c}"),
            pl.col(c).quantile(0.9, "linear").alias(f"p90_{c}"),
            pl.col(c).sum().alias(f"sum_{c}"),
        )
    ]
    table = flat.group_by(keys).agg(
        pl.len().alias("n_tokens"), pl.col("stay").n_unique().alias("n_stays"), *figures
    )
    shares = {"path_share": "sum_jump", "information_share": "sum_information"}
    return table.with_columns(
        pl.when(pl.col(c).sum() > 0).then(pl.col(c) / pl.col(c).sum()).alias(name)
        for name, c in shares.items()
    ).drop(shares.values())


def largest_jumps(
    windows: pl.DataFrame,
    jumps: pl.DataFrame,
    tokenizer: Tokenizer,
    *,
    k: int = PER_STAY,
    outcomes: Outcomes = OUTCOMES,
) -> pl.DataFrame:
    """The `k` largest event jumps of every stay, one row each: the columns of `largest_jumps.parquet`.

    `windows` has hospitalization_id, tokens and minutes (lists), `jumps` the lists of `jumps.parquet`; they
    are joined by id. Sorted by stay and rank, equal jumps in order of time; a stay with fewer events has
    fewer rows. `change_<outcome>` is the risk after the token − the risk before it, null without risks.
    Raises UserError where the lists differ in length.
    """
    frame = _joined(windows, jumps)
    tokens = to_ragged(frame["tokens"], np.int32)
    about = subjects(
        tokens.values, tokens.positions, tokenizer.vocabulary, age_position=tokenizer.age_position
    )
    first = 1 + len(tokenizer.prefix)
    ranked = pl.element().rank("ordinal", descending=True).arg_sort().head(k)
    at = pl.col("position")
    taken = {
        "minute": pl.col("minutes").list.gather(at),
        "token_id": pl.col("tokens").list.gather(at),
        "subject": pl.col("subject").list.gather(at),
        "jump": pl.col("jump").list.gather(at),
        "information": pl.col("information").list.gather(at),
        **{f"change_{name}": _change(f"risk_{name}", jumps, at) for name in outcomes},
    }
    long = (
        frame.with_columns(
            to_series(Ragged(about, tokens.offsets)).alias("subject"),
            (pl.col("jump").list.slice(first).list.eval(ranked).cast(pl.List(pl.Int32)) + first).alias(
                "position"
            ),
        )
        .select(ID, "position", **taken)
        .with_columns(rank=pl.int_ranges(1, at.list.len() + 1, dtype=pl.Int32))
        .explode("rank", "position", *taken, empty_as_null=False)
    )
    named = long.join(
        token_table(tokenizer.vocabulary).drop("family", "name"), on="token_id", how="left"
    ).join(subject_table(tokenizer.vocabulary), on="subject", how="left")
    order = [
        ID,
        "rank",
        "position",
        "minute",
        "token",
        "family",
        "name",
        "bin",
        "answer",
        "jump",
        "information",
    ]
    return named.select(*order, *(f"change_{name}" for name in outcomes)).sort(ID, "rank")


def _change(risk: str, jumps: pl.DataFrame, at: pl.Expr) -> pl.Expr:
    """Risk at a position less the risk before it, for lists of positions; a stay without risks has nulls."""
    empty = pl.lit([], dtype=pl.List(pl.Float32))
    known = pl.col(risk).fill_null(empty) if risk in jumps.columns else empty
    return known.list.gather(at, null_on_oob=True) - known.list.gather(at - 1, null_on_oob=True)


def _joined(windows: pl.DataFrame, jumps: pl.DataFrame) -> pl.DataFrame:
    frame = windows.join(jumps, on=ID)
    length = pl.col("tokens").list.len()
    wrong = frame.filter(
        pl.any_horizontal(pl.col(c).list.len().ne_missing(length) for c in ("jump", "information"))
    ).height
    if wrong:
        raise UserError(
            f"jumps.parquet has not one entry a token of the window for {wrong} stays; run embed again."
        )
    return frame

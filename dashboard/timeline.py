"""One stay's first 24 hours, token by token, in words."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import streamlit as st

from dashboard import data
from ehrfm_core.study import Study
from ehrfm_core.tokens.decode import decode
from ehrfm_core.tokens.tokenizer import Tokenizer
from ehrfm_core.tokens.vocabulary import FAMILY_LABELS, PREFIX_FAMILIES, START
from ehrfm_core.tokens.window import model_window

PREFIX_LABEL = "Known at the start"
LABELS = FAMILY_LABELS | {"special": "Unknown, cut off"}


def stay_tokens(study: Study, site: str, stay: str) -> pl.DataFrame:
    """One row a token of the window: what `decode` gives, and jump, information, hour, prefix, text.

    `jump` is the distance in the full space from the state before the token to the state after it,
    `information` −log p of the token in nats; both are null where the study holds none. `prefix` marks the
    static tokens every stay begins with. An unknown stay gives no rows.
    """
    return _stay_tokens(str(study.folder), study.digest, site, stay)


@st.cache_resource(max_entries=64, show_spinner=False)
def _stay_tokens(folder: str, digest: str, site: str, stay: str) -> pl.DataFrame:
    study = data.open_study(folder)
    tokenizer = data.tokenizer(study)
    mine = pl.col("hospitalization_id") == stay
    timeline = data.site_table(study, site, "timelines").filter(mine).head(1)
    if timeline.is_empty():
        return decode([], [], tokenizer["vocabulary"]).pipe(_describe, {})
    window = model_window(timeline, Tokenizer.from_json(tokenizer))
    tokens = decode(
        window["tokens"][0].to_list(),
        window["minutes"][0].to_list(),
        tokenizer["vocabulary"],
        age_position=Tokenizer.from_json(tokenizer).age_position,
    )
    jumps = data.site_table(study, site, "jumps").filter(mine).head(1)
    for column in ("jump", "information"):
        values = [] if jumps.is_empty() else jumps[column].to_list()[0] or []
        fits = len(values) == len(tokens)
        tokens = tokens.with_columns(
            pl.Series(column, values if fits else [None] * len(tokens), dtype=pl.Float64)
        )
    return _describe(tokens, n_bins(tokenizer))


def read_tokens(
    tokens: np.ndarray,
    minutes: np.ndarray,
    jumps: np.ndarray,
    information: np.ndarray,
    tokenizer: dict[str, Any],
) -> pl.DataFrame:
    """The same for a window that was read just now: ids, minutes, jumps, nats (T each)."""
    table = decode(
        tokens.tolist(),
        minutes.tolist(),
        tokenizer["vocabulary"],
        age_position=Tokenizer.from_json(tokenizer).age_position,
    ).with_columns(
        jump=pl.Series(jumps, dtype=pl.Float64),
        information=pl.Series(information, dtype=pl.Float64).fill_nan(None),
    )
    return _describe(table, n_bins(tokenizer))


def n_bins(tokenizer: dict[str, Any]) -> dict[str, int]:
    """How many bins each code (family/name) has; age is the code `age/age`."""
    bins = {code: len(cuts) + 1 for code, cuts in tokenizer["cut_points"].items()}
    return bins | dict.fromkeys(tokenizer.get("reference", {}), 3) | {"age/age": bins.get("age", 0)}


def _describe(tokens: pl.DataFrame, bins: dict[str, int]) -> pl.DataFrame:
    if "jump" not in tokens.columns:
        tokens = tokens.with_columns(jump=pl.lit(None, pl.Float64), information=pl.lit(None, pl.Float64))
    name = pl.col("name").str.replace_all("_", " ").fill_null("unknown")
    code = pl.concat_str("family", pl.lit("/"), "name")
    most = code.replace_strict(bins, default=None, return_dtype=pl.Int64).fill_null(0) if bins else pl.lit(0)
    level = pl.concat_str(pl.lit(" · bin "), pl.col("bin") + 1, pl.lit(" of "), most)
    # against a reference range
    against = pl.concat_str(
        pl.lit(" · "), pl.col("token").str.extract("(LOW|NORMAL|HIGH)$").str.to_lowercase()
    )
    answer = pl.concat_str(pl.lit(": "), pl.col("answer").str.replace_all("_", " "))
    # families of a map of one's own, or of MEDS, by their own name
    own = pl.concat_str(
        pl.col("family").str.slice(0, 1).str.to_uppercase(),
        pl.col("family").str.slice(1).str.replace_all("_", " "),
    ).fill_null("Other")
    return tokens.with_columns(
        hour=pl.col("minute") / 60,
        prefix=pl.col("family").is_in(PREFIX_FAMILIES) | (pl.col("token") == START),
        label=pl.when(pl.col("family").is_in(PREFIX_FAMILIES) | (pl.col("token") == START))
        .then(pl.lit(PREFIX_LABEL))
        .otherwise(pl.col("family").replace_strict(LABELS, default=own, return_dtype=pl.String)),
        text=pl.concat_str(name, pl.coalesce(against, level, answer, pl.lit(""))),
    )


def largest_jumps(tokens: pl.DataFrame, k: int = 5) -> pl.DataFrame:
    """The `k` event tokens with the largest jumps, largest first; `rank` counts from 1."""
    return (
        tokens.filter(~pl.col("prefix") & pl.col("jump").is_not_null())
        .sort("jump", descending=True, maintain_order=True)
        .head(k)
        .with_row_index("rank", offset=1)
    )

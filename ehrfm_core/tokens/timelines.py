"""From events to timelines of tokens."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from ehrfm_core.clif.tables import ID
from ehrfm_core.tokens.tokenizer import UNKNOWN_DISCHARGE, Tokenizer, events_of_stays, static_token
from ehrfm_core.tokens.vocabulary import END, START, UNK, bin_token


@dataclass(frozen=True)
class Timelines:
    """Timelines of a site.

    `frame`: hospitalization_id, tokens (list of ids) and minutes (list, since the start, never falling),
    one row a stay, the whole stay. `unknown`: code and n of the events the vocabulary does not know.
    `n_events` counts the events of these stays, `n_outside` those left out because they lie more than 24 h
    before the start or after the end.
    """

    frame: pl.DataFrame
    unknown: pl.DataFrame
    n_events: int
    n_outside: int


def build_timelines(stays: pl.DataFrame, events: pl.LazyFrame, tokenizer: Tokenizer) -> Timelines:
    """Timelines: start, race, ethnicity, sex, age decile, admission type, events, discharge, end.

    An event is its category, then the bin of its value (or its answer). Events of one time stand in the
    order of `clif.events.EVENT_SOURCES`, then by token, so that the order of rows in a table changes
    nothing. A code the vocabulary does not know is one UNK. Rows come sorted by id.
    """
    stays = stays.sort(ID)
    known = _token_ids(tokenizer)
    own = events_of_stays(events, stays).join(_categories(tokenizer), on="code", how="left")
    coded = (
        own.join(known.lazy().rename({"token": "answer", "id": "answer_id"}), on="answer", how="left")
        .with_columns(_bin(tokenizer).alias("bin_id"))
        .with_columns(
            pl.when(pl.col("id").is_not_null()).then(pl.coalesce("bin_id", "answer_id")).alias("second"),
            pl.col("id").fill_null(tokenizer.vocabulary[UNK]).alias("first"),
        )
        .select(ID, "time", "minute", "rank", "code", "first", "second", pl.col("id").is_null().alias("new"))
        .collect()
    )
    unknown = coded.filter("new").group_by("code").agg(pl.len().alias("n")).sort("n", "code", descending=True)
    body = (
        coded.sort(ID, "time", "rank", "first", "second", nulls_last=True)
        .with_columns(pl.concat_list("first", "second").list.drop_nulls().alias("token"))
        .select(ID, "minute", "token")
        .explode("token")
        .group_by(ID, maintain_order=True)
        .agg(pl.col("token").alias("tokens"), pl.col("minute").alias("minutes"))
    )
    frame = stays.join(body, on=ID, how="left", maintain_order="left").with_columns(
        pl.col("tokens").fill_null([]), pl.col("minutes").fill_null([])
    )
    end = ((pl.col("end") - pl.col("start")).dt.total_microseconds() / 1e6).ceil() / 60
    prefix = _prefix(tokenizer, known)
    unknown_end = tokenizer.vocabulary[UNKNOWN_DISCHARGE]
    suffix = [_static_id("discharge", known, unknown_end), pl.lit(tokenizer.vocabulary[END], dtype=pl.Int32)]
    zero = pl.lit(0.0, dtype=pl.Float32)
    frame = frame.select(
        ID,
        pl.concat_list(*prefix, "tokens", *suffix).alias("tokens"),
        pl.concat_list(*[zero] * len(prefix), "minutes", *[end.cast(pl.Float32)] * len(suffix)).alias(
            "minutes"
        ),
    )
    everything = events.join(stays.lazy().select(ID), on=ID, how="semi").select(pl.len()).collect().item()
    return Timelines(frame, unknown, coded.height, everything - coded.height)


def _token_ids(tokenizer: Tokenizer) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "token": list(tokenizer.vocabulary),
            "id": pl.Series(list(tokenizer.vocabulary.values()), dtype=pl.Int32),
        }
    )


def _categories(tokenizer: Tokenizer) -> pl.LazyFrame:
    """Codes with their id and cut points, one column a cut point (null where a code has no values)."""
    n_cuts = tokenizer.settings.n_bins - 1
    columns: dict[str, list[float | None]] = {f"cut{i}": [] for i in range(n_cuts)}
    for token in tokenizer.vocabulary:
        cuts = tokenizer.cut_points.get(token, [None] * n_cuts)
        for i in range(n_cuts):
            columns[f"cut{i}"].append(cuts[i])
    frame = _token_ids(tokenizer).rename({"token": "code"})
    return frame.hstack(
        [pl.Series(name, values, dtype=pl.Float64) for name, values in columns.items()]
    ).lazy()


def _bin(tokenizer: Tokenizer) -> pl.Expr:
    """Id of the value token: the number of cut points at or below the value (as numpy.digitize)."""
    cuts = [pl.col(f"cut{i}") for i in range(tokenizer.settings.n_bins - 1)]
    index = pl.sum_horizontal((pl.col("value") >= cut).cast(pl.Int32) for cut in cuts)
    first = tokenizer.vocabulary[bin_token(0)]
    return pl.when(pl.col("value").is_not_null() & cuts[0].is_not_null()).then((index + first).cast(pl.Int32))


def _static_id(column: str, known: pl.DataFrame, unknown: int) -> pl.Expr:
    return (
        static_token(column)
        .replace_strict(known["token"], known["id"], default=unknown, return_dtype=pl.Int32)
        .alias(f"{column}_id")
    )


def _prefix(tokenizer: Tokenizer, known: pl.DataFrame) -> list[pl.Expr]:
    index = pl.sum_horizontal((pl.col("age") >= cut).cast(pl.Int32) for cut in tokenizer.cut_points["age"])
    age = pl.when(pl.col("age").is_not_null()).then(index + tokenizer.vocabulary[bin_token(0)])
    return [
        pl.lit(tokenizer.vocabulary[START], dtype=pl.Int32).alias("start_id"),
        *(_static_id(column, known, tokenizer.vocabulary[UNK]) for column in ("race", "ethnicity", "sex")),
        age.fill_null(tokenizer.vocabulary[UNK]).cast(pl.Int32).alias("age_id"),
        _static_id("admission_type", known, tokenizer.vocabulary[UNK]),
    ]

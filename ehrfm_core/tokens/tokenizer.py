"""The tokenizer: settings, cut points and vocabulary, learnt from the source's training split only."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from ehrfm_core.clif.tables import ID
from ehrfm_core.cohort import EDGE_HOURS
from ehrfm_core.errors import UserError
from ehrfm_core.outcomes import WINDOW_HOURS
from ehrfm_core.tokens import vocabulary as names

# static columns of a stay, in the order of the prefix; age stands as a value token between them
STATIC = ("race", "ethnicity", "sex", "admission_type", "discharge")
STATIC_FAMILY = {"admission_type": "admission"}
MISSING = "missing"
UNKNOWN_DISCHARGE = "discharge/unknown"  # never UNK, which would not be known as part of the suffix


@dataclass(frozen=True)
class TokenSettings:
    """Settings of the tokens: the paper's scheme, deciles, 24 h, at most 1,024 tokens."""

    scheme: str = "paper"
    n_bins: int = 10
    window_hours: float = WINDOW_HOURS
    max_tokens: int = 1024


@dataclass(frozen=True)
class Tokenizer:
    """What turns events into tokens.

    `cut_points[code]` are the n_bins − 1 quantiles of the code's values, `vocabulary` maps tokens to ids.
    """

    settings: TokenSettings
    cut_points: dict[str, list[float]]
    vocabulary: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        """A value for `tokenizer.json`."""
        return {**asdict(self.settings), "cut_points": self.cut_points, "vocabulary": self.vocabulary}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Tokenizer:
        """Read what `to_json` wrote; UserError where a part is missing."""
        try:
            settings = TokenSettings(**{key: value[key] for key in TokenSettings.__dataclass_fields__})
            return cls(settings, value["cut_points"], value["vocabulary"])
        except (KeyError, TypeError) as error:
            raise UserError(f"tokenizer.json lacks {error}; run `python -m train tokenize` again.") from None


def static_token(column: str) -> pl.Expr:
    """The token of a static column, e.g. `race/white`; a null is `race/missing`."""
    cleaned = pl.col(column).str.strip_chars().str.to_lowercase().str.replace_all(r"\s+", "_")
    return pl.lit(STATIC_FAMILY.get(column, column) + "/") + cleaned.fill_null(MISSING)


def events_of_stays(events: pl.LazyFrame, stays: pl.DataFrame) -> pl.LazyFrame:
    """Events of these stays, from 24 h before the start to the end, with `minute` since the start.

    Minutes are whole seconds rounded up, so that nothing after a cut is ever counted before it; what was
    recorded before the start (emergency department, transfers) is known at minute 0.
    """
    edges = stays.lazy().select(ID, "start", "end")
    seconds = (pl.col("time") - pl.col("start")).dt.total_microseconds() / 1e6
    return (
        events.join(edges, on=ID)
        .filter(pl.col("time").is_between(pl.col("start") - pl.duration(hours=EDGE_HOURS), pl.col("end")))
        .with_columns((seconds.ceil().clip(0) / 60).cast(pl.Float32).alias("minute"))
        .drop("start", "end")
    )


def fit_tokenizer(stays: pl.DataFrame, events: pl.LazyFrame, settings: TokenSettings) -> Tokenizer:
    """Learn cut points and vocabulary from the rows of `stays` whose split is train.

    `stays` as from `cohort.read_stays` with `split`, `events` as from `clif.events.scan_events`.
    Cut points are the quantiles 1/n_bins … of each code's finite values, linearly interpolated.
    """
    train = stays.filter(pl.col("split") == "train")
    if train.is_empty():
        raise UserError("The source site has no stay in its training split; it needs at least one patient.")
    shares = [i / settings.n_bins for i in range(1, settings.n_bins)]
    quantiles = [pl.col("value").quantile(q, "linear").alias(f"cut{i}") for i, q in enumerate(shares)]
    codes = (
        events_of_stays(events, train)
        .group_by("code")
        .agg(*quantiles, pl.col("answer").drop_nulls().unique().alias("answers"))
        .sort("code")
        .collect()
    )
    cuts = codes.drop_nulls("cut0").select("code", pl.concat_list(r"^cut\d+$"))
    cut_points = dict(zip(cuts["code"].to_list(), cuts["cut0"].to_list(), strict=True))
    ages = train.select(pl.col("age").quantile(q, "linear").alias(f"cut{i}") for i, q in enumerate(shares))
    categories = set(codes["code"].to_list())
    categories.update(answer for answers in codes["answers"].to_list() for answer in answers)
    categories.add(UNKNOWN_DISCHARGE)
    for column in STATIC:
        categories.update(train.select(static_token(column)).to_series().to_list())
    return Tokenizer(
        settings,
        {"age": list(ages.row(0))} | cut_points,
        names.build(categories, n_bins=settings.n_bins),
    )

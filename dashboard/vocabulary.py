"""What the model reads, in numbers: categories by hospital, values by bin, tokens that stand for no event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import streamlit as st

from dashboard import data
from dashboard.each_row import each_row
from ehrfm_core.small_cells import MIN_CELL
from ehrfm_core.study import Study
from ehrfm_core.tokens import vocabulary as names
from ehrfm_core.tokens.bin_counts import bin_counts
from ehrfm_core.tokens.categories import event_codes
from ehrfm_core.tokens.decode import token_table
from ehrfm_core.tokens.tokenizer import Tokenizer

TRAINED, OTHERS, ALL = "train", "others", "all"  # stays whose values are counted
_UNCOUNTED = (names.SPACING_FAMILY, names.ANSWER_FAMILY, names.SUFFIX_FAMILY)  # as families of a window
_FIRST = "lab/potassium"  # shown before anything is chosen: everyone knows it


def family_label(family: str) -> str:
    """A family for a reader; one of a map of the user's own by its own name.

    >>> family_label("lab"), family_label("my_scores")
    ('Labs', 'My scores')
    """
    own = family[:1].upper() + family[1:].replace("_", " ")
    return names.FAMILY_LABELS.get(family, own)


def code_label(code: str) -> str:
    """A code for a reader: its family, then what it is.

    >>> code_label("lab/platelet_count"), code_label("age")
    ('Labs · platelet count', 'Age · in years')
    """
    family, _, name = code.partition("/")
    return f"{family_label(family)} · {name.replace('_', ' ') or 'in years'}"


def categories(study: Study) -> pl.DataFrame:
    """One row a code and site, every code at every site: `site` and the columns of `categories.parquet`.

    A code that a site never has counts 0 there; one that few have, or few lack, is null. Raises
    UserError where the study holds no such table.
    """
    frames = [
        data.site_table(study, site, "categories").with_columns(site=pl.lit(site)) for site in study.sites
    ]
    found = pl.concat(frames, how="diagonal")
    codes = found.group_by("code").agg(pl.col("family").first(), pl.col("known").any())
    every = codes.join(pl.DataFrame({"site": study.sites}), how="cross")
    counted = (
        "n_events",
        "n_stays",
        "n_events_window",
        "n_stays_window",
        "coverage",
        "n_values",
        "not_numbers",
    )
    rows = (
        every.join(found.drop("family", "known"), on=["code", "site"], how="left")
        .with_columns(pl.col(counted).fill_null(0))
        .sort("family", "code", maintain_order=True)
    )
    return without_few(rows, {site: len(data.site_table(study, site, "stays")) for site in study.sites})


def without_few(rows: pl.DataFrame, sizes: Mapping[str, int]) -> pl.DataFrame:
    """Rows of categories, null where 1 to 10 stays of a site have one, or are all that lack it.

    `sizes` are the stays of each site. Events are told where those that have them are many, or none.
    """
    size = pl.col("site").replace_strict(sizes, return_dtype=pl.Int64)

    def few(stays: str) -> pl.Expr:
        n = pl.col(stays).cast(pl.Int64)
        return n.is_between(1, MIN_CELL - 1) | (size - n).is_between(1, MIN_CELL - 1)

    window, whole = few("n_stays_window"), few("n_stays")
    window |= (pl.col("n_stays").cast(pl.Int64) - pl.col("n_stays_window")).is_between(1, MIN_CELL - 1)
    return rows.with_columns(
        pl.when(~window).then(pl.col("coverage", "n_stays_window", "n_events_window")),
        pl.when(~whole).then(pl.col("n_stays", "n_events", "n_values", "not_numbers")),
    )


def options(tokenizer: Tokenizer, rows: pl.DataFrame | None) -> dict[str, str]:
    """Codes to choose from, with their labels: the one shown at first, then all others by family.

    First is potassium, else the first code that has values. Those that become UNK say so.
    """
    known = event_codes(tokenizer) | ({names.AGE} if names.AGE in tokenizer.prefix else set())
    codes = known | (set(rows["code"]) if rows is not None else set())
    order = {family: place for place, family in enumerate(names.FAMILY_LABELS)}
    begin = (_FIRST, *sorted(code for code in known if code != names.AGE and tokenizer.value_tokens(code)))
    first = next((code for code in begin if code in codes), None)

    def key(code: str) -> tuple[bool, int, str]:
        return code != first, order.get(code.partition("/")[0], len(order)), code_label(code)

    return {c: code_label(c) + ("" if c in known else " (unknown)") for c in sorted(codes, key=key)}


@st.cache_resource(max_entries=32, show_spinner="Counting values …")
def _bins(folder: str, digest: str, site: str, stays: str) -> pl.DataFrame:
    study = data.open_study(folder)
    timelines = data.site_table(study, site, "timelines")
    if stays != ALL:
        trained = pl.col("split") == "train"
        keep = data.site_table(study, site, "stays").filter(trained if stays == TRAINED else ~trained)
        timelines = timelines.join(keep, on="hospitalization_id", how="semi")
    return bin_counts(timelines, Tokenizer.from_json(study.tokenizer()))


def values_by_bin(study: Study, tokenizer: Tokenizer, code: str) -> dict[tuple[str, str], np.ndarray]:
    """Values of a code in each of its bins (whole stays), by site and stays.

    The source's training split, from which the cut points come, then its other stays, then every stay of each
    other site: what the drift of `categories.parquet` compares. Without values nothing.
    """
    size = len(tokenizer.value_tokens(code))
    groups = [(study.source, TRAINED), (study.source, OTHERS)]
    groups += [(site, ALL) for site in study.sites if site != study.source]
    found = {}
    for site, stays in groups:
        rows = _bins(str(study.folder), study.digest, site, stays).filter(pl.col("code") == code)
        counts = np.zeros(size, dtype=np.int64)
        inside = rows.filter(pl.col("bin") < size)
        counts[inside["bin"].to_numpy()] = inside["n"].to_numpy()
        if counts.sum():
            found[site, stays] = counts
    return found


def empty_bins(cuts: Sequence[float]) -> list[int]:
    """Bins that no value can fall into, as their two cut points are the same.

    >>> empty_bins([1.1, 1.1, 1.2, 1.2, 1.2])
    [1, 3, 4]
    """
    return [i for i in range(1, len(cuts)) if cuts[i - 1] == cuts[i]]


def side_by_side(rows: pl.DataFrame, sites: Sequence[str]) -> pl.DataFrame:
    """One row a code: coverage of each site, their largest difference, drift and unknown events of each site.

    `rows` as `categories` gives. Columns: family, code, known, `coverage SITE`…, difference, `psi SITE`…,
    `noise SITE`…, `unknown SITE`… (events of whole stays that become UNK). With two sites the difference is
    the second's coverage less the first's, with more the largest less the smallest; with one there is none.
    """
    unknown = pl.when("known").then(0).otherwise("n_events").alias("unknown")
    rows = rows.with_columns(unknown)
    table = rows.group_by("family", "code", "known", maintain_order=True).agg()
    kinds = {"coverage": "coverage", "psi": "psi", "noise": "psi_noise", "unknown": "unknown"}
    for kind, column in kinds.items():
        for site in sites:
            own = rows.filter(pl.col("site") == site).select("code", pl.col(column).alias(f"{kind} {site}"))
            table = table.join(own, on="code", how="left", maintain_order="left")
        if kind == "coverage" and len(sites) > 1:
            held = [pl.col(f"coverage {site}") for site in sites]
            spread = (
                held[1] - held[0] if len(sites) == 2 else pl.max_horizontal(held) - pl.min_horizontal(held)
            )
            table = table.with_columns(difference=spread)
    return table


def token_families(study: Study) -> dict[str, dict[str, float]]:
    """Mean tokens a stay in the window by site and family, where the manifest holds them."""
    summary: dict[str, Any] = study.manifest.stages["tokenize"].summary
    sites = summary.get("sites") or {}
    found = {}
    for site in study.sites:
        means = (sites.get(site) or {}).get("families") or (summary.get("families") or {}).get(site)
        if isinstance(means, dict):
            found[site] = {family: float(mean) for family, mean in means.items() if mean}
    return found


def family_table(
    tokenizer: Tokenizer, rows: pl.DataFrame | None, means: Mapping[str, Mapping[str, float]]
) -> pl.DataFrame:
    """One row a family: its tokens in the vocabulary, mean tokens a stay and unknown events of each site.

    Columns: family (label), tokens, `mean SITE`…, `unknown SITE`… (share of its events, whole stays).
    """
    sizes = token_table(tokenizer.vocabulary).group_by("family").len("tokens")
    one = pl.when(pl.col("family") == "special").then(pl.lit(1, pl.UInt32)).otherwise("tokens")
    table = sizes.with_columns(tokens=one)  # of the special tokens UNK alone
    if rows is not None:
        more = rows.select("family").unique().join(table, on="family", how="anti")
        table = pl.concat([table, more.with_columns(tokens=pl.lit(0, pl.UInt32))])
    for site, own in means.items():
        mean = pl.col("family").replace_strict(_means(own), default=0.0, return_dtype=pl.Float64)
        table = table.with_columns(
            pl.when(~pl.col("family").is_in(_UNCOUNTED)).then(mean).alias(f"mean {site}")
        )
    if rows is not None:
        for site in rows["site"].unique(maintain_order=True):
            events = (
                rows.filter(pl.col("site") == site)
                .group_by("family")
                .agg(
                    (pl.col("n_events").filter(~pl.col("known")).sum() / pl.col("n_events").sum()).alias(
                        f"unknown {site}"
                    )
                )
            )
            table = table.join(events.fill_nan(None), on="family", how="left")
    order = {family: place for place, family in enumerate(names.FAMILY_LABELS)}
    place = pl.col("family").replace_strict(order, default=len(order), return_dtype=pl.Int64)
    unknown = pl.when(pl.col("family") == "special").then(pl.lit(f"Unknown ({names.UNK})"))
    table = table.sort(place, "family")
    return table.with_columns(unknown.otherwise(each_row(table, family_label, "family")).alias("family"))


def _means(own: Mapping[str, float]) -> dict[str, float]:
    """Means as the manifest has them, where the special tokens are the start and UNK: UNK alone."""
    return dict(own) | {"special": max(0.0, own.get("special", 1.0) - 1.0)}

"""What the hospitals chart, side by side: coverage of every category, drift of its values, unknown codes."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import streamlit as st

from dashboard import controls, state, theme, ui
from dashboard import vocabulary as words
from dashboard.charts import hospitals_charted as charts
from dashboard.each_row import each_row
from ehrfm_core.cell_words import RULE
from ehrfm_core.study import Study

MOST = 18  # categories whose drift is drawn
PSI = (
    "Population stability index of the values by bin against the source's training split: "
    "Σ (a − e) ln(a / e). 0 is no drift; customarily 0.1 is some and 0.25 much."
)
NOISE = (
    "What the index would be on average without any drift, (B − 1)(1/n + 1/m) for B bins and n and m values. "
    "Values of one stay go together, so chance alone gives more than this."
)


def draw(study: Study, rows: pl.DataFrame) -> None:
    """Unknown codes in a sentence, the two figures, the table."""
    table = words.side_by_side(rows, study.sites)
    st.markdown(f":gray[{_sentence(study, rows)}]")
    others = [site for site in study.sites if site != study.source]
    if others:
        target = others[0]
        if len(others) > 1:
            target = controls.choose(
                "Beside the source", {s: s for s in others}, key=state.TARGET, what="site"
            )
        left, right = st.columns(2, gap="large")
        with left:
            coverage(study, table, target)
        with right:
            drift(study, rows)
    else:
        drift(study, rows)
        st.caption(
            "One hospital only: coverage and drift at a second are shown here once the study has one. Drift "
            "here is between patients of the training split and the others."
        )
    everything(table, study.sites)


def _sentence(study: Study, rows: pl.DataFrame) -> str:
    parts = []
    for site in study.sites:
        own = rows.filter(pl.col("site") == site)
        lost, total = (int(own.filter(w)["n_events"].sum()) for w in (~pl.col("known"), pl.lit(value=True)))
        unknown = own.filter(~pl.col("known"))
        codes = unknown.filter(pl.col("n_events").is_null() | (pl.col("n_events") > 0)).height
        least = "at least " if unknown["n_events"].null_count() else ""
        share = f"{100 * lost / max(total, 1):.2g} %"
        some = f"{least}{lost:,} of {total:,} events ({share}) of {ui.count(codes, 'code')}"
        if not lost:  # untold, of 1 to 10 stays
            some = f"events of {ui.count(codes, 'code')}, of so few stays that they are not counted"
        parts.append(f"{ui.plain(site)} {some if codes else 'none'}")
    return "Unknown to the vocabulary, and all one token, UNK, to the model: " + "; ".join(parts) + "."


def coverage(study: Study, table: pl.DataFrame, target: str) -> None:
    """Coverage at the source and at one other site."""
    source = study.source
    told = table.drop_nulls([f"coverage {source}", f"coverage {target}"])
    shown = told.filter((pl.col(f"coverage {source}") > 0) | (pl.col(f"coverage {target}") > 0))
    gap = (pl.col(f"coverage {target}") - pl.col(f"coverage {source}")).abs()
    far = shown.filter(gap > 0.2).height
    ui.chart(
        charts.coverage(shown, source, target, {f: words.family_label(f) for f in shown["family"].unique()}),
        key="vocabulary-coverage",
        alt=f"Scatter: share of stays with each of {shown.height} categories at {source} and at {target}; "
        f"{far} differ by more than 20 points",
        caption=f"Share of all stays that have a category in the window; of {shown.height} categories {far} "
        f"differ by more than 20 points. {RULE} On the dashed line both hospitals chart it alike. Open: "
        "unknown to the vocabulary. The farthest are named, others by hovering. No interval.",
    )


def drift(study: Study, rows: pl.DataFrame) -> None:
    """The categories whose values drift most."""
    known = rows.drop_nulls(["psi", "psi_noise"]).select("site", "code", "psi", "psi_noise")
    known = known.filter(pl.col("site").is_in(study.sites))
    if known.is_empty():
        ui.absent(
            "Drift is not known",
            "This study holds no category with values on both sides of a comparison.",
            icon=":material/compare_arrows:",
        )
        return
    target = pl.col("site") != study.source if len(study.sites) > 1 else pl.lit(value=True)
    beyond = known.filter(target & (pl.col("psi") > pl.col("psi_noise")))
    order = beyond.group_by("code", maintain_order=True).agg(pl.col("psi").max().alias("most"))
    order = order.sort("most", "code", descending=[True, False]).head(MOST)
    shown = order.join(known, on="code", maintain_order="left")
    if shown.is_empty():
        st.caption("No category drifts more than chance would make it.")
        return
    ui.chart(
        charts.drift(shown, theme.site_colours(study.sites)),
        key="vocabulary-drift",
        alt="Population stability index of the categories that drift most: "
        + ", ".join(f"{words.code_label(code)} {most:.2g}" for code, most in order.head(5).iter_rows()),
        caption=f"The {order.height} categories that drift most and more than chance. PSI compares the "
        "shares of values in each bin with those in the source's training split (of the source itself, its "
        "other stays): 0 is no drift; dashed 0.1, from where one customarily speaks of some. Tick of that "
        "colour: what chance alone gives on average, were values independent; those of one stay are not, so "
        "it is a lower bound. No interval.",
    )


def everything(table: pl.DataFrame, sites: Sequence[str]) -> None:
    """Every category, side by side."""
    shown = table.with_columns(
        each_row(table, words.family_label, "family").alias("family"),
        pl.col("code").str.replace("^[^/]*/", "").str.replace_all("_", " "),
    )
    if "difference" in shown.columns:
        shown = shown.sort(pl.col("difference").abs(), descending=True, maintain_order=True)
    if not any(shown[f"unknown {site}"].sum() for site in sites):
        shown = shown.drop(*(f"unknown {site}" for site in sites))
    shown = shown.drop(
        f"{kind} {site}" for kind in ("psi", "noise") for site in sites if not shown[f"psi {site}"].count()
    )
    percent = st.column_config.NumberColumn
    columns: dict[str, object] = {
        "family": st.column_config.TextColumn("Family", pinned=True, width=165),
        "code": st.column_config.TextColumn("Category", pinned=True, width=165),
        "known": st.column_config.CheckboxColumn("Known", help="In the vocabulary; else its events are UNK"),
        "difference": percent("Difference", format="percent", help="Of the coverages"),
    }
    for site in sites:
        columns |= {
            f"coverage {site}": percent(
                f"Coverage, {site}", format="percent", help="Share of stays that have it in the window"
            ),
            f"psi {site}": st.column_config.NumberColumn(f"PSI, {site}", format="%.3f", help=PSI),
            f"noise {site}": st.column_config.NumberColumn(f"By chance, {site}", format="%.3f", help=NOISE),
            f"unknown {site}": st.column_config.NumberColumn(
                f"UNK, {site}", format="localized", help="Events of whole stays that become UNK"
            ),
        }
    ui.table(
        shown,
        height=420,
        alt="Every category with its coverage, drift and unknown events at each hospital",
        column_config=columns,
    )
    st.caption(
        "Every category of the vocabulary or of a hospital"
        + (", those that the hospitals chart most differently first" if len(sites) > 1 else "")
        + ". A click on a head sorts, the magnifying glass searches, the arrow saves."
    )

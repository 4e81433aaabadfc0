"""Outliers: who is unlike the source's patients, and whether it is the illness or the charting."""

from __future__ import annotations

import polars as pl
import streamlit as st

from dashboard import data, departures, detectors, measures, state, stays, theme, ui
from dashboard.charts import outliers as charts
from ehrfm_core import cell_words, small_cells
from ehrfm_core.outcomes import Outcome
from ehrfm_core.study import Study

DEFAULT = 0.5
EXTREME = 25


def main() -> None:
    """Draw the page."""
    study, outcome = ui.current()
    ui.header("Outliers", f"Who is unlike the patients of {study.source}, and do they fare differently?")
    ui.needs(study, "tokenize", "pretrain", "embed")
    frames = {site: data.held_out(study, site) for site in study.sites}
    known = {site: f for site, f in frames.items() if f["anomaly_score"].drop_nulls().len() > 0}
    if not known:
        ui.absent("No stay of the test split has an anomaly score", "The test split is empty at every site.")
        return
    st.markdown(
        f"A flag means **unlike the training stays of {study.source}**, never “abnormal patient”. Much of "
        "it can be how much is charted: compare the score with the number of tokens below."
    )
    left, right = st.columns([3, 2], gap="large")
    with left:
        ui.section("Scores and threshold")
        raw = st.query_params.get(state.THRESHOLD)
        if raw is not None and not _is_threshold(raw):
            state.tell_unknown(state.THRESHOLD, raw, "threshold")
        threshold = st.slider(
            "Threshold", 0.30, 0.80, DEFAULT, 0.01, key=state.THRESHOLD, bind="query-params"
        )
        sizes = "; ".join(
            f"{site}: n {cell_words.number(len(f))}, "
            f"{cell_words.part(int((f['anomaly_score'] > threshold).sum()), len(f))} above"
            for site, f in known.items()
        )
        ui.chart(
            charts.score_distribution(known, threshold, default=DEFAULT),
            key="scores",
            alt="Distribution of the anomaly score by site with the threshold",
            caption=f"Test split; {sizes}. Isolation forest on the 24 h hidden state (full space), fitted "
            f"on {study.source}'s training split; the same forest scores every site. Shares of all test "
            f"stays, no interval; neighbours are joined until {small_cells.MIN_CELL} stays are in each step.",
        )
    with right:
        inside_outside(known, study, outcome, threshold)
    drivers(known, study, threshold)
    detectors.compare(study, outcome)
    chosen = extremes(known, outcome)
    departures.why(study, *chosen)


def _is_threshold(raw: str) -> bool:
    try:
        return 0.3 <= float(raw) <= 0.8
    except ValueError:
        return False


def inside_outside(frames: dict[str, pl.DataFrame], study: Study, outcome: Outcome, threshold: float) -> None:
    """Outcome rate of flagged and other stays."""
    ui.section(f"{outcome.label}, flagged or not")
    counted = {site: f.filter(pl.col(f"counts_{outcome.name}")) for site, f in frames.items()}
    tables = {
        site: measures.inside_outside(f, outcome.name, threshold) for site, f in counted.items() if len(f)
    }
    if not tables:
        st.caption("No stay of the test split counts for this outcome.")
        return
    n = "; ".join(
        f"{s}: {cell_words.sized(len(f), int(f[outcome.name].sum() or 0))}" for s, f in counted.items()
    )
    ui.chart(
        charts.rates(tables, theme.site_colours(study.sites)),
        key="rates",
        alt=f"{outcome.label} rate above and below the anomaly threshold, by site",
        caption=f"Test split, stays that count; {n}. Split at {threshold:.2f} of a full-space score; bars: "
        "Wilson 95 %, unadjusted; none where either group has 1 to 10 stays with the outcome or without it.",
    )


def drivers(frames: dict[str, pl.DataFrame], study: Study, threshold: float) -> None:
    """Score against the amount of charting."""
    ui.section(
        "Is it the charting?",
        "If the score rises with the number of tokens, a flag may say “much was charted”, no more.",
    )
    colours = theme.site_colours(study.sites)
    for column, (site, frame) in zip(ui.grid(len(frames)), frames.items(), strict=False):
        with column:
            rho = measures.spearman(frame, ["n_tokens", "anomaly_score"])[0, 1]
            flagged = _mean(frame.filter(pl.col("anomaly_score") > threshold)["n_tokens"])
            rest = _mean(frame.filter(pl.col("anomaly_score") <= threshold)["n_tokens"])
            ui.chart(
                charts.score_tokens(frame, site, colours[site], threshold),
                key=f"tokens-{site}",
                alt=f"Anomaly score against number of tokens at {site}",
                caption=f"{site}, test split, n {len(frame):,}, any outcome. Spearman ρ = {rho:.2f} (no "
                f"interval). Mean tokens: flagged {flagged}, others {rest}.",
            )


def _mean(values: pl.Series) -> str:
    if small_cells.small(len(values)):
        return cell_words.UNTOLD
    mean = values.mean()
    return "–" if mean is None else f"{float(mean):,.0f}"  # type: ignore[arg-type]


def extremes(frames: dict[str, pl.DataFrame], outcome: Outcome) -> tuple[str, str]:
    """The stays with the highest scores; the site and id of the one chosen, else of the first."""
    ui.section("The most unusual stays", "Click a row to see what sets the stay apart, or open its path.")
    every = pl.concat(
        [f.with_columns(site=pl.lit(site)) for site, f in frames.items()], how="diagonal_relaxed"
    )
    top = every.drop_nulls("anomaly_score").sort("anomaly_score", descending=True).head(EXTREME)
    ids, sites = top["hospitalization_id"].to_list(), top["site"].to_list()

    def follow() -> None:
        rows = st.session_state["extremes"]["selection"]["rows"]
        if rows:
            state.set_focus(sites[rows[0]], ids[rows[0]])
            st.session_state[state.SITE] = sites[rows[0]]

    shown = top.select(
        "site",
        "hospitalization_id",
        "anomaly_score",
        "n_tokens",
        "path_length",
        "event_max_jump",
        "age",
        "sex",
        stays.happened(outcome),
    )
    number = st.column_config.NumberColumn
    ui.table(
        shown,
        key="extremes",
        on_select=follow,
        selection_mode="single-row",
        height=320,
        placeholder="—",
        alt="The stays with the highest anomaly scores",
        column_config={
            "site": "Site",
            "hospitalization_id": "Stay",
            "anomaly_score": number("Anomaly", format="%.3f"),
            "n_tokens": number("Tokens", format="localized"),
            "path_length": number("Path length", format="%.0f"),
            "event_max_jump": number("Largest jump", format="%.1f"),
            "age": number("Age", format="%.0f"),
            "sex": "Sex",
            "outcome": outcome.label,
        },
    )
    held = state.focus()
    if held and held[1] in ids:
        st.page_link(
            "app_pages/patient.py", label=f"Open stay {held[1]} ({held[0]})", icon=":material/timeline:"
        )
        return held
    return sites[0], ids[0]


main()

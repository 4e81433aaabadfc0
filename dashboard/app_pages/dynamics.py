"""Dynamics: whether movement goes with the outcome, and what of that is only the amount of charting."""

from __future__ import annotations

import polars as pl
import streamlit as st

from dashboard import associations, controls, data, measures, state, theme, ui
from dashboard.charts import dynamics as charts
from ehrfm_core import cell_words
from ehrfm_core.evaluation.features import JOINT
from ehrfm_core.outcomes import Outcome
from ehrfm_core.study import Study

MATRIX = (
    "n_tokens",
    "path_length",
    "max_jump",
    "event_max_jump",
    "displacement",
    "tortuosity",
    "anomaly_score",
)


def main() -> None:
    """Draw the page."""
    study, outcome = ui.current()
    ui.header(
        "Dynamics",
        f"Does a long or jumpy path go with the outcome ({ui.inline(outcome.label)}), or only with more "
        "charting?",
    )
    ui.needs(study, "tokenize", "pretrain", "embed")
    st.warning(
        "**The number of tokens is the great confounder.** Every token adds a jump, so path length counts "
        "charting as well as change. Read each picture beside the one for tokens, and each coefficient "
        "with its adjustment.",
        icon=":material/balance:",
    )
    frames = {site: data.held_out(study, site, outcome.name) for site in study.sites}
    usable = {site: frame for site, frame in frames.items() if len(frame)}
    if not usable:
        ui.absent(
            "No stay of the test split counts for this outcome", "Choose another outcome in the sidebar."
        )
        return
    doses(usable, outcome)
    evaluated = associations.evaluated(study)
    if evaluated:
        left, right = st.columns(2, gap="large")
        with left:
            coefficients(study, outcome)
        with right:
            associations.against_the_paper(study, outcome)
    site, options = study.sites[0], {site: site for site in study.sites}
    if len(options) > 1:
        site = controls.choose("Site", options, key=state.SITE, what="site")
    if evaluated:
        left, right = st.columns(2, gap="large")
        with left:
            associations.every_measure(study, site, outcome)
        with right:
            associations.deciles(study, site, outcome)
    left, right = st.columns(2, gap="large")
    with left:
        matrix(study, site)
    if evaluated:
        with right:
            associations.families(study, site)


def events_text(frames: dict[str, pl.DataFrame], outcome: Outcome) -> str:
    """Stays and events of every site in one phrase."""
    return "; ".join(
        f"{s}: {cell_words.sized(len(f), int(f[outcome.name].sum() or 0))}" for s, f in frames.items()
    )


def doses(frames: dict[str, pl.DataFrame], outcome: Outcome) -> None:
    """Outcome rate by quantile, four features side by side."""
    ui.section(f"{outcome.label} by how far, how abruptly, how unusually – and how much is charted")
    few = [
        site for site, f in frames.items() if min(int(f[outcome.name].sum() or 0), len(f)) < measures.MIN_CELL
    ]
    if few:
        st.markdown(
            f":orange[:material/warning:] Fewer than {measures.MIN_CELL} events at {', '.join(few)}: there "
            "is no rate to draw. Quantiles of so few are joined with their neighbours."
        )
    columns = st.columns(2, gap="large") + st.columns(2, gap="large")
    for column, (feature, title) in zip(columns, measures.FEATURES.items(), strict=True):
        tables = {
            site: measures.rate_by_quantile(frame, feature, outcome.name) for site, frame in frames.items()
        }
        with column:
            bins = ", ".join(
                f"{len(t)} bins at {s}" if len(tables) > 1 else f"{len(t)} bins" for s, t in tables.items()
            )
            space = "not a measure of the space: the confounder" if feature == "n_tokens" else "full space"
            ui.chart(
                charts.dose_response(tables, title),
                key=f"dose-{feature}",
                alt=f"{outcome.label} rate by quantile of {title.lower()}, one line per site",
                caption=f"Test split, {events_text(frames, outcome)}. {bins}, at the bin's median "
                f"({space}); bars: Wilson 95 %.",
            )


def coefficients(study: Study, outcome: Outcome) -> None:
    """The forest of odds ratios."""
    ui.section(
        "What is left of the paper's three after adjustment",
        "Logistic regression, one per site; each feature in units of its standard deviation.",
    )
    rows = data.result(study, "associations").filter(
        pl.col("outcome") == outcome.name,
        pl.col("feature").is_in(list(JOINT)),
        pl.col("adjustment").is_in(list(charts.ADJUSTMENTS)),
    )
    known = rows.drop_nulls("coefficient")
    if known.is_empty():
        ui.absent(
            "No coefficient could be estimated",
            f"{outcome.label} has too few events (or only one class) in the test split of every site. That "
            "is an answer too: this study cannot tell.",
            icon=":material/block:",
        )
        return
    features = {
        f: label for f, label in measures.MORE_FEATURES.items() if f in known["feature"].unique().to_list()
    }
    sizes = ", ".join(
        f"{site} {n:,}"
        for site, n in known.group_by("site", maintain_order=True).agg(pl.col("n").max()).iter_rows()
    )
    dropped = len(rows) - len(known)
    ui.chart(
        charts.forest(rows, features, theme.site_colours(study.sites)),
        key="forest",
        alt=f"Forest plot of odds ratios per standard deviation for {outcome.label}, by site and adjustment",
        caption=f"Test split; n: {sizes}; "
        f"{events_text({s: data.held_out(study, s, outcome.name) for s in study.sites}, outcome)}. "
        "Features measured in the full space. 95 % intervals from the regression, cut at 1/100 and 100; "
        "they allow for several stays of one patient. Below 1: less "
        "often, nulls and reversals are shown alike."
        + (f" {dropped} of {len(rows)} coefficients could not be estimated." if dropped else ""),
    )


def matrix(study: Study, site: str) -> None:
    """How the measures go together."""
    ui.section("How the measures go together", "Spearman's ρ. Look at the row of tokens first.")
    frame = data.held_out(study, site)
    labels = [measures.MORE_FEATURES[column] for column in MATRIX]
    values = measures.spearman(frame, MATRIX)
    n = len(frame.select(MATRIX).drop_nulls())
    ui.chart(
        charts.correlation(values, labels),
        key="correlation",
        alt="Matrix of Spearman correlations between token count and the measures of movement",
        caption=f"Test split of {site}, n {n:,} (every measure known), any outcome. Full space. No "
        "interval is drawn: read ρ as a description.",
    )


main()

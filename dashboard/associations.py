"""Sections of the Dynamics page on what was evaluated: every measure, its deciles, the paper, the tokens."""

from __future__ import annotations

import polars as pl
import streamlit as st

from dashboard import controls, data, measures, state, theme, timeline, ui
from dashboard.charts import associations as charts
from dashboard.charts import token_types as token_charts
from ehrfm_core import cell_words, small_cells
from ehrfm_core.evaluation.features import FEATURES, JOINT
from ehrfm_core.outcomes import Outcome
from ehrfm_core.published import published
from ehrfm_core.study import Study
from ehrfm_core.study.layout import result_file

LABELS = {f: measures.MORE_FEATURES.get(f, label.capitalize()) for f, label in FEATURES.items()}
SIGNIFICANT = 0.05


def evaluated(study: Study) -> bool:
    """Whether the study has been evaluated with these tables; else a panel says what to do."""
    stage = study.manifest.stages.get("evaluate")
    needed = {result_file(name) for name in ("associations", "deciles", "token_types")}
    if stage is not None and needed <= set(stage.files):
        return True
    title, sentence = "Nothing has been evaluated yet", "Run it with:"
    if stage is not None:
        title = "This study was evaluated by an earlier version"
        sentence = "It has no deciles and token types; run evaluate again:"
    ui.absent(title, sentence, f"python -m train evaluate {study.folder}")
    return False


def every_measure(study: Study, site: str, outcome: Outcome) -> None:
    """Each measure at one site, alone and adjusted."""
    ui.section(
        f"Every measure at {ui.plain(site)}",
        "One logistic regression a measure: alone, and with the number of tokens, age and sex.",
    )
    rows = data.result(study, "associations").filter(site=site, outcome=outcome.name)
    rows = rows.filter(pl.col("adjustment").is_in(list(charts.ADJUSTMENTS)))
    features = {f: label for f, label in LABELS.items() if f in set(rows["feature"])}
    known = rows.drop_nulls("coefficient")
    if known.is_empty():
        ui.absent(
            "No coefficient could be estimated",
            f"{outcome.label} has too few events (or only one class) in the test split of {ui.plain(site)}.",
            icon=":material/block:",
        )
        return
    adjusted = known.filter(adjustment="tokens_age_sex")
    left = adjusted.filter(pl.col("ci_low").sign() == pl.col("ci_high").sign())
    names = ", ".join(ui.inline(LABELS[f]) for f in left["feature"])
    said = (
        f"With tokens, age and sex the interval of {len(left)} of {len(adjusted)} measures leaves out 0"
        + (f": {names}." if names else ".")
        if len(adjusted)
        else "No adjusted coefficient could be estimated."
    )
    if (adjusted["vif"] > charts.HIGH_VIF).any():
        said += (
            f" VIF above {charts.HIGH_VIF:.0f}: nearly the same as tokens, age and sex together, so that the "
            "data can not tell its own share."
        )
    ui.chart(
        charts.coefficients(rows, features, theme.site_colours(study.sites)[site]),
        key="every-measure",
        alt=f"Log-odds of {outcome.label} per SD of each measure at {site}, alone and adjusted",
        caption=f"{said} Test split of {site}, {_sizes(rows)}. Full space; 95 % intervals clustered by "
        f"patient. Of the {len(features)} measures about one in twenty would leave out 0 by chance.",
    )


def deciles(study: Study, site: str, outcome: Outcome) -> None:
    """The outcome's rate by tenth of one measure, over the mean number of tokens."""
    rows = data.result(study, "deciles").filter(site=site, outcome=outcome.name)
    features = {f: label for f, label in LABELS.items() if f in set(rows["feature"])}
    ui.section(
        "By tenth of a measure", "The rate above, and beneath it how much is charted in the same tenth."
    )
    if not features:
        ui.absent(
            "No stay of the test split counts for this outcome", "Choose another outcome in the sidebar."
        )
        return
    feature = controls.pick("Measure", features, key=state.FEATURE, what="measure")
    own = rows.filter(feature=feature)
    n, events = int(own["n"].sum()), int(own["n_events"].sum())
    few = (
        f" Fewer than {measures.MIN_EVENTS} events: too few to tell a trend."
        if events < measures.MIN_EVENTS
        else ""
    )
    own = measures.joined_deciles(own)
    if own.is_empty():
        ui.absent(
            "Too few events for a rate",
            f"{cell_words.events(n, events).capitalize()} at {site}.",
            icon=":material/block:",
        )
        return
    groups = ui.count(len(own), "group")
    joined = (
        f" Ties, and joining tenths of 1 to {small_cells.MIN_CELL - 1} events, leave {groups}."
        if len(own) < 10
        else ""
    )
    ui.chart(
        charts.by_decile(own, ui.inline(features[feature]), theme.site_colours(study.sites)[site]),
        key="deciles",
        alt=f"{outcome.label} rate by tenth of {features[feature].lower()} at {site}, over mean tokens",
        caption=f"Test split of {site}, {cell_words.sized(n, events)}. Bars: Wilson 95 %, stays taken as "
        f"independent. Full space.{joined}{few}",
    )


def against_the_paper(study: Study, outcome: Outcome) -> None:
    """The joint model's signs beside those that the paper prints, for sites of the paper's names."""
    rows = data.result(study, "associations").filter(outcome=outcome.name, adjustment="joint")
    rows = rows.drop_nulls("paper_coefficient")
    if rows.is_empty():
        return
    paper = published("associations")
    table = signs(rows, paper.frame)
    ui.section("The joint model's signs beside the paper's")
    ui.table(
        table,
        alt=f"Sign of each coefficient of the joint model for {outcome.label}, here and in the paper",
        width="stretch",
    )
    whose = "The paper's hospitals are not these. " if study.manifest.synthetic else ""
    st.caption(
        f"Joint model of {', '.join(JOINT.values())}, without covariates. {whose}The paper's coefficients "
        "are per raw unit of its own model's space: compare the sign and whether p < 0.05 (else “n.s.”), "
        "never the size. "
        f"Test split, {_sizes(rows)}. Paper: {paper.citation}"
    )


def signs(rows: pl.DataFrame, paper: pl.DataFrame) -> pl.DataFrame:
    """One row a site and feature: our sign and the paper's, with "n.s." where p ≥ 0.05.

    `rows` are joint rows of `associations.parquet` that have a paper_coefficient, for one outcome; `paper`
    is the published table of associations.
    """
    keys = ["site", "outcome", "feature"]
    printed = paper.select(*keys, pl.coalesce("p_value", "p_below").alias("paper_p"))
    joined = rows.join(printed, on=keys, how="left", maintain_order="left")
    here, there = _sign("coefficient", "p_value"), _sign("paper_coefficient", "paper_p")
    interval = pl.format("{} [{}, {}]", *(pl.col(c).round(2) for c in ("coefficient", "ci_low", "ci_high")))
    return joined.select(
        pl.col("site").alias("Site"),
        pl.col("feature").replace_strict(LABELS).alias("Measure"),
        here.alias("Here"),
        there.alias("Paper"),
        interval.fill_null("–").alias("Log-odds per SD here"),
        pl.col("vif").round(1).alias("VIF"),
        pl.col("n").alias("n"),
        cell_words.told_events().alias("Events"),
    )


def _sign(coefficient: str, p: str) -> pl.Expr:
    sign = pl.when(pl.col(coefficient) > 0).then(pl.lit("+")).otherwise(pl.lit("−"))
    weak = pl.when(pl.col(p) >= SIGNIFICANT).then(pl.lit("n.s. ")).otherwise(pl.lit(""))
    return pl.when(pl.col(coefficient).is_null()).then(pl.lit("not estimated")).otherwise(weak + sign)


def families(study: Study, site: str) -> None:
    """Jump and information by family of tokens."""
    ui.section(
        f"Which tokens move the state at {ui.plain(site)}",
        "A value token counts for the category before it. What is known at the start is a family of its own.",
    )
    rows = data.result(study, "token_types").filter(site=site).filter(pl.col("name").is_null())
    if rows.is_empty():
        ui.absent("No stay is in the test split", f"The test split of {ui.plain(site)} is empty.")
        return
    rows = rows.sort("path_share", descending=True, nulls_last=True)
    labels = timeline.LABELS | {"prefix": timeline.PREFIX_LABEL}
    biggest = rows.filter(~pl.col("prefix")).drop_nulls("path_share").head(1)
    said = "".join(
        f"{labels.get(family, family)}: {share:.0%} of the path. "
        for family, share in biggest.select("family", "path_share").iter_rows()
    )
    n = len(data.held_out(study, site))
    ui.chart(
        token_charts.families(rows, labels, theme.site_colours(study.sites)[site]),
        key="token-families",
        alt=f"Jump and information by family of tokens at {site}",
        caption=f"{said}Test split of {site}, any outcome: n {n:,} stays, {int(rows['n_tokens'].sum()):,} "
        "tokens of the window without the start token; families by their share of the path. Full space; a "
        "description, without interval.",
    )


def _sizes(rows: pl.DataFrame) -> str:
    """Stays and events that the regressions of each site stand on."""
    sizes = rows.group_by("site", maintain_order=True).agg(pl.col("n", "n_events").max())
    return "; ".join(f"{site}: {cell_words.sized(n, events)}" for site, n, events in sizes.iter_rows())

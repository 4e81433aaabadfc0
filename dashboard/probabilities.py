"""Parts of the page Transfer: local data a little at a time, calibration and net benefit of one model."""

from __future__ import annotations

import polars as pl
import streamlit as st

from dashboard import arms, data, state, theme, ui
from dashboard.charts import probabilities as charts
from dashboard.charts.transfer import DASHES
from ehrfm_core.outcomes import Outcome
from ehrfm_core.study import Study
from ehrfm_core.study.layout import result_file

WHOLE = [0.0, 1.0]  # no local stay, or all of them


def has(study: Study, name: str) -> bool:
    """Whether the study holds a table; those evaluated by an older version lack some."""
    return result_file(name) in study.manifest.stages["evaluate"].files


def local_data(study: Study, outcome: Outcome) -> None:
    """How much a little local data brings, for each target."""
    metrics = data.result(study, "metrics").filter(
        pl.col("metric") == "roc_auc", pl.col("subgroup") == "all", pl.col("outcome") == outcome.name
    )
    adapted = metrics.filter(pl.col("arm") == "adapted", pl.col("adapt_method").is_in(list(charts.METHODS)))
    if adapted.filter(pl.col("adapt_fraction") < 1).is_empty():
        return
    ui.section(
        "A little local data",
        "The target's tuning split chooses, and leaving the model as it is is one of the choices.",
    )
    targets = [site for site in study.sites[1:] if site in set(adapted["test_site"])]
    chosen = st.session_state.get(state.TARGET)  # as for the curves above, where there are several
    site = chosen if chosen in targets else targets[0]
    rows = adapted.filter(pl.col("test_site") == site, pl.col("model").is_in(["probe", "finetuned"]))
    unchanged = metrics.filter(test_site=site, arm="zero_shot", train_site=study.source)
    references = {
        f"{arms.model_label(model)}, unchanged": (float(value), dash)
        for model, dash in (("finetuned", "dash"), ("probe", "dot"))
        for value in unchanged.filter(pl.col("model") == model)["estimate"].drop_nulls()
    }
    training = data.stays(study, site).filter(pl.col("split") == "train")
    first = rows.row(0, named=True)
    ui.chart(
        charts.local_data(rows, references, theme.site_colours(study.sites)[site]),
        key="local_data",
        alt=f"ROC-AUC at {site} for {outcome.label} by share of local training data",
        caption=f"Test split of {site}, n {first['n']:,}, {ui.count(first['n_events'], 'event')}. The whole "
        f"training split is {ui.count(training.height, 'stay')} of {training['patient_id'].n_unique():,} "
        "patients; each share is drawn several times by patient, nested. Large symbols: median of the draws; "
        "small ones with 95 % intervals (DeLong, stays of a patient together): every draw.",
    )


def tabs(study: Study, outcome: Outcome) -> None:
    """Calibration and decision curve of one model in every arm."""
    if not has(study, "calibration_curves"):
        ui.absent(
            "No calibration yet",
            "This study was evaluated by an older version. Evaluate it again with:",
            f"python -m train evaluate {study.folder}",
        )
        return
    both = data.result(study, "metrics").filter(outcome=outcome.name, metric="roc_auc", subgroup="all")
    if both["estimate"].drop_nulls().is_empty():
        return  # with one class there is nothing to compare with; the page has said so
    ui.section(
        "What a predicted risk is worth",
        "Ranking is not enough to act on: a risk must also be of the right size.",
    )
    mine = pl.col("outcome") == outcome.name
    curves = data.result(study, "calibration_curves").filter(mine, pl.col("adapt_fraction").is_in(WHOLE))
    benefit = data.result(study, "decision_curves").filter(mine, pl.col("adapt_fraction").is_in(WHOLE))
    if curves.is_empty():
        ui.absent("No curve", "No stay of a test split counts for this outcome.", icon=":material/block:")
        return
    model = st.session_state.get(state.MODEL)  # as for the curves above
    model = str(model) if model in set(curves["model"]) else "probe"
    name = arms.model_label(model)
    left, right = st.columns(2, gap="large")
    metrics = data.result(study, "metrics").filter(
        mine, pl.col("subgroup") == "all", pl.col("model") == model
    )
    with left:
        st.markdown(f"**Calibration: {ui.plain(name)}**")
        ui.chart(
            charts.calibration(_runs(study, curves.filter(pl.col("model") == model))),
            key="calibration",
            alt=f"Calibration curves of {name} for {outcome.label}",
            caption=f"Test split, {ui.inline(outcome.label)}. Smooth curve: logistic regression on a "
            "restricted cubic spline of the logit; bands pointwise 95 %, resampling patients. On the dotted "
            "line predictions are right. " + _figures(metrics),
        )
    with right:
        st.markdown(f"**Net benefit: {ui.plain(name)}**")
        ui.chart(
            charts.decision(_runs(study, benefit.filter(pl.col("model") == model))),
            key="decision",
            alt=f"Decision curves of {name} for {outcome.label}",
            caption="Net benefit of acting on stays whose predicted risk is at or above the threshold: true "
            "alerts a stay, less false ones weighed by the odds of the threshold. Useful where it is above 0 "
            "(act on nobody) and above acting on everybody. Bands pointwise 95 %.",
        )


def _runs(study: Study, rows: pl.DataFrame) -> list[charts.Curve]:
    colours = theme.site_colours(study.sites)
    spare = [colour for colour in theme.SITE_COLOURS if colour not in colours.values()] or [theme.NEUTRAL]
    found: list[charts.Curve] = []
    adapted = 0
    keys = ["test_site", "arm", "train_site", "adapt_method", "adapt_fraction"]
    for (site, arm, train, method, fraction), part in rows.group_by(keys, maintain_order=True):
        row = {"train_site": train, "test_site": site, "arm": arm, "adapt_method": method}
        colour = colours.get(str(site), theme.NEUTRAL)
        if arm == "adapted":
            colour = spare[adapted % len(spare)]
            adapted += 1
        label = arms.arm_label(row | {"adapt_fraction": fraction})
        found.append((label, colour, DASHES.get(str(arm), "solid"), part))
    return found


def _figures(metrics: pl.DataFrame) -> str:
    """Slope and ratio of observed to expected, arm by arm, in words."""
    words = []
    chosen = metrics.filter(
        pl.col("metric").is_in(["calibration_slope", "observed_expected"]), pl.col("arm") != "adapted"
    )
    names = {"calibration_slope": "slope", "observed_expected": "observed/expected"}
    for row in chosen.iter_rows(named=True):
        if row["estimate"] is None:
            continue
        span = "" if row["ci_low"] is None else f" [{row['ci_low']:.2f} to {row['ci_high']:.2f}]"
        words.append(f"{arms.arm_label(row)}: {names[row['metric']]} {row['estimate']:.2f}{span}")
    return "; ".join(words) + "." if words else ""

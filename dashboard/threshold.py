"""Part of the page Transfer: the threshold set at home, and what it does where it is carried to."""

from __future__ import annotations

import polars as pl
import streamlit as st

from dashboard import data, theme, ui
from dashboard.charts import threshold as charts
from dashboard.choice import Choice
from dashboard.measures import MIN_CELL
from ehrfm_core import cell_words

AGAIN = "This study was evaluated by an older version. Evaluate it again with:"


def draw(choice: Choice) -> None:
    """Sensitivity, specificity, PPV and alerts at home and at every hospital, one threshold for all."""
    study, outcome = choice.study, choice.outcome
    ui.section("The carried threshold", "Set once at home. Does it raise as many alerts, and as good ones?")
    if not data.has_result(study, "thresholds"):
        ui.absent("No threshold yet", AGAIN, f"python -m train evaluate {study.folder}")
        return
    key = {"model": choice.model, "train_site": choice.home, "outcome": outcome.name}
    cut = data.result(study, "thresholds").filter(**key)
    rows = carried_rows(data.result(study, "metrics"), choice)
    if cut.is_empty() or rows.is_empty():
        ui.absent(
            "No threshold",
            f"No threshold of this model was set for {ui.inline(outcome.label)}: the tuning split of "
            f"{choice.home} has no stay that counts, or none without the event.",
            icon=":material/block:",
        )
        return
    found = cut.row(0, named=True)
    sites = [site for site in _ordered(choice) if site in set(rows["test_site"])]
    few = sorted(set(rows.filter(pl.col("n") < MIN_CELL)["test_site"]))
    rows = rows.filter(pl.col("n") >= MIN_CELL)
    if rows["estimate"].drop_nulls().is_empty():
        ui.absent(
            "No figure",
            f"Fewer than {MIN_CELL} test stays, one class only, or so few alerts, right or wrong, that a "
            "share would be their number.",
            icon=":material/block:",
        )
        return
    sites = [site for site in sites if site not in few]
    st.markdown(_said(rows, choice, sites))
    risk = f"{100 * found['threshold']:.1f} %" if found["threshold"] <= 1 else "above every risk: no alert"
    ui.chart(
        charts.carried(rows, sites, theme.site_colours(study.sites), aim=found["specificity"]),
        key="threshold",
        alt=f"Sensitivity, specificity, PPV and alerts per 100 stays for {outcome.label} at the threshold of "
        f"{choice.home}, by hospital",
        caption=f"{choice.name}, unchanged; test splits, {_sizes(rows, sites)}. Threshold: predicted risk "
        f"{risk}, the lowest with a specificity of at least {found['specificity']:.0%} on the tuning split "
        f"of {choice.home} ({cell_words.sized(found['n'], found['n_events'])}; dotted). Bars: 95 % "
        "intervals, resampling patients; none where too few patients would carry one."
        " A hospital where true, false, missed or needless alerts are 1 to 10 stays has no figure."
        + (f" Fewer than {MIN_CELL} test stays, not shown: {', '.join(few)}." if few else ""),
    )
    with st.expander("The same in numbers", icon=":material/table:"):
        _table(rows, sites)


def carried_rows(metrics: pl.DataFrame, choice: Choice) -> pl.DataFrame:
    """Rows of metrics.parquet at the carried threshold: the unchanged model at home and everywhere else."""
    return metrics.filter(
        pl.col("metric").is_in(list(charts.MEASURES)),
        pl.col("model") == choice.model,
        pl.col("outcome") == choice.outcome.name,
        pl.col("train_site") == choice.home,
        pl.col("subgroup") == "all",
        pl.col("arm") != "adapted",
    )


def _ordered(choice: Choice) -> list[str]:
    return [choice.home, *(site for site in choice.study.sites if site != choice.home)]


def _said(rows: pl.DataFrame, choice: Choice, sites: list[str]) -> str:
    """Alerts and how many of them are right, at home and at the target."""
    words = []
    for site in [site for site in choice.sites if site in sites]:
        own = {r["metric"]: r for r in rows.filter(test_site=site).iter_rows(named=True)}
        alerts, ppv = own["carried_alerts_per_100"], own["carried_ppv"]
        if alerts["estimate"] is None:
            continue
        right = "" if ppv["estimate"] is None else f", {_figure(ppv, 100, ' %')} of them right"
        words.append(f"at **{site}** {_figure(alerts, 1)} alerts per 100 stays{right}")
    return ("A" + "; ".join(words)[1:] + ".") if words else ""


def _sizes(rows: pl.DataFrame, sites: list[str]) -> str:
    first = {site: rows.filter(test_site=site).row(0, named=True) for site in sites}
    return "; ".join(f"{site} {cell_words.sized(row['n'], row['n_events'])}" for site, row in first.items())


def _table(rows: pl.DataFrame, sites: list[str]) -> None:
    shown = []
    for site in sites:
        own = {r["metric"]: r for r in rows.filter(test_site=site).iter_rows(named=True)}
        size = next(iter(own.values()))
        line = {"At": site, "n": f"{size['n']:,}", "Events": cell_words.events(size["n"], size["n_events"])}
        for metric, name in charts.MEASURES.items():
            line[name] = _figure(own.get(metric), 1 if "alerts" in metric else 100)
        shown.append(line)
    ui.table(pl.DataFrame(shown), alt="Sensitivity, specificity, PPV and alerts at the carried threshold")


def _figure(row: dict[str, float | None] | None, scale: float, unit: str = "") -> str:
    if row is None or row["estimate"] is None:
        return "—"
    if row["ci_low"] is None or row["ci_high"] is None:
        return f"{scale * row['estimate']:.1f}{unit} (no interval)"
    return f"{scale * row['estimate']:.1f}{unit} [{scale * row['ci_low']:.1f}–{scale * row['ci_high']:.1f}]"

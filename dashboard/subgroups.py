"""Part of the page Transfer: does the model rank some patients better than others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from dashboard import arms, controls, data, state, theme, ui
from dashboard.charts import subgroups as charts
from dashboard.choice import FOUNDATION, Choice
from dashboard.measures import MIN_CELL
from ehrfm_core.small_cells import small, unsafe

HEADINGS = {
    "sex": "Sex",
    "race": "Race",
    "ethnicity": "Ethnicity",
    "age": "Age",
    "icu_24h": "In the ICU within 24 h",
    "outlier": "Outlier to the source",
}
_ARM = ("arm", "train_site", "test_site", "adapt_method", "adapt_fraction")


def draw(choice: Choice) -> None:
    """A forest of areas for one arm of the model, with the groups too small to show."""
    study = choice.study
    ui.section("Subgroups", "Does it rank some patients better than others?")
    if choice.model not in FOUNDATION:
        ui.absent(
            "Not for baselines",
            "Subgroups are measured for the models on the foundation model. Choose one at the head of the "
            "page.",
            icon=":material/block:",
        )
        return
    metrics = choice.of(data.result(study, "metrics")).filter(
        pl.col("metric") == "roc_auc",
        pl.col("model") == choice.model,
        pl.col("outcome") == choice.outcome.name,
        pl.col("repeat") == 0,
        pl.col("adapt_fraction").is_in(pl.Series([0.0, 1.0]).implode()),
    )
    runs = {
        row["arm"]: (arms.arm_label(row), row)
        for row in metrics.select(_ARM).unique(maintain_order=True).iter_rows(named=True)
        if row["arm"] != "adapted" or row["adapt_method"] == choice.way
    }
    order = [arm for arm in ("zero_shot", "adapted", "in_distribution") if arm in runs]
    if not order:
        ui.absent("No run", "This model was not tested here.", icon=":material/block:")
        return
    arm = order[0]
    if len(order) > 1:
        arm = controls.pick("Run", {name: runs[name][0] for name in order}, key=state.ARM, what="run")
    label, run = runs[arm]
    own = metrics.filter(*(pl.col(name) == run[name] for name in _ARM))
    counted = counts(data.held_out(study, run["test_site"], choice.outcome.name), choice.outcome.name)
    rows, hidden = forest_rows(own, counted)
    missing = counted.filter(pl.col("fewest") >= MIN_CELL).height
    if missing and own.filter(pl.col("subgroup") != "all").is_empty():
        ui.absent(
            "No subgroups yet",
            "This study was evaluated by an older version. Evaluate it again with:",
            f"python -m train evaluate {study.folder}",
        )
        return
    if all(row.get("estimate") is None or row["label"] == "All" for row in rows):
        ui.absent(
            "Every subgroup is too small",
            f"None of the {hidden} groups in {label} has {MIN_CELL} test stays with the event and {MIN_CELL} "
            "without it, so all are suppressed.",
            icon=":material/block:",
        )
        return
    ui.chart(
        charts.forest(rows, theme.site_colours(study.sites)[run["test_site"]]),
        key="subgroups",
        alt=f"ROC-AUC of {choice.name}, {label}, for {choice.outcome.label} by subgroup; "
        f"{ui.count(hidden, 'group')} suppressed",
        caption=f"{choice.name}, {label}, test split, {ui.inline(choice.outcome.label)}; n and events at the "
        "right. Bars: 95 % intervals by DeLong, stays of a patient together; Newcombe's with few patients. "
        f"Suppressed: fewer than {MIN_CELL} stays with the event or without it, and groups by which those "
        "could be told from all stays. Line: all stays. Groups "
        "whose intervals overlap widely are not told apart, and one of many may stand out by chance.",
    )


def counts(stays: pl.DataFrame, outcome: str) -> pl.DataFrame:
    """One row a subgroup of the stays that count: subgroup, and fewest, the smaller class's size."""
    from ehrfm_core.evaluation.subgroups import groups_of  # a second to import: not on the first page

    known = groups_of(stays).join(stays.select("hospitalization_id", outcome), on="hospitalization_id")
    events = pl.col(outcome).sum().cast(pl.Int64)
    return known.group_by("subgroup").agg(fewest=pl.min_horizontal(events, pl.len().cast(pl.Int64) - events))


def forest_rows(own: pl.DataFrame, counted: pl.DataFrame) -> tuple[list[dict[str, Any]], int]:
    """Rows of the forest, headings among them, and how many groups are suppressed.

    `own` are the metrics of one run; `counted` names every group there is.
    """
    shown = {row["subgroup"]: row for row in own.iter_rows(named=True)}
    for name in HEADINGS:
        for group in _given_away(shown, name):
            del shown[group]
    rows: list[dict[str, Any]] = []
    if "all" in shown and shown["all"]["estimate"] is not None:
        rows.append(shown["all"] | {"label": "All"})
    hidden = 0
    for name, heading in HEADINGS.items():
        here = sorted({g for g in [*counted["subgroup"], *shown] if g.startswith(f"{name}=")}, key=_order)
        if not here:
            continue
        rows.append({"label": heading, "heading": True})
        for group in here:
            label = group.partition("=")[2]
            rows.append({"label": label[:1].upper() + label[1:]} | dict(shown.get(group, {})))
            hidden += group not in shown
    return rows, hidden


def _given_away(shown: Mapping[str, Mapping[str, Any]], name: str) -> list[str]:
    """Groups that go too, the smallest first: else all stays less those shown are a small cell."""
    groups = sorted((g for g in shown if g.startswith(f"{name}=")), key=lambda g: shown[g]["n"])
    if not groups or "all" not in shown:
        return []
    n, events = (shown["all"][part] - sum(shown[g][part] for g in groups) for part in ("n", "n_events"))
    gone: list[str] = []
    while groups and (small(n) or unsafe(events, n)):
        gone.append(groups.pop(0))
        n, events = n + shown[gone[-1]]["n"], events + shown[gone[-1]]["n_events"]
    return gone


def _order(group: str) -> tuple[int, str]:
    """Young before old; else by name."""
    return (0 if "under" in group else 2 if "and over" in group else 1), group

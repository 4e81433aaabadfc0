"""The steps of the story on results: what travels to another hospital, and what local data bring."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl
import streamlit as st

from dashboard import arms, choice, data, ladder, theme, ui
from dashboard.charts import probabilities
from dashboard.charts.story import dots
from dashboard.story_steps import chosen_target, draw, link, say, sizes
from ehrfm_core.outcomes import Outcome
from ehrfm_core.study import Study

FRACTION = 0.05  # of the local stays, as in the paper, where the study has it
WAYS = (("finetuned", "finetune"), ("probe", "finetune"), ("probe", "refit"))


def travels(study: Study, outcome: Outcome) -> None:
    """Step 5."""
    if not evaluated(study):
        return
    target = None if len(study.sites) == 1 else chosen_target(study)
    looked = choice.usual(study, outcome, target)
    if looked is None:
        ui.absent("No metric", "The study holds no ROC-AUC.", icon=":material/block:")
        return
    if target is None:
        say(
            f"With {ui.plain(study.source)} alone, transfer cannot be judged: here is how well the model "
            "ranks other patients of the same hospital."
        )
    else:
        home = arms.areas(study, looked.model, arm="in_distribution", test_site=study.source)
        away = arms.areas(study, looked.model, arm="zero_shot", test_site=target, train_site=study.source)
        say(
            f"{looked.name}, ROC-AUC at {ui.plain(study.source)} → unchanged at {ui.plain(target)}. "
            + changes(study, home, away),
            alerts(study, outcome, target),
        )
    made = ladder.ladder(looked)
    draw(made.figure, "recovery", made.alt, made.caption)
    link("the ladder, ranking, calibration, net benefit", "transfer")


def price(study: Study, outcome: Outcome) -> None:
    """Step 6."""
    if not evaluated(study):
        return
    target = chosen_target(study) if len(study.sites) > 1 else study.source
    found = way(study, target) if len(study.sites) > 1 else None
    model = found[0] if found else "probe"
    left, right = st.columns(2, gap="large")
    if found:
        model, method, share = found
        keys = {"test_site": target, "train_site": study.source}
        before = arms.areas(study, model, arm="zero_shot", **keys)
        after = arms.areas(study, model, arm="adapted", adapt_method=method, adapt_fraction=share, **keys)
        words = adapted_label(model, method, share)
        with left:
            say(
                f"{arms.model_label(model)} at {ui.plain(target)}, unchanged → {words}. "
                + changes(study, before, after)
            )
            area_chart(
                [
                    ("Unchanged", theme.NEUTRAL, "diamond", before),
                    (words.capitalize(), theme.site_colours(study.sites)[target], "square", after),
                ],
                {name: o.label for name, o in study.outcomes.items()},
            )
    else:
        with left:
            say("This study holds no model adapted to another hospital: no gain or price to tell of.")
    with right:
        benefit(study, outcome, target, model, found[1] if found else "none")
    link("what local data bring", "transfer", view="Net benefit")


def benefit(study: Study, outcome: Outcome, target: str, model: str, method: str) -> None:
    """Whether acting on the risks is worth it."""
    say(
        f"Is it worth acting on ({ui.plain(ui.inline(outcome.label))})? Only where a line lies above 0 "
        "and above acting on everybody."
    )
    if not data.has_result(study, "decision_curves"):
        st.caption("This study was evaluated by an older version and has no decision curves.")
        return
    rows = data.result(study, "decision_curves").filter(
        pl.col("outcome") == outcome.name,
        pl.col("model") == model,
        pl.col("test_site") == target,
        pl.col("adapt_method").is_in(["none", method]),
        pl.col("adapt_fraction").is_in([0.0, 1.0]),
    )
    if rows.is_empty():
        st.caption("In this test split too few stays have the event, or lack it: a curve would count them.")
        return
    frame = data.held_out(study, target, outcome.name)
    draw(
        probabilities.decision(arms.runs(study, rows)),
        "benefit",
        f"Decision curves at {target} for {outcome.label}",
        f"Test split, {sizes({target: frame}, outcome)}. Bands: pointwise 95 %, resampling patients.",
    )


def area_chart(series: list, labels: dict[str, str]) -> None:
    """The dots of step 6, or why there are none."""
    known = [rows for *_, rows in series if len(rows)]
    if not known:
        ui.absent("No AUC", "In no test split do both outcomes occur.", icon=":material/block:")
        return
    n = ", ".join(
        f"{ui.inline(label)}: n {rows['n'].min():,}–{rows['n'].max():,}"
        for label, _, _, rows in series
        if len(rows)
    )
    draw(
        dots(series, labels),
        "price",
        "ROC-AUC with 95 % intervals, a row an outcome",
        f"Test split; {n}, by outcome; events on hover. 95 % intervals.",
    )


def evaluated(study: Study) -> bool:
    """Whether there are results; else a panel says how to get them."""
    if not study.has("evaluate"):
        ui.absent(
            "Nothing has been evaluated yet",
            "This step needs it. Run:",
            f"python -m train evaluate {study.folder}",
        )
    return study.has("evaluate")


def changes(study: Study, before: pl.DataFrame, after: pl.DataFrame) -> str:
    """Every outcome's AUC before and after, in words; empty where no outcome has both."""
    pairs = before.join(after, on="outcome", how="inner", suffix="_after", maintain_order="left")
    parts = [
        f"{ui.plain(study.outcomes[row['outcome']].label)} {row['estimate']:.3f} → "
        f"**{row['estimate_after']:.3f}** [{_bounds(row)}]"
        for row in pairs.iter_rows(named=True)
    ]
    if not parts:
        return ""
    moved = (pairs["estimate_after"] - pairs["estimate"]).round(3)
    up, down = int((moved > 0).sum()), int((moved < 0).sum())
    same = len(parts) - up - down
    return (
        f"{'; '.join(parts)}. Of {ui.count(len(parts), 'outcome')} {down} lower, {up} higher"
        + (f", {same} the same" if same else "")
        + "; where intervals overlap widely, this study does not tell the two apart."
    )


def _bounds(row: Mapping[str, Any]) -> str:
    low, high = row["ci_low_after"], row["ci_high_after"]
    return "no interval" if low is None or high is None else f"{low:.3f}–{high:.3f}"


def alerts(study: Study, outcome: Outcome, target: str) -> str:
    """Alerts per 100 stays at the source's threshold, at home and at the target; empty if not measured."""
    rows = data.result(study, "metrics").filter(
        metric="carried_alerts_per_100", subgroup="all", model="probe", outcome=outcome.name
    )
    found = []
    for site, arm in ((study.source, "in_distribution"), (target, "zero_shot")):
        value = rows.filter(test_site=site, arm=arm)["estimate"].drop_nulls()
        if len(value):
            found.append(f"**{value[0]:.1f}** at {ui.plain(site)}")
    if len(found) < 2:
        return ""
    name = ui.plain(outcome.label)
    return f"With the source's own threshold ({name}), alerts per 100 stays: {', '.join(found)}."


def way(study: Study, target: str) -> tuple[str, str, float] | None:
    """Model, method and share of local stays of the adaptation to tell; None where nothing was adapted."""
    adapted = data.result(study, "metrics").filter(
        metric="roc_auc", subgroup="all", arm="adapted", test_site=target
    )
    for model, method in WAYS:
        shares = adapted.filter(model=model, adapt_method=method)["adapt_fraction"].unique().to_list()
        if shares:
            return model, method, FRACTION if FRACTION in shares else max(shares)
    return None


def adapted_label(model: str, method: str, fraction: float) -> str:
    """An adaptation in words.

    >>> adapted_label("finetuned", "finetune", 0.05)
    'fine-tuned on 5 % of local stays'
    """
    return f"{arms.METHODS.get(method, method)} on {100 * fraction:g} % of local stays"

"""Tables of the recipe on open hospitals: movement and outliers, before and after charting."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from ehrfm_core.study.reader import Study

MEASURES = {"path_length": "path length", "max_jump": "largest jump", "anomaly_score": "anomaly score"}
RANKED = {"roc_auc": "ROC-AUC of the score", "roc_auc_adjusted": "the same among stays with as many tokens"}
ADJUSTED = "tokens_age_sex"
FEWEST_EVENTS = 10
HEAD = (
    *("site", "outcome", "measure", "log-odds per SD [95 %]", "with tokens, age and sex [95 %]"),
    *("VIF", "n", "events"),
)


def movement(study: Study) -> Iterator[str]:
    """Lines of Markdown: each measure of a path against each outcome, on the test splits."""
    rows = study.result("associations").filter(
        pl.col("feature").is_in(list(MEASURES)), pl.col("n_events") >= FEWEST_EVENTS
    )
    keys = ["site", "outcome", "feature"]
    both = rows.filter(adjustment="unadjusted").join(
        rows.filter(adjustment=ADJUSTED), on=keys, suffix="_adjusted", maintain_order="left"
    )
    if both.is_empty():
        return
    yield f"## Movement and outcome: model of {study.source}"
    yield ""
    yield from _lines(
        HEAD,
        [
            (
                row["site"],
                study.outcomes[row["outcome"]].label,
                MEASURES[row["feature"]],
                _interval(row, ""),
                _interval(row, "_adjusted"),
                "" if row["vif_adjusted"] is None else f"{row['vif_adjusted']:.0f}",
                f"{row['n']:,}",
                f"{row['n_events']:,}",
            )
            for row in both.iter_rows(named=True)
        ],
    )


def outliers(study: Study) -> Iterator[str]:
    """Lines of Markdown: whom the isolation forest flags, and how its score ranks each outcome."""
    rows = study.result("outliers").filter(detector="isolation_forest").drop_nulls("estimate")
    yield f"## Outliers: isolation forest fitted at {study.source}"
    yield ""
    found: list[tuple[str, ...]] = []
    for site in study.sites:
        own = rows.filter(site=site)
        for row in own.filter(measure="share_flagged").iter_rows(named=True):
            share = f"{row['estimate']:.1%} [{row['ci_low']:.1%}, {row['ci_high']:.1%}]"
            found.append((site, "share flagged", share, f"{row['n']:,}", ""))
        for row in own.filter(
            pl.col("measure").is_in(list(RANKED)), pl.col("n_events") >= FEWEST_EVENTS
        ).iter_rows(named=True):
            area = f"{row['estimate']:.3f} [{row['ci_low']:.3f}, {row['ci_high']:.3f}]"
            what = f"{study.outcomes[row['outcome']].label}: {RANKED[row['measure']]}"
            found.append((site, what, area, f"{row['n']:,}", f"{row['n_events']:,}"))
    yield from _lines(("site", "what", "estimate [95 %]", "n", "events"), found)


def _interval(row: dict[str, object], suffix: str) -> str:
    value, low, high = (row[f"{name}{suffix}"] for name in ("coefficient", "ci_low", "ci_high"))
    if None in (value, low, high):
        return "not to be estimated"
    return f"{value:+.2f} [{low:+.2f}, {high:+.2f}]"


def _lines(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|---" * len(head) + "|"
    for row in rows:
        yield "| " + " | ".join(row) + " |"
    yield ""

"""The story in numbers and words: every sentence is computed from the study.

Figures of the paper appear in sentences of their own, which say whose they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from dashboard import data, measures, population, timeline, ui
from dashboard.charts.associations import HIGH_VIF
from ehrfm_core import cell_words, small_cells
from ehrfm_core.outcomes import Outcome
from ehrfm_core.published import SITES as PAPER_SITES
from ehrfm_core.published import published
from ehrfm_core.study import Study

STEPS = (
    "One patient",
    "The picture lies a little",
    "Movement, outcome, and charting",
    "A new hospital",
    "What travels, and what does not",
    "A little local data, and its price",
    "Take it away",
)
RULE = (
    "Chosen by rule, not by hand: of the source's test stays the one with the largest jump at a single event."
)


def instructive(study: Study) -> dict[str, Any] | None:
    """The stay of the first steps, a row of `data.stays`: see `RULE`; of all stays where none is tested."""
    every = data.stays(study, study.source).drop_nulls("event_max_jump")
    tested = every.filter(pl.col("split") == "test")
    frame = tested if len(tested) else every
    if frame.is_empty():
        return None
    return frame.sort("event_max_jump", "hospitalization_id", descending=[True, False]).row(0, named=True)


def one_patient(study: Study, row: Mapping[str, Any], outcome: Outcome) -> str:
    """What happened to the stay, and which token is behind its largest jump."""
    stay = str(row["hospitalization_id"])
    tokens = timeline.stay_tokens(study, study.source, stay)
    largest = timeline.largest_jumps(tokens, 1)
    events = tokens.filter(~pl.col("prefix"))["event"].n_unique()
    said = (
        f"Stay **{ui.plain(stay)}** at {ui.plain(study.source)}: {ui.count(events, 'event')} in the first 24 "
        f"hours, and after each of them the model has another state. Its path through the model's space is "
        f"{row['path_length']:,.0f} long."
    )
    for minute, label, text, jump in largest.select("minute", "label", "text", "jump").iter_rows():
        said += (
            f" The largest jump, {jump:.1f}, comes after {minute / 60:.1f} hours, at "
            f"**{ui.plain(ui.inline(label))}: {ui.plain(text)}**."
        )
    return f"{said} {_became(row, outcome)}"


def _became(row: Mapping[str, Any], outcome: Outcome) -> str:
    if row[outcome.name] is None:
        return f"Whether it had the outcome ({ui.plain(ui.inline(outcome.label))}) is not known."
    if not row[f"counts_{outcome.name}"]:
        return f"It does not count for the outcome {ui.plain(ui.inline(outcome.label))}."
    return f"{ui.plain(outcome.label)}: {'yes' if row[outcome.name] else 'no'}."


def fidelity(maps: Mapping[str, Any]) -> str:
    """How well steps on either map follow those of the full space."""
    found = {kind: (maps[kind].get("quality") or {}).get("step_fidelity") for kind in ("pca", "umap")}
    known = [f"**{value:.2f}** on the {kind.upper()}" for kind, value in found.items() if value is not None]
    told = (
        f"Rank correlation of the length of a step on the picture and in the model's space: "
        f"{' and '.join(known)}, where 1 is faithful. "
        if known
        else ""
    )
    return (
        "The same path on two maps of the same states, and it looks like two stories. "
        f"{told}So every number in this dashboard comes from the full space; a map is only an index."
    )


def movement(study: Study, frame: pl.DataFrame, outcome: Outcome) -> str:
    """Outcome rate at both ends of path length, and how far that is the amount of charting."""
    table = measures.rate_by_quantile(frame, "path_length", outcome.name)
    if len(table) < 2:
        return f"Too few test stays of {ui.plain(study.source)} count for this outcome to tell anything."
    name = ui.plain(ui.inline(outcome.label))
    first, last = table.row(0, named=True), table.row(-1, named=True)
    group = {10: "tenth", 5: "fifth", 4: "quarter", 3: "third"}.get(len(table), "group")
    said = (
        f"At {ui.plain(study.source)}, in the {group} of test stays with the shortest paths {_rate(first)} "
        f"had the outcome ({name}); in the {group} with the longest, {_rate(last)}."
    )
    rho = measures.spearman(frame, ["path_length", "n_tokens"])[0, 1]
    if np.isfinite(rho):
        said += (
            f" But every token adds a jump: path length and the number of tokens go together with ρ = "
            f"**{rho:.2f}**, so read both pictures."
        )
    return said


def adjusted(study: Study, outcome: Outcome) -> str:
    """The odds ratio of path length at the source, alone and with the tokens."""
    rows = data.result(study, "associations").filter(
        site=study.source, outcome=outcome.name, feature="path_length"
    )
    parts = []
    for adjustment, words in (("unadjusted", "alone"), ("tokens_age_sex", "with tokens, age and sex")):
        known = rows.filter(adjustment=adjustment).drop_nulls(["coefficient", "ci_low", "ci_high"])
        for row in known.head(1).iter_rows(named=True):
            if (row.get("vif") or 0) > HIGH_VIF:
                parts.append(f"{words} it cannot be told from the charting (VIF {row['vif']:,.0f})")
                continue
            ratio, low, high = np.exp([row["coefficient"], row["ci_low"], row["ci_high"]])
            parts.append(f"**{ratio:.2f}** [{low:.2f}–{high:.2f}] {words}")
    if not parts:
        return "No odds ratio of path length could be estimated for this outcome."
    return f"Odds ratio for one standard deviation more path: {'; '.join(parts)} (95 % intervals)."


def _rate(row: Mapping[str, Any]) -> str:
    return (
        f"{row['events']:,} of {row['n']:,} (**{row['rate']:.0%}**, 95 % interval {row['ci_low']:.0%}–"
        f"{row['ci_high']:.0%})"
    )


def strangers(study: Study) -> tuple[str, str]:
    """Which share of each site's test stays is flagged, in a sentence, and its n and interval in another."""
    from ehrfm_core.evaluation.proportions import wilson_interval  # a second to import

    parts, sizes = [], []
    for site in study.sites:
        scores = data.held_out(study, site)["outlier"].drop_nulls()
        if scores.is_empty():
            continue
        n, flagged = len(scores), int(scores.sum())
        low, high = (float(np.ravel(end)[0]) for end in wilson_interval(np.array([flagged]), np.array([n])))
        parts.append(
            f"**{flagged / n:.0%}** of {ui.plain(site)}'s test stays [{low:.0%}–{high:.0%}, {flagged:,} of "
            f"{n:,}]"
            if not (small_cells.unsafe(flagged, n) or small_cells.small(n))
            else f"{cell_words.part(flagged, n)} of {ui.plain(site)}'s {cell_words.number(n)} test stays"
        )
        off = population.off_map_share(study, site)
        if off is not None:
            sizes.append(f"{100 * off:.1f} % of {ui.plain(site)}'s hours lie off the map")
    if not parts:
        return "No test stay has an anomaly score.", ""
    return (
        f"Flagged as unlike the training stays of {ui.plain(study.source)}: {'; '.join(parts)}. A flag is a "
        "statement about the model's schooling, never about the patient."
    ), "; ".join(sizes) + ("." if sizes else "")


def paper_flagged() -> str:
    """The paper's shares of flagged stays."""
    table = published("cohort")
    share = {
        site: table.value("outliers", site=site, characteristic="n_stays")
        / table.value("all", site=site, characteristic="n_stays")
        for site in PAPER_SITES
    }
    return ", ".join(f"{100 * value:.1f} % at {site.upper()}" for site, value in share.items())

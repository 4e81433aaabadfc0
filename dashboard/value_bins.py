"""One category: its bins with their cut points and values, and how each hospital has it."""

from __future__ import annotations

import polars as pl
import streamlit as st

from dashboard import hospitals_charted, theme, ui
from dashboard import vocabulary as words
from dashboard.charts import vocabulary as charts
from ehrfm_core.study import Study
from ehrfm_core.tokens import vocabulary as names
from ehrfm_core.tokens.categories import event_codes, psi
from ehrfm_core.tokens.tokenizer import Tokenizer
from ehrfm_core.tokens.value_units import value_units


def draw(study: Study, tokenizer: Tokenizer, code: str, typed: int | None) -> None:
    """The ruler of a category's bins, with the share of values in each."""
    tokens = tokenizer.value_tokens(code)
    label = words.code_label(code)
    if not tokens:
        known, source = code in event_codes(tokenizer), ui.plain(study.source)
        ui.absent(
            f"{label}: no bins",
            f"No training stay of {source} has a value of it: the event is the category alone."
            if known
            else f"No training stay of {source} has it: at every hospital its events become "
            f"`{names.UNK}`, and the model cannot tell them from other unknown ones.",
            icon=":material/straighten:",
        )
        return
    edges = tokenizer.reference.get(code) or tokenizer.cut_points[code]
    empty = [] if code in tokenizer.reference else words.empty_bins(edges)
    counts = words.values_by_bin(study, tokenizer, code)
    titles = {(s, w): f"{s}, {'training split' if w == words.TRAINED else 'other stays'}" for s, w in counts}
    titles |= {(s, w): s for s, w in counts if w == words.ALL}
    shares = {titles[key]: (own / own.sum()).tolist() for key, own in counts.items()}
    colours = theme.site_colours(study.sites)
    unit = value_units(tokenizer).get(code)
    converted = code in tokenizer.units or code == names.AGE
    axis = f"Cut points of {words.code_label(code).partition(' · ')[2] if code != names.AGE else 'age'}"
    axis += f", {unit}{'' if converted else ' (the unit CLIF asks for)'}" if unit else ""
    ui.chart(
        charts.ruler(
            charts.Bins(tokens, edges, empty, typed),
            shares,
            {titles[site, which]: colours[site] for site, which in counts},
            trained=titles.get((study.source, words.TRAINED), ""),
            axis=axis,
        ),
        key="vocabulary-bins",
        alt=f"{label}: {ui.count(len(tokens), 'bin')} with cut points "
        + (", ".join(f"{edge:g}" for edge in edges) or "none")
        + "; above them the share of values in each bin by hospital"
        + (
            f". The typed result falls into {tokens[typed]}"
            if typed is not None and typed < len(tokens)
            else ""
        ),
        caption=_caption(
            tokenizer, code, edges, empty, {titles[key]: int(n.sum()) for key, n in counts.items()}
        ),
    )
    expected = counts.get((study.source, words.TRAINED))
    if code == names.AGE and expected is not None:  # no event: categories.parquet has no age
        told = [(titles[key], psi(expected, own)) for key, own in counts.items() if key[1] != words.TRAINED]
        st.caption(
            " ".join(
                f"Drift of {name}: PSI {value:.3f}, {noise:.3f} by chance."
                for name, (value, noise) in told
                if value is not None
            )
        )


def _caption(
    tokenizer: Tokenizer, code: str, edges: list[float], empty: list[int], values: dict[str, int]
) -> str:
    """What is drawn, of how many values, and why a ruler is shorter or has gaps."""
    asked, n = tokenizer.settings.n_bins, len(edges) + 1
    parts = ["Bins are drawn equally wide whatever values they hold."]
    if code in tokenizer.reference:
        parts.append("LOW and HIGH lie outside the reference range, both of whose ends are NORMAL.")
    else:
        parts.append("A value at a cut point belongs to the bin above it.")
        if n < asked:
            parts.append(
                f"{ui.count(n, 'bin')} in place of {asked}: the training values are no more than that."
            )
    if empty:
        tokens = ", ".join(f"Q{i}" for i in empty)
        parts.append(
            f"Hatched, {tokens}: always empty, as so many values are the same that cut points coincide."
        )
    parts.append(
        "Values of whole stays: "
        + ", ".join(f"{name} {n:,}" for name, n in values.items())
        + ". No interval."
        if values
        else "The timelines hold no value of it."
    )
    return ui.plain(" ".join(parts))


def by_hospital(rows: pl.DataFrame) -> None:
    """One category at every hospital."""
    becomes = pl.when("known").then(pl.lit("own token")).otherwise(pl.lit(names.UNK))
    ui.table(
        rows.select(
            "site",
            "coverage",
            "n_stays_window",
            "n_events_window",
            "n_events",
            "n_values",
            "not_numbers",
            "psi",
            "psi_noise",
            becomes.alias("becomes"),
        ),
        height="content",
        alt="The chosen category by hospital: coverage, events, values, drift",
        column_config={
            "site": "Hospital",
            "coverage": st.column_config.ProgressColumn(
                "Stays with it",
                format="percent",
                min_value=0,
                max_value=1,
                color="blue",
                help="Share of all stays that have it in the window",
            ),
            "n_stays_window": st.column_config.NumberColumn("Stays", format="localized"),
            "n_events_window": st.column_config.NumberColumn("In the window", format="localized"),
            "n_events": st.column_config.NumberColumn("Events", format="localized", help="In whole stays"),
            "n_values": st.column_config.NumberColumn("With a bin", format="localized"),
            "not_numbers": st.column_config.NumberColumn(
                "No numbers", format="localized", help="Values that were NaN, infinite or text"
            ),
            "psi": st.column_config.NumberColumn("PSI", format="%.3f", help=hospitals_charted.PSI),
            "psi_noise": st.column_config.NumberColumn(
                "By chance", format="%.3f", help=hospitals_charted.NOISE
            ),
            "becomes": "Becomes",
        },
    )

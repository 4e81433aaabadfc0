"""The section of the Patient page on the stays nearest to the focused one, and what became of them."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import streamlit as st

from dashboard import data, measures, neighbours, state, stays, ui
from dashboard.neighbours import Neighbours
from ehrfm_core.outcomes import Outcome
from ehrfm_core.study import Study

_ID = "hospitalization_id"


def section(study: Study, outcome: Outcome, site: str, stay: str) -> None:
    """Draw the section."""
    ui.section(
        "Nearest stays",
        "Which stays does the model hold for most alike after 24 hours, and what became of them?",
    )
    found = neighbours.neighbours(study, site, stay)
    if found.table.is_empty():
        st.info("There is no other patient's stay to compare with.", icon=":material/person_off:")
        return
    rows = described(study, found.table)
    left, right = st.columns([3, 2], gap="medium", vertical_alignment="center")
    left.markdown(tallied(study, rows, outcome))
    with right:
        how_near(study, found)
    _table(study, rows, outcome, key=f"nearest-{study.digest}-{site}-{stay}-{outcome.name}")
    st.caption(
        "Euclidean distance between the 24 h representations in the model's full space, in the unit of "
        f"jumps, among {ui.count(found.n_stays, 'stay')} of every split of {', '.join(study.sites)}. The "
        "stay itself is left out, and so are other stays of the same patient at its site (a patient known "
        "at two sites is not recognised). What happened to them is no forecast: a stay with much charting "
        "has neighbours with much charting."
    )


def described(study: Study, table: pl.DataFrame) -> pl.DataFrame:
    """The stays of `table` (site, id, distance) in its order, with everything that is known of them."""
    parts = [
        data.stays(study, site).filter(pl.col(_ID).is_in(ids[_ID].implode())).with_columns(site=pl.lit(site))
        for (site,), ids in table.group_by("site", maintain_order=True)
    ]
    known = pl.concat(parts).unique(["site", _ID], keep="first")
    return table.join(known, on=["site", _ID], how="left", maintain_order="left")


def tallied(study: Study, rows: pl.DataFrame, outcome: Outcome) -> str:
    """How often the outcome happened among the nearest stays, and among all: sentences."""
    flags = rows.select(pl.when(f"counts_{outcome.name}").then(outcome.name)).to_series().to_list()
    events, n, low, high = neighbours.tally(flags)
    label, left_out = ui.inline(outcome.label), len(rows) - n
    if n < measures.MIN_CELL:
        return (
            f"Of the {len(rows)} nearest stays {n} count for {label}: fewer than {measures.MIN_CELL}, "
            "so their share is not shown."
        )
    text = f"**{outcome.label}: {events} of {n}** nearest stays, {events / n:.0%} [{low:.0%}–{high:.0%}]."
    everybody = pl.concat(
        data.stays(study, site).filter(f"counts_{outcome.name}").select(outcome.name) for site in study.sites
    )
    if len(everybody) >= measures.MIN_CELL:
        share = everybody[outcome.name].sum() / len(everybody)
        text += f" Among all {len(everybody):,} that count: {share:.0%}."
    if left_out:
        text += f" {ui.count(left_out, 'nearest stay does', 'nearest stays do')} not count."
    return f"{text} :gray[Wilson's interval, 95 %.]"


def how_near(study: Study, found: Neighbours) -> None:
    """Whether the nearest stay is near, measured by the source's training stays."""
    first = float(found.table["distance"][0])
    if found.percentile is None:
        st.markdown(f"The nearest lies at {first:.1f}; there is no training stay to compare that with.")
        return
    among = (
        f"of {ui.count(found.n_asked, 'training stay')} of {study.source} lie nearer to their own nearest."
    )
    if found.close:
        st.markdown(f"The nearest lies at **{first:.1f}**: {found.percentile:.0f} % {among}")
    else:
        st.warning(
            f"**None is close.** The nearest lies at {first:.1f}: {found.percentile:.1f} % {among} Those "
            "below are the least unlike, not alike.",
            icon=":material/near_me_disabled:",
        )


def _table(study: Study, rows: pl.DataFrame, outcome: Outcome, *, key: str) -> None:
    order = [outcome.name, *(name for name in study.outcomes if name != outcome.name)]
    shown = rows.select(
        "distance",
        "site",
        _ID,
        *(stays.happened(study.outcomes[name]).alias(name) for name in order),
        "age",
        "sex",
        "n_tokens",
        "split",
    )
    number = st.column_config.NumberColumn
    places = [(site, stay) for site, stay in rows.select("site", _ID).iter_rows()]
    ui.table(
        shown,
        key=key,
        height=320,
        on_select=_follow(key, places, several=len(study.sites) > 1),
        selection_mode="single-row",
        placeholder="—",
        alt="The stays nearest in the full space with their outcomes; choose a row to focus it",
        column_config={
            "distance": number("Distance", format="%.2f", help="Euclidean, in the full space"),
            "site": "Site",
            _ID: "Stay",
            **{
                name: st.column_config.TextColumn(
                    study.outcomes[name].label, help=ui.plain(study.outcomes[name].definition)
                )
                for name in order
            },
            "age": number("Age", format="%.0f"),
            "sex": "Sex",
            "n_tokens": number("Tokens", format="localized"),
            "split": "Split",
        },
    )


def _follow(key: str, places: list[tuple[str, str]], *, several: bool) -> Callable[[], None]:
    """The callback of the table: focus the row that was clicked, whatever its site."""

    def follow() -> None:
        rows = st.session_state[key]["selection"]["rows"]
        if rows and rows[0] < len(places):
            site, stay = places[rows[0]]
            state.set_focus(site, stay)
            if several:
                st.session_state[state.SITE] = site

    return follow

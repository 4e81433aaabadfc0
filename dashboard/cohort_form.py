"""A cohort from filters: a small form in the bar."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import streamlit as st

from dashboard import cohort_words, cohorts, data
from ehrfm_core.errors import UserError
from ehrfm_core.outcomes import Outcome
from ehrfm_core.study import Study

LEVELS = ("site", "split", "sex", "race", "ethnicity")
FLAGS = ("outlier", "icu_24h", "imv_24h")
NOT_RECORDED = "not recorded"
YES_NO = {"any": "Any", "yes": "Yes", "no": "No"}
_OLDEST = 120


def draw(study: Study, outcome: Outcome) -> None:
    """The form; its buttons make cohort A or B."""
    levels, has_outlier = _offered(str(study.folder), study.digest, study)
    flags = [flag for flag in FLAGS if flag != "outlier" or has_outlier]
    outcomes = {
        "any": "Any",
        "yes": "With the outcome",
        "no": "Without it",
        "counts": "Counts, with or without",
    }
    with st.form("new-cohort", border=False):
        st.markdown("**New cohort from filters** :gray[empty: any]")
        left, right = st.columns(2)
        for i, (column, values) in enumerate(levels.items()):
            (left, right)[i % 2].multiselect(
                cohort_words.COLUMNS[column], values, key=f"new-{column}", placeholder="Any"
            )
        st.slider("Age", 0, _OLDEST, (0, _OLDEST), key="new-age")
        columns = [place for _ in range(2) for place in st.columns(2)]
        columns[0].selectbox(
            outcome.label, list(outcomes), format_func=outcomes.__getitem__, key="new-outcome"
        )
        for place, flag in zip(columns[1:], flags, strict=False):
            place.selectbox(
                cohort_words.COLUMNS[flag], list(YES_NO), format_func=YES_NO.__getitem__, key=f"new-{flag}"
            )
        with st.container(horizontal=True):
            for side in cohorts.SIDES:
                st.form_submit_button(
                    f"Make cohort {side.upper()}",
                    key=f"make-{side}",
                    on_click=_made(study, outcome, side, list(levels), flags),
                )
    st.caption("All of it must hold. A region drawn on the Map afterwards narrows the cohort further.")


def _made(
    study: Study, outcome: Outcome, side: str, columns: list[str], flags: list[str]
) -> Callable[[], None]:
    def make() -> None:
        chosen = st.session_state
        levels = {
            column: [None if value == NOT_RECORDED else value for value in chosen[f"new-{column}"]]
            for column in columns
            if chosen[f"new-{column}"]
        }
        low, high = chosen["new-age"]
        ranges = {"age": (float(low) if low else None, float(high) if high < _OLDEST else None)}
        kept = {flag: chosen[f"new-{flag}"] == "yes" for flag in flags if chosen[f"new-{flag}"] != "any"}
        if chosen["new-outcome"] != "any":
            kept[f"counts_{outcome.name}"] = True
            if chosen["new-outcome"] != "counts":
                kept[outcome.name] = chosen["new-outcome"] == "yes"
        cohorts.wipe()
        st.toast(f"Cohort {side.upper()} is made; it is compared at the foot of the page Map.")
        cohorts.put(
            side,
            cohorts.made_here(
                study, levels=levels, ranges=ranges if ranges["age"] != (None, None) else {}, flags=kept
            ),
        )

    return make


@st.cache_resource(max_entries=16, show_spinner=False)
def _offered(folder: str, digest: str, _study: Study) -> tuple[dict[str, list[str]], bool]:
    """The values each column has at any site, and whether outliers are known."""
    try:
        frames = [data.stays(_study, site) for site in _study.sites]
    except UserError:  # the page says what is wrong
        return {}, False
    levels = {}
    for column in LEVELS:
        if column == "site":
            found = list(_study.sites) if len(_study.sites) > 1 else []
        else:
            values = pl.concat([frame[column].cast(pl.String) for frame in frames])
            found = values.drop_nulls().value_counts(sort=True)[column].to_list()
            found += [NOT_RECORDED] if values.null_count() else []
        if found:
            levels[column] = found
    return levels, "outlier" in frames[0].columns

"""A against B: outcomes, who they are, what was charted; and their numbers beside everyone's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl
import streamlit as st

from dashboard import cohort_tables, cohorts, data, ui
from dashboard.charts.cohorts import effects
from ehrfm_core.cell_words import UNTOLD
from ehrfm_core.cohorts import Cohort
from ehrfm_core.outcomes import Outcome
from ehrfm_core.small_cells import MIN_CELL, small
from ehrfm_core.study import Study

ID = "hospitalization_id"
SHOWN = 20  # categories in the figure


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two groups without a stay in common, and how they differ (see `ehrfm_core.cohorts.compare`)."""

    n: tuple[int, int]
    shared: int
    outcomes: pl.DataFrame
    characteristics: pl.DataFrame


def draw(study: Study, outcome: Outcome) -> None:
    """The panel below the Map."""
    usable = {side: cohorts.usable(study, side) for side in cohorts.SIDES}
    made = {side.upper(): cohort for side, cohort in usable.items() if cohort is not None}
    if not made:
        ui.section("A against B")
        st.info(
            "Draw around a region on a map, or choose filters under *New* in the bar above: that is cohort "
            "A. "
            "It is compared with everyone else, or with cohort B where there is one.",
            icon=":material/lasso_select:",
        )
        return
    first, *second = made.items()
    names = (first[0], second[0][0] if second else "others")
    where = first[1].sites
    others = "everyone else" + (f" at {', '.join(map(str, where))}" if where else "")
    ui.section(
        f"{names[0]} against {'B' if second else ui.plain(others)}",
        "How the two differ in outcome, in who they are, and in what was charted in the window.",
    )
    both = (str(study.folder), study.digest, first[1].text(), second[0][1].text() if second else None)
    result = _comparison(*both)
    few = [name for name, n in zip(names, result.n, strict=True) if n < MIN_CELL]
    if few:
        st.info(
            f"Fewer than {MIN_CELL} stays are left in {' and in '.join(few)}: no statistics. "
            f"Draw "
            "a larger region, drop a filter, or count stays that are there at any hour.",
            icon=":material/group_off:",
        )
        return
    _results(result, names, outcome)
    _categories(_charted_differences(*both), result.n, names)


def _results(result: Comparison, names: tuple[str, str], outcome: Outcome) -> None:
    n = _sizes(result.n, names)
    told = result.outcomes.filter(label=outcome.label).row(0, named=True)
    events = ", ".join(
        f"{name} {UNTOLD}"
        if told[f"events_{side}"] is None
        else f"{name} {told[f'events_{side}']:,} events of {told[f'n_{side}']:,} that count"
        for side, name in zip("ab", names, strict=True)
    )
    n_shared = f"Fewer than {MIN_CELL}" if small(result.shared) else f"{result.shared:,}"
    overlap = f" {n_shared} stays are in both and count for {names[0]} only." if result.shared else ""
    for key, frame, title in (
        ("outcomes", result.outcomes, "Outcomes"),
        ("characteristics", result.characteristics, "Who they are"),
    ):
        ui.table(
            cohort_tables.readable(frame, names, title),
            key=f"cohort-{key}",
            height="content",
            alt=f"{title}: {names[0]} against {names[1]}, with effect sizes",
            column_config=cohort_tables.columns(title),
        )
    st.caption(
        f"{n}. {outcome.label}: {events}.{overlap} Shares, or means of numbers. Difference in percentage "
        "points with Newcombe's 95 % interval; SMD: difference over the pooled standard deviation, 95 % "
        "interval; q as below. Stays are taken as independent, though a patient may have several. Counts "
        "of 1 to 10, what they would follow from and what follows from them are not told."
    )


def _sizes(n: tuple[int, int], names: tuple[str, str]) -> str:
    return f"{names[0]}: {n[0]:,} stays, {names[1]}: {n[1]:,}, all splits"


def _categories(charted: pl.DataFrame, n: tuple[int, int], names: tuple[str, str]) -> None:
    """Which categories of tokens the two differ in."""
    left, right = st.columns(2, gap="large")
    known = charted.drop_nulls("effect")
    if known.is_empty():
        st.info(
            "No category of tokens is frequent enough in both to be compared.",
            icon=":material/filter_alt_off:",
        )
        return
    with left:
        shown = cohort_tables.named(known.head(SHOWN))
        ui.chart(
            effects(shown, names=names),
            key="cohort-effects",
            alt=f"Dot plot: the categories of tokens that differ most between {names[0]} and {names[1]}",
            caption=f"The {len(shown)} of {len(known)} categories that differ most in the share of stays "
            f"that have them in the window; {_sizes(n, names)}. 95 % intervals, each by itself; filled: q "
            "below 0.05" + (": **none is**." if (known["q_value"] >= 0.05).all() else "."),
        )
    with right:
        ui.table(
            cohort_tables.categories(charted, names),
            key="cohort-charted",
            height=430,
            alt=f"Categories of tokens: share of stays that have them in {names[0]} and {names[1]}",
            column_config=cohort_tables.category_columns(names),
        )
        st.caption(
            "q: were all rows with a q up to this one called different, about that share of them would be "
            f"false (Benjamini and Hochberg, over the {charted['p_value'].count()} categories "
            "tested). A region of the map is made of what was charted, so that categories differ between "
            "regions by construction: q says what differs, not why."
        )


def _pair(folder: str, first: str, second: str | None) -> tuple[Study, pl.DataFrame, pl.DataFrame, int]:
    """The study, the stays of both groups, and how many were in both."""
    from ehrfm_core.cohorts import compare  # a second to import: not on the first page

    study = data.open_study(folder)
    a = cohorts.stays(study, Cohort.from_text(first))
    where = Cohort.from_text(first).sites
    other = Cohort.from_text(second) if second else Cohort.of(levels={"site": list(where)} if where else {})
    return study, a, *compare.disjoint(a, cohorts.stays(study, other))


@st.cache_resource(max_entries=16, show_spinner="Comparing …")
def _comparison(folder: str, digest: str, first: str, second: str | None) -> Comparison:
    from ehrfm_core.cohorts import compare

    study, a, b, shared = _pair(folder, first, second)
    n = (len(a), len(b))
    if min(n) < compare.MIN_CELL:
        return Comparison(n, shared, pl.DataFrame(), pl.DataFrame())
    return Comparison(
        n,
        shared if second else 0,
        compare.compare_outcomes(a, b, study.outcomes),
        compare.compare_characteristics(a, b),
    )


@st.cache_resource(max_entries=16, show_spinner=False)
def _charted_differences(folder: str, digest: str, first: str, second: str | None) -> pl.DataFrame:
    """Apart from the rest: what was charted is counted once, which takes seconds in a large study."""
    from ehrfm_core.cohorts import compare

    study, a, b, _ = _pair(folder, first, second)
    ours, theirs = ([frame.filter(site=site)[ID] for site in study.sites] for frame in (a, b))
    return compare.compare_charted(ours, theirs, [_charted(folder, digest, site) for site in study.sites])


@st.cache_resource(max_entries=16, show_spinner="Counting what was charted …")
def _charted(folder: str, digest: str, site: str) -> Any:
    from ehrfm_core.cohorts.charted import charted
    from ehrfm_core.tokens.tokenizer import Tokenizer

    study = data.open_study(folder)
    tokenizer = Tokenizer.from_json(data.tokenizer(study))
    return charted(study.site_table(site, "timelines"), tokenizer)


def beside_everyone(study: Study) -> None:
    """The cohorts' numbers beside everyone's, on the Overview; nothing where there is no cohort."""
    usable = {f"Cohort {side.upper()}": cohorts.usable(study, side) for side in cohorts.SIDES}
    made = {name: cohort for name, cohort in usable.items() if cohort is not None}
    if not made:
        return
    ui.section("Cohorts", "Those of the bar above, beside everyone. The rest of this page is everyone.")
    frames = {"Everyone": cohorts.everyone(study)}
    frames |= {name: cohorts.stays(study, cohort) for name, cohort in made.items()}
    ui.table(
        cohort_tables.summary(frames, study.outcomes),
        key="cohort-summary",
        height="content",
        alt="Cohorts beside everyone: stays, age, tokens and outcomes",
    )
    st.caption(
        "All splits. Outcomes: share of the stays that count for each; none where it, or what the cohort "
        "leaves of everyone, would tell of 1 to 10 stays."
    )

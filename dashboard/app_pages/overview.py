"""Overview: what this is, and whether it is real data."""

from __future__ import annotations

import polars as pl
import streamlit as st

from dashboard import cohort_panel, data, measures, report, stamp, ui
from dashboard import notes as grouped_notes
from dashboard.charts.overview import token_composition
from dashboard.table_one import table_one
from dashboard.vocabulary import token_families
from ehrfm_core import cell_words, small_cells
from ehrfm_core.outcomes import Outcome, Outcomes
from ehrfm_core.study import Study
from ehrfm_core.study.notes import summary
from ehrfm_core.tokens.vocabulary import PREFIX_FAMILIES

_OPEN_LINES = 12  # of notes and headings; a longer list is folded


def main() -> None:
    """Draw the page."""
    study, outcome = ui.current()
    sites = study.sites
    title, take_away = st.columns([4, 1], vertical_alignment="bottom")
    with title:
        ui.header(
            ui.plain(study.name.replace("_", " ")),
            "What is in this study: who the patients are, how much is charted about them, which questions it "
            "can answer.",
        )
    if study.manifest.synthetic:
        st.info(stamp.SENTENCE, icon=":material/science:")
    ui.needs(study, "tokenize")
    with take_away:
        report.button(study)
    frames = {site: data.stays(study, site) for site in sites}
    site_cards(study, frames, outcome)
    cohort_panel.beside_everyone(study)
    outcome_table(frames, study.outcomes)
    notes(study)
    few = len(sites) <= 2  # Table 1 has a column a site: more of them need the whole width
    left, right = st.columns([3, 2], gap="large") if few else (st.container(), st.container())
    with left:
        characteristics(frames, study.outcomes)
    with right:
        composition(study)
    next_views()


def site_cards(study: Study, frames: dict[str, pl.DataFrame], outcome: Outcome) -> None:
    """One card a site."""
    columns = ui.grid(max(2, len(frames)))
    # three cards in a row leave no place for the whole names
    tokens, flagged = ("Tokens in 24 h", "Flagged outliers") if len(frames) <= 2 else ("Tokens", "Flagged")
    for column, (site, frame) in zip(columns, frames.items(), strict=False):
        counted = frame.filter(pl.col(f"counts_{outcome.name}"))
        role = "source: trained here" if site == study.source else "target: only tested here"
        with column.container(border=True, height="stretch"):
            st.markdown(f"**{site}** &nbsp; :gray[{role}]")
            first, second, third = st.columns(3)
            patients = cell_words.people(frame["patient_id"].n_unique())
            first.metric("Stays", cell_words.number(len(frame)), help=patients)
            second.metric(
                tokens,
                _mean(frame["n_tokens"]),
                help="Mean per stay in the first 24 h, static prefix included",
            )
            if "outlier" in frame.columns:
                third.metric(
                    flagged,
                    _flagged(frame),
                    help=f"Anomaly score above 0.5, relative to {study.source}, all splits",
                )
            st.caption(f"{patients} · {_splits(frame)} · {outcome.label}: {_happened(counted, outcome)}")
    if len(frames) == 1:
        with columns[1].container(border=True, height="stretch"):
            st.markdown("**One site** &nbsp; :gray[transfer cannot be judged]")
            st.markdown(
                "Every page works; *Transfer* shows the source alone and how to add a second hospital."
            )


def _flagged(frame: pl.DataFrame) -> str:
    """Share of flagged stays; that of the test split is told elsewhere, so that the rest must be safe too."""
    counts, hidden = small_cells.levels(frame, "outlier", [True, False])
    if hidden[0]:
        return cell_words.UNTOLD
    known = counts[:2].sum()
    return f"{100 * counts[0] / known:.1f} %" if known else "—"


def _splits(frame: pl.DataFrame) -> str:
    counts = {name: int((frame["split"] == name).sum()) for name in ("train", "tuning", "test")}
    return " · ".join(f"{name} {told}" for name, told in cell_words.parts(counts).items())


def _happened(counted: pl.DataFrame, outcome: Outcome) -> str:
    """How many of the stays that count had the outcome."""
    told = measures.availability({"": counted}, {outcome.name: outcome}).row(0, named=True)
    n, events = cell_words.number(len(counted)), told["events"]
    return f"{cell_words.UNTOLD if events is None else f'{events:,}'} of {n} stays that count"


def _mean(values: pl.Series) -> str:
    mean = values.mean()
    if mean is None:
        return "—"
    return cell_words.UNTOLD if small_cells.small(values.count()) else f"{float(mean):,.0f}"  # type: ignore[arg-type]


def notes(study: Study) -> None:
    """What a reader of the results must know, in the words of the stages."""
    found = study.manifest.notes
    if found:
        title = f"{ui.count(len(found), 'note')} from making this study: read before quoting a number"
        few = len(summary(found, most=0)) <= _OPEN_LINES
        with st.expander(title, expanded=few, icon=":material/edit_note:"):
            grouped_notes.draw(found)


def outcome_table(frames: dict[str, pl.DataFrame], outcomes: Outcomes) -> None:
    """Which outcome can be answered at which site."""
    ui.section(
        "Outcomes",
        "Stays that count for each outcome, and how many had it. Intervals are only as good as the events.",
    )
    table = measures.availability(frames, outcomes)
    ui.table(
        table if len(frames) > 1 else table.drop("site"),
        height="content",
        placeholder="not told",
        alt="Outcomes by site: stays that count, events, rate, and whether the test split can be read",
        column_config={
            "site": "Site",
            "outcome": "Outcome",
            "n": st.column_config.NumberColumn("Stays that count", format="localized"),
            "events": st.column_config.NumberColumn("Events", format="localized"),
            "rate": st.column_config.ProgressColumn(
                "Rate", format="percent", min_value=0, max_value=1, color="blue"
            ),
            "test_n": st.column_config.NumberColumn("Test stays", format="localized"),
            "test_events": st.column_config.NumberColumn("Test events", format="localized"),
            "verdict": "Test split",
        },
    )
    st.caption(
        "Outcomes after 24 h leave out stays whose event already lies in the first 24 h, so their "
        f"denominators differ. Fewer than {measures.MIN_EVENTS} events (or non-events) in the test split: "
        f"too few to read. {cell_words.RULE}"
    )


def characteristics(frames: dict[str, pl.DataFrame], outcomes: Outcomes) -> None:
    """Table 1."""
    ui.section("Who the patients are", "All stays of the study, every split.")
    ui.table(
        table_one(frames, outcomes),
        height="content",
        alt="Table 1: characteristics of the stays by site",
        column_config={
            "SMD": st.column_config.TextColumn("SMD", help="Standardised mean difference", width="small")
        },
    )
    st.caption(
        f"Median (quartiles) or count (share of stays where it is known). {cell_words.RULE} "
        + (
            "SMD: difference of means over the pooled standard deviation; above 0.1 the sites differ."
            if len(frames) == 2
            else ""
        )
    )


def composition(study: Study) -> None:
    """How much is charted, and what."""
    ui.section(
        "What is charted", "The amount of charting confounds path length, anomaly and site: look here first."
    )
    means = token_families(study)
    others = (*PREFIX_FAMILIES, "special")
    families = {site: {f: m for f, m in own.items() if f not in others} for site, own in means.items()}
    families = {site: own for site, own in families.items() if own}
    if not families:
        st.caption("This study does not hold its token composition.")
        return
    ui.chart(
        token_composition(families),
        key="composition",
        alt="Bar chart: mean tokens per stay in the first 24 hours by family and site",
        caption="Mean tokens a stay in the first 24 h, all stays. A numeric event is two tokens: what was "
        "measured, and its bin.",
    )


def next_views() -> None:
    """Where to go from here."""
    ui.section("Look next")
    cards = (
        ("map", "The map", "Where the patients lie, in two projections, and how far each can be trusted."),
        ("patient", "One patient", "24 hours of a stay as a path: what was charted, where the model jumped."),
        (
            "dynamics",
            "Movement and outcome",
            "Does a long or jumpy path go with a bad outcome, or with more charting?",
        ),
        ("transfer", "Another hospital", "How well predictions hold where the model was not trained."),
    )
    for column, (page, title, text) in zip(st.columns(len(cards)), cards, strict=True):
        with column.container(border=True, height="stretch"):
            st.page_link(
                f"app_pages/{page}.py",
                label=f"**{title}**",
                icon=":material/arrow_forward:",
                icon_position="right",
            )
            st.caption(text)


main()

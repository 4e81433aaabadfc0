"""The steps of the story on patients and their movement, and what they are drawn with."""

from __future__ import annotations

from urllib.parse import urlencode

import plotly.graph_objects as go
import polars as pl
import streamlit as st

from dashboard import data, measures, population, presenter, report, stamp, state, story, theme, ui
from dashboard.charts import dynamics, maps, outliers, paths, playback
from ehrfm_core import cell_words
from ehrfm_core.outcomes import Outcome
from ehrfm_core.published import published
from ehrfm_core.study import Study

HEIGHT = 430


def say(*sentences: str) -> None:
    """The words of a step; empty sentences are left out."""
    st.markdown("\n\n".join(sentence for sentence in sentences if sentence))


def draw(figure: go.Figure, key: str, alt: str, caption: str) -> None:
    """A figure of the story."""
    if st.session_state.get(state.PRESENT):
        presenter.enlarge(figure)
    ui.chart(figure, key=f"story-{key}", alt=alt, caption=caption)


def link(label: str, page: str, **query: str) -> None:
    """A way to the page where this can be looked at closely, with study, outcome and what is shown."""
    study, outcome = ui.current()
    kept = {state.STUDY: stamp.label(study), state.OUTCOME: outcome.label}  # as the drop-downs write them
    st.page_link(
        f"app_pages/{page}.py",
        label=f"Open this view: {label}",
        icon=":material/arrow_forward:",
        icon_position="right",
        query_params=kept | query,
    )


def sizes(frames: dict[str, pl.DataFrame], outcome: Outcome) -> str:
    """Stays and events of every site."""
    return "; ".join(
        f"{site}: {cell_words.sized(len(f), int(f[outcome.name].sum() or 0))}" for site, f in frames.items()
    )


def map_of(study: Study, site: str, kind: str, stay: dict[str, object] | None = None) -> go.Figure:
    """A site's density, with one stay's path on top."""
    bins = population.bins_for(len(data.paths(study, site)))
    figure = maps.density_map(
        population.counts(study, site, kind, bins=bins),
        data.maps(study)[kind],
        kind,
        colour=theme.site_colours(study.sites)[site],
        height=HEIGHT,
        off_map=population.counts(study, site, kind, bins=bins, off_map=True),
    )
    if stay is not None:
        path = population.path(study, site, str(stay["hospitalization_id"]))
        paths.add_path(figure, path, kind, jump_minute=stay["max_jump_minute"])  # type: ignore[arg-type]
    return figure


def chosen_target(study: Study) -> str:
    """The hospital told of: the one chosen on the page Transfer, else the first that is not the source."""
    chosen = st.session_state.get(state.TARGET)
    return chosen if chosen in study.sites[1:] else study.sites[1]


def patient(study: Study, outcome: Outcome) -> None:
    """Step 1."""
    stay = story.instructive(study)
    if stay is None:
        say("No stay of the source has an event in its first 24 hours, so there is no path to tell of.")
        return
    name, n = stay["hospitalization_id"], len(data.stays(study, study.source))
    left, right = st.columns([2, 3], gap="large")
    with left:
        say(story.one_patient(study, stay, outcome))
        st.caption(story.RULE)
        link("this stay, token by token", "patient", f=f"{study.source}/{name}")
    with right, st.container(key="map-of-the-path"):
        draw(
            playback.play(map_of(study, study.source, "pca", stay), button=0.13),
            "path",
            f"Path of stay {name} over the first 24 hours on the PCA map of {study.source}",
            f"PCA of hourly states, over the density of {n:,} stays of {study.source}. Open circle: start; "
            "large dot: 24 h. Jumps are measured in the full space; one patient, no interval.",
        )


def pictures(study: Study, _: Outcome) -> None:
    """Step 2."""
    stay = story.instructive(study)
    say(story.fidelity(data.maps(study)))
    for column, kind in zip(st.columns(2, gap="medium"), maps.KINDS, strict=True):
        with column:
            draw(
                map_of(study, study.source, kind, stay),
                kind,
                f"{maps.KINDS[kind]} map of {study.source} with the path of one stay",
                f"{maps.KINDS[kind]}; the same stay, the same states. Not to scale, no interval.",
            )
    link("both maps and how far to trust them", "map")


def movement(study: Study, outcome: Outcome) -> None:
    """Step 3."""
    frames = {site: data.held_out(study, site, outcome.name) for site in study.sites}
    frames = {site: frame for site, frame in frames.items() if len(frame)}
    evaluated = study.has("evaluate")
    told = story.movement(study, frames[study.source], outcome) if study.source in frames else ""
    say(
        told or "No test stay of the source counts for this outcome.",
        story.adjusted(study, outcome) if evaluated else "",
    )
    for column, feature in zip(st.columns(2, gap="large"), ("path_length", "n_tokens"), strict=True):
        tables = {s: measures.rate_by_quantile(f, feature, outcome.name) for s, f in frames.items()}
        title = measures.FEATURES[feature]
        if not tables:
            continue
        with column:
            draw(
                dynamics.dose_response(tables, title),
                feature,
                f"{outcome.label} rate by quantile of {title.lower()}, one line per site",
                f"Test split, {sizes(frames, outcome)}; at each bin's median; bars: Wilson 95 %.",
            )
    if evaluated and outcome.name in set(published("associations").frame["outcome"]):
        value = published("associations").value(
            "coefficient", site="mimic", outcome=outcome.name, feature="path_length"
        )
        sign = "negative" if value < 0 else "positive"
        st.caption(
            f"For reference, the paper at MIMIC-IV: joint coefficient of path length {sign}, {value:g}."
        )
    link("every measure, alone and adjusted", "dynamics")


def hospital(study: Study, _: Outcome) -> None:
    """Step 4."""
    flagged, off_map = story.strangers(study)
    if len(study.sites) == 1:
        say(f"This study has one hospital, {ui.plain(study.source)}, so nobody new arrives.", flagged)
        known = {study.source: data.held_out(study, study.source)}
        scored = len(known[study.source]["anomaly_score"].drop_nulls())
        if scored:
            draw(
                outliers.score_distribution(known, 0.5),
                "scores",
                f"Distribution of the anomaly score at {study.source}",
                f"Test split, n {scored:,}; isolation forest on the full-space state at 24 h.",
            )
        link("who is unlike the others, and why", "outliers")
        return
    target = chosen_target(study)
    say(flagged)
    for column, site in zip(st.columns(2, gap="medium"), (study.source, target), strict=True):
        with column:
            draw(
                map_of(study, site, "pca"),
                f"density-{site}",
                f"Density of {site} on the PCA map fitted on {study.source}",
                f"{len(data.stays(study, site)):,} stays of {site} on the map of {study.source}; grey: "
                "mostly off the map. A picture, no interval.",
            )
    st.caption(f"{off_map} For reference, flagged in the paper: {story.paper_flagged()}.")
    link("the other hospital on the map", "map", s=target)


def take_away(study: Study, outcome: Outcome) -> None:
    """Step 7."""
    patients = sum(data.stays(study, site)["patient_id"].n_unique() for site in study.sites)
    total = sum(len(data.stays(study, site)) for site in study.sites)
    say(
        f"All of this stands on {total:,} stays of {patients:,} patients at "
        f"{ui.count(len(study.sites), 'hospital')}. "
        "Hospitals differ in years and in how much they chart as well as in their patients; associations are "
        "not causes; and nothing here is for decisions about patients."
    )
    query = urlencode({state.STUDY: study.name, state.OUTCOME: outcome.name})
    st.markdown("A link to this story, with this study and outcome, for whoever can reach this address:")
    st.code(f"{(st.context.url or '/story').split('?')[0]}?{query}", language=None)
    with st.columns([1, 2])[0]:
        report.button(study)
    link("definitions, settings and limits", "methods")

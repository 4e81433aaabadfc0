"""Map: where patients lie in the model's space, as two pictures that are never the measurement."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import polars as pl
import streamlit as st

from dashboard import (
    atlas_export,
    cohort_panel,
    controls,
    data,
    drawing,
    measures,
    outlines,
    population,
    quality,
    state,
    stay_table,
    stays,
    theme,
    ui,
)
from dashboard.charts import maps, paths
from ehrfm_core import cell_words
from ehrfm_core.outcomes import Outcome
from ehrfm_core.study import Study

HEIGHT = 470
EVERY = "every site"


def main() -> None:
    """Draw the page."""
    study, outcome = ui.current()
    ui.header(
        "Map", "Where do the patients lie in the model's space, and how does one of them move through it?"
    )
    ui.needs(study, "tokenize", "pretrain", "embed")
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        site = stays.chosen_site(study)
        layers = {"density": f"Density of {site}"}
        if len(study.sites) > 1:
            layers |= {"every": "Density of every site", "difference": "Site against site"}
        layers["rate"] = f"Outcome at {site}"
        layer = controls.choose("Background", layers, key=state.LAYER, what="background")
        shown = controls.choose(
            "Projection", {"both": "Both", "pca": "PCA", "umap": "UMAP"}, key=state.MAP, what="projection"
        )
    pen = drawing.options()
    pictures = st.container()
    ui.section("Choose a stay", "Click a row to see its path above.")
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        group = controls.pick("Stays in the table", stays.groups(study), key=state.GROUP, what="group")
        order = controls.pick("Ordered by", stays.ORDERS, key=state.ORDER, what="order")
    listed = stays.candidates(study, site, outcome, group, order)
    stay = stays.focused(study, site, listed)
    kinds = ("pca", "umap") if shown == "both" else (shown,)
    for column, kind in zip(pictures.columns(len(kinds), gap="medium"), kinds, strict=True):
        with column:
            draw(study, outcome, site, layer, kind, stay, pen, wide=len(kinds) == 1)
    table(study, site, outcome, listed, stay, key=f"{group}-{order}")
    cohort_panel.draw(study, outcome)
    atlas_export.draw(study)


def table(
    study: Study, site: str, outcome: Outcome, listed: pl.Series, stay: str | None, *, key: str
) -> None:
    """The stays of a group; a click on a row moves the focus."""
    if listed.is_empty():
        st.info(f"No stay of {site} is in this group.", icon=":material/filter_alt_off:")
        return
    if stay is not None:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"Focus: **{ui.plain(stay)}** ({site})", width="content")
            st.page_link("app_pages/patient.py", label="Open this stay", icon=":material/timeline:")
    stay_table.table(
        study,
        listed,
        outcome,
        site,
        stay,
        key=f"map-{study.digest}-{site}-{key}-{outcome.name}",
        height=330,
    )


def draw(
    study: Study,
    outcome: Outcome,
    site: str,
    layer: str,
    kind: str,
    stay: str | None,
    pen: drawing.Pen,
    *,
    wide: bool,
) -> None:
    """One map with its caption and its quality."""
    info = data.maps(study)[kind]
    ui.section("PCA: a straight shadow of the space" if kind == "pca" else "UMAP: neighbourhoods, redrawn")
    figure = background(study, outcome, site, layer, kind, 640 if wide else HEIGHT)
    path_text = ""
    if stay is not None:
        dynamics = data.stays(study, site).filter(hospitalization_id=stay)
        paths.add_path(
            figure, population.path(study, site, stay), kind, jump_minute=dynamics["max_jump_minute"][0]
        )
        path_text = f" On top: stay {ui.plain(stay)}, hour by hour; open circle: start, large dot: 24 h."
    maps.make_selectable(figure, info)
    shown = f"{site}|{layer}|{stay}|{wide}" + (f"|{outcome.name}" if layer == "rate" else "")
    outlined = outlines.settle(study, kind, widget=drawing.widget(kind), figure=shown)
    maps.outline(figure, outlined)
    n = len(data.stays(study, site))
    who = {
        "density": f"{cell_words.stays(n)} of {site}",
        "every": "All stays of every site",
        "difference": " against ".join(pair(study, site)),
        "rate": f"{outcome.label} among stays of {site}",
    }
    hours = "every hour of the first 24 h"
    how = "drawn as density (log scale)"
    if layer == "difference":
        how = (
            f"log2 ratio of their shares of states in a bin (above 0: more of {study.source}; bins with "
            f"fewer than {measures.MIN_CELL} states are empty)"
        )
    if layer == "rate":
        counted, events = population.rates(study, site, kind, outcome)
        hours = f"where they are at 24 h ({cell_words.sized(int(counted.sum()), int(events.sum()))})"
        how = (
            f"share with the outcome; bins with fewer than {measures.MIN_CELL} stays, or as few with it or "
            "without it, are empty"
        )
    ui.chart(
        figure,
        key=f"map-{kind}",
        alt=f"{kind.upper()} map of hourly states, {who[layer]}, with the path of one stay",
        caption=f"{who[layer]}, {hours}, all splits, {how}. No interval: a "
        f"picture, not a measurement.{path_text}{'' if drawing.anew(kind) else outlines.told(outlined)}"
        f"{off_map_text(study, site, layer)}",
        widget=drawing.widget(kind),
        on_select=drawing.follow(study, kind, shown_sites(study, site, layer), pen),
    )
    quality.card(info, kind)


def off_map_text(study: Study, site: str, layer: str) -> str:
    """Which share of each site's hours lies off the map, and how that is drawn."""
    shares = {name: population.off_map_share(study, name) for name in shown_sites(study, site, layer)}
    told = ", ".join(f"{100 * share:.1f} % of {name}" for name, share in shares.items() if share is not None)
    if not told:
        return ""
    grey = "" if layer in ("difference", "rate") else "bins where they are the majority are grey, "
    return (
        f" Off the map (farther from the fitted states than 99 % of {study.source}'s own held-out hours): "
        f"{told}; {grey}such hours of a path are faded."
    )


def shown_sites(study: Study, site: str, layer: str) -> list[str]:
    """The sites that a background is made of."""
    sites = {"density": [site], "every": study.sites, "difference": pair(study, site), "rate": [site]}
    return sites[layer]


def pair(study: Study, site: str) -> list[str]:
    """The two sites to compare: the source, and the chosen site (or the first that is not the source)."""
    return study.sites[:2] if site == study.source else [study.source, site]


def background(study: Study, outcome: Outcome, site: str, layer: str, kind: str, height: int) -> go.Figure:
    """The population a path is drawn on."""
    info, colours = data.maps(study)[kind], theme.site_colours(study.sites)
    if layer == "rate":
        return maps.rate_map(*population.rates(study, site, kind, outcome), info, kind, height=height)
    sites = shown_sites(study, site, layer)
    n_states = sum(len(data.paths(study, name)) for name in sites)
    bins = population.bins_for(n_states)
    grids = [population.counts(study, name, kind, bins=bins) for name in sites]
    if layer == "difference":
        pair_colours = (colours[sites[0]], colours[sites[1]])
        return maps.difference_map(grids[0], grids[1], info, kind, colours=pair_colours, height=height)
    colour = colours[site] if layer == "density" else theme.NEUTRAL
    off_map = np.sum([population.counts(study, s, kind, bins=bins, off_map=True) for s in sites], axis=0)
    return maps.density_map(np.sum(grids, axis=0), info, kind, colour=colour, height=height, off_map=off_map)


main()

"""Why one stay is an outlier: its components and its tokens against inliers with as much charting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import streamlit as st

from dashboard import data, theme, ui
from dashboard.charts.detectors import against_inliers
from ehrfm_core.cell_words import number
from ehrfm_core.dynamics.departure import (
    FEWEST_MATCHED,
    category_departures,
    component_departures,
    matched_inliers,
)
from ehrfm_core.study import Study
from ehrfm_core.tokens.tokenizer import Tokenizer
from ehrfm_core.tokens.vocabulary import FAMILY_LABELS
from ehrfm_core.tokens.window import model_window, to_ragged

if TYPE_CHECKING:
    from ehrfm_core.dynamics.space import Space

ID = "hospitalization_id"
SHOWN = 10


@dataclass(frozen=True, eq=False)
class Source:
    """The source's training split: components of its states, and those of its stays that are inliers."""

    space: Space | None
    inliers: pl.DataFrame  # hospitalization_id, n_tokens


def why(study: Study, site: str, stay: str) -> None:
    """The section of the Outliers page for one stay."""
    ui.section(
        f"What sets stay {ui.plain(stay)} apart",
        f"Compared with inliers of {study.source}'s training split that have about as many tokens.",
    )
    row = data.stays(study, site).filter(pl.col(ID) == stay).row(0, named=True)
    source = _source(str(study.folder), study.digest)
    without = stay if site == study.source else ""
    matched = matched_inliers(source.inliers, row["n_tokens"], without=without)
    if source.space is None or matched.height < FEWEST_MATCHED:
        ui.absent(
            "There are too few inliers to compare with",
            f"{study.source}'s training split has {number(matched.height)} inliers; at least "
            f"{FEWEST_MATCHED} are needed, of 30 stays or more.",
            icon=":material/block:",
        )
        return
    colour = theme.site_colours(study.sites)[site]
    fewest, most = matched.select(pl.col("n_tokens").min(), most=pl.col("n_tokens").max()).row(0)
    span = f"{fewest:,} to {most:,}"
    who = (
        f"Stay {ui.plain(stay)} of {site}, {row['n_tokens']:,} tokens, against {number(matched.height)} "
        f"inliers with {span}. One stay: no interval; the grey span holds 90 % of the inliers."
    )
    left, right = st.columns(2, gap="large")
    with left:
        tokens(study, site, stay, matched, colour, who)
    with right:
        components(study, site, stay, matched, source.space, colour, who)


def tokens(study: Study, site: str, stay: str, matched: pl.DataFrame, colour: str, who: str) -> None:
    """Token categories whose counts differ most."""
    own = _windows(study, site, [stay])
    others = _windows(study, study.source, matched[ID].to_list())
    found = category_departures(
        to_ragged(own["tokens"], np.int32).values,
        to_ragged(others["tokens"], np.int32),
        data.tokenizer(study)["vocabulary"],
    ).head(SHOWN)
    if found.is_empty():
        st.caption("Neither this stay nor an inlier has a token of any category.")
        return
    ui.chart(
        against_inliers(
            [
                f"{name.replace('_', ' ')} · {FAMILY_LABELS.get(family, family).lower()}"
                for family, name in found.select("family", "name").iter_rows()
            ],
            found["count"].to_list(),
            found["low"].to_list(),
            found["median"].to_list(),
            found["high"].to_list(),
            colour=colour,
            title="Tokens in 24 h",
        ),
        key="why-tokens",
        alt=f"Token categories in which stay {stay} differs most from matched inliers",
        caption=f"{who} Categories in order of their effect, from {abs(found['effect'][0]):.1f} down to "
        f"{abs(found['effect'][-1]):.1f} SD of the counts' square roots (Anscombe 1948).",
    )


def components(
    study: Study, site: str, stay: str, matched: pl.DataFrame, space: Space, colour: str, who: str
) -> None:
    """Principal components along which the state lies farthest out."""
    state = _states(study, site, [stay])
    found = component_departures(space, state[0], _states(study, study.source, matched[ID].to_list()))
    found = found.drop_nulls("z").head(SHOWN)
    if found.is_empty():
        st.caption("The matched inliers do not differ from each other along any component.")
        return
    scaled = found.with_columns((pl.col("low", "high") - pl.col("mean")) / pl.col("sd"))
    ui.chart(
        against_inliers(
            [
                f"component {k} · {100 * share:.1f} %"
                for k, share in found.select("component", "explained").rows()
            ],
            found["z"].to_list(),
            scaled["low"].to_list(),
            [0.0] * found.height,
            scaled["high"].to_list(),
            colour=colour,
            title="Distance from the inliers' mean, in their SD",
        ),
        key="why-components",
        alt=f"Principal components along which stay {stay} lies farthest from matched inliers",
        caption=f"{who} Percentages: share of the training states' variance. A component has no clinical "
        "name of its own.",
    )


@st.cache_resource(max_entries=8, show_spinner="Finding the principal components …")
def _source(folder: str, digest: str) -> Source:
    from ehrfm_core.dynamics.space import fit_space  # imports scikit-learn: not before it is wanted

    study = data.open_study(folder)
    train = data.stays(study, study.source).filter(pl.col("split") == "train")
    states = _states(study, study.source, train[ID].to_list())
    inliers = train.filter(~pl.col("outlier").fill_null(value=True)).select(ID, "n_tokens")
    return Source(fit_space(states, seed=0), inliers)


def _states(study: Study, site: str, ids: list[str]) -> np.ndarray:
    """24 h representations (n × D) of the stays, in the order of `ids`."""
    frame = data.site_table(study, site, "states")
    return pl.DataFrame({ID: ids}).join(frame, on=ID, maintain_order="left")["state"].to_numpy()


def _windows(study: Study, site: str, ids: list[str]) -> pl.DataFrame:
    timelines = data.site_table(study, site, "timelines").filter(pl.col(ID).is_in(ids))
    return model_window(timelines, Tokenizer.from_json(data.tokenizer(study)))

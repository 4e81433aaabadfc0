"""How far a map can be trusted, in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

MEASURES = {
    "step_fidelity": (
        "Step fidelity",
        "Spearman correlation of hourly step lengths on the map and in the full space",
    ),
    "trustworthiness": (
        "Trustworthiness",
        "Are neighbours on the map also neighbours in the full space? 1 is perfect",
    ),
    "neighbour_overlap": ("Neighbour overlap", "Share of the nearest neighbours that stay the same"),
    "site_auc_2d": (
        "Sites told apart, map",
        "AUC of telling the sites apart from the two coordinates; 0.5 is chance",
    ),
    "site_auc_full": ("Sites told apart, full space", "The same from the full hidden state"),
}


def warnings(quality: Mapping[str, Any], kind: str) -> list[str]:
    """Plain sentences on what a map hides; empty where it hides little.

    >>> warnings({"step_fidelity": 0.9, "site_auc_2d": None}, "pca")
    []
    """
    found = []
    fidelity = quality.get("step_fidelity")
    if fidelity is not None and fidelity < 0.5:
        found.append(
            f"Distances and speeds on this {kind.upper()} are not to scale: a long step on the picture "
            f"says little about a long step of the model (ρ = {fidelity:.2f}). Path length and jumps are "
            "measured in the full space."
        )
    elif fidelity is not None and fidelity < 0.8:
        found.append(f"Steps on this map follow the full space only in part (ρ = {fidelity:.2f}).")
    overlap = quality.get("neighbour_overlap")
    if overlap is not None and overlap < 0.5:
        found.append(
            f"Of a state's nearest neighbours only {100 * overlap:.0f} % are still its neighbours here."
        )
    flat, full = quality.get("site_auc_2d"), quality.get("site_auc_full")
    if flat is not None and full is not None and full - flat > 0.1:
        found.append(
            f"The sites separate in the full space (AUC {full:.2f}) and less so here ({flat:.2f}): an "
            "overlap on this picture is not evidence that the patients are alike."
        )
    return found


def card(info: Mapping[str, Any], kind: str) -> None:
    """The quality of one map as figures and sentences."""
    quality = info.get("quality") or {}
    parts = []
    for key, (label, _) in MEASURES.items():
        value = quality.get(key)
        if value is not None:
            parts.append(f"{label} **{value:.2f}**")
    if parts:
        st.markdown(
            " &nbsp;·&nbsp; ".join(parts), help="  \n".join(f"**{a}**: {b}." for a, b in MEASURES.values())
        )
    for sentence in warnings(quality, kind):
        st.markdown(f":orange[:material/warning:] {sentence}")

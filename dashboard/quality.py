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
    "variance_share": ("Variance shown", "Share of the states' variance that the two components hold"),
}
FAR_OFF = 0.05  # share of a site off the map from which it is told; 0.01 of the source is by definition


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
    found += [
        f"{100 * share:.0f} % of {site}'s hours are off the map: no fitted state is near them, wherever they "
        "seem to lie."
        for site, share in (quality.get("off_map_share") or {}).items()
        if share is not None and share > FAR_OFF
    ]
    return found


def facts(info: Mapping[str, Any]) -> str:
    """What a map was made of and how much lies off it, in one line; empty for studies that do not tell.

    >>> facts({"n_fitted": 1200, "seed": 0, "versions": {"umap-learn": "0.5.12"},
    ...        "quality": {"off_map_share": {"mimic": 0.011, "ucmc": None}}})
    'Off the map, test splits: mimic 1.1 % · fitted on 1,200 states · seed 0 · umap-learn 0.5.12'
    """
    shares = (info.get("quality") or {}).get("off_map_share") or {}
    off = ", ".join(f"{site} {100 * share:.1f} %" for site, share in shares.items() if share is not None)
    parts = [
        f"Off the map, test splits: {off}" if off else "",
        f"fitted on {info['n_fitted']:,} states" if "n_fitted" in info else "",
        f"seed {info['seed']}" if "seed" in info else "",
        *(f"{name} {number}" for name, number in (info.get("versions") or {}).items()),
    ]
    return " · ".join(part for part in parts if part)


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
    st.caption(facts(info))
    for sentence in warnings(quality, kind):
        st.markdown(f":orange[:material/warning:] {sentence}")

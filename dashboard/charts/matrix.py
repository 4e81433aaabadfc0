"""Trained here, tested there: areas under the ROC curve of every pair of hospitals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
import polars as pl

from dashboard import theme
from ehrfm_core import cell_words

LOW, HIGH = 0.5, 1.0
SCALE = [[0.0, "#00204C"], [0.5, "#7B7B78"], [1.0, "#FFE945"]]  # Cividis, which no theme replaces


def heat(rows: pl.DataFrame, sites: Sequence[str], colours: dict[str, str]) -> go.Figure:
    """A square of `sites`: trained at down the side, tested at along the top; a gap for what is not known."""
    known = {(r["train_site"], r["test_site"]): r for r in rows.iter_rows(named=True)}
    grid = [[known.get((home, site)) for site in sites] for home in sites]
    z = [[None if not r else r["estimate"] for r in line] for line in grid]
    figure = go.Figure(
        go.Heatmap(
            z=z,
            x=list(range(len(sites))),
            y=list(range(len(sites))),
            zmin=LOW,
            zmax=HIGH,
            colorscale=SCALE,
            xgap=3,
            ygap=3,
            customdata=[[_spoken(r, home, site) for site, r in zip(sites, line, strict=True)]
                        for home, line in zip(sites, grid, strict=True)],
            hovertemplate="%{customdata}<extra></extra>",
            hoverongaps=False,
            showscale=False,  # every cell has its number
        )
    )  # fmt: skip
    for i, line in enumerate(z):
        for j, value in enumerate(line):
            ink = theme.NEUTRAL if value is None else "#FFFFFF" if value < 0.76 else "#1B2733"
            text = "—" if value is None else f"<b>{value:.2f}</b>" if i == j else f"{value:.2f}"
            figure.add_annotation(x=j, y=i, text=text, showarrow=False, font={"size": 14, "color": ink})
    theme.style(figure, height=110 + 46 * len(sites), legend=False)
    names = {"tickvals": list(range(len(sites))), "ticktext": list(sites), "showgrid": False}
    figure.update_xaxes(title="Tested at", side="top", **names)
    figure.update_yaxes(title="Trained at", autorange="reversed", **names)
    for i, site in enumerate(sites):  # at home, in the hospital's colour
        edge = {"color": colours[site], "width": 3}
        figure.add_shape(type="rect", x0=i - 0.48, x1=i + 0.48, y0=i - 0.47, y1=i + 0.47, line=edge)
    figure.update_layout(margin={"t": 60, "r": 30})
    return figure


def _spoken(row: dict[str, Any] | None, home: str, site: str) -> str:
    if not row or row["estimate"] is None:
        return f"{home} → {site}: no figure"
    span = "no interval" if row["ci_low"] is None else f"{row['ci_low']:.3f}–{row['ci_high']:.3f}"
    return (
        f"<b>{home} → {site}</b><br>AUC {row['estimate']:.3f} [{span}]<br>"
        f"{cell_words.sized(row['n'], row['n_events'])}"
    )

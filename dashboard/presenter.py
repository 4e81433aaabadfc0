"""Presenter mode: the same page on a projector, read from the last row."""

from __future__ import annotations

import plotly.graph_objects as go

GROWTH = 1.4  # of type and of what is drawn
SMALLEST = 18  # pixels of the smallest text in a chart

CSS = """
<style>
  html { font-size: 22px !important; }
  [data-testid="stSidebar"], [data-testid="stHeader"] { display: none; }
  [data-testid="stMainBlockContainer"] { max-width: 1800px; padding-top: 1rem; padding-bottom: 1rem; }
  [data-testid="stLayoutWrapper"]:has(> .st-key-synthetic) { top: 0; }
  [data-testid="stMain"] p, [data-testid="stMain"] li { line-height: 1.45; }
  /* full contrast: what is grey at a desk is gone on a projector */
  [data-testid="stMain"] [data-testid="stCaptionContainer"],
  [data-testid="stMain"] [data-testid="stCaptionContainer"] p,
  [data-testid="stMain"] [data-testid="stCaptionContainer"] * { color: inherit !important; opacity: 1; }
  [data-testid="stMain"] [data-testid="stCaptionContainer"] p { max-width: none; font-size: 0.8rem; }
  [data-testid="stMain"] .stMarkdownColoredText { color: inherit !important; }
  [class*="st-key-data-"] { display: none; }
  .js-plotly-plot g[class$="tick"] text, .js-plotly-plot text[class$="title"], .js-plotly-plot .legendtext,
  .js-plotly-plot .cbaxis text { fill: currentColor !important; }
</style>
"""


def enlarge(figure: go.Figure) -> go.Figure:
    """Larger type, symbols and lines in a figure; returns it."""
    figure.update_layout(
        height=round((figure.layout.height or 400) * 1.2),
        font_size=SMALLEST,
        legend_font_size=SMALLEST + 1,
        hoverlabel_font_size=SMALLEST + 1,
    )
    figure.update_xaxes(tickfont_size=SMALLEST, title_font_size=SMALLEST + 2)
    figure.update_yaxes(tickfont_size=SMALLEST, title_font_size=SMALLEST + 2)
    figure.for_each_annotation(lambda note: note.update(font_size=max(SMALLEST, note.font.size or 0)))
    for trace in figure.select_traces({"type": "scatter"}):
        size, width = trace.marker.size, trace.line.width
        if isinstance(size, int | float):
            trace.marker.size = size * GROWTH
        elif size is not None:
            trace.marker.size = [one * GROWTH for one in size]
        if width:
            trace.line.width = width * GROWTH
        if trace.textfont.size or trace.text is not None:
            trace.textfont.size = SMALLEST
    for control in (*figure.layout.sliders, *figure.layout.updatemenus):  # of a path that plays
        control.pad.t = (control.pad.t or 0) * GROWTH
    for menu in figure.layout.updatemenus:
        menu.font.size = SMALLEST
    for bar in figure.select_traces({"type": "heatmap"}):
        if bar.colorbar:
            bar.colorbar.tickfont.size = SMALLEST
    return figure

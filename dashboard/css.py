"""What Streamlit's theme cannot say: bars that stay in sight, contrast, Plotly's own buttons, print."""

CSS = """
<style>
  [data-testid="stMainBlockContainer"] { max-width: 1600px; padding-left: 2.5rem; padding-right: 2.5rem; }
  [data-testid="stMetricValue"], [data-testid="stDataFrame"] { font-variant-numeric: tabular-nums; }
  [data-testid="stCaptionContainer"] p { line-height: 1.45; max-width: 68rem; }
  /* Streamlit's 60 % of the ink is below 4.5 to 1 on white, as is white on the dark theme's own blue */
  [data-testid="stCaptionContainer"] { opacity: 0.8; }
  [data-testid="stBaseButton-primary"], [data-testid="stMultiSelectTagsContainer"] [data-tag] {
    background: #0B6E8F; border-color: #0B6E8F; }
  /* below the app's own bar, whatever has been scrolled to */
  [data-testid="stLayoutWrapper"]:has(> .st-key-synthetic) { position: sticky; top: 3.75rem; z-index: 99; }
  .st-key-synthetic { padding: 0.1rem 0.75rem; border-radius: 0.45rem; background: #E69F00; }
  .st-key-synthetic p { color: #1B2733; font-size: 0.85rem; }
  .st-key-synthetic strong { letter-spacing: 0.08em; }
  /* the bar of cohorts: in sight like the strip, below it where there is one */
  [data-testid="stLayoutWrapper"]:has(> .st-key-cohortbar) { position: sticky; top: 3.75rem; z-index: 98; }
  [data-testid="stVerticalBlock"]:has(> * > .st-key-synthetic)
    > [data-testid="stLayoutWrapper"]:has(> .st-key-cohortbar) { top: 5.35rem; }
  .st-key-cohortbar { min-height: 2.6rem; padding: 0.2rem 0.6rem; border-radius: 0.45rem;
    background: rgba(128, 140, 155, 0.14); backdrop-filter: blur(16px); }
  .st-key-cohort-swap p, .st-key-cohort-undo p, .st-key-cohort-clear p { position: absolute; width: 1px;
    overflow: hidden; clip-path: inset(50%); }
  .st-key-cohortbar p { white-space: nowrap; font-size: 0.875rem; font-variant-numeric: tabular-nums; }
  /* narrower than this the hours under a map run into each other: it goes below */
  [data-testid="stColumn"]:has(.st-key-maps-of-the-path) { min-width: 15rem; }
  [data-testid="stColumn"]:has(.st-key-map-of-the-path) { min-width: 30rem; }
  /* what Plotly itself would paint light, in the dark too */
  .updatemenu-item-rect { fill: rgb(123, 135, 148) !important; fill-opacity: 0.25 !important; }
  .updatemenu-button:hover .updatemenu-item-rect { fill-opacity: 0.5 !important; }
  .updatemenu-button:focus-visible, .slider-grip-rect:focus-visible { outline: 2px solid currentColor; }
  .updatemenu-item-text { fill: currentColor !important; }
  .modebar-btn .png { font-size: 15px; font-weight: 700; fill: currentColor; }
  .modebar-btn:has(.png) { color: rgba(123, 135, 148, 0.6) !important; }
  .modebar-btn:has(.png):hover { color: rgb(123, 135, 148) !important; }
  @media print { .slider-container, .updatemenu-container { display: none; } }
  .st-key-sign-in { margin-top: 14vh; padding: 1.6rem 1.8rem 1.8rem; }
  /* answers are longer than questions, and both are read from the top */
  .st-key-checklist td { vertical-align: top; }
  .st-key-checklist td:first-child { width: 30%; min-width: 8rem; }
  .st-key-checklist td [data-testid="stMarkdownContainer"] { max-width: none; overflow-wrap: anywhere; }
</style>
"""

"""The study as one HTML file: figures, methods and provenance, that opens anywhere and asks nobody.

The file holds aggregates alone. plotly.js stands in it once, a policy in its head forbids it every request,
and whatever comes from the study is escaped.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from importlib.metadata import version

import plotly.graph_objects as go
import polars as pl
from plotly.offline import get_plotlyjs

from dashboard import data, figure_text, measures, report_figures, stamp, theme, ui
from dashboard.quality import MEASURES, warnings
from dashboard.report_figures import Figure
from dashboard.table_one import table_one
from ehrfm_core import cell_words
from ehrfm_core.published import published
from ehrfm_core.study import Study

POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "font-src data:; form-action 'none'; base-uri 'none'"
)
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1B2733; background: #fff; margin: 0 auto;
  max-width: 60rem; padding: 1.5rem; }
h1 { font-size: 1.7rem; margin: 0.2rem 0; } h2 { font-size: 1.25rem; margin: 2.2rem 0 0.4rem; }
h3 { font-size: 1.05rem; margin: 1.4rem 0 0.2rem; } p { margin: 0.4rem 0; max-width: 46rem; }
p.caption, td, th { font-size: 0.85rem; } p.caption { color: #4A5866; } p.lead { color: #4A5866; }
table { border-collapse: collapse; margin: 0.6rem 0;
  font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 0.25rem 0.8rem 0.25rem 0; border-bottom: 1px solid #DDE4EB;
  overflow-wrap: anywhere; vertical-align: top; }
.mark { background: #E69F00; padding: 0.3rem 0.8rem; border-radius: 0.4rem; position: sticky; top: 0;
  z-index: 9; }
.mark b { letter-spacing: 0.08em; } figure { margin: 0.6rem 0 0; break-inside: avoid; }
code { font-size: 0.8rem; } .wide { overflow-x: auto; }
@media print { .mark { position: static; } h2 { break-after: avoid; } }
"""
METHODS = (
    "R is the model's last hidden state after a token; the window is the first 24 hours of the stay unless "
    "a note says otherwise. A jump is the distance of two states one token apart, in the model's full space; "
    "path length is the sum of a stay's jumps. No number is read from a 2-D map.",
    "The anomaly score is that of an isolation forest fitted on the 24 h states of the source's training "
    "split; above 0.5 a stay is flagged as unlike those stays, which is not a finding about the patient.",
    "Risks come from a logistic probe on the 24 h state, fitted on the source's training split. Intervals of "
    "rates are Wilson's, those of ROC-AUC and of curves come from resampling patients, all 95 %.",
    "Associations are observational, and every token adds a jump: path length, anomaly and site are "
    "entangled with how much is charted. Hospitals differ in years as well as in place.",
    cell_words.RULE,
    "For research only: not a medical device, not for decisions about patients.",
)


def html(study: Study, *, made: datetime | None = None) -> str:
    """The report of a study as one HTML document; `made` is the time that stands in it (now)."""
    made = made or datetime.now(UTC)
    word = stamp.word([study.manifest.synthetic])
    figures = _Figures(word)
    parts = [_head(study, word, made), _overview(study), _notes(study)]
    if study.has("embed"):
        parts += [
            figures.section(title, lead, found) for title, lead, found in report_figures.sections(study)
        ]
        parts.append(_maps(study))
    else:
        parts.append("<h2>Results</h2><p>The model has not read the stays yet: there are no results.</p>")
    parts += [_methods(study), _provenance(study, made)]
    mark = f'<div class="mark" role="note"><b>{word} DATA</b> · {escape(stamp.SHORT)}</div>' if word else ""
    title = escape(f"{word} · {study.name}" if word else study.name)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title>'
        f"<style>{STYLE}</style><script>{get_plotlyjs()}</script></head>\n<body>{mark}"
        + "\n".join(parts)
        + "</body></html>\n"
    )


def button(study: Study) -> None:
    """Hand the report over; it is made when the button is clicked."""
    ui.download(
        "Report as one HTML file",
        lambda: html(study),
        name="report",
        ending="html",
        mime="text/html",
        help="Figures, methods and provenance; opens anywhere and asks no server",
    )


class _Figures:
    """Figures as HTML, numbered and marked."""

    def __init__(self, word: str | None) -> None:
        self.word, self.n = word, 0

    def section(self, title: str, lead: str, found: Iterable[Figure]) -> str:
        """A heading, a sentence and the figures below it; a word where there are none."""
        shown = "".join(self.one(figure) for figure in found)
        shown = shown or "<p>This study has nothing to show here.</p>"
        return f'<h2>{escape(title)}</h2><p class="lead">{escape(lead)}</p>{shown}'

    def one(self, told: Figure) -> str:
        """A figure with its caption, and its text for screen readers."""
        self.n += 1
        figure = go.Figure(told.figure)
        figure.update_layout(template="plotly_white", font_color="#1B2733", autosize=True)
        if self.word:
            stamp.on_figure(figure, self.word)
        figure_text.harmless(figure)
        body = figure.to_html(
            full_html=False,
            include_plotlyjs=False,
            config=theme.CONFIG | {"responsive": True},
            default_height=f"{figure.layout.height or 400}px",
            div_id=f"figure-{self.n}",
        )
        title = f"<h3>{escape(told.title)}</h3>" if told.title else ""
        return (
            f'{title}<figure><div role="img" aria-label="{escape(told.alt)}">{body}</div>'
            f'<figcaption><p class="caption">Figure {self.n}. {escape(told.caption)}</p></figcaption>'
            "</figure>"
        )


def _head(study: Study, word: str | None, made: datetime) -> str:
    sites = ", ".join(study.sites)
    return (
        f"<h1>{escape(study.name.replace('_', ' '))}</h1>"
        f'<p class="lead">Report of {made:%-d %B %Y} on study version {escape(study.digest)} · sites: '
        f"{escape(sites)} (source: {escape(study.source)})</p>"
        + (f"<p>{escape(stamp.SENTENCE.replace('**', ''))}</p>" if word else "")
    )


def _overview(study: Study) -> str:
    if not study.has("tokenize"):
        return "<h2>Overview</h2><p>The tables have not been turned into tokens yet.</p>"
    frames = {site: data.stays(study, site) for site in study.sites}
    counted = measures.availability(frames, study.outcomes)
    outcomes = counted.select(
        pl.col("site").alias("Site"),
        pl.col("outcome").alias("Outcome"),
        pl.col("n").alias("Stays that count"),
        pl.col("events").alias("Events"),
        pl.col("test_n").alias("Test stays"),
        pl.col("test_events").alias("Test events"),
        pl.col("verdict").alias("Test split"),
    )
    numbers = pl.exclude("Site", "Outcome", "Test split").cast(pl.String).fill_null(cell_words.UNTOLD)
    outcomes = outcomes.with_columns(numbers)
    definitions = pl.DataFrame(
        {
            "Outcome": [o.label for o in study.outcomes.values()],
            "Definition": [o.definition for o in study.outcomes.values()],
        }
    )
    return (
        "<h2>Who the patients are</h2>"
        + _table(table_one(frames, study.outcomes))
        + '<p class="caption">Median (quartiles) or count (share of stays where it is known).</p>'
        + "<h2>Outcomes</h2>"
        + _table(outcomes)
        + _table(definitions)
    )


def _notes(study: Study) -> str:
    notes = study.manifest.notes
    items = "".join(f"<li>{escape(cell_words.in_words(note))}</li>" for note in notes)
    summary = f"{len(notes)} notes: read before quoting a number"
    said = f"<details><summary>{summary}</summary><ul>{items}</ul></details>"
    return f"<h2>Notes from making this study</h2>{said}" if notes else ""


def _maps(study: Study) -> str:
    found = data.maps(study)
    kinds = {kind: (found.get(kind) or {}).get("quality") or {} for kind in ("pca", "umap")}
    rows = [
        [label, *("—" if (v := q.get(key)) is None else f"{v:.2f}" for q in kinds.values()), asks]
        for key, (label, asks) in MEASURES.items()
    ]
    table = pl.DataFrame(rows, schema=["Measure", "PCA", "UMAP", "What it asks"], orient="row")
    said = [sentence for kind, quality in kinds.items() for sentence in warnings(quality, kind)]
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in dict.fromkeys(said))
    return f"<h2>The maps and how far they can be trusted</h2>{_table(table)}<ul>{items}</ul>"


def _methods(study: Study) -> str:
    citation = published("roc_auc").citation
    return (
        "<h2>Methods</h2>"
        + "".join(f"<p>{escape(sentence)}</p>" for sentence in METHODS)
        + f'<p class="caption">Definitions after {escape(citation)}</p>'
    )


def _provenance(study: Study, made: datetime) -> str:
    facts = [
        ("Study", study.name),
        ("Version", study.digest),
        ("Data", "synthetic" if study.manifest.synthetic else "as imported from CLIF tables"),
        ("Report made", f"{made:%Y-%m-%d %H:%M} UTC"),
        ("Report made with", _versions()),
        *((f"Study made with {name}", number) for name, number in study.manifest.packages.items()),
    ]
    files = [(path, sha) for stage in study.manifest.stages.values() for path, sha in stage.files.items()]
    return (
        "<h2>Provenance</h2>"
        + _table(pl.DataFrame(facts, schema=["Fact", "Value"], orient="row"))
        + f"<details><summary>{len(files)} files and their SHA-256</summary>"
        + _table(pl.DataFrame(files, schema={"File": pl.String, "SHA-256": pl.String}, orient="row"))
        + "</details>"
    )


def _versions() -> str:
    names: Sequence[str] = ("streamlit", "plotly", "polars", "numpy")
    return ", ".join([f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in names)])


def _table(frame: pl.DataFrame) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in frame.columns)
    body = "".join(
        f"<tr>{''.join(f'<td>{_cell(value)}</td>' for value in row)}</tr>" for row in frame.iter_rows()
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(value: object) -> str:
    return "—" if value is None else escape(f"{value:,}" if isinstance(value, int) else str(value))

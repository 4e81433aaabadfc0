"""The figures of the report, section by section, each from the same functions that draw the pages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import plotly.graph_objects as go
import polars as pl

from dashboard import arms, data, measures, roc, theme
from dashboard.charts import dynamics, outliers, probabilities
from dashboard.charts import transfer as transfer_charts
from dashboard.charts.story import dots
from ehrfm_core import cell_words
from ehrfm_core.outcomes import Outcome
from ehrfm_core.study import Study

MODEL, READABLE = "probe", "can be read"
ARMS = ["in_distribution", "zero_shot"]  # what local data bring is in the study's own pages


@dataclass(frozen=True, eq=False)
class Figure:
    """A figure with what stands around it; `title` may be empty."""

    figure: go.Figure
    title: str
    alt: str
    caption: str


Section = tuple[str, str, Iterator[Figure]]


def sections(study: Study) -> Iterator[Section]:
    """Heading, a sentence, and the figures of each section."""
    if study.has("evaluate"):
        yield "Ranking, at home and elsewhere", "ROC-AUC of the probe, every outcome.", _transfer(study)
        for outcome in study.outcomes.values():
            yield (
                outcome.label,
                f"{outcome.definition} {_few(study, outcome)}".strip(),
                _outcome(study, outcome),
            )
    else:
        yield "Ranking and calibration", "Nothing has been evaluated yet.", iter(())
    yield (
        "Movement and outcome",
        "Outcome rate by quantile of path length and, beside it, of the number of tokens: the confounder.",
        _doses(study),
    )
    yield "Outliers", f"Who is unlike the training stays of {study.source}.", _outliers(study)


def _few(study: Study, outcome: Outcome) -> str:
    """Which hospitals cannot answer for an outcome, as the pages say it."""
    told = []
    for site in study.sites:
        labels = data.held_out(study, site, outcome.name)[outcome.name]
        verdict = measures.verdict(len(labels), int(labels.sum() or 0))
        if verdict != READABLE:
            told.append(f"{site}: {verdict}")
    return f"Not to be read at face value: {'; '.join(told)} (test split)." if told else ""


def _transfer(study: Study) -> Iterator[Figure]:
    colours, symbols = theme.site_colours(study.sites), theme.MODEL_SYMBOLS
    home = arms.areas(study, MODEL, arm="in_distribution", test_site=study.source)
    series = [(f"At {study.source}, where it was trained", colours[study.source], "circle", home)]
    for i, site in enumerate(study.sites[1:], start=1):
        away = arms.areas(study, MODEL, arm="zero_shot", test_site=site, train_site=study.source)
        series.append((f"At {site}, unchanged", colours[site], symbols[i % len(symbols)], away))
    if any(len(rows) for *_, rows in series):
        labels = {name: outcome.label for name, outcome in study.outcomes.items()}
        yield Figure(
            dots(series, labels),
            "",
            "ROC-AUC with 95 % intervals, a row an outcome, a symbol a hospital",
            "Test split, stays that count for the outcome; n and events in the table of outcomes.",
        )


def _outcome(study: Study, outcome: Outcome) -> Iterator[Figure]:
    rows = arms.auc_rows(study, data.result(study, "metrics"), outcome.name)
    curves = []
    for row in rows.filter(pl.col("model") == MODEL, pl.col("arm").is_in(ARMS)).iter_rows(named=True):
        curve = roc.study_roc(study, outcome.name, tuple(row[column] for column in roc.ARM))
        if curve is not None:
            size = cell_words.sized(curve.n, curve.n_events)
            auc, low, high = curve.area(row)
            label = f"{row['label']} · AUC {auc:.3f} [{low:.3f}–{high:.3f}] · {size}"
            dash = transfer_charts.DASHES.get(row["arm"], "solid")
            curves.append((label, arms.ink(study, row), dash, curve))
    if curves:
        yield Figure(
            transfer_charts.roc_figure(curves),
            "Ranking",
            f"ROC curves for {outcome.label}",
            f"Test split. Bands: pointwise 95 % from {roc.REPLICATES} draws of whole patients.",
        )
    calibration = _curves(study, "calibration_curves", outcome)
    if calibration:
        yield Figure(
            probabilities.calibration(calibration),
            "Calibration",
            f"Calibration curves for {outcome.label}",
            "Test split; on the dotted line predictions are right. Bands: pointwise 95 %.",
        )
    benefit = _curves(study, "decision_curves", outcome)
    if benefit:
        yield Figure(
            probabilities.decision(benefit),
            "Net benefit",
            f"Decision curves for {outcome.label}",
            "Useful where a line is above 0 and above acting on everybody. Bands: pointwise 95 %.",
        )


def _curves(study: Study, table: str, outcome: Outcome) -> list[probabilities.Curve]:
    """The runs of a table of curves, where the study has it."""
    if not data.has_result(study, table):
        return []
    rows = data.result(study, table).filter(
        pl.col("outcome") == outcome.name,
        pl.col("model") == MODEL,
        pl.col("arm").is_in(ARMS),
    )
    return arms.runs(study, rows)


def _doses(study: Study) -> Iterator[Figure]:
    for outcome in study.outcomes.values():
        frames = {site: data.held_out(study, site, outcome.name) for site in study.sites}
        for feature in ("path_length", "n_tokens"):
            tables = {
                site: table for site, frame in frames.items() if len(table := _bins(frame, feature, outcome))
            }
            if tables:
                title = measures.FEATURES[feature]
                yield Figure(
                    dynamics.dose_response(tables, title),
                    f"{outcome.label} by {title.lower()}",
                    f"{outcome.label} rate by quantile of {title.lower()}, one line per site",
                    f"Test split, {_sizes({s: frames[s] for s in tables}, outcome)}; at each bin's median; "
                    "bars: Wilson 95 %.",
                )


def _bins(frame: pl.DataFrame, feature: str, outcome: Outcome) -> pl.DataFrame:
    """Quantile bins of enough stays."""
    return measures.rate_by_quantile(frame, feature, outcome.name)


def _outliers(study: Study) -> Iterator[Figure]:
    frames = {site: data.held_out(study, site) for site in study.sites}
    known = {site: frame for site, frame in frames.items() if frame["anomaly_score"].drop_nulls().len()}
    if not known:
        return
    flagged = "; ".join(
        f"{site}: n {cell_words.number(len(frame))}, "
        f"{cell_words.part(int((frame['anomaly_score'] > 0.5).sum()), len(frame))} flagged"
        for site, frame in known.items()
    )
    yield Figure(
        outliers.score_distribution(known, 0.5),
        "",
        "Distribution of the anomaly score by site",
        f"Test split; {flagged}. Shares of all test stays, no interval.",
    )
    for outcome in study.outcomes.values():
        counted = {site: f.filter(pl.col(f"counts_{outcome.name}")) for site, f in known.items()}
        tables = {s: measures.inside_outside(f, outcome.name, 0.5) for s, f in counted.items() if len(f)}
        tables = {site: table for site, table in tables.items() if table["rate"].count()}
        if tables:
            yield Figure(
                outliers.rates(tables, theme.site_colours(study.sites)),
                f"{outcome.label}, flagged or not",
                f"{outcome.label} rate of flagged and other stays by site",
                f"Test split, {_sizes(counted, outcome)}. Bars: Wilson 95 %, unadjusted.",
            )


def _sizes(frames: dict[str, pl.DataFrame], outcome: Outcome) -> str:
    return "; ".join(
        f"{site}: {cell_words.sized(len(f), int(f[outcome.name].sum() or 0))}" for site, f in frames.items()
    )

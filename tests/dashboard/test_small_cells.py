"""Every page, its charts and tables, and the report: no bare count of 1 to 10 stays, patients or events."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from streamlit.testing.v1 import AppTest

from dashboard import measures, report, untold
from dashboard.table_one import table_one
from ehrfm_core.small_cells import MIN_CELL, unsafe
from ehrfm_core.study import open_study
from tests.dashboard.test_pages import PAGES, Open, charts, fine

BARE = re.compile(
    r"(?<![\d,.–−+-])(?<!1 to )(?<!at least )(?<!ewer than )\b([1-9]|10) "
    r"(?:(?:test|tuning|training) )?(?:of [\d,]+ )?(?:stays?|patients?|events?)\b"
)
OF = re.compile(r"(?<![\d,.–−+-])\b(?:[1-9]|10) of (?:[2-9]\d|\d[\d,]{2,})\b")  # of many, so of stays
N = re.compile(r"\bn ([1-9]|10)(?!\d|[.,]\d)")
CHARTED = ("events in", "event in", "events of the")  # of one stay's chart, on its own page
NUMBERS = {"n", "events", "test_n", "test_events", "n_events", "n_stays_window", "n_stays"}


def words(app: AppTest) -> list[str]:
    """Everything that is written on a page, in its charts and in its tables of text."""
    kinds = (app.title, app.header, app.markdown, app.caption, app.warning, app.info, app.metric)
    found = [str(element.value) for kind in kinds for element in kind]
    found += [str(element.proto.alt) for element in app.get("plotly_chart")]
    found += [json.dumps(figure, ensure_ascii=False) for figure in charts(app)]
    for table in app.dataframe:
        found += [f"{name} {cell}" for name in table.value.columns for cell in map(str, table.value[name])]
    return found


def bare(text: str) -> list[str]:
    """Small counts beside what they count."""
    found = [m for pattern in (BARE, OF, N) for m in pattern.finditer(text)]
    return [
        text[max(0, m.start() - 30) : m.end() + 20]
        for m in found
        if not text[m.start() :][:40].endswith(CHARTED)
    ]


def test_the_sweep_sees_what_it_is_for() -> None:
    for harm in (
        "only 2 events",
        "3 of 265",
        "of 1 patient",
        "n 7, 0 events",
        "10 test stays",
        "2 of 265 stays",
    ):
        assert bare(harm), harm
    for fine_ in (
        "fewer than 11 events",
        "n 265, 29 events",
        "counts of 1 to 10 stays",
        "12 of 265",
        "0.5 events",
    ):
        assert not bare(fine_), fine_


@pytest.mark.parametrize("page", [page for page in PAGES if page != "patient"])
@pytest.mark.parametrize(("study", "outcome"), [("one", "death"), ("two", "long_los")])
def test_no_page_tells_a_small_count(
    studies: Path, open_page: Open, page: str, study: str, outcome: str
) -> None:
    app = open_page(studies, page, b=study, y=outcome)
    fine(app)
    told = [hit for text in words(app) for hit in bare(text)]
    assert told == []
    for table in app.dataframe:
        for name in NUMBERS & set(table.value.columns):
            values = [v for v in table.value[name] if isinstance(v, (int, float)) and np.isfinite(v)]
            assert not [v for v in values if 0 < v < MIN_CELL], (name, values)


@pytest.mark.parametrize("name", ["one", "two"])
def test_nor_does_the_report(studies: Path, name: str) -> None:
    text = report.html(open_study(studies / name))
    body = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL, count=1)
    assert bare(re.sub(r"<[^>]+>", " ", body)) == []


@pytest.mark.parametrize("name", ["one", "two", "three"])
def test_table_one_tells_no_level_that_the_others_give_away(studies: Path, name: str) -> None:
    study = open_study(studies / name)
    frames = {site: study.site_table(site, "stays") for site in study.sites}
    table = table_one(frames, study.outcomes)
    for site, frame in frames.items():
        for column in ("sex", "race", "ethnicity"):
            own = table.filter(pl.col("Characteristic").str.starts_with(f"{column.capitalize()}: "))[
                site
            ].to_list()
            counts = frame[column].value_counts()["count"].to_list()
            small = [n for n in counts if 0 < n < MIN_CELL]
            assert not small or own.count("not told") >= min(2, len(own))
            told = [int(cell.split(" ")[0].replace(",", "")) for cell in own if cell[:1].isdigit()]
            assert not [n for n in told if 0 < n < MIN_CELL]


def test_rates_and_shares_do_not_tell_what_counts_do_not(studies: Path) -> None:
    study = open_study(studies / "two")
    metrics = untold.shares(study.result("metrics")).filter(pl.col("subgroup") == "all")
    known = metrics.filter(pl.col("metric").str.ends_with("sensitivity")).drop_nulls("estimate")
    hits = (known["estimate"] * known["n_events"]).round().to_numpy()
    assert not unsafe(hits, known["n_events"].to_numpy()).any()
    curves = untold.net_benefit(study.result("decision_curves"), study.result("metrics"))
    events = curves.join(metrics.filter(metric="brier"), on=untold.RUN)
    assert not unsafe(events["n_events"].to_numpy(), events["n"].to_numpy()).any()
    for site in study.sites:
        frame = study.site_table(site, "stays").with_columns(
            outcome.counts().alias(f"counts_{name}") for name, outcome in study.outcomes.items()
        )
        told = measures.availability({site: frame}, study.outcomes).drop_nulls("events")
        rest = (told["events"] - told["test_events"].fill_null(0)).to_numpy()
        assert not unsafe(told["events"].to_numpy(), told["n"].to_numpy()).any()
        both = told["test_events"].is_not_null().to_numpy()
        assert not unsafe(rest[both], (told["n"] - told["test_n"]).to_numpy()[both]).any()

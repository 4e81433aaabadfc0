"""The TRIPOD+AI checklist: every item once, its numbers those of the tables, and studies of every shape."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from ehrfm_core import cell_words, small_cells
from ehrfm_core.evaluation.tripod import STATUSES, checklist, counts, markdown
from ehrfm_core.evaluation.tripod.checklist import ANSWERS, statement
from ehrfm_core.outcomes import OUTCOMES
from ehrfm_core.study import Study, open_study
from ehrfm_core.study.layout import RESULT_FILES
from tests.make_study import make_study
from tests.reseal import reseal

SUB_ITEMS = {3: "abc", 5: "ab", 6: "abc", 8: "abc", 9: "abc", 12: "abcdefg", 18: "abcdef", 20: "abc"}
SUB_ITEMS |= {23: "ab", 27: "abc"}
ITEMS = [f"{number}{letter}" for number in range(1, 28) for letter in SUB_ITEMS.get(number, [""])]
ALWAYS_THE_AUTHORS = (
    "1",
    "2",
    "3a",
    "3b",
    "3c",
    "5b",
    "17",
    "18a",
    "18b",
    "18c",
    "18d",
    "19",
    "25",
    "27b",
    "27c",
)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("tripod") / "two"
    return open_study(make_study(folder, sites={"here": 120, "there": 90}, seed=4))


@pytest.fixture(scope="module")
def rows(two: Study) -> pl.DataFrame:
    return checklist(two)


def answer(rows: pl.DataFrame, item: str) -> str:
    return rows.filter(pl.col("item") == item)["answer"].item()


def test_every_item_stands_there_once(rows: pl.DataFrame) -> None:
    assert len(ITEMS) == 52
    assert rows["item"].to_list() == ITEMS
    assert rows.null_count().sum_horizontal().item() == 0
    assert (rows["answer"].str.len_chars() > 0).all()
    assert set(rows["status"]) == set(STATUSES)
    assert set(ANSWERS) < set(ITEMS)


def test_the_source_stands_in_the_file_of_items() -> None:
    assert "BMJ 2024;385:e078378" in statement()["source"]["citation"]


def test_the_status_follows_from_what_is_left(rows: pl.DataFrame) -> None:
    authors = rows.filter(pl.col("status") == "by the author")
    assert authors["item"].to_list() == list(ALWAYS_THE_AUTHORS)
    assert authors["answer"].str.starts_with("For the author:").all()
    left = pl.col("answer").str.contains("For the author:")
    assert not rows.filter(pl.col("status") == "filled", left).height
    assert not rows.filter(pl.col("status") == "partly", ~left).height
    assert sum(counts(rows).values()) == rows.height


def test_numbers_of_stays_and_events_are_those_of_the_tables(two: Study, rows: pl.DataFrame) -> None:
    for site in two.sites:
        stays = two.site_table(site, "stays")
        assert f"{stays.height:,} stays of {stays['patient_id'].n_unique():,} patients" in answer(rows, "5a")
        train = stays.filter(pl.col("split") == "train")
        assert f"{site}: {train.height:,} train" in answer(rows, "12a")
        for outcome in OUTCOMES.values():
            counted = stays.filter(outcome.counts(), pl.col("split") == "test")
            events = counted[outcome.name].sum()
            told = "not told" if small_cells.unsafe(events, counted.height) else f"{events:,}"
            told = f"{outcome.label} {told} of {counted.height:,}"
            line = next(x for x in answer(rows, "21").split("\n") if x.startswith(f"{site}, test"))
            assert told in line
    assert f"{len(two.tokenizer()['vocabulary']):,} tokens" in answer(rows, "9b")
    assert f"{two.manifest.stages['pretrain'].summary['parameters']:,} parameters" in answer(rows, "12c")


def test_performance_is_that_of_the_metrics(two: Study, rows: pl.DataFrame) -> None:
    metrics = two.result("metrics").filter(
        pl.col("metric") == "roc_auc", pl.col("model") == "probe", pl.col("arm") != "adapted"
    )
    assert metrics.height == 8
    for row in metrics.iter_rows(named=True):
        told = f"ROC-AUC {row['estimate']:.3f} [{row['ci_low']:.3f}–{row['ci_high']:.3f}]"
        assert (
            f"{row['train_site']} → {row['test_site']}, {OUTCOMES[row['outcome']].label}: {told}"
            in answer(rows, "23a")
        )
        assert f"{cell_words.events(row['n'], row['n_events'])} in {row['n']:,} stays" in answer(rows, "23a")
    updated = two.result("metrics").filter(
        pl.col("metric") == "roc_auc",
        pl.col("model") == "probe",
        pl.col("adapt_method") == "refit",
        pl.col("adapt_fraction") == 1,
        pl.col("outcome") == "long_los",
    )
    assert f"Long stay: ROC-AUC {updated['estimate'].item():.3f}" in answer(rows, "24")


def test_a_stage_that_has_not_run_is_named(tmp_path: Path) -> None:
    study = open_study(make_study(tmp_path / "s", sites={"here": 40}, stages=("tokenize",)))
    found = checklist(study)
    assert f"the stage evaluate has not run (python -m train evaluate {study.folder})" in answer(found, "23a")
    assert "the stage pretrain has not run" in answer(found, "12c")
    assert found.filter(pl.col("item") == "23a")["status"].item() == "partly"
    assert "40 stays" in answer(found, "5a")


def test_a_study_without_any_stage_still_has_every_item(tmp_path: Path) -> None:
    study = open_study(make_study(tmp_path / "s", sites={"here": 30}, stages=()))
    found = checklist(study)
    assert found["item"].to_list() == ITEMS
    assert not counts(found)["filled"]


def test_one_real_site(tmp_path: Path) -> None:
    study = open_study(
        make_study(tmp_path / "s", sites={"here": 80}, one_class="imv", few_events="death", synthetic=False)
    )
    found = checklist(study)
    assert "One hospital" in answer(found, "23b")
    assert answer(found, "24") == "The model was not updated."
    assert "not to be told" in answer(found, "23a")  # nobody is ventilated: no area under the curve
    assert found.filter(pl.col("item") == "18e")["status"].item() == "by the author"
    assert "SYNTHETIC" not in markdown(study)


def test_tables_that_are_missing_or_empty_cost_their_own_answers_alone(tmp_path: Path) -> None:
    folder = make_study(tmp_path / "s", sites={"here": 40, "there": 30})
    (folder / "results/thresholds.parquet").unlink()
    (folder / "results/comparisons.parquet").unlink()
    pl.DataFrame(schema=RESULT_FILES["metrics"]).write_parquet(folder / "results/metrics.parquet")
    reseal(folder)
    found = checklist(open_study(folder))
    assert "keeps no threshold" in answer(found, "15")
    assert answer(found, "23a").startswith("Not known: results/metrics.parquet holds no figure")
    assert "the model was not updated" in answer(found, "12f")
    (folder / "results/metrics.parquet").unlink()
    assert "metrics.parquet is missing" in answer(checklist(open_study(folder)), "23a")


def test_an_older_study_says_less(tmp_path: Path) -> None:
    folder = make_study(tmp_path / "s", sites={"here": 40})
    content = json.loads((folder / "study.json").read_text())
    content["packages"] = {}
    for stage in content["stages"].values():
        stage |= {"settings": {}, "summary": {}, "notes": []}
    (folder / "study.json").write_text(json.dumps(content))
    reseal(folder)
    found = checklist(open_study(folder))
    assert "Seeds were not kept." in answer(found, "18f")
    assert "0 parameters" not in answer(found, "12c")


def test_the_document_is_marked_and_holds_every_answer(two: Study, rows: pl.DataFrame) -> None:
    document = markdown(two)
    assert "**SYNTHETIC DATA" in document.split("##", 1)[0]
    assert document.count("\n### ") == len(ITEMS)
    for line in "\n".join(rows["answer"]).split("\n"):
        assert f"- {line}" in document
    assert "BMJ 2024;385:e078378" in document

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from ehrfm_core.evaluation.sites import ID
from ehrfm_core.evaluation.subgroups import FEWEST, by_subgroup, groups_of

from .test_comparisons import made


def stays(n: int = 200) -> pl.DataFrame:
    return pl.DataFrame(
        {
            ID: [f"s{i:03d}" for i in range(n)],
            "age": [[18.0, 39.9, 40.0, 64.9, 65.0, 79.9, 80.0, None][i % 8] for i in range(n)],
            "sex": ["Female" if i % 2 else "Male" for i in range(n)],
            "race": [None if i % 3 == 0 else "White" for i in range(n)],
            "ethnicity": ["rare" if i < 8 else "common" for i in range(n)],
            "icu_24h": [None if i % 5 == 0 else i % 5 == 1 for i in range(n)],
            "outlier": [i % 4 == 0 for i in range(n)],
        }
    )


def test_groups_by_age_band_and_what_is_unknown_in_none() -> None:
    groups = groups_of(stays(8))
    ages = dict(groups.filter(pl.col("subgroup").str.starts_with("age=")).rows())
    bands = ["under 40", "under 40", "40–64", "40–64", "65–79", "65–79", "80 and over"]
    assert ages == {f"s{i:03d}": f"age={band}" for i, band in enumerate(bands)}
    assert groups.filter(subgroup="race=White").height == 5
    assert set(groups.filter(pl.col("subgroup").str.starts_with("icu_24h"))["subgroup"]) == {
        "icu_24h=yes",
        "icu_24h=no",
    }
    without = groups_of(stays(8).drop("outlier"))
    assert not without["subgroup"].str.starts_with("outlier").any()


def test_figures_are_those_of_the_subgroup_s_predictions() -> None:
    predictions, patients = made()
    groups = groups_of(stays()).with_columns(pl.lit("b").alias("test_site"))
    table = by_subgroup(predictions, patients, groups)
    assert set(table["model"]) == {"probe", "finetuned"}
    assert set(table["adapt_fraction"]) == {0.0, 1.0}
    keys = {"model": "probe", "arm": "zero_shot", "outcome": "death", "subgroup": "sex=Female"}
    own = predictions.filter(model="probe", arm="zero_shot", outcome="death").join(
        groups.filter(subgroup="sex=Female"), on=ID, how="semi"
    )
    label, p = own["label"].to_numpy(), own["probability"].to_numpy()
    for metric, value in (("roc_auc", roc_auc_score(label, p)), ("observed_expected", label.sum() / p.sum())):
        row = table.filter(metric=metric, **keys).row(0, named=True)
        assert row["estimate"] == pytest.approx(value)
        assert row["ci_low"] < value < row["ci_high"]
        assert (row["n"], row["n_events"]) == (100, label.sum())


def test_so_few_that_they_are_a_person_are_left_out() -> None:
    predictions, patients = made()
    groups = groups_of(stays()).with_columns(pl.lit("b").alias("test_site"))
    table = by_subgroup(predictions, patients, groups)
    assert "ethnicity=rare" not in set(table["subgroup"])
    assert "ethnicity=common" in set(table["subgroup"])
    assert (table["n_events"] >= FEWEST).all()
    assert (table["n"] - table["n_events"] >= FEWEST).all()


def test_a_ratio_s_interval_knows_repeated_stays() -> None:
    """Every stay three times, of one patient: as wide as once."""
    predictions, patients = made()
    once = by_subgroup(predictions, patients, all_of(predictions))
    parts = [predictions.with_columns(pl.col(ID) + f"-{k}") for k in range(3)]
    whose = [patients.with_columns(pl.col(ID) + f"-{k}") for k in range(3)]
    again = by_subgroup(pl.concat(parts), pl.concat(whose), all_of(pl.concat(parts)))
    for metric in ("roc_auc", "observed_expected"):
        width, wider = (
            (t.filter(metric=metric)["ci_high"] - t.filter(metric=metric)["ci_low"]).to_numpy()
            for t in (once, again)
        )
        assert np.allclose(width, wider, rtol=0.02)


def all_of(predictions: pl.DataFrame) -> pl.DataFrame:
    return predictions.select(ID, pl.lit("sex=any").alias("subgroup"), "test_site").unique()

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ehrfm_core.clif.event_map import load_map
from ehrfm_core.errors import UserError
from ehrfm_core.tokens import fit
from ehrfm_core.tokens.fit import base_code, cuts, fit_tokenizer
from ehrfm_core.tokens.settings import PRESETS, TokenSettings
from ehrfm_core.tokens.tokenizer import reference_ranges
from tests.make_clif import ID, make_all_tables, make_tables
from tests.make_site import happen, quiet, read, tokenize, values_of

FIRST = "s0-0"


@pytest.mark.parametrize("n_bins", [2, 3, 10, 20, 100])
def test_cut_points_are_the_quantiles_of_the_training_split(tmp_path: Path, n_bins: int) -> None:
    result = tokenize(make_tables(), tmp_path, settings=TokenSettings(n_bins=n_bins))
    codes = [code for code in result.tokenizer.cut_points if code != "age"]
    assert "lab/potassium" in codes
    for code in codes:
        values = values_of(result.site, code)
        distinct = np.unique(values)
        expected = (
            distinct[1:] if len(distinct) <= n_bins else np.quantile(values, np.arange(1, n_bins) / n_bins)
        )
        assert result.tokenizer.cut_points[code] == expected.tolist()
        assert len(values) < len(values_of(result.site, code, split=None))
    assert [token for token in result.tokenizer.vocabulary if token.startswith("Q")] == [
        f"Q{i}" for i in range(n_bins)
    ]
    ages = result.site.stays.filter(pl.col("split") == "train")["age"].to_numpy()
    assert result.tokenizer.cut_points["age"] == cuts(ages, n_bins)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([7.0] * 50, []),
        ([7.0], []),
        ([0.0, -0.0, 0.0], []),
        ([1.0, 2.0] * 40, [2.0]),
        (list(map(float, range(10))), list(map(float, range(1, 10)))),
        ([1.0] * 90 + list(map(float, range(2, 12))), [1.0] * 8 + [2.0 - 0.9]),
    ],
)
def test_ties_constants_and_few_values(values: list[float], expected: list[float]) -> None:
    found = cuts(np.array(values), 10)
    if len(set(values)) > 10:
        expected = np.quantile(values, np.arange(1, 10) / 10).tolist()
        assert expected[:8] == [1.0] * 8
    assert found == expected
    assert found == sorted(found)


def test_few_values_are_told_from_many_wherever_the_many_stand() -> None:
    late = np.array([1.0] * 5000 + list(map(float, range(2, 30))))
    assert cuts(late, 10) == cuts(late[::-1], 10) == np.quantile(late, np.arange(1, 10) / 10).tolist()


def test_a_constant_has_one_bin_and_few_values_have_as_many_bins(tmp_path: Path) -> None:
    tables = quiet()
    for hour, value in enumerate((7.0, 7.0, 7.0)):
        happen(tables, "labs", [{"lab_result_dttm": hour, "lab_category": "a", "lab_value_numeric": value}])
    for hour, value in enumerate((3.0, 1.0, 2.0, 1.0), start=10):
        happen(tables, "labs", [{"lab_result_dttm": hour, "lab_category": "b", "lab_value_numeric": value}])
    result = tokenize(tables, tmp_path)
    tokenizer = result.tokenizer
    assert tokenizer.value_tokens("lab/a") == ["Q0"]
    assert tokenizer.value_tokens("lab/b") == ["Q0", "Q1", "Q2"]
    names = [token for _, token in result.between(FIRST)]
    assert names == ["lab/a", "Q0"] * 3 + ["lab/b", "Q2", "lab/b", "Q0", "lab/b", "Q1", "lab/b", "Q0"]


def test_reference_bins_are_low_normal_and_high_with_both_ends_normal(tmp_path: Path) -> None:
    lower, upper = reference_ranges()["lab/pt"]
    below, above = np.nextafter(lower, -np.inf), np.nextafter(upper, np.inf)
    tables = quiet()
    values = {"pt": (below, lower, upper, above), "no_range_at_all": (1.0, 2.0)}
    for code, own in values.items():
        rows = [
            {"lab_result_dttm": h, "lab_category": code, "lab_value_numeric": float(v)}
            for h, v in enumerate(own)
        ]
        happen(tables, "labs", rows)
    result = tokenize(tables, tmp_path, settings=PRESETS["reference"])
    by_code: dict[str, list[str]] = {}
    names = [token for _, token in result.between(FIRST)]
    for code, value in zip(names[::2], names[1::2], strict=True):
        by_code.setdefault(code, []).append(value)
    assert by_code == {"lab/pt": ["LOW", "NORMAL", "NORMAL", "HIGH"], "lab/no_range_at_all": ["Q0", "Q1"]}
    assert result.tokenizer.reference == {"lab/pt": [lower, upper]}
    assert "lab/pt" not in result.tokenizer.cut_points
    fused = tokenize(tables, tmp_path, settings=replace(PRESETS["reference"], scheme="fused"))
    assert {"lab/pt=LOW", "lab/pt=NORMAL", "lab/pt=HIGH"} <= set(fused.tokenizer.vocabulary)
    assert "LOW" not in fused.tokenizer.vocabulary


def test_fine_labs_keep_the_range_of_their_lab(tmp_path: Path) -> None:
    tables = make_all_tables()
    tables["labs"] = tables["labs"].with_columns(pl.col("lab_category").replace("sodium", "pt"))
    settings = TokenSettings(bins="reference", labs="fine")
    tokenizer = tokenize(tables, tmp_path, settings=settings).tokenizer
    own = {code: ends for code, ends in tokenizer.reference.items() if base_code(code) == "lab/pt"}
    assert set(own) >= {"lab/pt:plasma_blood:bmp", "lab/pt:urine:cbc"}
    assert all(ends == reference_ranges()["lab/pt"] for ends in own.values())


def test_other_labs_keep_their_quantiles_under_reference_bins(tmp_path: Path) -> None:
    tables = make_tables()
    tables["labs"] = tables["labs"].with_columns(pl.col("lab_category").replace("sodium", "pt"))
    paper = tokenize(tables, tmp_path).tokenizer
    reference = tokenize(tables, tmp_path, settings=PRESETS["reference"]).tokenizer
    assert reference.cut_points == {c: v for c, v in paper.cut_points.items() if c not in reference.reference}
    assert set(reference.reference) == {"lab/pt"}
    assert "lab/potassium" in reference.cut_points


def test_fitting_in_several_passes_is_fitting_in_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = make_all_tables()
    once = tokenize(tables, tmp_path, events="all")
    monkeypatch.setattr(fit, "MOST_VALUES", 100)
    assert tokenize(tables, tmp_path, events="all").json == once.json


def test_no_training_stay(tmp_path: Path) -> None:
    site = read(make_tables(patients=3), tmp_path)
    site.stays = site.stays.with_columns(pl.lit("test").alias("split"))
    with pytest.raises(UserError, match="no stay in its training split; it needs at least one patient"):
        fit_tokenizer(site, TokenSettings(), load_map("paper"))


def test_values_outside_the_stay_are_not_learnt(tmp_path: Path) -> None:
    tables = quiet()
    lab = {"lab_category": "a", "lab_value_numeric": 1.0}
    happen(tables, "labs", [lab | {"lab_result_dttm": 1}])
    before = tokenize(tables, tmp_path).tokenizer
    hours = read(tables, tmp_path).stays.filter(pl.col(ID) == FIRST)["los_hours"].item()
    for hour in (-25, hours + 1, hours + 500, -500):
        happen(tables, "labs", [lab | {"lab_result_dttm": hour, "lab_value_numeric": 99.0}])
        happen(tables, "labs", [lab | {"lab_result_dttm": hour, "lab_category": "never"}])
    assert tokenize(tables, tmp_path).tokenizer == before


@pytest.mark.filterwarnings("ignore:overflow")
def test_cut_points_are_finite_however_large_the_values() -> None:
    values = np.array([-1.7e308, -1.6e308, *range(20), 1.6e308, 1.7e308])
    assert np.isfinite(cuts(values, 10)).all()

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ehrfm_core.tokens.categories import CategoryCounts, event_codes, psi
from ehrfm_core.tokens.settings import PRESETS
from tests.make_clif import ID, make_all_tables
from tests.make_site import happen, quiet, tokenize


def row(frame: pl.DataFrame, code: str) -> dict[str, object]:
    return frame.row(by_predicate=pl.col("code") == code, named=True)


def test_events_stays_coverage_and_values_by_hand(tmp_path: Path) -> None:
    tables = quiet()  # four stays of three patients
    vital = {"vital_category": "sbp", "vital_value": 5.0}
    happen(tables, "vitals", [vital | {"recorded_dttm": hour} for hour in (1, 2, 25)])
    happen(tables, "vitals", [vital | {"recorded_dttm": 1, "vital_value": float("nan")}], stay=2)
    happen(tables, "vitals", [vital | {"recorded_dttm": 25, "vital_value": None}], stay=3)
    result = tokenize(tables, tmp_path)
    found = row(result.categories(), "vital/sbp")
    assert found == {
        "code": "vital/sbp",
        "family": "vital",
        "known": True,
        "n_events": 5,
        "n_stays": 3,
        "n_events_window": 3,
        "n_stays_window": 2,
        "coverage": 0.5,
        "n_values": 3,
        "not_numbers": 1,
        "psi": None,
        "psi_noise": None,
    } | {key: found[key] for key in ("psi", "psi_noise")}
    assert (found["psi"], found["psi_noise"]) == (None, None), "no value outside the training split"
    assert result.counts.n_events == 5


@pytest.mark.parametrize("preset", PRESETS)
def test_counts_agree_with_the_timelines(tmp_path: Path, preset: str) -> None:
    result = tokenize(make_all_tables(), tmp_path, events="all", settings=PRESETS[preset])
    names = {i: token.partition("=")[0] for token, i in result.tokenizer.vocabulary.items()}
    frame = result.categories()
    assert frame["code"].to_list() == sorted(frame["code"])
    for column, timelines in (("n_events", result.frame), ("n_events_window", result.window())):
        tokens = timelines.select(ID, "tokens").explode("tokens")
        tokens = tokens.with_columns(pl.col("tokens").replace_strict(names).alias("code"))
        counted = dict(tokens.group_by("code").len().iter_rows())
        stays = dict(tokens.group_by("code").agg(pl.col(ID).n_unique()).iter_rows())
        for code, known, n, n_stays in frame.select(
            "code", "known", column, column.replace("events", "stays")
        ).iter_rows():
            if known:
                assert (counted.get(code, 0), stays.get(code, 0)) == (n, n_stays), code


def test_codes_that_the_source_lacks_are_one_row_each_and_so_are_those_the_site_lacks(tmp_path: Path) -> None:
    tables = make_all_tables(patients=8)
    source = tokenize(tables, tmp_path / "a")
    tables["vitals"] = tables["vitals"].with_columns(
        pl.when(pl.col("vital_category") == "spo2")
        .then(pl.lit("map"))
        .otherwise("vital_category")
        .alias("vital_category")
    )
    target = tokenize(tables, tmp_path / "b", source.tokenizer)
    frame = target.categories()
    new, lost = row(frame, "vital/map"), row(frame, "vital/spo2")
    assert (new["known"], new["n_values"], new["psi"]) == (False, 0, None)
    assert new["n_events"] == target.counts.unknown["vital/map"] > 0
    assert (lost["known"], lost["n_events"], lost["coverage"]) == (True, 0, 0.0)
    assert set(target.counts.unknown) == {"vital/map"}
    assert event_codes(source.tokenizer) == set(frame.filter("known")["code"])


def test_a_code_that_the_map_leaves_out_is_no_row(tmp_path: Path) -> None:
    tables = quiet()
    happen(tables, "position", [{"recorded_dttm": 1, "position_category": "not_prone"}])
    assert "position/not_prone" not in tokenize(tables, tmp_path).categories()["code"]


def test_psi_by_hand() -> None:
    expected, actual = np.array([10, 20, 70]), np.array([30, 30, 40])
    value, noise = psi(expected, actual)
    by_hand = 0.2 * np.log(3) + 0.1 * np.log(1.5) - 0.3 * np.log(4 / 7)
    assert value == pytest.approx(by_hand)
    assert noise == pytest.approx(2 * (1 / 100 + 1 / 100))
    assert psi(np.array([5, 5]), np.array([50, 50]))[0] == 0


def test_an_empty_bin_counts_as_one_in_ten_thousand() -> None:
    value, noise = psi(np.array([50, 50]), np.array([100]))
    assert value == pytest.approx((1 - 0.5) * np.log(2) + (1e-4 - 0.5) * np.log(1e-4 / 0.5))
    assert noise == pytest.approx(0.02), "a bin at the end that nobody reached is a bin"


@pytest.mark.parametrize("none", [None, np.zeros(3)])
def test_without_values_there_is_no_drift(none: np.ndarray | None) -> None:
    assert psi(none, np.array([1, 2])) == (None, None)
    assert psi(np.array([1, 2]), np.zeros(2)) == (None, None)


def test_without_drift_psi_is_on_average_its_noise() -> None:
    rng = np.random.default_rng(0)
    share = np.full(10, 0.1)
    pairs = [psi(rng.multinomial(2000, share), rng.multinomial(500, share)) for _ in range(2000)]
    values, noise = (np.array(column, dtype=float) for column in zip(*pairs, strict=True))
    assert len(set(noise)) == 1
    assert values.mean() == pytest.approx(noise[0], rel=0.05)


def test_psi_of_a_site_is_that_of_its_bins_against_the_source(tmp_path: Path) -> None:
    tables = make_all_tables(patients=8)
    source = tokenize(tables, tmp_path / "a")
    moved = dict(tables) | {"vitals": tables["vitals"].with_columns(pl.col("vital_value") * 1.2)}
    results = [tokenize(t, tmp_path / "b", source.tokenizer) for t in (tables, moved)]
    expected = source.counts.bins(train=True)
    frames = [r.counts.frame(source.tokenizer, expected, r.site.not_numbers, n_stays=1) for r in results]
    drifts = [row(frame, "vital/sbp")["psi"] for frame in frames]
    assert 0 < drifts[0] < 0.3 < drifts[1]  # type: ignore[operator]
    own = results[1].counts.bins(train=False)["vital/sbp"]
    assert drifts[1] == psi(expected["vital/sbp"], own)[0]
    codes = [r.categories().filter(pl.col("psi").is_not_null())["code"].to_list() for r in (source,)]
    assert "vital/sbp" in codes[0], "the source is compared with its own other stays"


def test_training_stays_are_counted_apart(tmp_path: Path) -> None:
    result = tokenize(make_all_tables(), tmp_path)
    train, others = (result.counts.bins(train=flag) for flag in (True, False))
    assert isinstance(result.counts, CategoryCounts)
    values = result.categories()
    for code, counts in train.items():
        assert counts.sum() + others[code].sum() == row(values, code)["n_values"]
    potassium = train["lab/potassium"]
    assert potassium.max() - potassium.min() <= 3, "quantiles of the training split fill their bins alike"
